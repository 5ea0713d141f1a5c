"""One run of the pipeline on two recordings, as a process that its parent has put on some of the cores.

python -m benchmarks.throughput.child REQUEST.json
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from tdfusion_edge.config import Table, load, to_json
from tdfusion_edge.console import say
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.measuring.numbers import DIGITS
from tdfusion_edge.runtime.pipeline.loop import Plan, run
from tdfusion_edge.runtime.sinks import open_sink
from tdfusion_edge.runtime.sources import open_source


class Request(Table, frozen=True, kw_only=True):
    """What to run."""

    bundle: str
    """Its folder."""
    infrared: str
    """A recording."""
    visible: str
    output: str
    """A file that a sink writes."""
    threads: int


class Answer(Table, frozen=True, kw_only=True):
    """What came of it."""

    cores: int
    """That the process may use."""
    pictures: int
    intervals_ms: tuple[float, ...]
    """From one picture to the next."""
    cpu_ms: tuple[float, ...]
    """Processor time in each of these, of all threads together."""
    latency_ms: dict[str, dict[str, float]]
    """The program's own report, a stage each."""
    written: int
    """Pictures that the sink took."""


def answer(request: Request) -> Answer:
    """Run until the recordings end, as the program itself does with files: every pair, none dropped."""
    recordings: dict[rig.Role, str] = {"infrared": request.infrared, "visible": request.visible}
    times_ns: list[int] = []
    busy_ns: list[int] = []

    def note(_: Result) -> None:
        times_ns.append(time.perf_counter_ns())
        busy_ns.append(time.process_time_ns())

    with Fuser(request.bundle, backend="onnxruntime", threads=request.threads, stretch="temporal") as fuser:
        sources = {
            role: open_source(role, rig.Camera(uri=uri), role, epoch_ns=0) for role, uri in recordings.items()
        }
        plan = Plan(
            sources,
            rig.Sync(),
            fuser,
            "every",
            [open_sink(request.output)],
            on_result=note,
        )
        report = run(plan)
    if report.failure is not None:
        raise report.failure
    told = report.as_dict()
    return Answer(
        cores=len(os.sched_getaffinity(0)),
        pictures=report.pictures,
        intervals_ms=_steps_ms(times_ns),
        cpu_ms=_steps_ms(busy_ns),
        latency_ms={stage: found for stage, found in told["latency_ms"].items() if found},
        written=told["written"],
    )


def _steps_ms(times_ns: Sequence[int]) -> tuple[float, ...]:
    return tuple(round((after - before) / 1e6, DIGITS) for before, after in pairwise(times_ns))


def main() -> int:
    """Run one request and print the answer."""
    say(to_json(answer(load(Path(sys.argv[1]), Request))).decode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
