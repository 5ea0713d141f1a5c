"""Frame and Pair: what the cameras deliver, validated once at the border."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge.errors import SourceError

Image: TypeAlias = npt.NDArray[Any]
"""uint8 or uint16, (H, W), or uint8 (H, W, 3) in BGR order."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of one sensor.

    Raises:
        SourceError: if the image is of another dtype or shape than the field allows, or time or number is no
            whole number of 64 bits.
    """

    image: Image
    """uint8 or uint16 (H, W), or uint8 (H, W, 3) BGR."""
    time_ns: int
    """Capture time, nanoseconds on a monotonic clock that all cameras of a rig share."""
    sequence: int
    """Number of the frame at its source, from 0; a gap means that frames were lost."""
    source: str
    """Name of the camera or file, without credentials."""

    def __post_init__(self) -> None:
        for name in ("time_ns", "sequence"):
            object.__setattr__(self, name, whole(getattr(self, name), f"{self.source}: {name} of a frame"))
        image = self.image
        if not isinstance(image, np.ndarray) or isinstance(image, np.matrix | np.ma.MaskedArray):
            raise SourceError(
                f"{self.source}: frame {self.sequence} is no picture",
                expected="a NumPy array",
                got=type(image).__name__,
                hint="cv2.imread gives None for a file that it cannot read." if image is None else None,
            )
        grey = image.ndim == 2 and image.dtype in (np.uint8, np.uint16)
        colour = image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8
        if not (grey or colour) or image.size == 0:
            raise SourceError(
                f"{self.source}: frame {self.sequence} is no picture that the pipeline takes",
                expected="uint8 or uint16 (H, W), or uint8 (H, W, 3) BGR",
                got=f"{image.dtype} {image.shape}",
                hint="Of this machine's byte order: image.astype(np.uint16)."
                if image.dtype in (">u2", "<u2")
                else None,
            )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int(self.image.shape[1]), int(self.image.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """An infrared and a visible frame that belong to the same moment.

    One of the two is None when its camera is silent and the policy is ``single``.
    """

    infrared: Frame | None
    visible: Frame | None
    held: bool = False
    """The infrared frame was shown before: its camera had nothing newer (policies ``hold-last``
    and ``nearest``)."""
    current: bool = False
    """Of a held one: no newer one was due, for it is younger than an interval of its camera."""

    def __post_init__(self) -> None:
        if self.infrared is None and self.visible is None:
            raise ValueError("a Pair needs at least one frame, got neither")

    @property
    def time_ns(self) -> int:
        """Capture time of the pair: the visible frame's, or the infrared one's where it is alone."""
        frame = self.visible or self.infrared
        assert frame is not None
        return frame.time_ns

    @property
    def skew_ns(self) -> int | None:
        """Infrared minus visible capture time in nanoseconds; None for a single frame."""
        if self.infrared is None or self.visible is None:
            return None
        return self.infrared.time_ns - self.visible.time_ns


def whole(value: Any, what: str) -> int:
    """A whole number, as Python has it.

    Args:
        value: Of any type that counts, NumPy's among them.
        what: Its name, for the message.

    Raises:
        SourceError: it is none, such as a float, which may be NaN and is 100 ns off after some years; or it
            does not fit 64 bits.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or not -(1 << 63) <= number < 1 << 63:
        raise SourceError(what, expected="a whole number of 64 bits", got=f"{value!r:.40}")
    return number
