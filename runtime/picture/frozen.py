"""A frozen camera: one picture, again and again.

The shutter of a thermal camera does it for a second while it calibrates, and a driver that hangs for ever. A
scene in which nothing moves does not: a sensor's noise differs from picture to picture.
"""

from __future__ import annotations

import numpy as np

from tdfusion_edge.frames import Frame, Image

SPARSE = 16
"""Every so many rows and columns are compared first: noise tells two live frames apart there."""


class Frozen:
    """Tells when a camera repeats one picture to the last bit.

    Args:
        after_ms: Capture time without a new picture that counts as frozen. The default spares 9 Hz
            sensors behind a 30 or 60 Hz output, which repeat every picture for 111 ms.
    """

    def __init__(self, after_ms: float = 250.0) -> None:
        self._after_ns = round(after_ms * 1e6)
        self._image: Image | None = None
        self._since_ns = 0
        self.for_ns = 0
        """Capture time that the last frame's picture has been shown for."""
        self.told = False
        """What :meth:`update` said last."""

    def update(self, frame: Frame) -> bool:
        """Take the camera's next frame; True where it shows what was shown ``after_ms`` ago.

        The image is kept until the next call, not copied: a source must not write into it again.
        """
        if self._image is None or not _same(frame.image, self._image):
            self._since_ns = frame.time_ns
            self._image = frame.image
            self.for_ns, self.told = 0, False
            return False
        self.for_ns = frame.time_ns - self._since_ns
        self.told = self.for_ns >= self._after_ns
        return self.told


def _same(image: Image, other: Image) -> bool:
    if image is other:
        return True
    if image.shape != other.shape or image.dtype != other.dtype:
        return False
    sparse = np.array_equal(image[::SPARSE, ::SPARSE], other[::SPARSE, ::SPARSE])
    return bool(sparse and np.array_equal(image, other))
