"""A dead picture: one level all over, as behind a cap, or of a camera without a signal."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from tdfusion_edge.frames import Frame, Image

BLOCK = 16
"""Side of the blocks whose means are compared, pixels: noise of 2.5 levels is one of .16 in them."""
FLAT = 1.0
"""Levels, or counts of 16 bits, that the means of a dead picture differ by at most."""
AGAIN = 2.0
"""So far they must be apart for a dead camera to live: at one bound it would come and go."""
SPARSE = 24
"""A picture of which a pixel in 256 differs by more shows something: nearly every one is settled here."""


class Dead:
    """Tells for how long a camera has shown nothing."""

    def __init__(self) -> None:
        self.for_ns: int | None = None
        """Capture time that it has shown nothing for; None: its last picture showed something."""
        self._since_ns = 0

    def update(self, frame: Frame) -> None:
        """Take the camera's next frame."""
        if not is_flat(frame.image, FLAT if self.for_ns is None else AGAIN):
            self.for_ns = None
            return
        if self.for_ns is None:
            self._since_ns = frame.time_ns
        self.for_ns = max(0, frame.time_ns - self._since_ns)


def is_flat(image: Image, apart: float = FLAT) -> bool:
    """Whether nothing can be seen in a picture but noise; a colour all over is nothing, too.

    Args:
        image: uint8 or uint16 (H, W), or uint8 (H, W, 3).
        apart: So much the means of its blocks may differ in any channel.
    """
    few = image[::BLOCK, ::BLOCK]
    if (few.max(axis=(0, 1)).astype(int) - few.min(axis=(0, 1)) > SPARSE).any():
        return False
    height, width = image.shape[:2]
    size = max(1, width // BLOCK), max(1, height // BLOCK)
    means = cast(Image, cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA))
    return bool((means.max(axis=(0, 1)) - means.min(axis=(0, 1)) <= apart).all())
