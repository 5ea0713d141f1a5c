"""How far a difference of two rows could be owed to the choice of pictures: a paired bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.training.cross_validation.matches import Matches
from benchmarks.training.cross_validation.precision import mean_precision, rankings

F64 = npt.NDArray[np.float64]
TAILS = (2.5, 97.5)
"""Percentiles that the interval ends at."""


class Interval(NamedTuple):
    """Of a difference over the resamples."""

    mean: float
    low: float
    high: float


def resamples(units: Sequence[int], count: int, seed: int) -> F64:
    """How many times every picture counts in each resample, (count, P).

    Args:
        units: Number of the unit that each picture belongs to. As many units as there are get drawn, with
            replacement, and every picture counts as often as its unit.
        count: Resamples.
        seed: Of the random numbers; the same for all rows, which makes the comparison a paired one.
    """
    of_picture = np.unique(np.asarray(units, np.int64), return_inverse=True)[1]
    drawn = int(of_picture.max()) + 1
    random = np.random.default_rng(seed)
    counts = random.multinomial(drawn, np.full(drawn, 1 / drawn), size=count)
    return counts[:, of_picture].astype(np.float64)


def resampled(seeds: Sequence[Matches], weights: F64) -> F64:
    """mAP50 of one row in every resample, the mean over its seeds, (R,).

    Args:
        seeds: The row's matches with each seed, of the same pictures.
        weights: (R, P), see :func:`resamples`.
    """
    found = np.empty((len(seeds), len(weights)))
    for place, matches in enumerate(seeds):
        ranked = rankings(matches)
        found[place] = [mean_precision(ranked, row) for row in weights]
    means: F64 = found.mean(axis=0)
    return means


def interval(row: F64, reference: F64) -> Interval:
    """Of ``row`` less ``reference``, resample by resample; those that show no object at all do not count."""
    differences = (row - reference)[~np.isnan(row - reference)]
    low, high = np.percentile(differences, TAILS)
    return Interval(float(differences.mean()), float(low), float(high))
