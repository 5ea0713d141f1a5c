"""Scores of a result file: precision, and the statistics over seeds that reading it computes again."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

SCORE_DIGITS = 5
"""Decimals of a score, as checkpoints keep them."""
SCORE_ROUNDING = 1.5 * 10**-SCORE_DIGITS
"""How far two roundings of a score may be apart."""


def means(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Mean of each."""
    return {name: round(statistics.fmean(found), SCORE_DIGITS) for name, found in values.items()}


def deviations(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Standard deviation of each, n - 1 in the denominator; nothing for fewer than two values."""
    return {
        name: round(statistics.stdev(found), SCORE_DIGITS) for name, found in values.items() if len(found) > 1
    }
