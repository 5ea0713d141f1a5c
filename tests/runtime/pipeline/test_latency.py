"""The latency histogram against exact percentiles."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge.runtime.pipeline.latency import BUCKETS, GROWTH, Histogram


@given(st.lists(st.integers(2_000, 900_000_000_000), min_size=1, max_size=200))
def test_percentiles_are_exact_to_a_bucket(durations: list[int]) -> None:
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    summary = histogram.summary()
    ordered = sorted(durations)
    for percent in (50, 95, 99):
        exact_ms = ordered[math.ceil(len(ordered) * percent / 100) - 1] / 1e6
        assert exact_ms / GROWTH <= summary[f"p{percent}"] <= exact_ms * GROWTH
    assert summary["max"] == ordered[-1] / 1e6
    assert summary["p50"] <= summary["p95"] <= summary["p99"] <= summary["max"]
    assert len(histogram) == len(durations)


def test_extremes_stay_in_the_histogram() -> None:
    histogram = Histogram()
    for duration in (-5, 0, 10**18):
        histogram.add(duration)
    assert len(histogram) == 3
    assert histogram.summary()["max"] == 1e12
    assert BUCKETS < 2_000


def test_nothing_measured_is_no_summary() -> None:
    assert Histogram().summary() == {}
