"""A run with simulated cameras whose frames carry their numbers, and its page, in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tdfusion_edge.bundle import Bundle
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.live.address import Address
from tdfusion_edge.runtime.live.alignment import Rigged
from tdfusion_edge.runtime.live.server import Page
from tdfusion_edge.runtime.pipeline.controls import Controls
from tdfusion_edge.runtime.pipeline.loop import Plan, run
from tdfusion_edge.runtime.pipeline.report import Report
from tdfusion_edge.runtime.sources import open_source


@dataclass
class Served:
    """A page and its run, which begins when it is told to."""

    page: Page
    fuser: Fuser
    size: str = "640x480"
    infrared: str = "640x480"
    stop: threading.Event = field(default_factory=threading.Event)
    first_ms: float | None = None
    """Capture time of the first picture's frame, by the wall clock."""
    report: Report | None = None
    controls: Controls | None = None
    _thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        return str(self.page.address)

    def begin(self) -> None:
        self._thread = threading.Thread(target=self._run, name="loop")
        self._thread.start()

    def _run(self) -> None:
        epoch_ns = time.monotonic_ns()
        sources = {
            role: open_source(uri, rig.Camera(uri=uri), role, epoch_ns=epoch_ns)
            for role, uri in (
                ("infrared", f"sim://ir?mark=1&size={self.infrared}&view={self.size}"),
                ("visible", f"sim://vis?mark=1&size={self.size}"),
            )
        }
        self.controls = self.page.controls(self.fuser)
        plan = Plan(
            sources, rig.Sync(), self.fuser, "latest", [self.page.sink], stop=self.stop,  # type: ignore[arg-type]
            monitor=self.page.monitor, controls=self.controls, on_result=self._first,
        )  # fmt: skip
        self.report = run(plan)

    def _first(self, result: Result) -> None:
        if self.first_ms is None and result.utc_ns is not None:
            self.first_ms = result.utc_ns / 1e6

    def end(self) -> None:
        self.stop.set()
        if self._thread is not None:
            self._thread.join()


@contextmanager
def served(
    bundle: Bundle,
    *,
    token: str | None = None,
    size: str = "640x480",
    infrared: str | None = None,
    rigged: Rigged | None = None,
) -> Iterator[Served]:
    """A run that has not begun, and its page, which is open."""
    registration = None if rigged is None else rigged.cameras.registration
    with (
        Fuser(bundle, threads=1, stretch="none", registration=registration) as fuser,
        Page(Address("127.0.0.1", 0), token=token, registration=registration, rigged=rigged) as page,
    ):
        running = Served(page, fuser, size, infrared or size)
        try:
            yield running
        finally:
            running.end()
