"""Lights that move with the cars, their reflections on the wet road, and the lamplight on passers-by."""

from __future__ import annotations

from typing import cast

import numpy as np

from tdfusion_edge.runtime.simulation import layout
from tdfusion_edge.runtime.simulation.car_model import LENGTH
from tdfusion_edge.runtime.simulation.sprites import shine, spot
from tdfusion_edge.runtime.simulation.traffic import Actor
from tdfusion_edge.runtime.simulation.view import F32, U8, View

_HEADLIGHT_HEIGHT, _TAIL_HEIGHT = 0.66, 0.84
_SPREAD = 0.65
"""Metres from the middle of the car to each of its lamps."""


class Lights:
    """Precomputed lights; drawing them keeps no state."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._beam = spot(96, (228.0, 246.0, 255.0), 2.2, core=0.34)
        self._halo = spot(128, (92.0, 104.0, 112.0), 2.6)
        self._pool = spot(96, (62.0, 74.0, 80.0), 1.5)
        self._streak = spot(64, (120.0, 136.0, 142.0), 1.8)
        self._tail = spot(64, (34.0, 26.0, 250.0), 2.4, core=0.16)
        self._tail_streak = spot(64, (16.0, 12.0, 120.0), 1.8)

    def on_road(self, image: U8, car: Actor) -> None:
        """What a car's lights do to the road: drawn before whatever stands on it."""
        view, end = self._view, _end(car)
        if end <= 0.6:
            return
        scale = view.scale(end)
        towards = car.facing == "towards"
        if towards and end > 6.5:
            near = max(end - 10.0, 5.0)
            top, bottom = view.point(0, 0, end)[1], view.point(0, 0, near)[1]
            column, _ = view.point(0.9 * car.x, 0, 0.5 * (end + near))
            middle = 0.5 * (end + near)
            shine(
                image,
                self._pool,
                (column, 0.5 * (top + bottom)),
                (9.0 * view.scale(middle), 1.5 * (bottom - top)),
            )
        height = _HEADLIGHT_HEIGHT if towards else _TAIL_HEIGHT
        light = self._streak if towards else self._tail_streak
        for side in (-_SPREAD, _SPREAD):
            column, row = view.point(car.x + side, -1.3 * height, end)
            shine(image, light, (column, row), (0.55 * scale, 2.6 * scale), _fade(end))

    def on_car(self, image: U8, car: Actor) -> None:
        """The lamps themselves: drawn right after the car."""
        view, end = self._view, _end(car)
        if end <= 0.6:
            return
        towards = car.facing == "towards"
        light, height = (self._beam, _HEADLIGHT_HEIGHT) if towards else (self._tail, _TAIL_HEIGHT)
        # Far lamps look larger than they are: what is seen is their glare.
        size = (0.9 if towards else 0.62) * view.scale(end) + (7.0 if towards else 4.0) * view.unit
        for side in (-_SPREAD, _SPREAD):
            shine(image, light, view.point(car.x + side, height, end), (size, size))

    def in_lens(self, image: U8, car: Actor) -> None:
        """Glare of headlights in the camera and in the air: drawn last."""
        view, end = self._view, _end(car)
        if car.facing != "towards" or end < 2.0:
            return
        size = 3.6 * view.scale(end) + 46 * view.unit
        shine(image, self._halo, view.point(car.x, _HEADLIGHT_HEIGHT, end), (1.5 * size, size), _fade(end))


class Lamplight:
    """How well a place on the ground is lit, from a precomputed map."""

    _LEFT, _STEP = -12.0, 0.5

    def __init__(self) -> None:
        x = np.arange(self._LEFT, -self._LEFT, self._STEP, dtype=np.float32)
        z = np.arange(0.0, 100.0, self._STEP, dtype=np.float32)
        grid = np.meshgrid(x, z)
        self._map = cast(F32, layout.lamplight(grid[0], grid[1]).mean(axis=2))

    def at(self, x: float, z: float) -> float:
        """Light at a place, about 0 to 1."""
        row = min(max(int(z / self._STEP), 0), self._map.shape[0] - 1)
        column = min(max(int((x - self._LEFT) / self._STEP), 0), self._map.shape[1] - 1)
        return float(self._map[row, column])


def _end(car: Actor) -> float:
    """Distance of the car's end that looks at the camera."""
    return car.z - LENGTH / 2


def _fade(distance: float) -> float:
    return min(1.0, 14.0 / distance + 0.25)
