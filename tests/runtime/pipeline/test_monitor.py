"""A run can be asked how it stands while it goes on."""

from __future__ import annotations

import threading

from sink_results import numbered

from tdfusion_edge import bundle
from tdfusion_edge.frames import Frame
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.pipeline.loop import Plan, run
from tdfusion_edge.runtime.pipeline.monitor import Monitor, Snapshot


class Ten:
    """Ten pictures of a recording."""

    live = False

    def __init__(self, name: str) -> None:
        self.name, self._next = name, 0

    def read(self) -> Frame | None:
        if self._next == 10:
            return None
        self._next += 1
        return Frame(numbered(self._next, (80, 48)), self._next * 40_000_000, self._next, self.name)

    def close(self) -> None:
        self._next = 10


def test_a_run_tells_how_it_stands(mean_bundle: bundle.Bundle) -> None:
    monitor, seen = Monitor(), list[Snapshot]()

    def look(result: Result) -> None:
        thread = threading.Thread(target=lambda: seen.append(monitor.snapshot()))
        thread.start()
        thread.join()

    assert monitor.snapshot() == Snapshot(running=False)
    sources: dict[rig.Role, Ten] = {"infrared": Ten("ir"), "visible": Ten("vis")}
    fuser = Fuser(mean_bundle, threads=1, stretch="none")
    run(Plan(sources, rig.Sync(tolerance_ms=10), fuser, "every", monitor=monitor, on_result=look))
    assert [one.pictures for one in seen] == list(range(1, 11))
    assert all(one.running and one.rate_hz > 0 and one.age_s is not None for one in seen)
    assert seen[-1].figures["cameras"]["visible"]["paired"] >= 10
    after = monitor.snapshot()
    assert not after.running
    assert after.pictures == 10
    assert {state.state for state in after.cameras.values()} == {"ended"}
    assert after.figures["latency_ms"]["network"]["p50"] > 0
