"""Who is where at a time: people, cars and the cyclist as pure functions of seed and time.

Everything follows one rhythm of :data:`CYCLE` seconds, in which people cross while a car waits, and
then cars pass. Within it each actor's start, speed, place and looks come from hashed numbers, so
that no two cycles are alike and no state has to be kept for hours.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from tdfusion_edge.runtime.simulation import layout
from tdfusion_edge.runtime.simulation.car_model import LENGTH
from tdfusion_edge.runtime.simulation.cars import NEAR
from tdfusion_edge.runtime.simulation.figures import PEOPLE, STRIDE, Facing
from tdfusion_edge.runtime.simulation.noise import uniform

Kind: TypeAlias = Literal["person", "car"]

CYCLE = 28.0
"""Seconds from one crossing of the pedestrians to the next."""
WALKERS = 4
"""Models of people on foot."""
CYCLIST = len(PEOPLE) - 1

_FAR = 96.0
_GO = 13.2
"""Seconds into the cycle when the crossing is clear."""
_EDGE = 11.0
"""People cross from one side street to the other: metres from the middle of the road."""


class Actor(NamedTuple):
    """One moving thing at one moment."""

    kind: Kind
    model: int
    """Index into the cast of people or cars."""
    facing: Facing
    x: float
    z: float
    """Where its foot is on the road, metres."""
    phase: float = 0.0
    """Of the step, in [0, 1)."""
    number: int = 0
    """Of this very person or car, as long as it is in the street: no other one of its street has it."""


def actors(seed: int, time_s: float) -> list[Actor]:
    """Everything that moves, farthest first."""
    found = [
        *_crossing(seed, time_s),
        *_pavement(seed, time_s, "towards", 21.0),
        *_pavement(seed, time_s, "away", 26.0),
        *_driving(seed, time_s),
    ]
    return sorted(found, key=lambda actor: -actor.z)


def _cycles(time_s: float) -> list[tuple[int, float]]:
    """The cycles that can have an actor in the picture, each with the seconds since its start."""
    number = int(time_s // CYCLE)
    return [(k, time_s - k * CYCLE) for k in (number - 1, number, number + 1)]


def _crossing(seed: int, time_s: float) -> list[Actor]:
    found = []
    for cycle, since in _cycles(time_s):
        for slot in range(4):
            speed = 1.5 + 0.25 * uniform(seed, cycle, slot, 1)
            walked = speed * (since + 3.4 - 1.0 * slot - 0.7 * uniform(seed, cycle, slot, 2))
            if not 0 <= walked < 2 * _EDGE:
                continue
            rightwards = (slot + cycle) % 2 == 0
            model = (slot + int(4 * uniform(seed, cycle, 3))) % WALKERS
            z = 9.0 + 1.9 * ((0.37 * slot + uniform(seed, cycle, 4)) % 1.0)
            x = walked - _EDGE if rightwards else _EDGE - walked
            facing: Facing = "right" if rightwards else "left"
            found.append(Actor("person", model, facing, x, z, _step(model, walked), _number(cycle, slot)))
    return found


def _pavement(seed: int, time_s: float, facing: Facing, period: float) -> list[Actor]:
    """People who walk along the houses: towards the camera on the left, away from it on the right."""
    found = []
    towards = facing == "towards"
    newest = int(time_s // period)
    for number in range(newest - 3, newest + 1):
        keys = (seed, number, 7 if towards else 8)
        speed = 1.2 + 0.3 * uniform(*keys, 1)
        walked = speed * (time_s - number * period - 0.3 * period * uniform(*keys, 2))
        z = 66.0 - walked if towards else 8.0 + walked
        if walked < 0 or not 3.0 < z < 66.0:
            continue
        model = int(WALKERS * uniform(*keys, 3))
        x = -6.2 + 1.3 * uniform(*keys, 4) if towards else 7.3 + 0.7 * uniform(*keys, 4)
        which = _number(number, 10 if towards else 11)
        found.append(Actor("person", model, facing, x, z, _step(model, walked), which))
    return found


def _driving(seed: int, time_s: float) -> list[Actor]:
    found = []
    for cycle, since in _cycles(time_s):
        first = int(2 * uniform(seed, cycle, 20))
        places = [
            (first, layout.LANE_TOWARDS, _stopping(since - uniform(seed, cycle, 21))),
            (1 - first, layout.LANE_TOWARDS, _coming(since - _GO - 5.6 - 0.6 * uniform(seed, cycle, 22))),
            (first, layout.LANE_TOWARDS, _coming(since - _GO - 9.6 - 1.5 * uniform(seed, cycle, 23))),
            (2 + first, layout.LANE_AWAY, _leaving(since - _GO - 1.2 - uniform(seed, cycle, 24))),
            (3 - first, layout.LANE_AWAY, _leaving(since - _GO - 6.5 - 2 * uniform(seed, cycle, 25))),
        ]
        for place, (model, lane, z) in enumerate(places):
            if NEAR < z < _FAR:
                facing: Facing = "towards" if lane < 0 else "away"
                found.append(Actor("car", model, facing, lane, z, number=_number(cycle, 4 + place)))
        ridden = 4.6 * (since - _GO - 0.5 - 2 * uniform(seed, cycle, 26))
        if 0 <= ridden < 80:
            z, which = 3.0 + ridden, _number(cycle, 9)
            found.append(Actor("person", CYCLIST, "away", layout.LANE_BICYCLE, z, ridden / 5.2 % 1.0, which))
    return found


def _number(cycle: int, place: int) -> int:
    """A number for each thing: the places of one cycle are 0 to 15; parked cars have the numbers below."""
    return 16 * (cycle + 4) + place


def _stopping(since: float) -> float:
    """Z of a car that comes to the stop line, waits until the crossing is clear, and drives on."""
    speed, brake, thrust = 11.0, 2.4, 2.0
    line = layout.STOP_LINE + 0.8 + LENGTH / 2
    if since > _GO:
        return line - 0.5 * thrust * (since - _GO) ** 2
    if since > 0:
        return line
    braking = speed / brake
    if since > -braking:
        return line + 0.5 * brake * since**2
    return line + 0.5 * brake * braking**2 - speed * (since + braking)


def _coming(since: float) -> float:
    """Z of a car that passes without stopping; 0 is when it passes the stop line."""
    return layout.STOP_LINE - 12.0 * since


def _leaving(since: float) -> float:
    """Z of a car that comes from behind the camera and speeds up."""
    if since < 0:
        return 0.0
    pulling = min(since, 4.0)
    return NEAR + 8.0 * pulling + 0.6 * pulling**2 + 12.8 * (since - pulling)


def _step(model: int, walked: float) -> float:
    return walked / (STRIDE * PEOPLE[model].height / 1.75) % 1.0
