"""One way to make a picture smaller, for training, validation and runtime alike.

A side is halved by means of two pixels while it is more than twice too long; the rest is linear. Linear
sampling alone would skip pixels, so that small warm objects flicker; OpenCV's area interpolation costs five
times as much wherever the ratio is not two both ways. OpenCV is imported at use.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt

F32: TypeAlias = npt.NDArray[np.float32]
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


def as_seen(luma: npt.NDArray[np.uint8] | F32, width: int, height: int) -> F32:
    """A luma as task networks see it: the one way to their input, whoever made the luma.

    8 bits become float before they are made smaller. The other way around every mean of pixels would be
    rounded to 8 bits as well, and a picture from a file would be seen otherwise than one from a network.

    Args:
        luma: (H, W), uint8 or float32 in [0, 1].
        width: Pixels.
        height: Pixels.

    Returns:
        float32 (height, width) in [0, 1].
    """
    unit = np.divide(luma, 255, dtype=np.float32) if luma.dtype == np.uint8 else luma
    return resized(cast(F32, unit), width, height)


class Taps(NamedTuple):
    """One axis of :func:`resized` as sums: each row that comes out, of neighbouring rows that go in."""

    first: npt.NDArray[np.int32]
    """(n,), the first row that counts for each."""
    weights: F32
    """(n, taps), from that one on."""


def taps_of(size: tuple[int, int], width: int, height: int) -> tuple[Taps, Taps]:
    """The rows' and the columns' part of :func:`resized` for float32 pictures, for who computes it elsewhere.

    Args:
        size: Height and width of the picture.
        width: What is to come of it, pixels.
        height: Likewise.
    """
    import cv2

    ways = [*halvings(size, width, height)]
    found = []
    for axis, wanted in enumerate((height, width)):
        # What becomes of each row by itself is what it counts for.
        rows: npt.NDArray[Any] = np.eye(size[axis], dtype=np.float32)
        for side in (way[axis] for way in ways):
            if side != len(rows):
                rows = cv2.resize(rows, (size[axis], side), interpolation=cv2.INTER_AREA)
        if wanted != len(rows):
            rows = cv2.resize(rows, (size[axis], wanted), interpolation=cv2.INTER_LINEAR)
        found.append(_taps(rows))
    return found[0], found[1]


def _taps(rows: npt.NDArray[Any]) -> Taps:
    """What is not 0 of a matrix whose rows have that side by side."""
    there = rows != 0
    first = there.argmax(axis=1)
    count = int((rows.shape[1] - there[:, ::-1].argmax(axis=1) - first).max())
    first = np.minimum(first, rows.shape[1] - count)
    weights = np.take_along_axis(rows, first[:, None] + np.arange(count), axis=1)
    return Taps(first.astype(np.int32), np.ascontiguousarray(weights, np.float32))
