"""One way to make a picture smaller, for training, validation and runtime alike.

A side is halved by means of two pixels while it is more than twice too long; the rest is linear. Linear
sampling alone would skip pixels, so that small warm objects flicker; OpenCV's area interpolation costs five
times as much wherever the ratio is not two both ways. OpenCV is imported at use.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

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

    while image.shape[0] > 2 * height or image.shape[1] > 2 * width:
        rows, columns = (
            side // 2 if side > 2 * wanted else side
            for side, wanted in zip(image.shape[:2], (height, width), strict=True)
        )
        image = cast(Picture, cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA))
    return image


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
