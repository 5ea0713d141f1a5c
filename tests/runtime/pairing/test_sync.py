"""Pairing of recordings: what is a pair, what is dropped and why, and what the skew tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sync_helpers import MS, ROLES, check_invariants, frame, frames, recorded, sequences

from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.pairing.sync import Synchroniser

times = st.lists(st.integers(0, 400), max_size=40, unique=True).map(sorted)
untimed = settings(deadline=None)
policies = st.sampled_from(["drop", "hold-last", "single"])


# --- which frames are a pair ---------------------------------------------------------------------


def test_equal_rates_pair_by_time_not_by_index() -> None:
    infrared = frames("infrared", [100, 133, 166, 199])
    visible = frames("visible", [0, 33, 66, 104, 137, 170, 203])
    pairs, paired = recorded(infrared, visible)
    assert sequences(pairs) == [(0, 3), (1, 4), (2, 5), (3, 6)]
    assert paired.counts["visible"] == {"paired": 4, "unmatched": 3}
    assert paired.counts["infrared"] == {"paired": 4}


def test_a_frame_waits_for_the_nearer_of_two_candidates() -> None:
    pairs, _ = recorded(frames("infrared", [15]), frames("visible", [0, 20]))
    assert sequences(pairs) == [(0, 1)]


def test_of_two_equally_near_frames_the_older_is_taken() -> None:
    pairs, _ = recorded(frames("infrared", [10]), frames("visible", [0, 20]))
    assert sequences(pairs) == [(0, 0)]


def test_beyond_the_tolerance_nothing_pairs() -> None:
    sync = rig.Sync(policy="drop", tolerance_ms=10)
    pairs, paired = recorded(frames("infrared", [0, 100]), frames("visible", [11, 110]), sync)
    assert sequences(pairs) == [(1, 1)]
    assert paired.counts["infrared"]["unmatched"] == paired.counts["visible"]["unmatched"] == 1


def test_the_slower_camera_leads() -> None:
    infrared = frames("infrared", np.arange(0, 1000, 1000 / 9))
    visible = frames("visible", np.arange(0, 1000, 1000 / 30))
    pairs, _ = recorded(infrared, visible)
    assert len(pairs) == 9
    assert all(abs(pair.skew_ns or 0) <= 17 * MS for pair in pairs)


def nearest(time: int, others: list[int]) -> set[int]:
    """All indices at the smallest distance."""
    least = min((abs(time - other) for other in others), default=0)
    return {index for index, other in enumerate(others) if abs(time - other) == least}


@untimed
@given(times, times, st.integers(1, 60))
def test_strict_mutual_nearest_neighbours_always_pair(
    infrared: list[int], visible: list[int], tolerance: int
) -> None:
    pairs, _ = recorded(
        frames("infrared", infrared),
        frames("visible", visible),
        rig.Sync(policy="drop", tolerance_ms=tolerance),
    )
    found = set(sequences(pairs))
    for i, time in enumerate(infrared):
        for j in nearest(time, visible):
            mutual = nearest(visible[j], infrared) == {i} and nearest(time, visible) == {j}
            if mutual and abs(time - visible[j]) <= tolerance:
                assert (i, j) in found


@untimed
@given(times, times, st.integers(1, 60))
def test_a_pair_is_of_mutual_nearest_neighbours_among_the_frames_not_passed(
    infrared: list[int], visible: list[int], tolerance: int
) -> None:
    pairs, _ = recorded(
        frames("infrared", infrared),
        frames("visible", visible),
        rig.Sync(policy="drop", tolerance_ms=tolerance),
    )
    first_i = first_j = 0
    for i, j in sequences(pairs):
        assert i is not None
        assert j is not None
        # Frames between the last pair and this one were passed only where they were not nearer.
        gap = abs(infrared[i] - visible[j])
        assert all(abs(other - visible[j]) >= gap for other in infrared[first_i:])
        assert all(abs(other - infrared[i]) >= gap for other in visible[first_j:])
        first_i, first_j = i + 1, j + 1


@untimed
@given(times, times, policies, st.lists(st.sampled_from(ROLES), max_size=80))
def test_a_recording_pairs_the_same_in_whatever_order_it_is_read(
    infrared: list[int], visible: list[int], policy: Any, order: list[rig.Role]
) -> None:
    streams = frames("infrared", infrared), frames("visible", visible)
    sync = rig.Sync(policy=policy, silent_ms=90)
    expected, one = recorded(*streams, sync)
    pairs, other = recorded(*streams, sync, order)
    assert [(p.infrared, p.visible, p.held) for p in pairs] == [
        (p.infrared, p.visible, p.held) for p in expected
    ]
    assert one.counts == other.counts


@untimed
@given(times, times, policies, st.integers(1, 60), st.integers(1, 200))
def test_every_recorded_frame_has_one_fate(
    infrared: list[int], visible: list[int], policy: Any, tolerance: int, silent: int
) -> None:
    streams = frames("infrared", infrared), frames("visible", visible)
    sync = rig.Sync(policy=policy, tolerance_ms=tolerance, silent_ms=silent)
    pairs, paired = recorded(*streams, sync)
    pushes = [(role, picture, 0) for role, stream in zip(ROLES, streams, strict=True) for picture in stream]
    check_invariants(pushes, pairs, paired, sync)
    if policy == "drop":
        assert all(pair.skew_ns is not None and not pair.held for pair in pairs)


@untimed
@given(times, times)
def test_one_of_two_running_cameras_always_has_room(infrared: list[int], visible: list[int]) -> None:
    """Reading from a camera that has room never overruns and always comes to the end."""
    paired = Synchroniser(rig.Sync(policy="drop"), live=False, capacity=2)
    waiting = {"infrared": frames("infrared", infrared), "visible": frames("visible", visible)}
    open_roles = list(ROLES)
    while open_roles:
        role = next(role for role in open_roles if paired.room(role))
        if waiting[role]:
            paired.push(role, waiting[role].pop(0), 0)
        else:
            paired.finish(role)
            open_roles.remove(role)
        paired.ready(0)
    assert all(paired.counts[role]["overrun"] == 0 for role in ROLES)


# --- what is not a pair --------------------------------------------------------------------------


def test_what_was_lost_before_a_frame_that_is_not_used_is_counted_once() -> None:
    paired = Synchroniser(rig.Sync(policy="drop"), live=True)
    paired.push("infrared", frame("infrared", 0, 100), 100 * MS)
    paired.leave_out("infrared", frame("infrared", 3, 5000))
    paired.push("infrared", frame("infrared", 4, 90), 200 * MS)  # late
    paired.push("infrared", frame("infrared", 6, 200), 210 * MS)
    assert paired.counts["infrared"] == {"missing": 3, "jumped": 1, "late": 1}


def test_late_duplicate_and_missing_frames_are_counted() -> None:
    infrared = [frame("infrared", s, t) for s, t in [(0, 0), (1, 33), (1, 66), (4, 132), (5, 120), (6, 165)]]
    pairs, paired = recorded(infrared, [])
    assert pairs == []
    assert paired.counts["infrared"] == {"unmatched": 4, "duplicate": 1, "missing": 2, "late": 1}


def test_a_source_that_numbers_anew_has_lost_nothing() -> None:
    _, paired = recorded([frame("infrared", s, t) for s, t in [(0, 0), (9, 33), (0, 66), (1, 99)]], [])
    assert paired.counts["infrared"] == {"unmatched": 4, "missing": 8}


def test_a_full_buffer_drops_the_oldest() -> None:
    paired = Synchroniser(rig.Sync(policy="drop"), live=False, capacity=2)
    for picture in frames("visible", [0, 33, 66]):
        paired.push("visible", picture, 0)
    for picture in frames("infrared", [1, 34, 67]):
        paired.push("infrared", picture, 0)
        paired.finish("visible")
    paired.finish("infrared")
    assert sequences(paired.ready(0)) == [(1, 1), (2, 2)]
    assert paired.counts["visible"]["overrun"] == paired.counts["infrared"]["overrun"] == 1


def test_the_caller_adds_what_it_alone_sees() -> None:
    paired = Synchroniser(rig.Sync(), live=True)
    paired.count("visible", "superseded", 3)
    paired.count("infrared", "missing")
    assert paired.counts["visible"]["superseded"] == 3
    assert paired.counts["infrared"]["missing"] == 1


def test_hold_last_gives_every_visible_frame_the_newest_infrared_one() -> None:
    sync = rig.Sync(policy="hold-last", silent_ms=200)
    visible = frames("visible", np.arange(0, 400, 100 / 3))
    pairs, paired = recorded(frames("infrared", [0, 111]), visible, sync)
    # 111 + 200 ms is the last moment at which the second infrared frame may still be shown.
    assert sequences(pairs) == [(0, 0), (0, 1), (0, 2), (1, 3), *((1, n) for n in range(4, 10))]
    assert [pair.held for pair in pairs] == [False, True, True, False] + 6 * [True]
    assert paired.counts["visible"] == {"paired": 2, "held": 8, "unmatched": 2}


def test_single_passes_the_other_camera_alone_in_a_gap_and_pairs_again_after_it() -> None:
    sync = rig.Sync(policy="single", silent_ms=100)
    pairs, _ = recorded(frames("infrared", [0, 300]), frames("visible", range(0, 351, 50)), sync)
    assert sequences(pairs) == [(0, 0), *((None, n) for n in range(2, 6)), (1, 6)]


def test_single_passes_everything_where_the_other_recording_is_empty() -> None:
    pairs, _ = recorded([], frames("visible", [0, 33]), rig.Sync(policy="single"))
    assert sequences(pairs) == [(None, 0), (None, 1)]


def test_capacity_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity must be 2 or more"):
        Synchroniser(rig.Sync(), live=False, capacity=1)


# --- skew ----------------------------------------------------------------------------------------


def test_skew_report_finds_offset_and_drift_across_a_slip() -> None:
    """Infrared runs 1 part in 2400 fast: 25 ms a minute, the slip of one frame in 80 seconds."""
    rng = np.random.default_rng(1)
    count = 520
    visible = np.arange(count) * 100 / 3
    infrared = np.arange(count) * 100 / 3 * (1 - 1 / 2400) - 12 + rng.normal(0, 0.5, count)
    _, paired = recorded(frames("infrared", infrared + 100), frames("visible", visible + 100))
    report = paired.skew_report()
    assert report.pairs >= 500
    slipped = (infrared - visible + 50 / 3) % (100 / 3) - 50 / 3
    assert slipped.max() > 10
    assert report.median_ms == pytest.approx(float(np.median(slipped)), abs=1)
    assert report.drift_ms_per_minute == pytest.approx(-25, abs=1.5)


def test_skew_report_keeps_silent_about_what_it_cannot_know() -> None:
    assert Synchroniser(rig.Sync(), live=True).skew_report().median_ms is None
    infrared = frames("infrared", np.arange(0, 5000, 1000 / 9))
    _, paired = recorded(infrared, frames("visible", np.arange(0, 5000, 100 / 3)))
    assert paired.skew_report().pairs == 45
    assert paired.skew_report().drift_ms_per_minute is None
