"""What a run is doing now, to be asked from any thread: for a page, for metrics, for a watchdog."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.pairing.health import CameraState
from tdfusion_edge.runtime.pairing.streams import Streams
from tdfusion_edge.runtime.pipeline.report import Report
from tdfusion_edge.runtime.pipeline.worker import SinkWorker

WINDOW_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment."""

    running: bool
    """The loop has begun and has not ended."""
    loop_age_s: float | None = None
    """Seconds since the loop last turned, or was told to be at work: it does every few milliseconds, also
    without a picture, so that more is a network that hangs. None before it began."""
    pictures: int = 0
    """Pictures since the run began."""
    rate_hz: float = 0.0
    """Pictures a second over the last two seconds."""
    age_s: float | None = None
    """Seconds since the newest picture was fused; None before the first."""
    cameras: Mapping[rig.Role, CameraState] = field(default_factory=dict)
    """Each camera's state; that of a recording says what was read of it lately."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """What ``run --json`` prints at the end, as it stands now: frames by reason, skew, latencies."""


class Monitor:
    """Holds on to a run and tells how it stands.

    Args:
        clock: Monotonic nanoseconds, the run's.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._run: tuple[Streams, Report, SinkWorker | None] | None = None
        self._ended = False
        self._alive_ns = clock()
        self._pictures: deque[int] = deque(maxlen=4096)
        self._newest_ns: int | None = None

    def begin(self, streams: Streams, report: Report, worker: SinkWorker | None) -> None:
        """The run that is told of from now."""
        with self._lock:
            self._run, self._ended = (streams, report, worker), False

    def picture(self) -> None:
        """A picture was fused."""
        with self._lock:
            self._newest_ns = self._clock()
            self._pictures.append(self._newest_ns)

    def alive(self) -> None:
        """The loop is at work on something that takes long, such as the build of an engine."""
        self._alive_ns = self._clock()

    def end(self) -> None:
        """The run is over; its figures stay."""
        self._ended = True

    def snapshot(self) -> Snapshot:
        """The run as it stands; one that is not running before :meth:`begin`."""
        with self._lock:
            if self._run is None:
                return Snapshot(running=False)
            streams, report, worker = self._run
            now_ns = self._clock()
            lately = sum(1 for at_ns in self._pictures if now_ns - at_ns <= WINDOW_NS)
            age_s = None if self._newest_ns is None else (now_ns - self._newest_ns) / 1e9
        return Snapshot(
            running=not self._ended,
            loop_age_s=(now_ns - max(streams.turned_ns, self._alive_ns)) / 1e9,
            pictures=report.pictures,
            rate_hz=lately / (WINDOW_NS / 1e9),
            age_s=age_s,
            cameras=streams.states(now_ns),
            figures=report.so_far(streams, worker),
        )
