"""A run lives through faults of every kind, tells of them and counts them: one minute of the hour's soak."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.live.faults import FPS, KINDS, Fault, FaultyCamera, Kind, schedule
from benchmarks.live.soak import Look, count_figures, fault_figures, over_s, process_figures, soak, told_s
from tdfusion_edge import bundle
from tdfusion_edge.errors import SourceError
from tdfusion_edge.frames import Frame

TEN = [np.full((32, 32), number, np.uint16) for number in range(10)]


class Clock:
    """A clock that is set by whoever waits for it."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def camera(kind: Kind, clock: Clock) -> FaultyCamera:
    """A camera with a fault in its second second."""

    def pause(seconds: float) -> None:
        clock.now_ns += round(seconds * 1e9)

    fault = Fault(kind, "infrared", 1.0, 1.0)
    return FaultyCamera("infrared", TEN, [fault], epoch_ns=0, clock=clock, pause=pause)


def frames(kind: Kind, seconds: float = 3.0) -> tuple[list[Frame], FaultyCamera]:
    """What a camera gives in so many seconds, by an injected clock."""
    clock = Clock()
    faulty, given_ = camera(kind, clock), list[Frame]()
    while clock.now_ns < seconds * 1e9:
        try:
            frame = faulty.read()
        except SourceError:
            continue
        assert frame is not None
        given_.append(frame)
    return given_, faulty


@given(st.integers(0, 10_000), st.integers(20, 600))
@settings(deadline=None, max_examples=30)
def test_a_seed_gives_faults_one_after_the_other_with_quiet_between(seed: int, seconds: int) -> None:
    faults = schedule(seed, seconds)
    assert faults == schedule(seed, seconds)
    for one, next_ in pairwise(faults):
        assert one.start_s + one.seconds + 3 <= next_.start_s
    assert all(fault.start_s + fault.seconds + 3 <= seconds for fault in faults)
    assert {fault.kind for fault in schedule(seed, 150)} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_camera_loses_exactly_what_its_numbers_say(kind: Kind) -> None:
    given_, faulty = frames(kind)
    numbers = sorted({frame.sequence for frame in given_})
    assert faulty.counts["given"] == len(numbers)
    assert faulty.counts["lost"] == numbers[-1] + 1 - len(numbers)
    assert faulty.counts["again"] == len(given_) - len(numbers)


def test_each_fault_is_what_it_is_called() -> None:
    during = {kind: [f for f in frames(kind)[0] if 1e9 <= f.time_ns < 2e9] for kind in KINDS}
    assert during["silent"] == during["failing"] == []
    assert not any(frame.image.any() for frame in during["dead"])
    assert len({frame.image.tobytes() for frame in during["frozen"]}) == 1
    assert len(during["lossy"]) == pytest.approx(FPS / 3, abs=1)
    assert len(during["doubled"]) == pytest.approx(2 * FPS, abs=2)
    assert during["resized"][0].image.shape == (16, 16)
    assert frames("failing")[1].counts["failed"] == pytest.approx(4, abs=1)
    behind, ahead = (max(f.time_ns for f in frames(kind)[0][:45]) for kind in ("clock behind", "clock ahead"))
    assert ahead - behind == pytest.approx(2e9 + 0.5e9, abs=1e8)


def test_when_a_fault_is_told_and_over_is_read_from_states_and_results() -> None:
    fault = Fault("dead", "visible", 10.0, 5.0)
    seen = [(9.9, None), (10.4, None), (10.6, "visible dead"), (15.0, "visible dead"), (15.2, None)]
    looks = [Look(at_s, {"visible": "live"}, degraded, 1) for at_s, degraded in seen]
    assert told_s(fault, looks) == pytest.approx(0.6)
    assert over_s(fault, looks) == pytest.approx(0.2)
    assert told_s(fault._replace(role="infrared"), looks) is None
    assert told_s(fault._replace(kind="frozen"), looks) is None


@pytest.mark.slow
def test_a_minute_of_faults(tmp_path: Path) -> None:
    faults = schedule(7, 60)
    soaked = soak(tmp_path, faults, 60, bundle.default_path(), threads=1)
    report = soaked.report.as_dict()
    assert report["failed_sinks"] == 0
    for figure in count_figures(report, soaked.cameras):
        if not figure.name.endswith("frames given"):
            assert abs(figure.value) <= 3, figure  # frames under way at the end
    for figure in fault_figures(faults, soaked.looks):
        if figure.name.endswith("never"):
            assert figure.value == 0, figure
        if "told after" in figure.name:
            assert figure.value <= 2.5, figure
    gained = {
        figure.name: figure.value for figure in process_figures(soaked.before, soaked.after, soaked.memory)
    }
    assert gained["threads gained"] <= 0
    assert gained["descriptors gained"] <= 0
    assert (tmp_path / "run.mp4").stat().st_size > 100_000
