"""Colour maps for infrared: what is cold and what is hot, as cameras' own screens show it."""

from __future__ import annotations

from functools import cache
from typing import Literal, TypeAlias, cast

import cv2
import numpy as np

from tdfusion_edge.color import U8

Palette: TypeAlias = Literal["white-hot", "black-hot", "ironbow", "inferno", "rainbow"]

_IRONBOW = (  # position 0 to 255, then blue, green, red
    (0, 0, 0, 0), (40, 100, 0, 20), (80, 150, 0, 110), (125, 120, 20, 190), (165, 30, 80, 235),
    (210, 0, 170, 255), (240, 120, 235, 255), (255, 255, 255, 255),
)  # fmt: skip
"""Black, violet, red, orange, yellow, white: after thermal cameras' own maps of this name."""
_HOT = ((0, 40, 90, 255), (255, 0, 240, 255))
"""Of an isotherm: orange to yellow, which no grey picture has."""


def coloured(picture: U8, palette: Palette) -> U8:
    """A grey picture in colours.

    Args:
        picture: uint8 (H, W), hot is bright.
        palette: One of :data:`Palette`.

    Returns:
        uint8 (H, W, 3) BGR; (H, W) of the two that are grey.
    """
    if palette == "white-hot":
        return picture
    if palette == "black-hot":
        return cast(U8, cv2.bitwise_not(picture))
    return cast(U8, cv2.applyColorMap(picture, _table(palette)))


def hot(picture: U8) -> U8:
    """A grey picture, uint8 (H, W), in the colours of an isotherm, uint8 (H, W, 3) BGR."""
    return cast(U8, cv2.applyColorMap(picture, _table("hot")))


@cache
def _table(name: str) -> U8:
    """uint8 (256, 1, 3) BGR."""
    if name in ("inferno", "rainbow"):
        ramp = np.arange(256, dtype=np.uint8)[:, None]
        known = cv2.COLORMAP_INFERNO if name == "inferno" else cv2.COLORMAP_TURBO
        return cast(U8, cv2.applyColorMap(ramp, known))
    stops = np.array(_HOT if name == "hot" else _IRONBOW, np.float64)
    levels = np.arange(256)
    mixed = [np.interp(levels, stops[:, 0], stops[:, channel]) for channel in (1, 2, 3)]
    return np.stack(mixed, 1).round().astype(np.uint8)[:, None]
