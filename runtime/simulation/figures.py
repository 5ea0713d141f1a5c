"""Jointed figures of walking people and cyclists: where each limb is at each moment of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

Facing: TypeAlias = Literal["left", "right", "towards", "away"]
Point: TypeAlias = tuple[float, float]
Box: TypeAlias = tuple[float, float, float, float]

STRIDE = 1.45
"""Metres walked in one double step."""


@dataclass(frozen=True, slots=True)
class Limb:
    """A tapered stroke between two joints (metres: right of the foot, up from the ground)."""

    part: str
    start: Point
    end: Point
    start_radius: float
    end_radius: float


@dataclass(frozen=True, slots=True)
class Person:
    """How one person looks: BGR colours by daylight, and height in metres."""

    height: float
    coat: tuple[int, int, int]
    trousers: tuple[int, int, int]
    hair: tuple[int, int, int]
    long_coat: bool = False
    bag: bool = False
    cyclist: bool = False


PEOPLE = (
    Person(1.78, (112, 74, 50), (60, 50, 44), (28, 30, 36)),
    Person(1.66, (60, 64, 160), (70, 56, 46), (34, 52, 84), long_coat=True, bag=True),
    Person(1.84, (70, 100, 84), (86, 74, 66), (40, 44, 52), bag=True),
    Person(1.70, (128, 132, 138), (58, 46, 42), (22, 22, 24), long_coat=True),
    Person(1.74, (52, 118, 176), (62, 58, 54), (46, 58, 70), cyclist=True),
)
"""The cast; the last one rides a bicycle."""

BICYCLE = frozenset({"tyre", "frame", "lamp"})
"""Parts of a figure that belong to the bicycle."""


def figure(person: Person, facing: Facing, phase: float) -> list[list[Limb]]:
    """The limbs of a person for a phase in [0, 1) of the double step.

    Returns:
        Groups (an arm, a leg, the trunk) in the order in which they are drawn, farthest first.
    """
    scale = person.height / 1.75
    if person.cyclist:
        groups = _rider(phase)
    elif facing in ("left", "right"):
        groups = _walker_from_side(person, phase)
    else:
        groups = _walker_from_front(person, phase, facing == "towards")
    mirror = -1.0 if facing == "left" else 1.0
    return [
        [
            Limb(
                limb.part,
                (mirror * scale * limb.start[0], scale * limb.start[1]),
                (mirror * scale * limb.end[0], scale * limb.end[1]),
                scale * limb.start_radius,
                scale * limb.end_radius,
            )
            for limb in group
        ]
        for group in groups
    ]


def extent(groups: list[list[Limb]], bicycle: bool = False) -> Box:
    """Left, bottom, right and top in metres of a person's limbs, or of the bicycle's parts."""
    ends = [
        (point, radius)
        for group in groups
        for limb in group
        if (limb.part in BICYCLE) == bicycle
        for point, radius in ((limb.start, limb.start_radius), (limb.end, limb.end_radius))
    ]
    return (
        min(point[0] - radius for point, radius in ends),
        min(point[1] - radius for point, radius in ends),
        max(point[0] + radius for point, radius in ends),
        max(point[1] + radius for point, radius in ends),
    )


def _walker_from_side(person: Person, phase: float) -> list[list[Limb]]:
    angle = 2 * math.pi * phase
    bob = 0.02 * math.cos(2 * angle)
    hip, neck = (0.0, 0.90 + bob), (0.05, 1.43 + bob)
    trunk = [
        Limb("coat", (0.0, 0.97 + bob), (0.04, 1.36 + bob), 0.135, 0.125),
        Limb("head", (0.06, 1.47 + bob), (0.07, 1.52 + bob), 0.055, 0.06),
        Limb("head", (0.08, 1.61 + bob), (0.08, 1.64 + bob), 0.092, 0.09),
        Limb("hair", (0.05, 1.66 + bob), (0.085, 1.69 + bob), 0.085, 0.072),
    ]
    if person.long_coat:
        swing = 0.05 * math.sin(angle)
        trunk.insert(0, Limb("skirt", (0.0, 0.97 + bob), (swing, 0.62 + bob), 0.135, 0.19))
    bag = [Limb("bag", (-0.12, 0.86 + bob), (-0.09, 0.98 + bob), 0.10, 0.08)] if person.bag else []
    return [
        _arm_from_side(neck, angle),
        _leg_from_side(hip, angle + math.pi),
        _leg_from_side(hip, angle),
        trunk,
        bag,
        _arm_from_side(neck, angle + math.pi),
    ]


def _leg_from_side(hip: Point, angle: float) -> list[Limb]:
    thigh = 0.46 * math.sin(angle) + 0.06
    # The knee bends while the leg swings forward and is nearly straight while it bears the body.
    bend = 0.16 + 0.75 * max(0.0, math.cos(angle)) ** 1.5
    knee = (hip[0] + 0.43 * math.sin(thigh), hip[1] - 0.43 * math.cos(thigh))
    shin = thigh - bend
    ankle = (knee[0] + 0.41 * math.sin(shin), max(knee[1] - 0.41 * math.cos(shin), 0.07))
    toe = (ankle[0] + 0.16 * math.cos(0.5 * shin), max(ankle[1] - 0.04 + 0.12 * math.sin(0.5 * shin), 0.035))
    return [
        Limb("shoe", (ankle[0] - 0.02, ankle[1] - 0.025), toe, 0.045, 0.035),
        Limb("trousers", hip, knee, 0.105, 0.07),
        Limb("trousers", knee, ankle, 0.07, 0.05),
    ]


def _arm_from_side(neck: Point, angle: float) -> list[Limb]:
    upper = 0.42 * math.sin(angle)
    lower = upper + 0.28 + 0.15 * math.sin(angle)
    shoulder = (neck[0] - 0.02, neck[1] - 0.04)
    elbow = (shoulder[0] + 0.28 * math.sin(upper), shoulder[1] - 0.28 * math.cos(upper))
    wrist = (elbow[0] + 0.25 * math.sin(lower), elbow[1] - 0.25 * math.cos(lower))
    return [
        Limb("hand", wrist, (wrist[0], wrist[1] - 0.06), 0.04, 0.032),
        Limb("coat", shoulder, elbow, 0.062, 0.052),
        Limb("coat", elbow, wrist, 0.052, 0.042),
    ]


def _walker_from_front(person: Person, phase: float, towards: bool) -> list[list[Limb]]:
    angle = 2 * math.pi * phase
    bob, sway = 0.015 * math.cos(2 * angle), 0.02 * math.sin(angle)
    groups: list[list[Limb]] = []
    for side in (-1.0, 1.0):
        lift = 0.14 * max(0.0, side * math.cos(angle)) ** 1.5
        hip, knee = (sway + 0.085 * side, 0.88 + bob), (sway + 0.095 * side, 0.49 + 0.7 * lift)
        ankle = (0.085 * side + 0.5 * sway, 0.085 + lift)
        groups.append(
            [
                Limb("shoe", ankle, (ankle[0] + 0.02 * side, max(ankle[1] - 0.045, 0.045)), 0.05, 0.045),
                Limb("trousers", hip, knee, 0.10, 0.076),
                Limb("trousers", knee, ankle, 0.076, 0.056),
            ]
        )
    for side in (-1.0, 1.0):
        reach = side * math.sin(angle)
        shoulder = (sway + 0.165 * side, 1.36 + bob)
        elbow = (sway + 0.235 * side, 1.12 + bob + 0.02 * reach)
        wrist = (sway + (0.235 - 0.03 * reach) * side, 0.90 + bob + 0.05 * reach)
        groups.append(
            [
                Limb("hand", wrist, (wrist[0], wrist[1] - 0.06), 0.042, 0.034),
                Limb("coat", shoulder, elbow, 0.066, 0.057),
                Limb("coat", elbow, wrist, 0.057, 0.046),
            ]
        )
    return [*groups, _trunk_from_front(person, sway, bob, towards)]


def _trunk_from_front(person: Person, sway: float, bob: float, towards: bool) -> list[Limb]:
    top = 1.62 + bob
    low, high, wide = (0.045, 0.07, 0.082) if towards else (-0.01, 0.06, 0.092)
    trunk = [
        Limb("coat", (sway, 0.95 + bob), (sway, 1.30 + bob), 0.145, 0.172),
        Limb("head", (sway, 1.46 + bob), (sway, 1.52 + bob), 0.06, 0.06),
        Limb("head", (sway, top), (sway, top + 0.035), 0.085, 0.088),
        Limb("hair", (sway, top + low), (sway, top + high), wide, 0.075),
    ]
    if person.long_coat:
        trunk.insert(0, Limb("skirt", (sway, 0.97 + bob), (sway, 0.62 + bob), 0.145, 0.21))
    if person.bag and not towards:
        trunk.append(Limb("bag", (sway, 1.05 + bob), (sway, 1.28 + bob), 0.12, 0.11))
    return trunk


def _rider(phase: float) -> list[list[Limb]]:
    """A cyclist from behind: pedalling legs on both sides of the wheel."""
    angle = 2 * math.pi * phase
    groups = [
        [
            Limb("tyre", (0.0, 0.04), (0.0, 0.66), 0.03, 0.03),
            Limb("frame", (0.0, 0.60), (0.0, 0.92), 0.025, 0.03),
            Limb("frame", (-0.27, 1.02), (0.27, 1.02), 0.02, 0.02),
        ]
    ]
    for side in (-1.0, 1.0):
        foot = 0.30 + 0.16 * side * math.sin(angle)
        hip, ankle = (0.09 * side, 0.95), (0.12 * side, foot + 0.06)
        knee = (0.16 * side, 0.5 * (hip[1] + ankle[1]) + 0.05)
        groups.append(
            [
                Limb("shoe", ankle, (ankle[0], foot), 0.05, 0.045),
                Limb("trousers", hip, knee, 0.10, 0.075),
                Limb("trousers", knee, ankle, 0.075, 0.05),
            ]
        )
        groups.append(
            [
                Limb("hand", (0.25 * side, 1.05), (0.26 * side, 1.03), 0.042, 0.04),
                Limb("coat", (0.16 * side, 1.40), (0.27 * side, 1.20), 0.064, 0.055),
                Limb("coat", (0.27 * side, 1.20), (0.25 * side, 1.07), 0.055, 0.045),
            ]
        )
    trunk = [
        Limb("coat", (0.0, 1.00), (0.0, 1.34), 0.145, 0.172),
        Limb("head", (0.0, 1.48), (0.0, 1.56), 0.06, 0.06),
        Limb("head", (0.0, 1.63), (0.0, 1.66), 0.085, 0.088),
        Limb("hair", (0.0, 1.67), (0.0, 1.70), 0.095, 0.085),
        Limb("lamp", (0.0, 0.86), (0.0, 0.88), 0.035, 0.03),
    ]
    return [*groups, trunk]
