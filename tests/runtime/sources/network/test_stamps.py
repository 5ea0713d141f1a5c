"""Capture times from a stream's stamps: right within the delay's spread, whatever its clocks do."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge.runtime.sources.network.stamps import MOST_WITHOUT, Anchor, Stamps

MS, SECOND = 1_000_000, 1_000_000_000
WALL_NS = 1_700_000_000 * SECOND
"""Our wall clock minus our monotonic clock."""
STREAM_NS = 77 * SECOND
"""The stream's clock at our 0."""
PERIOD = SECOND // 30


def times(
    stamps: Stamps,
    captured_ns: Iterable[int],
    delays_ns: Iterable[int],
    *,
    clock: float = 1.0,
    sender_off_ns: int | None = None,
    begin_ns: int = STREAM_NS,
) -> list[int | None]:
    """Capture times that are found for pictures taken at these moments and so long under way."""
    found, arrival = [], 0
    for captured, delay in zip(captured_ns, delays_ns, strict=False):
        stamp = begin_ns + round(captured * clock)
        arrival = max(arrival, captured + delay)  # one stream: nothing overtakes
        stamps.came(stamp, arrival)
        if sender_off_ns is not None:
            stamps.sent(stamp, captured + WALL_NS + sender_off_ns, arrival)
        time_ns = stamps.time_ns(stamp, arrival)
        assert time_ns is None or time_ns <= arrival
        found.append(time_ns)
    return found


def moments(seconds: float, begin_ns: int = 0) -> list[int]:
    return list(range(begin_ns, begin_ns + round(seconds * SECOND), PERIOD))


def errors_ms(found: list[int | None], captured: list[int]) -> np.ndarray:
    return np.array([(time or 0) - true for time, true in zip(found, captured, strict=True)]) / MS


@given(st.lists(st.integers(0, 400), min_size=1, max_size=120), st.integers(0, 50))
def test_times_of_a_stream_go_forward_and_are_late_by_the_shortest_delay_alone(
    jitter_ms: list[int], least_ms: int
) -> None:
    captured = [number * PERIOD for number in range(len(jitter_ms))]
    stamps = Stamps("ir", "auto", WALL_NS)
    found = times(stamps, captured, [(least_ms + jitter) * MS for jitter in jitter_ms])
    assert stamps.origin == "stream"
    assert all(time is not None for time in found)
    assert (np.diff(np.array(found, np.int64)) >= 0).all()
    late = errors_ms(found, captured)
    # One stream: nothing overtakes, so that a picture is under way as long as the one before it needs.
    arrivals = np.maximum.accumulate(np.array(captured) / MS + least_ms + np.array(jitter_ms))
    shortest = np.minimum.accumulate(arrivals - np.array(captured) / MS)
    assert (late >= least_ms - 0.001).all()
    assert (late <= shortest + 3).all(), "3 ms: a drift of 200 ppm is allowed for"


