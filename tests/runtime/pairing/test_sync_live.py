"""Live pairing: how long a rig waits, and what silence, delays and clocks do to it."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sync_helpers import MS, ROLES, Push, arriving, check_invariants, frame, frames, live, sequences

from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.pairing.sync import Synchroniser
from tdfusion_edge.runtime.pairing.waiting import Stream

arrivals = st.lists(st.tuples(st.integers(0, 900), st.integers(0, 40), st.integers(0, 60)), max_size=40)


@settings(deadline=None, max_examples=60)
@given(
    arrivals,
    arrivals,
    st.sampled_from(["drop", "hold-last", "single"]),
    st.integers(2, 8),
    st.sampled_from([1, 7, 50]),
)
def test_every_live_frame_has_one_fate(
    infrared: list[tuple[int, int, int]],
    visible: list[tuple[int, int, int]],
    policy: Any,
    capacity: int,
    poll_ms: int,
) -> None:
    """Whatever arrives: repeated numbers, stamps out of order, delays that vary."""
    sync = rig.Sync(policy=policy, silent_ms=2000)
    pushes: list[Push] = [
        (role, frame(role, sequence, time), (time + delay) * MS)
        for role, stream in zip(ROLES, (infrared, visible), strict=True)
        for time, sequence, delay in stream
    ]
    pairs, paired = live(pushes, sync, poll_ms, capacity, until_ms=4000)
    check_invariants(pushes, [pair for pair, _ in pairs], paired, sync)


def test_a_live_pair_waits_for_nothing_once_the_rhythm_is_known() -> None:
    infrared = frames("infrared", np.arange(5, 2000, 100 / 3))
    visible = frames("visible", np.arange(0, 2000, 100 / 3))
    pairs, paired = live(arriving("infrared", infrared, 12) + arriving("visible", visible, 8))
    assert len(pairs) == 60
    assert paired.counts["visible"] == {"paired": 60}
    waits = [out_ms - (pair.infrared.time_ns / MS + 12) for pair, out_ms in pairs if pair.infrared]
    assert max(waits[2:]) == 0


def test_a_live_pair_waits_where_the_next_frame_will_be_nearer() -> None:
    """Infrared leads by 15 of 33 ms. Where one of its frames is lost, the visible one left over is
    18 ms before the next infrared frame and must not take it from the visible frame after it."""
    infrared = frames("infrared", np.arange(18, 2000, 100 / 3))
    visible = frames("visible", np.arange(0, 2000, 100 / 3))
    pairs, _ = live(arriving("infrared", infrared[:20] + infrared[21:], 5) + arriving("visible", visible, 5))
    assert len(pairs) == 58
    assert {round((pair.skew_ns or 0) / MS) for pair, _ in pairs} == {-15}
    assert all(out_ms - pair.time_ns / MS <= 5.001 for pair, out_ms in pairs[1:])


def test_a_camera_whose_delivery_trembles_still_pairs() -> None:
    infrared = frames("infrared", range(0, 4000, 40))
    visible = frames("visible", range(0, 4000, 40))
    pushes = arriving("infrared", infrared, 5)
    for index, picture in enumerate(visible):
        pushes += arriving("visible", [picture], 39 if index % 4 == 0 else 5)
    pairs, _ = live(pushes)
    assert len(pairs) >= 99


def test_live_times_never_go_back() -> None:
    """Singles of one camera went out; frames of the other that are older come too late."""
    for role, other in (ROLES, ROLES[::-1]):
        paired = Synchroniser(rig.Sync(policy="single"), live=True)
        paired.finish(other)
        paired.push(role, frame(role, 0, 1000), 1005 * MS)
        assert [pair.time_ns for pair in paired.ready(1005 * MS)] == [1000 * MS]
        paired.finish(role)
        paired.push(other, frame(other, 0, 995), 1200 * MS)
        paired.push(role, frame(role, 1, 1003), 1200 * MS)
        pairs = paired.ready(1200 * MS) + paired.ready(3000 * MS)
        assert all(pair.time_ns > 1000 * MS for pair in pairs)
        paired.finish(role)
        paired.finish(other)
        paired.push(other, frame(other, 1, 998), 3001 * MS)
        assert paired.ready(6000 * MS) == []
        assert sum(paired.counts[other][reason] for reason in ("late", "unmatched", "paired")) == 2


def test_the_slower_live_camera_leads_without_waiting() -> None:
    infrared = frames("infrared", np.arange(4, 2000, 1000 / 9))
    visible = frames("visible", np.arange(0, 2000, 100 / 3))
    pairs, _ = live(arriving("infrared", infrared, 30) + arriving("visible", visible, 10))
    assert len(pairs) == 17  # the very first visible frame cannot know that infrared is slow to arrive
    for pair, out_ms in pairs[2:]:
        assert pair.infrared is not None
        assert pair.visible is not None
        both_ms = max(pair.infrared.time_ns / MS + 30, pair.visible.time_ns / MS + 10)
        # A visible frame more than half an interval (17 ms) before it waits for the next one.
        assert out_ms - both_ms <= 17


def test_live_hold_last_shows_every_visible_frame_within_the_tolerance() -> None:
    sync = rig.Sync(policy="hold-last")
    infrared = frames("infrared", np.arange(0, 3000, 1000 / 9))
    visible = frames("visible", np.arange(0, 3000, 100 / 3))
    pairs, paired = live(arriving("infrared", infrared, 10) + arriving("visible", visible, 10), sync)
    assert [pair.visible for pair, _ in pairs] == visible
    assert paired.counts["visible"]["held"] == 63
    waits = [out_ms - pair.time_ns / MS - 10 for pair, out_ms in pairs[6:]]
    assert max(waits) <= 20 + 1
    assert sorted(waits)[len(waits) // 2] == 0


def test_a_camera_that_delivers_late_still_pairs() -> None:
    """A network camera 200 ms behind a USB one: waiting for the tolerance alone would lose every frame."""
    infrared = frames("infrared", np.arange(0, 3000, 100 / 3))
    visible = frames("visible", np.arange(3, 3000, 100 / 3))
    pairs, _ = live(arriving("infrared", infrared, 10) + arriving("visible", visible, 200), capacity=16)
    assert len(pairs) >= 90 - 16
    assert all(pair.skew_ns == -3 * MS for pair, _ in pairs)


def test_live_single_passes_the_visible_camera_alone_until_infrared_comes_back() -> None:
    sync = rig.Sync(policy="single", silent_ms=300)
    visible = frames("visible", range(0, 3000, 40))
    infrared = frames("infrared", [*range(2, 1000, 40), *range(2002, 3000, 40)])
    pairs, paired = live(arriving("infrared", infrared, 5) + arriving("visible", visible, 5), sync)
    kinds = ["single" if pair.infrared is None else "pair" for pair, _ in pairs]
    # The visible frame of the moment of return has gone out before infrared is heard again.
    assert kinds == 25 * ["pair"] + 19 * ["single"] + 24 * ["pair"]
    assert paired.counts["visible"] == {"paired": 49, "single": 19, "unmatched": 7}
    assert all(out_ms - pair.time_ns / MS == 5 for pair, out_ms in pairs if pair.infrared is None)


def test_live_single_gives_a_camera_that_never_came_its_time() -> None:
    sync = rig.Sync(policy="single", silent_ms=300)
    pairs, _ = live(arriving("visible", frames("visible", range(0, 1000, 40)), 5), sync)
    assert [pair.time_ns for pair, _ in pairs] == [time * MS for time in range(280, 1000, 40)]
    assert all(out_ms - pair.time_ns / MS == 5 for pair, out_ms in pairs[1:])


def test_live_single_goes_on_at_once_when_the_other_stream_ends() -> None:
    paired = Synchroniser(rig.Sync(policy="single"), live=True)
    for role in ROLES:
        paired.push(role, frame(role, 6, 0), 5 * MS)
    paired.finish("infrared")
    paired.push("visible", frame("visible", 7, 33), 38 * MS)
    assert sequences(paired.ready(38 * MS)) == [(6, 6), (None, 7)]


def test_a_clock_that_was_set_back_costs_the_silent_time_only() -> None:
    sync = rig.Sync(policy="drop", silent_ms=200)
    before, after = list(range(10_000, 11_000, 40)), list(range(0, 1000, 40))
    pushes: list[Push] = []
    for role in ROLES:
        for sequence, time in enumerate(before + after):
            pushes.append((role, frame(role, sequence, time), (10_005 + 40 * sequence) * MS))
    pairs, paired = live(pushes, sync)
    assert [pair.time_ns // MS for pair, _ in pairs] == before + after[5:]
    assert paired.counts["visible"] == {"paired": 45, "late": 4, "unmatched": 1}


def test_a_visible_camera_that_comes_back_late_is_paired_again() -> None:
    """Its frames arrive 100 ms after infrared's: singles of infrared must not lock it out for ever."""
    step = 100 / 3
    infrared = arriving("infrared", frames("infrared", np.arange(0, 6000, step)), 10)
    visible = arriving("visible", frames("visible", np.arange(0, 6000, step)), 100)
    outage = [push for push in visible if not 2000 <= push[1].time_ns / MS < 3000]
    pairs, _ = live(infrared + outage, rig.Sync(policy="single"))
    back = [pair for pair, _ in pairs if pair.time_ns >= 3500 * MS]
    assert len(back) > 70
    assert all(pair.infrared and pair.visible for pair in back)


def test_pairs_that_are_not_shown_and_frames_that_wait_are_counted_once() -> None:
    pushes = arriving("infrared", frames("infrared", (0, 33, 66)), 1)
    pushes += arriving("visible", frames("visible", (0, 33, 66, 100)), 1)
    pairs, paired = live(pushes)
    paired.supersede(pairs[0][0], "superseded")
    paired.supersede(pairs[2][0], "left")
    paired.close()
    paired.close()
    assert +paired.counts["infrared"] == {"paired": 1, "superseded": 1, "left": 1}
    assert sum(paired.counts["visible"].values()) == 4


def test_lost_frames_do_not_slow_the_rhythm_of_a_camera() -> None:
    stream = Stream()
    for sequence in (0, 1, 4):
        stream.take(frame("infrared", sequence, 33 * sequence), 33 * sequence * MS)
    assert stream.interval_ns == 33 * MS
