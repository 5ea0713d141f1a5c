"""A long run on the simulated cameras: memory over time, and what became of every frame.

python -m benchmarks.soak                       ten minutes
python -m benchmarks.soak --seconds 3600 --video
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.process import GRACE_S, Memory, report_in, run_command, watch
from benchmarks.schema import Figure, Results
from benchmarks.script import Benchmark, Measured, add_bundle, add_count, add_threads, main
from tdfusion_edge import bundle
from tdfusion_edge.console import say
from tdfusion_edge.runtime.measuring.recording import FPS
from tdfusion_edge.runtime.measuring.timing import latencies

STARTED_S = 5.0
"""By then the program streams."""
WARM_UP_S = 60.0
"""Until then the process still grows to its working size; the slope is fitted behind it."""
SETTLED = (
    "paired",
    "held",
    "single",
    "unmatched",
    "late",
    "jumped",
    "overrun",
    "missing",
    "superseded",
    "left",
)
"""Reasons of which every frame of a camera gets exactly one; a ``duplicate`` is no frame of its own."""
AT_THE_ENDS = 10
"""So many frames may stand open: camera, clock and run do not start and end at one moment, and what was
taken is reckoned from the nominal rate."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_count(parser, "seconds", 600, "duration")
    add_count(parser, "interval", 2, "seconds from one look at the memory to the next")
    add_threads(parser)
    add_bundle(parser)
    parser.add_argument("--video", action="store_true", help="write a video as well, to a temporary folder")


def measure(args: argparse.Namespace) -> Measured:
    """Run and account."""
    say(f"running for {args.seconds} s ...", error=True)
    with tempfile.TemporaryDirectory(prefix="soak") as folder:
        command = run_command(Path(folder), args.seconds, args.bundle, threads=args.threads, video=args.video)
        watched = watch(command, interval_s=args.interval, timeout_s=args.seconds + GRACE_S)
    report = report_in(watched.output)
    figures = [
        *memory_figures(watched.memory, watched.peak_megabytes),
        *frame_figures(report),
        *open_figures(report, FPS * args.seconds),
    ]
    open_frames = [figure for figure in figures if figure.name.endswith("unaccounted")]
    accounted = all(abs(figure.value) <= AT_THE_ENDS for figure in open_frames)
    facts = {
        "every frame accounted for": "yes" if accounted else "no",
        "bundle": bundle.read(args.bundle).manifest.name,
    }
    return Measured(Results(latencies=tuple(latencies(report)), figures=tuple(figures)), facts)


def memory_figures(memory: Sequence[Memory], peak_megabytes: float) -> Iterator[Figure]:
    """Resident memory after the start, behind the warm-up, at the end and at its peak, and its slope."""
    for seconds in (STARTED_S, WARM_UP_S):
        later = [point.megabytes for point in memory if point.seconds >= seconds]
        if later:
            yield Figure(name=f"memory: after {seconds:g} s", value=round(later[0], 2), unit="MB")
    yield Figure(name="memory: end", value=round(memory[-1].megabytes, 2), unit="MB")
    yield Figure(name="memory: peak", value=round(peak_megabytes, 2), unit="MB")
    slope = slope_per_minute([point for point in memory if point.seconds >= WARM_UP_S])
    if slope is not None:
        yield Figure(name="memory: slope", value=round(slope, 4), unit="MB a minute")


def slope_per_minute(memory: Sequence[Memory]) -> float | None:
    """Least-squares slope in megabytes a minute; None below three points, which tell no trend."""
    if len(memory) < 3:
        return None
    minutes, megabytes = np.array(memory).T / [[60.0], [1.0]]
    return float(np.polyfit(minutes, megabytes, 1)[0])


def frame_figures(report: dict[str, Any]) -> Iterator[Figure]:
    """Pictures, and the frames of each camera by what became of them."""
    for key, name in (
        ("pictures", "pictures"),
        ("written", "sinks: written"),
        ("sink_dropped", "sinks: dropped"),
    ):
        yield Figure(name=name, value=report[key], unit="pictures")
    for role, counts in report["cameras"].items():
        for reason, count in counts.items():
            yield Figure(name=f"{role}: {reason}", value=count, unit="frames")


def open_figures(report: dict[str, Any], captured: int) -> Iterator[Figure]:
    """Frames and pictures of which the report does not say what became of them.

    Args:
        report: What ``run --json`` printed.
        captured: Frames that each camera took, by its rate and the duration of the run.
    """
    cameras = report["cameras"]
    for role, counts in cameras.items():
        settled = sum(counts.get(reason, 0) for reason in SETTLED)
        yield Figure(name=f"{role}: unaccounted", value=captured - settled, unit="frames")
    visible, infrared = cameras["visible"], cameras["infrared"]
    pairs = sum(visible.get(reason, 0) for reason in ("paired", "held", "single")) + infrared.get("single", 0)
    shown = pairs - report.get("waiting_for_size", 0)
    yield Figure(name="pairs: unaccounted", value=shown - report["pictures"], unit="pairs")
    written = report["written"] + report["sink_dropped"]
    yield Figure(name="pictures: unaccounted", value=report["pictures"] - written, unit="pictures")


BENCHMARK = Benchmark("soak", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
