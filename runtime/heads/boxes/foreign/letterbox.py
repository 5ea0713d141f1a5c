"""Pictures of any size in a detector's input, their aspect kept, the rest grey."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tdfusion_edge.color import U8
from tdfusion_edge.resize import resized

GREY = 114
"""What the detectors' trainings put beside a picture."""


class Letterbox(NamedTuple):
    """Where a picture lies in a detector's input, in pixels of that."""

    left: int
    top: int
    width: int
    height: int


def fitted(picture: tuple[int, int], size: tuple[int, int], *, centred: bool) -> Letterbox:
    """Where a picture lies that is made as large as fits.

    Args:
        picture: Its width and height.
        size: Width and height of the input.
        centred: Whether it lies in the middle; in the upper left corner otherwise.
    """
    scale = min(there / here for there, here in zip(size, picture, strict=True))
    width, height = (
        min(there, max(1, round(here * scale))) for there, here in zip(size, picture, strict=True)
    )
    left, top = ((size[0] - width) // 2, (size[1] - height) // 2) if centred else (0, 0)
    return Letterbox(left, top, width, height)


def placed(picture: U8, box: Letterbox, size: tuple[int, int]) -> U8:
    """The detector's input as a picture, uint8 (h, w, 3) BGR.

    Args:
        picture: uint8 (H, W), or (H, W, 3) BGR; grey ones get three equal channels.
        box: Where it is to lie, by :func:`fitted`.
        size: Width and height of the input.
    """
    canvas = np.full((size[1], size[0], 3), GREY, np.uint8)
    small = resized(picture, box.width, box.height)
    inside = canvas[box.top : box.top + box.height, box.left : box.left + box.width]
    inside[:] = small[..., None] if small.ndim == 2 else small
    return canvas
