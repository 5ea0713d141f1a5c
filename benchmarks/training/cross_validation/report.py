"""From matches to the rows of the result file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.detector_rows import (
    OVERALL,
    DetectorScore,
    Difference,
    Protocol,
    detector_score,
)
from benchmarks.numbers import SCORE_DIGITS
from benchmarks.training.cross_validation.bootstrap import F64, interval, resampled, resamples
from benchmarks.training.cross_validation.folds import frame_of
from benchmarks.training.cross_validation.looks import CLASSES
from benchmarks.training.cross_validation.matches import Matches
from benchmarks.training.cross_validation.precision import figures

TIMES = {"D": "day", "N": "night"}
SEED = 0
"""Of the resamples."""


class Seen(NamedTuple):
    """What one detector, or one a fold and seed, found on one row's pictures."""

    protocol: Protocol
    detector: str
    row: str
    seeds: tuple[int, ...]
    """Empty where nothing was trained."""
    matches: tuple[Matches, ...]
    """One a seed, or a single one, all of the same pairs."""


class Sampling(NamedTuple):
    """Which pairs there are, and how they are drawn again."""

    names: tuple[str, ...]
    """Stems, in the order of the matches."""
    units: tuple[int, ...]
    """What is drawn: the number of each pair's unit."""
    resamples: int
    """How often."""

    @property
    def times(self) -> dict[str, F64]:
        """1 for the pairs of a time of day, 0 for the others."""
        letters = np.array([frame_of(name).time for name in self.names])
        return {name: (letters == letter).astype(np.float64) for letter, name in TIMES.items()}


def scores_of(seen: Sequence[Seen], sampling: Sampling) -> Iterator[DetectorScore]:
    """AP50 of each row: overall, by class, by day and by night."""
    for one in seen:
        looks = [figures(matches, CLASSES, sampling.times) for matches in one.matches]
        yield detector_score(
            one.protocol, one.detector, one.row, CLASSES, len(sampling.names), one.seeds, looks
        )


def differences_of(
    seen: Sequence[Seen], sampling: Sampling, references: Sequence[str]
) -> Iterator[Difference]:
    """Every row less each reference of the same protocol and detector; no pair of rows twice."""
    weights = resamples(sampling.units, sampling.resamples, SEED)
    drawn = {one[:3]: resampled(one.matches, weights) for one in seen}
    means = {one.name: one.mean[OVERALL] for one in scores_of(seen, sampling)}
    for (protocol, detector, row), values in drawn.items():
        for place, reference in enumerate(references):
            if (protocol, detector, reference) not in drawn or row in references[: place + 1]:
                continue
            over = interval(values, drawn[protocol, detector, reference])
            mean, low, high = (round(value, SCORE_DIGITS) for value in over)
            known = [means[f"{protocol}, {detector}, {name}"] for name in (row, reference)]
            yield Difference(
                protocol=protocol,
                detector=detector,
                row=row,
                reference=reference,
                value=round(known[0] - known[1], SCORE_DIGITS),
                resamples=sampling.resamples,
                mean=mean,
                low=low,
                high=high,
            )
