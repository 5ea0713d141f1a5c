"""The one loop: pairs in, aligned, fused, looked through, out to the sinks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tdfusion_edge.errors import SinkError
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.folded import Folded
from tdfusion_edge.runtime.heads.boxes import Detector
from tdfusion_edge.runtime.heads.masks import Segmenter
from tdfusion_edge.runtime.pairing.streams import Mode, Streams
from tdfusion_edge.runtime.picture.fusion import Fusion
from tdfusion_edge.runtime.pipeline.report import Report
from tdfusion_edge.runtime.pipeline.worker import SinkWorker
from tdfusion_edge.runtime.show import show
from tdfusion_edge.runtime.sinks.base import Result, Sink
from tdfusion_edge.runtime.sources.base import Source


@dataclass(frozen=True)
class Plan:
    """What a run is made of; everything in it is open and is closed by :func:`run`."""

    sources: Mapping[rig.Role, Source]
    sync: rig.Sync
    fusion: Fusion
    sinks: Sequence[Sink]
    mode: Mode
    detector: Detector | None = None
    """None: the results have no detections."""
    segmenter: Segmenter | None = None
    """None: the results have no mask."""
    folded: Folded | None = None
    """None: every network is a graph of its own."""
    seconds: float | None = None
    """End after this much time: of the clock for live cameras, of the recording for files."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set from anywhere to end the run properly."""
    clock: Callable[[], int] = time.monotonic_ns


def run(plan: Plan) -> Report:
    """Stream until the end, ``seconds`` or ``stop``.

    A source or sink that fails ends the run; what came before it is written, and the error is in
    the report's ``failure``.

    Raises:
        RequestError: the frames do not fit the network or the registration.
        EngineError: a network failed.
    """
    clock, fusion = plan.clock, plan.fusion
    streams = Streams(
        plan.sources, plan.sync, mode=plan.mode, stop=plan.stop, seconds=plan.seconds, clock=clock
    )
    detects, segments = plan.detector is not None, plan.segmenter is not None
    report = Report(live=streams.live, detects=detects, segments=segments, clock=clock)
    worker = SinkWorker(plan.sinks, mode=plan.mode, on_written=report.written, clock=clock)
    with report.catch(SinkError), worker, streams:
        for pair in streams:
            report.paired(pair)
            with report.stage("align"):
                aligned = fusion.align(pair)
            if aligned is None:
                report.skipped()
                continue
            shown = show(aligned, fusion, plan.detector, plan.segmenter, plan.folded, report.stage)
            result = Result(report.pictures, pair, shown.picture, shown.found, aligned.degraded, shown.mask)
            with report.stage("hand over"):
                worker.put(result)
            report.fused(result)
    report.finish(streams, worker)
    return report
