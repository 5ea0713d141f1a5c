"""The degradations at fixed strengths, and what a bundle makes of a pair under each."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tdfusion_edge.color import U8
from tdfusion_edge.detections import Detections
from tdfusion_edge.metrics import Scores, evaluate
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.picture.stretch import F32, Stretch
from tdfusion_edge.train.data.degradation.kinds import SENSORS, SHIFT, Kind, Sensor, alone, degrade

BOTH = "labels/fusion"
"""Labels of what either sensor shows."""


class Case(NamedTuple):
    """One degradation."""

    name: str
    kind: Kind | None = None
    """None: clean."""
    sensor: Sensor = "infrared"
    strength: float = 1.0
    labels: str = BOTH
    """What is to be found, relative to the pairs' folder."""


class Outcome(NamedTuple):
    """What became of one pair."""

    scores: Scores
    """Of the picture against the clean sources."""
    found: Detections | None
    """None: the bundle has no detector."""


def cases() -> tuple[Case, ...]:
    """All of them, the clean pair first."""
    graded: tuple[tuple[Kind, float, str], ...] = (
        ("noise", 0.5, " 1/2"),
        ("noise", 1.0, " 1"),
        ("blur", 0.5, " 1/2"),
        ("blur", 1.0, " 1"),
        ("gain", 1.0, ""),
        ("dead", 1.0, ""),
        ("frozen", 1.0, ""),
        ("missing", 1.0, ""),
    )
    shifts = [Case(f"infrared shift {px} px", "shift", "infrared", px / SHIFT) for px in (2, 4, 8)]
    others = [
        Case(f"{sensor} {kind}{level}", kind, sensor, strength)
        for kind, strength, level in graded
        for sensor in SENSORS
    ]
    return (Case("clean"), *shifts, *others)


def outcome(fuser: Fuser, pairs: Sequence[LabelledPair], index: int, case: Case, seed: int) -> Outcome:
    """One pair in one case; the picture is the network's, without stretch.

    A sensor that is ``missing`` is left out as the runtime does it: the other one is shown. ``frozen`` shows
    the next pair of the list.

    Args:
        fuser: The bundle; its detector hands in all that scores.
        pairs: In colour.
        index: Which one.
        case: What happens to it.
        seed: Of what the case leaves to chance.
    """
    clean = pairs[index]
    random = np.random.default_rng((seed, zlib.crc32(case.name.encode()), index))
    worse = clean
    if case.kind is not None:
        other = pairs[(index + 1) % len(pairs)] if case.kind == "frozen" else None
        worse = degrade(clean, case.kind, case.sensor, case.strength, random, other)
    seen: U8 | F32
    if case.kind == "missing":
        worse = alone(clean, case.sensor)
        picture = seen = worse.visible
    else:
        seen = fuser.luma(worse.infrared, worse.visible)
        picture = Stretch("none").apply(seen, 0)
    warm = None if case.kind == "missing" else worse.infrared
    found = fuser.find(seen, worse.chroma, warm).get("boxes") if fuser.heads else None
    return Outcome(evaluate(picture, clean.infrared, clean.visible), found)
