"""A frame number that a program can read back from the picture, even compressed or fused."""

from __future__ import annotations

import numpy as np

from tdfusion_edge.frames import Image

BITS = 16
"""Numbers count modulo 65536."""

_COLUMNS, _ROWS = 80, 60
"""The picture is so many blocks wide and high: 8 x 8 pixels each at 640 x 480."""
_REFERENCES = (1, 0)
"""A white and a black block stand before the number, so that it can be read at any contrast."""
_LEAST_CONTRAST = {"uint8": 24.0, "uint16": 400.0}


def draw_mark(image: Image, number: int, black: int = 0, white: int = 255) -> None:
    """Draw ``number`` modulo 65536 into the lower left corner, in place.

    It is a row of 18 blocks: white, black, then the 16 bits from the highest, white for 1. Blocks
    are an 80th of the picture wide and a 60th high, so that marks of cameras of different sizes
    cover each other once the pictures are registered.

    Args:
        image: uint8 or uint16 (H, W) or (H, W, 3), at least 80 x 60 pixels.
        number: Not negative.
        black: Value of a 0.
        white: Value of a 1.
    """
    height, width = image.shape[:2]
    bits = (*_REFERENCES, *(number >> shift & 1 for shift in reversed(range(BITS))))
    edges = [round(k * width / _COLUMNS) for k in range(len(bits) + 1)]
    row = np.repeat(np.where(np.array(bits, bool), white, black), np.diff(edges)).astype(image.dtype)
    corner = image[height - _block_height(height) :, : len(row)]
    corner[:] = row if image.ndim == 2 else row[:, None]


def read_mark(image: Image) -> int:
    """The number that :func:`draw_mark` drew.

    It survives video compression from 640 x 480 pixels on, and averaging with a picture that carries
    the same number.

    Args:
        image: uint8 or uint16 (H, W) or (H, W, 3).

    Raises:
        ValueError: there is no mark, or it cannot be read with certainty.
    """
    height, width = image.shape[:2]
    tall, wide = _block_height(height), width / _COLUMNS
    inset = tall // 4
    strip = image[height - tall + inset : height - inset or None].astype(np.float64)
    profile = strip.reshape(strip.shape[0], width, -1).mean(axis=(0, 2))
    values = []
    for k in range(len(_REFERENCES) + BITS):
        first, last = round(k * wide), round((k + 1) * wide)
        margin = (last - first) // 4
        values.append(float(profile[first + margin : last - margin].mean()))
    white, black = values[:2]
    if white - black < _LEAST_CONTRAST.get(image.dtype.name, np.inf):
        raise ValueError(f"no mark in the lower left corner: white is {white:.0f}, black {black:.0f}")
    number = 0
    for value in values[2:]:
        share = (value - black) / (white - black)
        if 0.35 < share < 0.65:
            raise ValueError(f"the mark is not legible: a block of {share:.0%} is neither black nor white")
        number = number << 1 | (share > 0.5)
    return number


def _block_height(height: int) -> int:
    return max(round(height / _ROWS), 1)
