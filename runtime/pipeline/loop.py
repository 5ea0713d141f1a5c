"""The one loop: pairs in, aligned, fused, looked through, out to the sinks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tdfusion_edge.errors import SinkError
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.pairing.content import Place
from tdfusion_edge.runtime.pairing.streams import Mode, Streams
from tdfusion_edge.runtime.pipeline.analysis import Analysis
from tdfusion_edge.runtime.pipeline.controls import Controls
from tdfusion_edge.runtime.pipeline.monitor import Monitor
from tdfusion_edge.runtime.pipeline.report import Report
from tdfusion_edge.runtime.pipeline.worker import SinkWorker
from tdfusion_edge.runtime.sinks.base import Sink
from tdfusion_edge.runtime.sources.base import Source


@dataclass(frozen=True)
class Plan:
    """What a run is made of; everything in it is open. Sources and sinks are closed by :func:`run`."""

    sources: Mapping[rig.Role, Source]
    sync: rig.Sync
    fuser: Fuser
    mode: Mode
    sinks: Sequence[Sink] = ()
    together: bool = False
    """The sinks are worth something together only: the first that fails ends the run."""
    place: Place = field(default_factory=Place)
    """What of the rig the check of the times by the pictures' content needs."""
    seconds: float | None = None
    """End after this much time: of the clock for live cameras, of the recording for files."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set from anywhere to end the run properly."""
    on_result: Callable[[Result], None] = lambda result: None
    """Called with every result behind its way to the sinks; it must be quick."""
    analyse: Analysis | None = None
    """Makes tracks, events and temperatures of what was found."""
    outputs: Mapping[str, Callable[[], Mapping[str, Any]]] = field(default_factory=dict)
    """Outputs that count for themselves by their names, for the report."""
    monitor: Monitor | None = None
    """Told of the run, so that others can ask it how the run stands."""
    controls: Controls | None = None
    """What others ask to be changed while the run lasts."""
    clock: Callable[[], int] = time.monotonic_ns
    wall_clock: Callable[[], int] = time.time_ns
    """Nanoseconds since 1970, UTC."""


def run(plan: Plan) -> Report:
    """Stream until the end, ``seconds`` or ``stop``.

    A source that fails ends the run, and so does the last sink; what came before is written, and the error
    is in the report's ``failure``. A sink that fails beside others is told of and counted, and they go on.

    Raises:
        RequestError: the frames do not fit the network or the registration.
        EngineError: a network failed.
    """
    streams, report = _opened(plan)
    worker = SinkWorker(
        plan.sinks, mode=plan.mode, together=plan.together, on_written=report.written, clock=plan.clock
    )
    with report.catch(SinkError), worker, streams, _watched(plan.monitor, streams, report, worker):
        for result in _fused(streams, plan, report):
            with report.stage("hand over"):
                worker.put(result)
            report.fused(result)
            plan.on_result(result)
    report.finish(streams, worker)
    return report


def results(plan: Plan) -> Iterator[Result]:
    """The results of a plan, one by one: whoever takes them is the sink.

    Raises:
        SourceError: a source failed; all results before it were given.
        RequestError, EngineError: as :func:`run`.
    """
    streams, report = _opened(plan)
    with streams, _watched(plan.monitor, streams, report, None):
        yield from _fused(streams, plan, report)
    if streams.failure is not None:
        raise streams.failure


def _opened(plan: Plan) -> tuple[Streams, Report]:
    """The streams of a plan, which begin when they are entered, and a report on them."""
    streams = Streams(
        plan.sources,
        plan.sync,
        mode=plan.mode,
        stop=plan.stop,
        seconds=plan.seconds,
        place=plan.place,
        clock=plan.clock,
    )
    stages = (*plan.fuser.stages, *(() if plan.analyse is None else (plan.analyse.stage,)))
    return streams, Report(live=streams.live, stages=stages, outputs=plan.outputs, clock=plan.clock)


def _fused(streams: Streams, plan: Plan, report: Report) -> Iterator[Result]:
    """A result of every pair that can be shown."""
    for pair in streams:
        report.paired(pair)
        if plan.controls is not None:
            plan.controls.apply(plan.fuser)
        result = plan.fuser.fuse(pair, report.stage, streams.peek)
        if result is None:
            report.skipped()
            continue
        if streams.live:
            # Both clocks at every picture: a device's wall clock may be set long after it was switched on.
            age_ns = plan.clock() - pair.time_ns
            result = replace(result, utc_ns=plan.wall_clock() - age_ns)
        if plan.analyse is not None:
            with report.stage(plan.analyse.stage):
                result = plan.analyse(result)
        if plan.monitor is not None:
            plan.monitor.picture()
        yield result


@contextmanager
def _watched(
    monitor: Monitor | None, streams: Streams, report: Report, worker: SinkWorker | None
) -> Iterator[None]:
    if monitor is None:
        yield
        return
    monitor.begin(streams, report, worker)
    try:
        yield
    finally:
        monitor.end()
