"""What the pipeline costs beside its network: stage by stage, in memory, and from capture to file.

  python -m benchmarks.pipeline
  python -m benchmarks.pipeline --frames 2000 --size 1280x720

The replay cases run frames of the simulated rig that were drawn before, as fast as the loop takes
them; the others read the simulated cameras in real time, whose drawing takes its share of the cores.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.process import GRACE_S, run_command, watch
from benchmarks.schema import Figure, Latency, Results, Timing
from benchmarks.script import Benchmark, Measured, add_bundle, add_count, add_threads, main, parse_size
from tdfusion_edge import bundle
from tdfusion_edge.console import say
from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.engines import Engine
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.measuring import recording
from tdfusion_edge.runtime.measuring.instruments import TimedEngine, TimedSink
from tdfusion_edge.runtime.measuring.numbers import DIGITS
from tdfusion_edge.runtime.measuring.recording import FPS
from tdfusion_edge.runtime.measuring.timing import latencies, summary
from tdfusion_edge.runtime.pipeline.loop import Plan, run
from tdfusion_edge.runtime.sinks import open_sink
from tdfusion_edge.runtime.sources.base import Source

WARM_UP = 20
"""First frames of a case that are not counted: buffers are made, the encoder is opened."""
SHOWN = ("paired", "held", "single", "frozen", "failures")
"""Counters of a camera that tell of no lost frame."""
BESIDE = ("align", "compose", "hand over")
"""Stages of the loop beside the network."""
WATCH_S = 0.2
"""Interval at which the memory of the process is read."""


class Case(NamedTuple):
    """One way to run the pipeline."""

    name: str
    depth: int
    """Bits of the infrared camera."""
    live: bool
    """Simulated cameras in real time, or a replay."""
    video: bool
    """Write a video, or nothing."""
    detect: bool = False
    """With the bundle's detector, or fusion alone: between two passes of one network lies no other then."""


CASES = (
    Case("replay, 8 bits", 8, live=False, video=False),
    Case("replay, 16 bits", 16, live=False, video=False),
    Case("replay, 16 bits, video", 16, live=False, video=True),
    Case("real time, 16 bits, video", 16, live=True, video=True, detect=True),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_count(parser, "frames", 1000, "frames of each case")
    parser.add_argument(
        "--size",
        type=parse_size,
        default=(640, 480),
        metavar="WxH",
        help="of both cameras (default: 640x480)",
    )
    add_count(parser, "seconds", 20, "duration of the run whose memory is read")
    add_threads(parser)
    add_bundle(parser)


def measure(args: argparse.Namespace) -> Measured:
    """Run all cases, and the program for its memory."""
    if args.frames <= 2 * WARM_UP:
        raise RequestError("--frames", expected=f"more than {2 * WARM_UP}", got=str(args.frames))
    opened = bundle.read(args.bundle)
    timings: list[Timing] = []
    stages: list[Latency] = []
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="pipeline") as name:
        folder = Path(name)
        for case in CASES:
            say(f"{case.name} ...", error=True)
            passes: list[tuple[int, int]] = []
            sinks = [TimedSink(open_sink(folder / "fused.mp4"))] if case.video else []
            with Fuser(
                opened,
                threads=args.threads,
                detect=case.detect,
                stretch="temporal",
                instrument=partial(timed_fusion, passes),
            ) as fuser:
                report = run(plan(case, fuser, sinks, args)).as_dict()
            timings += case_timings(case, passes, sinks)
            stages += latencies(report, f"{case.name}: ")
            figures += case_figures(case, report)
        say("memory ...", error=True)
        command = run_command(folder, args.seconds, args.bundle, threads=args.threads, video=True)
        watched = watch(command, interval_s=WATCH_S, timeout_s=args.seconds + GRACE_S)
        figures.append(Figure(name="run: peak memory", value=round(watched.peak_megabytes, 2), unit="MB"))
    names = opened.manifest.classes("boxes")
    detects = f"{', '.join(names)}, in real time" if names else "nothing"
    facts = {"bundle": opened.manifest.name, "back end": fuser.backend, "detects": detects}
    numbers = Results(timings=tuple(timings), latencies=tuple(stages), figures=tuple(figures))
    return Measured(numbers, facts)


def timed_fusion(passes: list[tuple[int, int]], name: str, engine: Engine) -> Engine:
    """The fusion network's engine, which notes its passes; every other engine as it is."""
    return TimedEngine(engine, passes) if name == bundle.FUSION else engine


def plan(case: Case, fuser: Fuser, sinks: Sequence[TimedSink], args: argparse.Namespace) -> Plan:
    """What the program itself would plan for such cameras and outputs."""
    sources = cameras(case, args.size, args.frames)
    seconds = args.frames / FPS if case.live else None
    return Plan(sources, rig.Sync(), fuser, "latest" if case.live else "every", sinks, seconds=seconds)


def cameras(case: Case, size: tuple[int, int], count: int) -> dict[rig.Role, Source]:
    """Both cameras of a case: simulated ones in real time, or a replay of what they give."""
    if case.live:
        return recording.cameras(size, depth=case.depth, live=True)
    return recording.replayed(recording.drawn(size, depth=case.depth), count)


def case_timings(
    case: Case, passes: Sequence[tuple[int, int]], sinks: Sequence[TimedSink]
) -> Iterator[Timing]:
    """Passes of the network, the time between them, and the sinks, without the warm-up."""
    counted = passes[WARM_UP:]
    if not counted:  # a machine that cannot keep up with the cameras
        return
    yield summary(f"{case.name}: network pass", [(end - start) / 1e6 for start, end in counted])
    if not case.live:  # live, the loop waits for the cameras as well
        gaps = [(after[0] - before[1]) / 1e6 for before, after in pairwise(counted)]
        yield summary(f"{case.name}: between two passes", gaps)
    for sink in sinks:
        yield summary(f"{case.name}: sink", sink.milliseconds[WARM_UP:] or sink.milliseconds)


def case_figures(case: Case, report: Mapping[str, Any]) -> Iterator[Figure]:
    """Throughput, drops, and the sum of the stages beside the network."""
    overhead = sum(report["latency_ms"][stage]["p50"] for stage in BESIDE)
    yield Figure(
        name=f"{case.name}: medians of {', '.join(BESIDE)} together",
        value=round(overhead, DIGITS),
        unit="ms",
    )
    yield Figure(
        name=f"{case.name}: throughput",
        value=round(report["pictures"] / report["seconds"], 2),
        unit="pictures a second",
    )
    yield Figure(name=f"{case.name}: dropped by sinks", value=report["sink_dropped"], unit="pictures")
    for role, counts in report["cameras"].items():
        lost = sum(count for reason, count in counts.items() if reason not in SHOWN)
        yield Figure(name=f"{case.name}: {role} not shown", value=lost, unit="frames")


BENCHMARK = Benchmark("pipeline", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
