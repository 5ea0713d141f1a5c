"""The simulated camera: a pinhole three metres above the middle of the road.

World coordinates are metres: X to the right of the road's middle, Y up from the asphalt, Z ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

F32: TypeAlias = npt.NDArray[np.float32]
U8: TypeAlias = npt.NDArray[np.uint8]
Array: TypeAlias = npt.NDArray[Any]

REFERENCE = (640, 480)
"""Picture size in pixels at which the lengths in pixels of this package are stated."""

SIZES = "80x60 to 4096x4096 pixels"


def is_size(size: tuple[int, int]) -> bool:
    """Whether pictures of this width and height can be made: :data:`SIZES`."""
    return 80 <= size[0] <= 4096 and 60 <= size[1] <= 4096


@dataclass(frozen=True, slots=True)
class View:
    """Projection of the street into a picture of ``width`` x ``height`` pixels."""

    width: int
    height: int
    eye: float = 3.0
    """Height of the camera above the road in metres."""

    @property
    def unit(self) -> float:
        """Pixels of this picture to one pixel of the reference picture."""
        return min(self.width / REFERENCE[0], self.height / REFERENCE[1])

    @property
    def focal(self) -> float:
        """Focal length in pixels; a wider picture sees more, nothing is stretched."""
        return 520.0 * self.unit

    @property
    def centre(self) -> float:
        """Column of the vanishing point."""
        return 0.5 * self.width

    @property
    def horizon(self) -> float:
        """Row of the horizon."""
        return 0.41 * self.height

    def scale(self, z: float) -> float:
        """Pixels to the metre at distance ``z``."""
        return self.focal / z

    def point(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Column and row of one world point; ``z`` must be positive."""
        scale = self.focal / z
        return self.centre + scale * x, self.horizon + scale * (self.eye - y)

    def points(self, world: Array) -> F32:
        """Columns and rows, float32 (N, 2), of world points (N, 3)."""
        scale = self.focal / world[:, 2]
        columns = self.centre + scale * world[:, 0]
        rows = self.horizon + scale * (self.eye - world[:, 1])
        return np.stack([columns, rows], axis=1).astype(np.float32)

    def supersampled(self, factor: int) -> View:
        """This view in a picture ``factor`` times as wide and high."""
        return View(self.width * factor, self.height * factor, self.eye)