@pytest.mark.parametrize("ppm", [-100, 0, 100])
def test_a_clock_that_runs_apart_is_followed_for_an_hour(ppm: int) -> None:
    captured = list(range(0, 3600 * SECOND, SECOND // 5))
    delays = 20 * MS + np.random.default_rng(1).exponential(15, len(captured)) * MS
    found = times(Stamps("ir", "auto", WALL_NS), captured, delays.astype(int), clock=1 + ppm * 1e-6)
    late = errors_ms(found, captured)[50:]
    assert late.min() > 15
    assert late.max() < 40


def test_the_senders_clock_gives_the_moment_itself() -> None:
    captured = moments(10)
    stamps = Stamps("ir", "auto", WALL_NS)
    late = errors_ms(times(stamps, captured, itertools.repeat(80 * MS), sender_off_ns=0), captured)
    assert stamps.origin == "sender"
    assert late[:10] == pytest.approx(80, abs=0.01), "not before it was known for a while"
    assert late[30:] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("off_s", [-1_700_000_000, -3600, -5, 0.5, 3600])
def test_a_senders_clock_that_cannot_be_right_is_not_believed(off_s: float) -> None:
    captured = moments(10)
    stamps = Stamps("ir", "auto", WALL_NS)
    found = times(stamps, captured, itertools.repeat(80 * MS), sender_off_ns=round(off_s * SECOND))
    assert stamps.origin == "stream"
    assert errors_ms(found, captured) == pytest.approx(80, abs=0.01)


def test_a_picture_that_is_long_under_way_does_not_refute_the_senders_clock() -> None:
    captured = moments(20)
    delays = [9 * SECOND if 5 * SECOND < moment < 6 * SECOND else 80 * MS for moment in captured]
    stamps = Stamps("ir", "auto", WALL_NS)
    late = errors_ms(times(stamps, captured, delays, sender_off_ns=0), captured)
    assert stamps.origin == "sender"
    assert late[30:] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("asked", ["stream", "arrival"])
def test_what_may_be_used_can_be_said(asked: str) -> None:
    captured = moments(5)
    stamps = Stamps("ir", asked, WALL_NS)  # type: ignore[arg-type]
    delays = [80 * MS, *[90 * MS] * 200]
    late = errors_ms(times(stamps, captured, delays, sender_off_ns=0), captured)
    assert stamps.origin == asked
    assert late[-1] == pytest.approx({"stream": 80, "arrival": 90}[asked], abs=1)


@pytest.mark.parametrize("jump_s", [-77, -10, -0.5, 0.5, 10, 86_400])
def test_stamps_that_jump_or_begin_anew_move_no_picture(jump_s: float) -> None:
    stamps = Stamps("ir", "auto", WALL_NS)
    before, after = moments(10), moments(10, 10 * SECOND)
    first = times(stamps, before, itertools.repeat(50 * MS))
    later = times(
        stamps, after, itertools.repeat(50 * MS), begin_ns=STREAM_NS + round(jump_s * SECOND)
    )  # fmt: skip
    late = errors_ms(first + later, before + after)
    assert late == pytest.approx(50, abs=1)
    assert stamps.origin == "stream"


def test_a_senders_clock_is_learnt_anew_behind_a_jump() -> None:
    stamps = Stamps("ir", "auto", WALL_NS)
    before, after = moments(5), moments(5, 5 * SECOND)
    times(stamps, before, itertools.repeat(50 * MS), sender_off_ns=0)
    later = times(stamps, after, itertools.repeat(50 * MS), sender_off_ns=0, begin_ns=0)
    assert errors_ms(later, after)[0] == pytest.approx(50, abs=1)
    assert errors_ms(later, after)[-1] == pytest.approx(0, abs=0.01)


def test_stamps_that_stand_still_while_the_stream_does_are_caught_up_with() -> None:
    stamps = Stamps("ir", "auto", WALL_NS)
    before, after = moments(5), moments(10, 25 * SECOND)
    times(stamps, before, itertools.repeat(50 * MS))
    later = times(stamps, after, itertools.repeat(50 * MS), begin_ns=STREAM_NS - 20 * SECOND)
    assert errors_ms(later, after)[-60:] == pytest.approx(50, abs=1)


def test_stamps_that_jump_all_the_time_are_given_up(caplog: pytest.LogCaptureFixture) -> None:
    stamps = Stamps("ir", "auto", WALL_NS)
    for begin in range(6):
        captured = moments(1, begin * SECOND)
        found = times(stamps, captured, itertools.repeat(50 * MS), begin_ns=-(begin + 1) * 5 * SECOND)
    assert stamps.origin == "arrival"
    assert errors_ms(found, captured) == pytest.approx(50, abs=1)
    assert sum("are not used" in record.getMessage() for record in caplog.records) == 1


def test_a_first_picture_without_a_stamp_is_left_out_and_a_stream_without_any_is_not() -> None:
    stamps = Stamps("ir", "auto", WALL_NS)
    assert stamps.time_ns(None, 5) is None
    stamps.came(100, 7)
    assert stamps.time_ns(100, 7) == 7
    bare = Stamps("ir", "auto", WALL_NS)
    got = [bare.time_ns(None, at) for at in range(MOST_WITHOUT + 3)]
    assert got == [None] * (MOST_WITHOUT - 1) + list(range(MOST_WITHOUT - 1, MOST_WITHOUT + 3))
    assert bare.origin == "arrival"


@given(st.lists(st.tuples(st.integers(-(10**12), 10**12), st.integers(0, 10**10)), min_size=1))
def test_an_anchor_is_never_above_the_newest_difference(samples: list[tuple[int, int]]) -> None:
    anchor, now_ns = Anchor(), 0
    for difference, passed in samples:
        now_ns += passed
        assert anchor.take(difference, now_ns) <= difference
