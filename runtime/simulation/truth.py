"""True boxes of the scene, from the same geometry as the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tdfusion_edge.detections import Detections
from tdfusion_edge.runtime.simulation.car_model import CARS, Placed
from tdfusion_edge.runtime.simulation.figures import PEOPLE, Box, extent, figure
from tdfusion_edge.runtime.simulation.people import PHASES
from tdfusion_edge.runtime.simulation.traffic import Actor
from tdfusion_edge.runtime.simulation.view import View

NAMES = ("person", "bicycle", "car")
MIN_HEIGHT = 12.0
"""Boxes lower than this many pixels of a 640 x 480 picture are left out."""
MIN_INSIDE, MIN_SEEN = 0.3, 0.3
"""Least share of a box inside the picture, and of that part before everything nearer."""


class _Thing(NamedTuple):
    box: Box
    name: str
    actor: int


def truth(actors: list[Actor], view: View, standing: Sequence[tuple[float, Box]] = ()) -> Detections:
    """Boxes of people, bicycles and cars, farthest first.

    A box encloses the whole thing, clipped to the picture. It is left out where it is lower than
    :data:`MIN_HEIGHT`, where less than :data:`MIN_INSIDE` of it is in the picture, or where boxes of
    nearer things leave less than :data:`MIN_SEEN` of it uncovered. Smoke hides nothing here: it is
    what the infrared camera sees through.

    Args:
        actors: Moving and parked things, farthest first.
        view: The projection.
        standing: Distance and box of trunks, posts and the like, which hide what is farther away.
    """
    things = [thing for index, actor in enumerate(actors) for thing in _things(index, actor, view)]
    kept: list[_Thing] = []
    for thing in things:
        x1, y1, x2, y2 = thing.box
        clipped = (max(x1, 0.0), max(y1, 0.0), min(x2, float(view.width)), min(y2, float(view.height)))
        wide, tall = clipped[2] - clipped[0], clipped[3] - clipped[1]
        if wide <= 0 or tall < MIN_HEIGHT * view.unit:
            continue
        if wide * tall < MIN_INSIDE * (x2 - x1) * (y2 - y1):
            continue
        nearer = [other.box for other in things if other.actor > thing.actor]
        nearer += [box for z, box in standing if z < actors[thing.actor].z]
        if _uncovered(clipped, nearer) >= MIN_SEEN:
            kept.append(_Thing(clipped, thing.name, thing.actor))
    if not kept:
        return Detections.empty(NAMES)
    return Detections(
        np.array([thing.box for thing in kept], np.float32),
        np.ones(len(kept), np.float32),
        np.array([NAMES.index(thing.name) for thing in kept], np.int64),
        NAMES,
        # Of a cyclist's two boxes the bicycle has a number of its own.
        np.array([1 + 2 * actors[one.actor].number + (one.name == "bicycle") for one in kept], np.int64),
    )


def _things(index: int, actor: Actor, view: View) -> list[_Thing]:
    if actor.kind == "car":
        return [_Thing(Placed(CARS[actor.model], actor.x, actor.z, view).outline(), "car", index)]
    person = PEOPLE[actor.model]
    limbs = figure(person, actor.facing, int(actor.phase * PHASES) / PHASES)
    parts = [("bicycle", True), ("person", False)] if person.cyclist else [("person", False)]
    found = []
    for name, bicycle in parts:
        left, bottom, right, top = extent(limbs, bicycle)
        x1, y1 = view.point(actor.x + left, top, actor.z)
        x2, y2 = view.point(actor.x + right, bottom, actor.z)
        found.append(_Thing((x1, y1, x2, y2), name, index))
    return found


def _uncovered(box: Box, nearer: list[Box]) -> float:
    """Share of 12 x 12 sample points of a box that lie in none of the others."""
    x = np.linspace(box[0], box[2], 13)[:-1] + (box[2] - box[0]) / 24
    y = np.linspace(box[1], box[3], 13)[:-1] + (box[3] - box[1]) / 24
    free = np.ones((12, 12), bool)
    for x1, y1, x2, y2 in nearer:
        if x2 <= box[0] or x1 >= box[2] or y2 <= box[1] or y1 >= box[3]:
            continue
        free &= ~(((y > y1) & (y < y2))[:, None] & ((x > x1) & (x < x2))[None, :])
    return float(free.mean())
