"""The one loop: pairs in, aligned, fused, looked through, out to the sinks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tdfusion_edge.detections import Detections
from tdfusion_edge.errors import SinkError
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.detection import Detector, shown
from tdfusion_edge.runtime.fusion import Fusion
from tdfusion_edge.runtime.report import Report
from tdfusion_edge.runtime.segmentation import Segmenter
from tdfusion_edge.runtime.sinks.base import Result, Sink
from tdfusion_edge.runtime.sources.base import Source
from tdfusion_edge.runtime.streams import Mode, Streams
from tdfusion_edge.runtime.worker import SinkWorker


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
    seconds: float | None = None
    """End after this much time: of the clock for live cameras, of the recording for files."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set from anywhere to end the run properly."""
    clock: Callable[[], int] = time.monotonic_ns
    segmenter: Segmenter | None = None
    """None: the results have no mask."""


def run(plan: Plan) -> Report:
    """Stream until the end, ``seconds`` or ``stop``.

    A source or sink that fails ends the run; what came before it is written, and the error is in
    the report's ``failure``.

    Raises:
        RequestError: the frames do not fit the network or the registration.
        EngineError: a network failed.
    """
    clock, fusion, detector, segmenter = plan.clock, plan.fusion, plan.detector, plan.segmenter
    streams = Streams(
        plan.sources, plan.sync, mode=plan.mode, stop=plan.stop, seconds=plan.seconds, clock=clock
    )
    report = Report(
        live=streams.live, detects=detector is not None, segments=segmenter is not None, clock=clock
    )
    worker = SinkWorker(plan.sinks, mode=plan.mode, on_written=report.written, clock=clock)
    with report.catch(SinkError), worker, streams:
        for pair in streams:
            report.paired(pair)
            with report.stage("align"):
                aligned = fusion.align(pair)
            if aligned is None:
                report.skipped()
                continue
            with report.stage("network"):
                fused = fusion.fuse(aligned)
            found = Detections.empty()
            if detector is not None:
                with report.stage("detect"):
                    found = detector.detect(shown(aligned, fused))
            mask = None
            if segmenter is not None:
                with report.stage("segment"):
                    mask = segmenter.segment(shown(aligned, fused))
            with report.stage("compose"):
                picture = fusion.picture(aligned, fused)
            result = Result(report.pictures, pair, picture, found, aligned.degraded, mask)
            with report.stage("hand over"):
                worker.put(result)
            report.fused(result)
    report.finish(streams, worker)
    return report
