"""What a label file says about one picture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Drawn(NamedTuple):
    """What a label file says about one picture, before its size is known."""

    corners: npt.NDArray[np.float64]
    """(N, 4), x1 y1 x2 y2 from corner to corner, neither clipped nor checked for sense."""
    names: tuple[str, ...]
    """N class names."""
    size: tuple[int, int] | None = None
    """Width and height that the file states; (1, 1) where the corners are shares of the picture."""
    difficult: int = 0
    """So many of the boxes are marked as difficult (VOC); they count as any other."""
    crowds: int = 0
    """Boxes around crowds (COCO) that are left out."""
