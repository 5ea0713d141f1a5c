"""Sprites of people in both spectra, drawn once for every phase of the step."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, cast

import cv2
import numpy as np

from tdfusion_edge.runtime.simulation.figures import PEOPLE, Facing, Limb, Person, figure
from tdfusion_edge.runtime.simulation.noise import field
from tdfusion_edge.runtime.simulation.sprites import Sprite, pyramid
from tdfusion_edge.runtime.simulation.view import F32, U8

Spectrum: TypeAlias = Literal["infrared", "visible"]

PHASES = 16
"""Drawn moments of one double step."""
DENSITIES = (120.0, 64.0, 36.0, 20.0, 11.0)
"""Pixels to the metre of the sprites at the reference size."""

_CANVAS = (1.5, 2.1)
"""Width and height of the drawn area in metres."""
_FOOT = (0.75, 2.0)
"""Where in that area the ground under the figure is, metres from its upper left corner."""
_WARMTH = {
    "head": 240.0, "hair": 198.0, "hand": 224.0, "coat": 184.0, "skirt": 166.0, "trousers": 176.0,
    "shoe": 130.0, "bag": 96.0, "tyre": 110.0, "frame": 92.0, "lamp": 120.0,
}  # fmt: skip
"""Infrared level of each part: bare skin warmest, clothes in between, things near the street's."""
_SKIN, _LEATHER = (112, 140, 186), (24, 24, 28)
_SHIFT = 4


def sprites(index: int, facing: Facing, spectrum: Spectrum, unit: float) -> list[list[Sprite]]:
    """Sprites of person ``index``, by phase and then by falling density; ``unit`` of the view."""
    levels = [density * unit for density in DENSITIES]
    density = levels[0]
    shape = (round(_CANVAS[1] * density), round(_CANVAS[0] * density))
    foot = (_FOOT[0] * density, _FOOT[1] * density)
    # Clothes are cooler in their folds; the folds walk with the person.
    folds = 1 + 0.03 * field(shape, 0.12 * density, np.random.default_rng(index), octaves=2)
    drawn = []
    for phase in range(PHASES):
        groups = figure(PEOPLE[index], facing, phase / PHASES)
        if spectrum == "infrared":
            image = _infrared(groups, density, folds)
        else:
            image = _visible(PEOPLE[index], groups, density, shape)
        drawn.append(pyramid(image, density, foot, levels))
    return drawn


def _infrared(groups: list[list[Limb]], density: float, folds: F32) -> U8:
    canvas = np.zeros((*folds.shape, 2), np.uint8)
    for group in groups:
        for limb in group:
            _stroke(canvas, limb, density, (_WARMTH[limb.part], 255.0))
    sharp = cv2.GaussianBlur(canvas, (0, 0), 0.012 * density)
    heat, alpha = cv2.split(sharp)
    soft_heat, soft_alpha = cv2.split(_softened(canvas, 0.035 * density).astype(np.float32))
    # Clothes exchange heat with what they lie on, and hang away from the body towards the outline.
    shared = soft_heat / np.maximum(soft_alpha, 12) * alpha
    warmth = (0.45 * heat + 0.55 * shared) * (0.66 + 0.36 / 255 * soft_alpha) * folds
    return cast(U8, cv2.merge((np.minimum(warmth, alpha).astype(np.uint8), alpha)))


def _visible(person: Person, groups: list[list[Limb]], density: float, shape: tuple[int, int]) -> U8:
    colours = {
        "head": _SKIN, "hand": _SKIN, "hair": person.hair, "coat": person.coat, "skirt": person.coat,
        "trousers": person.trousers, "shoe": _LEATHER, "bag": (44, 52, 66), "tyre": (18, 18, 18),
        "frame": (90, 84, 80), "lamp": (40, 40, 255),
    }  # fmt: skip
    canvas = np.zeros((*shape, 4), np.uint8)
    for group in groups:
        # A dark seam keeps an arm apart from a trunk of the same colour.
        for limb in group:
            seam = tuple(0.62 * value for value in colours[limb.part])
            _stroke(canvas, limb, density, (*seam, 255.0), 0.012)
        for limb in group:
            _stroke(canvas, limb, density, (*colours[limb.part], 255.0))
    mask = _softened(canvas[..., 3], 0.045 * density)
    slope = cv2.Sobel(mask, cv2.CV_32F, 1, 0, ksize=3, scale=density * 0.00012)
    rise = cv2.Sobel(mask, cv2.CV_32F, 0, 1, ksize=3, scale=density * 0.00018)
    height = np.linspace(1.12, 0.80, shape[0], dtype=np.float32)[:, None]
    light = (np.clip((0.92 + 0.45 * slope + 0.6 * rise) * height, 0.35, 1.5) * 128).astype(np.uint8)
    shade = cv2.merge((light, light, light, np.full_like(light, 128)))
    return cast(U8, cv2.multiply(canvas, shade, scale=1 / 128))


def _softened(image: U8, sigma: float) -> U8:
    """Gaussian blur of a large ``sigma`` in pixels, done on a quarter of the width and height."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(width // 4, 1), max(height // 4, 1)), interpolation=cv2.INTER_AREA)
    return cast(U8, cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / 4), (width, height)))


def _stroke(canvas: U8, limb: Limb, density: float, colour: tuple[float, ...], margin: float = 0.0) -> None:
    """Draw a tapered stroke with round ends, ``margin`` metres wider on every side.

    On an empty canvas the smoothed edges come out multiplied by their alpha, as sprites want them.
    """
    (ax, ay), (bx, by) = (
        ((_FOOT[0] + x) * density - 0.5, (_FOOT[1] - y) * density - 0.5) for x, y in (limb.start, limb.end)
    )
    ra, rb = (limb.start_radius + margin) * density, (limb.end_radius + margin) * density
    one = 1 << _SHIFT
    for x, y, radius in ((ax, ay, ra), (bx, by, rb)):
        centre = (round(x * one), round(y * one))
        cv2.circle(canvas, centre, round(radius * one), colour, -1, cv2.LINE_AA, _SHIFT)
    length = math.hypot(bx - ax, by - ay)
    if length > 1:
        nx, ny = (ay - by) / length, (bx - ax) / length
        corners = [
            (ax + nx * ra, ay + ny * ra), (bx + nx * rb, by + ny * rb),
            (bx - nx * rb, by - ny * rb), (ax - nx * ra, ay - ny * ra),
        ]  # fmt: skip
        cv2.fillConvexPoly(
            canvas, np.rint(np.array(corners) * one).astype(np.int32), colour, cv2.LINE_AA, _SHIFT
        )
