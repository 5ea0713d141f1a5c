"""Latency histograms of fixed memory: percentiles of a run of any length."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

GROWTH = 1.02
"""Each bucket is 2 % wider than the one before: that is the error of a percentile."""
LOWEST_NS = 1_000
"""One microsecond: below it everything is one bucket."""
BUCKETS = math.ceil(math.log(1e12 / LOWEST_NS) / math.log(GROWTH)) + 2
"""Up to 1000 seconds."""
PERCENTILES = (50, 95, 99)


class Histogram:
    """Durations in logarithmic buckets, and the exact maximum.

    >>> histogram = Histogram()
    >>> for milliseconds in range(1, 101):
    ...     histogram.add(milliseconds * 1_000_000)
    >>> {name: round(value, -1) for name, value in histogram.summary().items()}
    {'p50': 50.0, 'p95': 90.0, 'p99': 100.0, 'max': 100.0}
    """

    def __init__(self) -> None:
        self._counts = np.zeros(BUCKETS, np.int64)
        self._max_ns = 0

    def __len__(self) -> int:
        return int(self._counts.sum())

    def add(self, duration_ns: int) -> None:
        """Take one duration; one below zero counts as zero."""
        index = 0
        if duration_ns > LOWEST_NS:
            index = min(BUCKETS - 1, 1 + int(math.log(duration_ns / LOWEST_NS) / math.log(GROWTH)))
        self._counts[index] += 1
        self._max_ns = max(self._max_ns, duration_ns)

    def summary(self, percentiles: Sequence[int] = PERCENTILES) -> dict[str, float]:
        """Percentiles, ``p50`` and so on, and ``max`` in milliseconds; empty before the first."""
        total = len(self)
        if not total:
            return {}
        cumulative = np.cumsum(self._counts)
        ranks = {f"p{p}": math.ceil(total * p / 100) for p in percentiles}
        values = {
            name: self._middle_ms(int(np.searchsorted(cumulative, rank))) for name, rank in ranks.items()
        }
        largest = self._max_ns / 1e6
        return {**{name: min(value, largest) for name, value in values.items()}, "max": largest}

    @staticmethod
    def _middle_ms(index: int) -> float:
        return float(LOWEST_NS * GROWTH ** max(0.0, index - 0.5) / 1e6)
