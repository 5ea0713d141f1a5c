"""A street at night that both cameras look at: any moment of it, in either spectrum, with its boxes."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple, cast

import cv2
import numpy as np

from tdfusion_edge.detections import Detections
from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime.simulation import backdrop, cars, layout, people, smoke, traffic
from tdfusion_edge.runtime.simulation.figures import Facing
from tdfusion_edge.runtime.simulation.lights import Lamplight, Lights
from tdfusion_edge.runtime.simulation.noise import Grain
from tdfusion_edge.runtime.simulation.people import PHASES, Spectrum
from tdfusion_edge.runtime.simulation.sprites import Sprite, blend, choose, mirrored, nearest
from tdfusion_edge.runtime.simulation.traffic import CYCLIST, WALKERS, Actor
from tdfusion_edge.runtime.simulation.truth import truth
from tdfusion_edge.runtime.simulation.view import REFERENCE, SIZES, U8, Array, View, is_size

COUNTS_BASE, COUNTS_PER_LEVEL = 7000, 20
"""A 16-bit infrared frame holds COUNTS_BASE + COUNTS_PER_LEVEL x the 8-bit level: 8 % of its range."""

_NOISE_INFRARED, _NOISE_VISIBLE = 1.3, 2.2
_DRAWN: tuple[Facing, ...] = ("right", "towards", "away")
_LANES = (layout.LANE_TOWARDS, layout.LANE_TOWARDS, layout.LANE_AWAY, layout.LANE_AWAY)


class _Stage(NamedTuple):
    """Everything that one spectrum needs and that does not change."""

    empty: U8
    walkers: dict[tuple[int, Facing], list[list[Sprite]]]
    cars: list[list[Sprite]]
    grain: Grain


class Scene:
    """A street at night, the same for the same seed, at any time from 0 on.

    Pictures depend on nothing but the arguments, so one scene serves several threads. What stands
    still is drawn when a spectrum is first asked for (about a second).

    Args:
        seed: Which street, which people and cars.
        size: Width and height of the pictures in pixels; a wider picture sees more of the street.
        depth16: Infrared as uint16 counts instead of uint8 levels.
        fog: Let a bank of smoke drift over the crossing.

    Raises:
        RequestError: a size outside 80 x 60 to 4096 x 4096 pixels.
    """

    def __init__(
        self, seed: int = 0, size: tuple[int, int] = REFERENCE, depth16: bool = False, *, fog: bool = True
    ) -> None:
        if not is_size(size):
            raise RequestError("size of a simulated picture", expected=SIZES, got=f"{size[0]}x{size[1]}")
        self.seed, self.size, self.depth16, self.fog = seed, size, depth16, fog
        self._view = View(*size)

    def infrared(self, time_s: float) -> Image:
        """The infrared picture at a time: uint8 (H, W), or uint16 (H, W) counts for ``depth16``."""
        stage = self._infrared
        image = stage.empty.copy()
        passed = _Occlusion(image, stage.empty, self._occluders)
        for actor in traffic.actors(self.seed, time_s):
            passed.until(actor.z)
            passed.behind(self._draw(image, stage, actor, 1.0))
        passed.until(0.0)
        if self.depth16:
            counts = cv2.LUT(image, self._counts)
            stage.grain.add_to(counts, _moment(time_s))
            return cast(Array, counts)
        stage.grain.add_to(image, _moment(time_s))
        return image

    def visible(self, time_s: float) -> U8:
        """The visible picture at a time: uint8 (H, W, 3) BGR."""
        stage, lights = self._visible, self._lights
        image = stage.empty.copy()
        actors = traffic.actors(self.seed, time_s)
        traffic_cars = [actor for actor in actors if actor.kind == "car"]
        for car in traffic_cars:
            lights.on_road(image, car)
        passed = _Occlusion(image, stage.empty, self._occluders)
        sheets = list(self._sheets)
        for actor in actors:
            while sheets and sheets[0].z > actor.z:
                passed.until(sheets[0].z)
                smoke.lay(image, sheets.pop(0), self._view, self.seed, time_s)
            passed.until(actor.z)
            gain = min(0.20 + 0.72 * self._lamplight.at(actor.x, actor.z), 1.0)
            passed.behind(self._draw(image, stage, actor, gain))
            if actor.kind == "car":
                lights.on_car(image, actor)
        passed.until(0.0)
        for sheet in sheets:
            smoke.lay(image, sheet, self._view, self.seed, time_s)
        for car in traffic_cars:
            lights.in_lens(image, car)
        stage.grain.add_to(image, _moment(time_s))
        return image

    def truth(self, time_s: float) -> Detections:
        """True boxes in visible pixels, farthest first, scores 1, each with the track of its thing.

        See :func:`.truth.truth` for the rule.
        """
        parked = [
            Actor("car", backdrop.PARKED_CAR, "away", x, z, number=number)
            for number, (x, z) in enumerate(layout.PARKED)
        ]
        everything = sorted([*traffic.actors(self.seed, time_s), *parked], key=lambda actor: -actor.z)
        return truth(everything, self._view, [(item.z, item.box) for item in self._occluders])

    def _draw(self, image: U8, stage: _Stage, actor: Actor, gain: float) -> tuple[int, int, int, int]:
        """Draw one actor; returns roughly where: left, top, right, bottom in pixels."""
        view = self._view
        place, density = view.point(actor.x, 0.0, actor.z), view.scale(actor.z)
        if actor.kind == "car":
            blend(image, nearest(stage.cars[actor.model], density), place, density, gain)
            half, high = 1.4 * density, 1.7 * density
        else:
            phases = stage.walkers[actor.model, actor.facing]
            sprite = choose(phases[int(actor.phase * PHASES)], density)
            blend(image, sprite, place, density, gain)
            half, high = 0.7 * density, 2.0 * density
        return int(place[0] - half), int(place[1] - high), int(place[0] + half), int(place[1] + 0.3 * density)

    @cached_property
    def _infrared(self) -> _Stage:
        return self._prepare("infrared")

    @cached_property
    def _visible(self) -> _Stage:
        return self._prepare("visible")

    def _prepare(self, spectrum: Spectrum) -> _Stage:
        view, unit = self._view, self._view.unit
        walkers = {
            (model, facing): people.sprites(model, facing, spectrum, unit)
            for model in range(WALKERS)
            for facing in _DRAWN
        }
        for model in range(WALKERS):
            steps = walkers[model, "right"]
            walkers[model, "left"] = [[mirrored(sprite) for sprite in step] for step in steps]
        walkers[CYCLIST, "away"] = people.sprites(CYCLIST, "away", spectrum, unit)
        lanes = [cars.lane_sprites(model, lane, spectrum, view) for model, lane in enumerate(_LANES)]
        shape = (view.height, view.width)
        if spectrum == "visible":
            grain = Grain((*shape, 3), _NOISE_VISIBLE, self.seed + 11)
            return _Stage(backdrop.visible(view, self.seed), walkers, lanes, grain)
        scale, dtype = (COUNTS_PER_LEVEL, np.uint16) if self.depth16 else (1, np.uint8)
        grain = Grain(shape, _NOISE_INFRARED * scale, self.seed + 12, dtype)
        return _Stage(backdrop.infrared(view, self.seed), walkers, lanes, grain)

    @cached_property
    def _occluders(self) -> list[backdrop.Occluder]:
        return backdrop.occluders(self._view)

    @cached_property
    def _sheets(self) -> list[smoke.Sheet]:
        return smoke.sheets(self._view, self.seed) if self.fog else []

    @cached_property
    def _lights(self) -> Lights:
        return Lights(self._view)

    @cached_property
    def _lamplight(self) -> Lamplight:
        return Lamplight()

    @cached_property
    def _counts(self) -> Array:
        return (np.arange(256) * COUNTS_PER_LEVEL + COUNTS_BASE).astype(np.uint16)


class _Occlusion:
    """Puts posts, trunks and parked cars back in front of what passed behind them."""

    def __init__(self, image: U8, empty: U8, occluders: list[backdrop.Occluder]) -> None:
        self._image, self._empty, self._occluders = image, empty, occluders
        self._next = 0
        self._drawn: list[tuple[int, int, int, int]] = []

    def behind(self, box: tuple[int, int, int, int]) -> None:
        """Note that something was drawn in ``box``: left, top, right, bottom."""
        self._drawn.append(box)

    def until(self, z: float) -> None:
        """Restore every standing thing farther than ``z`` that has something drawn behind it."""
        while self._next < len(self._occluders) and self._occluders[self._next].z > z:
            item = self._occluders[self._next]
            self._next += 1
            height, width = item.mask.shape
            right, bottom = item.left + width, item.top + height
            if any(
                x0 < right and x1 > item.left and y0 < bottom and y1 > item.top
                for x0, y0, x1, y1 in self._drawn
            ):
                part = np.s_[item.top : bottom, item.left : right]
                cv2.copyTo(self._empty[part], item.mask, self._image[part])


def _moment(time_s: float) -> int:
    """Number that tells the noise of one moment from another's."""
    return round(time_s * 1e5)
