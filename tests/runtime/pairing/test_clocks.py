"""Capture times of live cameras: jitter, drift and jumps of their clocks, against a simulated rig's truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sync_helpers import MS, frame

from benchmarks.live.rig import Played, SimulatedCamera, best_pairs, couples, exposures, play
from benchmarks.live.synchronisation import OFFSET_MS, cameras
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.pairing.clocks import CameraClock
from tdfusion_edge.runtime.pairing.drift import Drift
from tdfusion_edge.runtime.pairing.rhythm import Rhythm
from tdfusion_edge.runtime.simulation.faults import Faults

S = 1000 * MS


def shares(
    rigged: dict[rig.Role, SimulatedCamera], seconds: float, *, follow: bool = True
) -> tuple[float, Played]:
    """Share of the best possible pairs that were made, and all that came of it."""
    found = exposures(rigged, seconds, 1)
    played = play(found, rig.Sync(policy="drop", follow_clocks=follow), {"infrared": -OFFSET_MS})
    best = best_pairs(found, 20.0)
    return len(best & set(couples(played.pairs))) / len(best), played


def test_a_drifting_trembling_lossy_rig_is_paired_nearly_as_well_as_possible() -> None:
    """9 and 30 Hz, 40 ms, 100 ppm, 5 ms of jitter, 5 % lost; the longer runs are the benchmark's."""
    share, played = shares(cameras(1), 180.0)
    assert share >= 0.99
    infrared, visible = played.times.clocks["infrared"], played.times.clocks["visible"]
    assert infrared.drift_ppm == pytest.approx(100, abs=10)
    assert visible.drift_ppm == pytest.approx(0, abs=10)
    assert infrared.error_ppm is not None
    assert infrared.error_ppm < 10
    assert infrared.jitter_ms == pytest.approx(5, abs=1)
    assert infrared.corrected_ms == pytest.approx(-18, abs=2)
    assert played.most_waiting <= 8
    as_stamped, _ = shares(cameras(1), 100.0, follow=False)
    assert as_stamped < 0.9, "the stamps alone are not enough"


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, -0.4])
def test_a_jump_of_a_clock_costs_two_frames(jump_s: float) -> None:
    share, played = shares(cameras(1, jump_s=jump_s, jumps_at_s=20.0), 30.0)
    assert share >= 0.96
    assert played.counts["infrared"]["jumped"] == 2
    assert played.times.clocks["infrared"].jumps == 1
    assert played.pairs[-1].time_ns == pytest.approx(30 * S + 100 * S, abs=S)


def test_without_following_a_jump_is_fatal_for_the_rest() -> None:
    share, _ = shares(cameras(1, jump_s=3600.0, jumps_at_s=20.0), 30.0, follow=False)
    assert share < 0.7


def taken(clock: CameraClock, stamps_ns: list[int], arrivals_ns: list[int]) -> list[int | None]:
    """Times that a clock makes of the frames of one camera."""
    given: list[int | None] = []
    for number, (stamp, arrival) in enumerate(zip(stamps_ns, arrivals_ns, strict=True)):
        one = clock.take(Frame(np.zeros((2, 2), np.uint8), stamp, number, "cam"), arrival)
        given.append(None if one is None else one.time_ns)
    return given


def test_a_perfect_camera_keeps_its_stamps() -> None:
    stamps = [number * 40 * MS for number in range(2000)]
    given = taken(CameraClock(), stamps, [stamp + 5 * MS for stamp in stamps])
    assert max(abs(one - stamp) for one, stamp in zip(given, stamps, strict=True) if one is not None) < 1000


def test_one_wild_stamp_costs_one_frame() -> None:
    stamps = [number * 40 * MS for number in range(200)]
    arrivals = [stamp + 5 * MS for stamp in stamps]
    for wild in (3600 * S, -3600 * S):
        wrong = [*stamps[:150], stamps[150] + wild, *stamps[151:]]
        clock = CameraClock()
        given = taken(clock, wrong, arrivals)
        assert [number for number, one in enumerate(given) if one is None] == [150]
        assert clock.report().jumps == 0


def test_a_stream_that_stalls_and_comes_in_a_burst_has_not_jumped() -> None:
    stamps = [number * 40 * MS for number in range(400)]
    stalled = [max(stamp + 5 * MS, 12 * S) if 9 * S < stamp < 12 * S else stamp + 5 * MS for stamp in stamps]
    clock = CameraClock()
    given = taken(clock, stamps, stalled)
    assert clock.report().jumps == 0
    assert max(abs(one - stamp) for one, stamp in zip(given, stamps, strict=True) if one is not None) < MS
    picture = frame("infrared", 500, stamps[-1] / MS + 40)
    assert clock.is_stale(picture, picture.time_ns + 900 * MS, 500 * MS)
    assert not clock.is_stale(picture, picture.time_ns + 100 * MS, 500 * MS)


