"""Blending of precomputed pictures into a frame at sub-pixel places and any size."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from tdfusion_edge.runtime.simulation.noise import to_u8
from tdfusion_edge.runtime.simulation.view import U8, Array

_SMALL = 48 * 48
"""Lights of fewer pixels are placed between pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """One picture with transparency at one resolution."""

    colour: U8
    """Multiplied by its alpha already: (h, w, 4) BGRA, or (h, w, 2) grey and alpha."""
    density: float
    """Pixels to the metre (or to whatever unit the caller places it in)."""
    foot: tuple[float, float]
    """Column and row that is put on the place named in :func:`blend`."""


def pyramid(image: U8, density: float, foot: tuple[float, float], levels: list[float]) -> list[Sprite]:
    """Sprites at the densities ``levels`` of one large picture.

    Args:
        image: uint8 (H, W, 4) or (H, W, 2), alpha last, colours multiplied by it.
        density: Pixels to the metre of ``image``, at least the largest level.
        foot: Column and row of the foot in ``image``.
        levels: Densities to make, falling.
    """
    height, width = image.shape[:2]
    sprites = []
    for level in levels:
        size = (max(2, round(width * level / density)), max(2, round(height * level / density)))
        if size != image.shape[1::-1]:
            image = cast(U8, cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        place = (foot[0] * size[0] / width, foot[1] * size[1] / height)
        sprites.append(Sprite(image, level, place))
    return sprites


def mirrored(sprite: Sprite) -> Sprite:
    """This sprite seen in a mirror."""
    image = np.ascontiguousarray(sprite.colour[:, ::-1])
    return Sprite(image, sprite.density, (image.shape[1] - sprite.foot[0], sprite.foot[1]))


def choose(sprites: list[Sprite], density: float) -> Sprite:
    """The smallest sprite that need not be enlarged, or the largest there is; densities fall."""
    for sprite in reversed(sprites):
        if sprite.density >= density:
            return sprite
    return sprites[0]


def nearest(sprites: list[Sprite], density: float) -> Sprite:
    """The sprite of the most similar density; densities rise in equal ratios or nearly so."""
    place = bisect(sprites, density, key=_density)
    if place == 0 or place == len(sprites):
        return sprites[min(place, len(sprites) - 1)]
    low, high = sprites[place - 1], sprites[place]
    return low if density * density < low.density * high.density else high


def _density(sprite: Sprite) -> float:
    return sprite.density


def blend(image: U8, sprite: Sprite, place: tuple[float, float], density: float, gain: float = 1.0) -> None:
    """Lay a sprite over a frame in place, its foot on ``place``, at ``density`` pixels to the metre.

    Args:
        image: uint8 (H, W, 3) for sprites of four channels, (H, W) for those of two.
        sprite: What to lay over it.
        place: Column and row.
        density: Wanted pixels to the metre.
        gain: Factor of the sprite's colours; its alpha stays.
    """
    scale = density / sprite.density
    height, width = sprite.colour.shape[:2]
    window = _window(image, (width, height), sprite.foot, place, (scale, scale))
    if window is None:
        return
    roi, matrix = window
    warped = cv2.warpAffine(sprite.colour, matrix, (roi.shape[1], roi.shape[0]))
    if roi.ndim == 3:
        cover = cv2.cvtColor(cv2.bitwise_not(cv2.extractChannel(warped, 3)), cv2.COLOR_GRAY2BGR)
        colour = cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR)
    else:
        colour, cover = cv2.split(warped)
        cover = cv2.bitwise_not(cover)
    if gain != 1.0:
        colour = cv2.convertScaleAbs(colour, alpha=gain)
    cv2.multiply(roi, cover, dst=roi, scale=1 / 255)
    cv2.add(roi, colour, dst=roi)


def shine(
    image: U8, light: U8, place: tuple[float, float], size: tuple[float, float], gain: float = 1.0
) -> None:
    """Add a light to a frame in place.

    Args:
        image: uint8 (H, W, 3).
        light: uint8 (h, w, 3), black at its border; its middle is put on ``place``.
        place: Column and row.
        size: Width and height in pixels that ``light`` is stretched to.
        gain: Factor of its brightness.
    """
    height, width = light.shape[:2]
    scale = (size[0] / width, size[1] / height)
    window = _window(image, (width, height), (width / 2, height / 2), place, scale)
    if window is None:
        return
    roi, matrix = window
    if _SMALL < size[0] * size[1] < 1.3 * roi.shape[0] * roi.shape[1]:
        # A large light is so soft that whole pixels do, and enlarging is quicker than warping.
        warped = cv2.resize(light, (roi.shape[1], roi.shape[0]), interpolation=cv2.INTER_LINEAR)
    else:
        warped = cv2.warpAffine(light, matrix, (roi.shape[1], roi.shape[0]))
    if gain != 1.0:
        warped = cv2.convertScaleAbs(warped, alpha=gain)
    cv2.add(roi, warped, dst=roi)


def spot(size: int, colour: tuple[float, float, float], power: float, core: float = 0.0) -> U8:
    """A round light, uint8 (size, size, 3): falls with ``power`` to black at its rim.

    Args:
        size: Width and height in pixels.
        colour: BGR of the middle in 0..255.
        power: 1 falls evenly, larger is more pointed.
        core: Radius of a white-hot middle as a share of the whole, 0 for none.
    """
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    radius = np.sqrt(axis[None, :] ** 2 + axis[:, None] ** 2)
    fall = np.clip(1 - radius, 0, 1) ** power
    light = fall[..., None] * np.array(colour, np.float32)
    if core:
        light += 255 * np.clip(1.5 - radius / core, 0, 1)[..., None] ** 2
    return to_u8(light)


def _window(
    image: Array,
    size: tuple[int, int],
    foot: tuple[float, float],
    place: tuple[float, float],
    scale: tuple[float, float],
) -> tuple[Array, Array] | None:
    """The part of ``image`` that a stretched picture covers, and the matrix that draws it there."""
    left, top = place[0] - foot[0] * scale[0], place[1] - foot[1] * scale[1]
    x0, y0 = max(int(left) - 1, 0), max(int(top) - 1, 0)
    x1 = min(int(left + size[0] * scale[0]) + 2, image.shape[1])
    y1 = min(int(top + size[1] * scale[1]) + 2, image.shape[0])
    if x1 <= x0 or y1 <= y0:
        return None
    # Pixel centres lie at whole numbers for warpAffine, pixel edges for the lengths above.
    shift_x = left - x0 + 0.5 * scale[0] - 0.5
    shift_y = top - y0 + 0.5 * scale[1] - 0.5
    matrix = np.array([[scale[0], 0, shift_x], [0, scale[1], shift_y]])
    return image[y0:y1, x0:x1], matrix
