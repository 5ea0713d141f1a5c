"""One way to make a picture smaller, for training, validation and runtime alike.

A side is halved by means of two pixels while it is more than twice too long; the rest is linear. Linear
sampling alone would skip pixels, so that small warm objects flicker; OpenCV's area interpolation costs five
times as much wherever the ratio is not two both ways. OpenCV is imported at use.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

Picture = TypeVar("Picture", bound="npt.NDArray[Any]")


def halved(image: Picture, width: float, height: float) -> Picture:
    """``image`` with sides of at most twice ``width`` and ``height``; itself where it is that small.

    Args:
        image: (H, W) or (H, W, C), uint8 or float32.
        width: What is to come of it, pixels.
        height: Likewise.
    """
    import cv2

    for rows, columns in halvings((image.shape[0], image.shape[1]), width, height):
        image = cast(Picture, cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA))
    return image


def halvings(size: tuple[int, int], width: float, height: float) -> Iterator[tuple[int, int]]:
    """Heights and widths that a picture has on its way down to at most twice ``width`` and ``height``.

    >>> list(halvings((480, 640), 256, 192))
    [(240, 320)]
    """
    rows, columns = size
    while rows > 2 * height or columns > 2 * width:
        rows, columns = (
            side // 2 if side > 2 * wanted else side
            for side, wanted in zip((rows, columns), (height, width), strict=True)
        )
        yield rows, columns


def resized(image: Picture, width: int, height: int) -> Picture:
    """The whole picture at another size, its aspect changed where the two differ.

    Args:
        image: (H, W) or (H, W, C), uint8 or float32.
        width: Pixels.
        height: Pixels.

    Returns:
        (height, width) or (height, width, C) of the same dtype.
    """
    import cv2

    smaller = halved(image, width, height)
    return cast(Picture, cv2.resize(smaller, (width, height), interpolation=cv2.INTER_LINEAR))


def resized_planes(planes: Picture, width: int, height: int) -> Picture:
    """Several planes (C, H, W) of one picture, each by :func:`resized`, to (C, height, width)."""
    return cast(Picture, np.stack([resized(plane, width, height) for plane in planes]))