def test_a_delay_that_grows_by_a_step_moves_no_time() -> None:
    """A way that is 80 ms longer from now on says nothing about the clock."""
    stamps = [number * 40 * MS for number in range(3000)]
    arrivals = [stamp + (5 if number < 1500 else 85) * MS for number, stamp in enumerate(stamps)]
    clock = CameraClock()
    given = taken(clock, stamps, arrivals)
    assert max(abs(one - stamp) for one, stamp in zip(given, stamps, strict=True) if one is not None) < MS
    assert clock.report().steps == 1


def test_a_delay_that_runs_away_is_no_drift() -> None:
    """Latency that grows by 2 ms a second is a queue; no clock is off by 2000 ppm."""
    stamps = [number * 40 * MS for number in range(3000)]
    clock = CameraClock()
    given = taken(clock, stamps, [round(stamp * 1.002) + 5 * MS for stamp in stamps])
    drift = clock.report().drift_ppm
    assert drift == pytest.approx(-2000, rel=0.01)
    assert max(abs(one - stamp) for one, stamp in zip(given, stamps, strict=True) if one is not None) < MS


def test_a_camera_without_a_rhythm_keeps_its_stamps() -> None:
    rng = np.random.default_rng(1)
    stamps = np.cumsum(rng.integers(5, 200, 600)) * MS
    rhythm = Rhythm()
    given = [rhythm.take(number, int(stamp)) for number, stamp in enumerate(stamps)]
    kept = sum(one == stamp for one, stamp in zip(given, stamps, strict=True))
    assert kept > 0.9 * len(stamps)


def test_a_camera_that_halves_its_rate_in_the_dark_is_followed() -> None:
    rng = np.random.default_rng(1)
    true = np.cumsum([33.333] * 300 + [66.667] * 300 + [41.0] * 300) * MS
    stamps = (true + rng.normal(0, 1 * MS, len(true))).astype(np.int64)
    rhythm = Rhythm()
    given = [rhythm.take(number, int(stamp)) for number, stamp in enumerate(stamps)]
    away = np.abs(np.array(given) - true) / MS
    assert np.percentile(away, 99) < 4
    assert np.median(away) < 0.5


def test_lost_frames_that_leave_no_gap_in_the_numbers_are_told_by_the_stamps() -> None:
    rng = np.random.default_rng(2)
    true = np.array([number * 33_333_333 for number in range(2000) if rng.random() > 0.05])
    rhythm = Rhythm()
    given = [
        rhythm.take(number, int(stamp))
        for number, stamp in enumerate(true + rng.normal(0, 2 * MS, len(true)))
    ]
    assert np.percentile(np.abs(np.array(given) - true)[200:], 99) < MS


def test_drift_is_found_under_delays_that_have_a_least_value_only() -> None:
    rng = np.random.default_rng(3)
    drift = Drift()
    for number in range(200 * 9):
        true = round(number * S / 9)
        drift.take(round(true * (1 - 40e-6)), true + 20 * MS + round(rng.exponential(15 * MS)))
    assert drift.estimate is not None
    assert drift.estimate.ppm == pytest.approx(-40, abs=10)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(-500, 5000), st.integers(0, 30), st.integers(0, 400)), min_size=1, max_size=120
    )
)
def test_times_of_frames_in_order_stay_in_order(steps: list[tuple[int, int, int]]) -> None:
    """Whatever stamps, numbers and arrivals come: a frame in order is given a later time than the last."""
    clock = CameraClock()
    now_ns, last = 0, None
    for stamp_ms, number, wait_ms in steps:
        now_ns += wait_ms * MS
        one = clock.take(frame("visible", number, stamp_ms), now_ns)
        if one is None:
            continue
        assert one.sequence == number
        if last is not None and last[0] < stamp_ms and number != last[1] and last[2] is not None:
            assert one.time_ns > last[2]
        newest = last is None or last[0] < stamp_ms
        last = (stamp_ms, number, one.time_ns) if newest and (last is None or number != last[1]) else last


def test_faults_of_a_simulated_clock() -> None:
    faults = Faults(drift_ppm=100, jump=(10.0, -2.0), offset_ms=5)
    assert faults.stamp_error_ns(0, 10) == 5 * MS
    assert faults.stamp_error_ns(90, 10) == 5 * MS + 900_000
    assert faults.stamp_error_ns(100, 10) == 5 * MS + MS - 2 * S
