"""What a run says of its cameras' times, and which camera may be missing."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.cameras import choose_cameras
from tdfusion_edge.runtime.pairing.clocks import ClockReport
from tdfusion_edge.runtime.pairing.content import ContentReport
from tdfusion_edge.runtime.pairing.streams import Streams
from tdfusion_edge.runtime.pairing.timing import TimeReport
from tdfusion_edge.runtime.pipeline.times import facts, lines
from tdfusion_edge.runtime.simulation.uri import parse

MS = 1_000_000


def told(times: TimeReport, median_ms: float | None) -> list[str]:
    return lines({"median_ms": median_ms, "drift_ms_per_minute": None, **facts(times, median_ms)})


def test_a_skew_of_0_is_not_left_alone_where_the_pictures_say_120_ms() -> None:
    content = ContentReport(offset_ms=-120.4, error_ms=1.5, confidence="good", windows=2)
    times = TimeReport({}, content)
    found = facts(times, 0.0)["content"]
    assert found == {
        "offset_ms": -120.4, "error_ms": 1.5, "confidence": "good", "windows": 2, "skew_ms": -120.4,
    }  # fmt: skip
    assert told(times, 0.0) == [
        "skew:      infrared +0.00 ms against visible (median) by their times",
        "content:   infrared -120.4 ms against visible by what moves in both (± 1.5)",
    ]


def test_clocks_are_told_as_far_as_they_are_known() -> None:
    known = ClockReport(99.6, 1.2, 5.0, -30.0, jumps=1, steps=0)
    unknown = ClockReport(None, None, None, 0.0, jumps=0, steps=0)
    low = ContentReport(3.0, 14.0, "low", 0)
    assert told(TimeReport({"infrared": known, "visible": unknown}, low), 2.0) == [
        "skew:      infrared +2.00 ms against visible (median) by their times",
        "content:   infrared +5.0 ms against visible by what moves in both (± 14.0, not reliable)",
        "clocks:    infrared +99.6 ppm (± 1.2), jumps: 1",
    ]
    assert told(TimeReport({"infrared": unknown}, None), None) == []


class Jumping:
    """A live camera whose clock is set forward by an hour half-way; it tells how its frames arrive."""

    live = True

    def __init__(self, name: str, clock: list[int], *, jumps: bool) -> None:
        self.name, self._clock, self._jumps, self._number = name, clock, jumps, 0

    def read(self) -> Frame | None:
        if self._number == 150:
            return None
        time_ns = self._number * 40 * MS
        self._clock[0] = max(self._clock[0], time_ns + 5 * MS)
        jump_ns = 3_600_000 * MS if self._jumps and self._number >= 100 else 0
        image = np.full((32, 32), self._number, np.uint8)
        self._number += 1
        return Frame(image, time_ns + jump_ns, self._number - 1, self.name)

    def close(self) -> None:
        self._number = 150


def test_a_stream_counts_the_frames_that_a_jump_costs() -> None:
    clock = [0]
    camera = Jumping("ir", clock, jumps=True)
    alone = Jumping("vis", clock, jumps=False)
    alone.close()
    sources: dict[rig.Role, Jumping] = {"infrared": camera, "visible": alone}
    sync = rig.Sync(policy="drop")
    stop = threading.Event()
    with Streams(sources, sync, mode="every", stop=stop, clock=lambda: clock[0]) as both:
        list(both)
        counts, _ = both.figures()
        jumps = both.times().clocks["infrared"].jumps
    assert counts["infrared"]["jumped"] == 2
    assert jumps == 1
    assert not any(thread.name == "content" and thread.is_alive() for thread in threading.enumerate())


def test_a_camera_may_be_missing_only_where_the_policy_shows_one_alone() -> None:
    cameras = choose_cameras("ir0,vis0", policy="nearest", on_missing="infrared")
    assert (cameras.sync.policy, cameras.sync.on_missing) == ("nearest", "infrared")
    with pytest.raises(RequestError, match="--on-missing infrared with policy drop: expected policy single"):
        choose_cameras("ir0,vis0", policy="drop", on_missing="infrared")
    with pytest.raises(RequestError, match="--on-missing: expected infrared, visible, got 'both'"):
        choose_cameras("ir0,vis0", on_missing="both")  # type: ignore[arg-type]


def test_a_simulated_clock_is_ordered_in_its_address() -> None:
    faults = parse("sim://ir?drift_ppm=100&jump=5:-3600").faults
    assert (faults.drift_ppm, faults.jump) == (100, (5, -3600))
    for wrong in ("drift_ppm=20000", "jump=5", "jump=-1:3", "jump=1:nan"):
        with pytest.raises(RequestError):
            parse(f"sim://vis?{wrong}")
