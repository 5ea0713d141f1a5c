"""What stands where in the simulated street, in metres, and how the street lamps light it."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np

from tdfusion_edge.runtime.simulation.noise import uniform
from tdfusion_edge.runtime.simulation.view import F32

Colour: TypeAlias = tuple[float, float, float]

KERB_LEFT, KERB_RIGHT = -3.9, 5.5
WALL_LEFT, WALL_RIGHT = -7.2, 8.6
LANE_TOWARDS, LANE_AWAY, LANE_PARKED, LANE_BICYCLE = -1.85, 1.70, 4.45, 3.05
CROSSING = (8.4, 11.2)
"""Near and far edge of the zebra crossing."""
STOP_LINE = 12.4
SIDE_STREETS = 12.8
"""The houses begin here; nearer, a side street opens on both sides."""
FAR_END = 130.0
"""Where the street ends and the skyline stands."""


class Lamp(NamedTuple):
    """A street lamp: its post at X = ``post``, its head over X = ``x``."""

    post: float
    x: float
    height: float
    z: float
    colour: Colour
    power: float


class Tree(NamedTuple):
    """A tree of the right pavement."""

    x: float
    z: float
    height: float
    radius: float


class Tower(NamedTuple):
    """A high house of the skyline, seen straight on."""

    left: float
    right: float
    height: float
    z: float


class Building(NamedTuple):
    """A house along one wall of the street."""

    left: bool
    near: float
    far: float
    height: float
    seed: int


_SODIUM: Colour = (92.0, 176.0, 255.0)
_LED: Colour = (232.0, 240.0, 236.0)

LAMPS = (
    Lamp(-4.5, -3.0, 6.2, 15.5, _SODIUM, 1.25),
    Lamp(6.1, 4.6, 6.2, 21.0, _SODIUM, 1.0),
    Lamp(-4.5, -3.0, 6.2, 34.0, _SODIUM, 1.1),
    Lamp(6.1, 4.6, 6.2, 43.0, _SODIUM, 1.0),
    Lamp(-4.5, -3.0, 6.2, 60.0, _SODIUM, 1.0),
    Lamp(6.1, 4.6, 6.2, 76.0, _SODIUM, 1.0),
)
SHOPS = (
    (WALL_LEFT, 19.5, 0.9, (120.0, 205.0, 255.0)),
    (WALL_RIGHT, 17.0, 0.7, _LED),
    (WALL_RIGHT, 31.0, 0.5, _SODIUM),
)
"""Lit shop fronts: X, Z, power and colour of the light that they throw on the pavement."""
TREES = (
    Tree(6.9, 15.2, 6.4, 2.2),
    Tree(6.9, 27.0, 7.0, 2.4),
    Tree(6.9, 38.0, 6.6, 2.2),
    Tree(6.9, 54.0, 7.0, 2.5),
)
PARKED = ((LANE_PARKED, 19.5), (LANE_PARKED, 26.5))
"""X and Z of the feet of the parked cars."""


def buildings(seed: int) -> list[Building]:
    """The houses on both sides, farthest first."""
    houses = []
    for left in (True, False):
        near, number = SIDE_STREETS, 0
        while near < FAR_END:
            width = 9.0 + 8.0 * uniform(seed, left, number, 1)
            height = 8.5 + 9.5 * uniform(seed, left, number, 2)
            # Low houses let the sky in between high ones.
            height *= 0.75 if uniform(seed, left, number, 3) < 0.35 else 1.0
            houses.append(
                Building(left, near, near + width - 0.02, height, int(1e6 * uniform(seed, left, number, 4)))
            )
            near, number = near + width, number + 1
    return sorted(houses, key=lambda house: -house.far)


def towers(seed: int) -> list[Tower]:
    """The skyline beyond the end of the street, from left to right."""
    found, x, number = [], -60.0, 0
    while x < 60:
        width = 7.0 + 8.0 * uniform(seed, number, 11)
        height = 14.0 + 20.0 * uniform(seed, number, 12)
        found.append(Tower(x, x + width, height, FAR_END + 40.0 * uniform(seed, number, 13)))
        x, number = x + width * (0.8 + 0.7 * uniform(seed, number, 14)), number + 1
    return found


def lamplight(x: F32, z: F32) -> F32:
    """Light of lamps and shops on the ground at ``x``, ``z``, two arrays of one shape.

    Returns:
        float32 of that shape + (3,): BGR, about 0 to 1.
    """
    light = np.zeros((*x.shape, 3), np.float32)
    for lamp in LAMPS:
        square = (x - lamp.x) ** 2 + 0.6 * (z - lamp.z) ** 2
        fall = lamp.power / (1 + square / 15.0) ** 1.5
        light += fall[..., None] * (np.array(lamp.colour, np.float32) / 255)
    for wall, place, power, colour in SHOPS:
        square = 0.5 * (x - wall) ** 2 + 0.22 * (z - place) ** 2
        light += (power / (1 + square / 2.2) ** 1.5)[..., None] * (np.array(colour, np.float32) / 255)
    return light
