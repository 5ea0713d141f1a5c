"""What a run did: frames, drops by reason, skew, and the latency of every stage."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tdfusion_edge.errors import TdfusionError
from tdfusion_edge.frames import Pair
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.heads import kind_of
from tdfusion_edge.runtime.pairing.streams import Streams
from tdfusion_edge.runtime.pipeline import times
from tdfusion_edge.runtime.pipeline.latency import Histogram
from tdfusion_edge.runtime.pipeline.worker import SinkWorker

CAPTURE_TO_PAIR, CAPTURE_TO_SINK = "capture to pair", "capture to sink"
COLUMNS = ("p50", "p95", "p99", "max")


class Report:
    """Collects figures while a run goes on; memory does not grow with it.

    Args:
        live: Capture times are those of ``clock``, so that latencies since capture mean something.
        stages: What the fusing of a pair consists of, in its order.
        outputs: What outputs that count for themselves say, by their names.
        clock: Monotonic nanoseconds.
    """

    def __init__(
        self,
        *,
        live: bool,
        stages: Sequence[str] = ("align", "network", "compose"),
        outputs: Mapping[str, Callable[[], Mapping[str, Any]]] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._live, self._clock = live, clock
        self._outputs = dict(outputs or {})
        names: tuple[str, ...] = (*stages, "hand over")
        if live:
            names = (CAPTURE_TO_PAIR, *names, CAPTURE_TO_SINK)
        self.latency = {name: Histogram() for name in names}
        self.degraded: Counter[str] = Counter()
        self.detections: Counter[str] = Counter()
        """What was found by name, over all pictures: boxes by their class."""
        self.events: Counter[str] = Counter()
        """What happened, by kind and place."""
        self.pictures = 0
        self.waiting_for_size = 0
        """Infrared pictures that were not shown, because the visible size was not known yet."""
        self.failure: TdfusionError | None = None
        """The source or sink that ended the run."""
        self.lost = 0
        """Frames of recordings that could not be read; the others were."""
        self.failed_sinks = 0
        """Outputs that failed, each told of when it did."""
        self._start_ns = clock()
        self._first_ns: int | None = None
        self._last_ns = 0
        self._end: dict[str, Any] = {}

    def paired(self, pair: Pair) -> None:
        """A pair came out of the synchroniser."""
        if self._live:
            self.latency[CAPTURE_TO_PAIR].add(self._clock() - pair.time_ns)
        if self._first_ns is None:
            self._first_ns = pair.time_ns
        self._last_ns = pair.time_ns

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage of the loop."""
        start_ns = self._clock()
        yield
        self.latency[name].add(self._clock() - start_ns)

    @contextmanager
    def catch(self, kind: type[TdfusionError]) -> Iterator[None]:
        """Keep an error of this kind as the failure of the run instead of raising it."""
        try:
            yield
        except kind as error:
            self.failure = error

    def skipped(self) -> None:
        """An infrared picture came alone before the visible size was known."""
        self.waiting_for_size += 1

    def fused(self, result: Result) -> None:
        """A picture was handed to the sinks."""
        self.pictures += 1
        if result.degraded is not None:
            self.degraded[result.degraded] += 1
        self.events.update(f"{event.kind} {event.place}" for event in result.events)
        for kind, found in result.findings.items():
            self.detections.update(kind_of(kind).counts(found))

    def written(self, result: Result, done_ns: int) -> None:
        """All sinks have taken a result; called in the sinks' thread."""
        if self._live:
            self.latency[CAPTURE_TO_SINK].add(done_ns - result.pair.time_ns)

    def finish(self, streams: Streams, worker: SinkWorker) -> None:
        """Take over the counters once everything is closed.

        Args:
            streams: They know what became of every frame.
            worker: It knows what became of every result.
        """
        self.failed_sinks = worker.failed
        self.failure = self.failure or streams.failure
        self.lost = 0 if streams.live else sum(streams.failures.values())
        self._end = self._standing(streams, worker)

    def so_far(self, streams: Streams, worker: SinkWorker | None) -> dict[str, Any]:
        """What :meth:`as_dict` will give, as it stands now; safe from any thread while the run lasts."""
        return self._as_dict(self._end or self._standing(streams, worker))

    def _standing(self, streams: Streams, worker: SinkWorker | None) -> dict[str, Any]:
        cameras, skew = streams.figures()
        return {
            "seconds": (self._clock() - self._start_ns) / 1e9,
            "written": 0 if worker is None else worker.written,
            "sink_dropped": 0 if worker is None else worker.dropped,
            "failed_sinks": 0 if worker is None else worker.failed,
            "cameras": cameras,
            "last_failures": dict(streams.last_failures),
            "skew": {
                "median_ms": skew.median_ms,
                "drift_ms_per_minute": skew.drift_ms_per_minute,
                **times.facts(streams.times(), skew.median_ms),
            },
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything, as ``--json`` prints it; latencies in milliseconds."""
        return self._as_dict(self._end)

    def _as_dict(self, standing: dict[str, Any]) -> dict[str, Any]:
        recorded_s = (self._last_ns - (self._first_ns or 0)) / 1e9
        # As they are now: a recording is finished behind the run.
        outputs = {name: dict(counts()) for name, counts in self._outputs.items()}
        return {
            "pictures": self.pictures,
            "fps": (self.pictures - 1) / recorded_s if self.pictures > 1 and recorded_s else None,
            "degraded": dict(self.degraded),
            "detections": dict(self.detections),
            "events": dict(self.events),
            "waiting_for_size": self.waiting_for_size,
            **standing,
            **({"outputs": outputs} if outputs else {}),
            "latency_ms": {name: histogram.summary() for name, histogram in self.latency.items()},
        }

    def as_table(self) -> str:
        """Everything that :meth:`as_dict` gives, as a table for people."""
        facts = self.as_dict()
        fps = "" if facts["fps"] is None else f", {facts['fps']:.1f} a second of capture time"
        lines = [f"{self.pictures} pictures in {facts['seconds']:.1f} s{fps}"]
        for role, counts in facts["cameras"].items():
            listed = ", ".join(f"{count} {reason}" for reason, count in counts.items() if count)
            lines.append(f"  {role + ':':10} {listed or 'no frame'}")
            if (why := facts["last_failures"].get(role)) is not None:
                lines.append(f"  {'':10} last failure: {why}")
        for title, counts in (
            ("degraded:", facts["degraded"]),
            ("detected:", facts["detections"]),
            ("events:", facts["events"]),
        ):
            if counts:
                lines.append(
                    f"  {title:10} " + ", ".join(f"{count} {what}" for what, count in counts.items())
                )
        if self.waiting_for_size:
            lines.append(f"  waiting:   {self.waiting_for_size} infrared alone before any visible frame")
        failed = f", {self.failed_sinks} failed" if self.failed_sinks else ""
        lines.append(f"  sinks:     {facts['written']} written, {facts['sink_dropped']} dropped{failed}")
        lines += [f"  {line}" for line in times.lines(facts["skew"])]
        lines += [f"  {name}: {_listed(counts)}" for name, counts in facts.get("outputs", {}).items()]
        lines.append(f"  {'milliseconds':18}" + "".join(f"{column:>9}" for column in COLUMNS))
        for name, summary in facts["latency_ms"].items():
            if summary:
                lines.append(f"  {name:18}" + "".join(f"{summary[column]:9.2f}" for column in COLUMNS))
        return "\n".join(lines)


def _listed(counts: Mapping[str, Any]) -> str:
    """Figures of an output for people; those that are nothing are left out."""
    said = []
    for name, value in counts.items():
        if isinstance(value, Mapping):
            said += [f"{role} {count} {name}" for role, count in value.items() if count]
        elif isinstance(value, bool):
            said += [name] if value else []
        elif value:
            said.append(f"{value} {name}" if isinstance(value, int) else str(value))
    return ", ".join(said) or "nothing"
