"""Frame and Pair: what the cameras deliver, validated once at the border."""

from __future__ import annotations

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
        SourceError: if the image is of another dtype or shape than the field allows.
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
        image = self.image
        if not isinstance(image, np.ndarray) or isinstance(image, np.matrix):
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
    """The infrared frame was shown before: its camera had nothing newer (policy ``hold-last``)."""

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
