"""The live page: how old its pictures are though one of ten viewers stalls, and what they cost the run.

python -m benchmarks.live.page                      simulated cameras, the bundle `edge`
python -m benchmarks.live.page --rounds 10 --viewers 32
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import psutil

from benchmarks.live.viewers import look
from benchmarks.process import GRACE_S, run_command
from benchmarks.schema import Figure, Latency, Results
from benchmarks.script import Benchmark, Measured, add_bundle, add_count, add_threads, main
from tdfusion_edge import bundle
from tdfusion_edge.console import say
from tdfusion_edge.errors import WorkError
from tdfusion_edge.runtime.measuring.numbers import DIGITS
from tdfusion_edge.runtime.measuring.timing import Samples, ratio, timing

ALONE, WATCHED = "picture to picture: no viewer", "picture to picture: all viewers"
CPU_ALONE, CPU_WATCHED = "processor time a picture: no viewer", "processor time a picture: all viewers"
SETTLED_S = 3.0
"""After the first picture the program still warms up."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_count(parser, "rounds", 6, "times that the pipeline is left alone and then watched")
    add_count(parser, "seconds", 10, "duration of each half of a round")
    add_count(parser, "viewers", 10, "who look, the stalled one included")
    add_count(parser, "stalled", 1, "viewers that never read")
    add_threads(parser)
    add_bundle(parser)


def measure(args: argparse.Namespace) -> Measured:
    """Run the program, and look or do not look at its page."""
    seconds = 2 * args.rounds * (args.seconds + 4) + 30
    with tempfile.TemporaryDirectory(prefix="page") as folder:
        command = run_command(Path(folder), seconds, args.bundle, threads=args.threads, video=False)
        with serving([*command, "--serve", "127.0.0.1:0"], Path(folder)) as (process, address):
            first = asyncio.run(look(address, {}, time.monotonic() + SETTLED_S + 20, most=1))
            time.sleep(SETTLED_S)
            samples, ages, counts = rounds_of(args, process, address)
    percentiles = dict(zip(("p50", "p95", "p99", "max"), np.percentile(ages, [50, 95, 99, 100]), strict=True))
    figures = [
        Figure(name="first picture shown, after its capture", value=round(first[0]["age"], 1), unit="ms"),
        Figure(name="pictures shown, median of the viewers", value=float(np.median(counts)), unit="Hz"),
        Figure(name="pictures shown, slowest viewer", value=min(counts), unit="Hz"),
        Figure(name="pictures made, no viewer", value=rate(samples[ALONE]), unit="Hz"),
        Figure(name="pictures made, all viewers", value=rate(samples[WATCHED]), unit="Hz"),
    ]
    age = Latency(name="capture to viewer", **{name: round(float(ms), 2) for name, ms in percentiles.items()})
    results = Results(
        timings=tuple(timing(name, found) for name, found in samples.items()),
        ratios=(ratio(samples, WATCHED, ALONE), ratio(samples, CPU_WATCHED, CPU_ALONE)),
        latencies=(age,),
        figures=tuple(figures),
    )
    facts = {"bundle": bundle.read(args.bundle).manifest.name, "pictures shown to viewers": str(len(ages))}
    return Measured(results, facts)


def rate(samples: dict[int, float]) -> float:
    """Pictures a second of the median round."""
    return round(1e3 / float(np.median(list(samples.values()))), 2)


def rounds_of(
    args: argparse.Namespace, process: psutil.Process, address: str
) -> tuple[Samples, list[float], list[float]]:
    """Milliseconds of each case by round, the ages of all pictures that were shown, viewers' rates."""
    samples: Samples = {name: {} for name in (ALONE, WATCHED, CPU_ALONE, CPU_WATCHED)}
    ages, counts = list[float](), list[float]()
    for number in range(args.rounds):
        for watched in (False, True) if number % 2 else (True, False):
            crowd = watching(args, address) if watched else None
            time.sleep(1.5)  # until all are there
            before = standing(process, address)
            time.sleep(args.seconds)
            after = standing(process, address)
            made = after[1] - before[1]
            if not made:
                raise WorkError("the run made no picture")
            samples[WATCHED if watched else ALONE][number] = round(
                (after[0] - before[0]) * 1e3 / made, DIGITS
            )
            spent = (after[2] - before[2]) * 1e3 / made
            samples[CPU_WATCHED if watched else CPU_ALONE][number] = round(spent, DIGITS)
            if crowd is not None:
                for viewer in json.loads(crowd.communicate(timeout=60)[0]):
                    inside = [one for one in viewer if before[3] <= one["at"] <= after[3]]
                    counts.append(round(len(inside) / args.seconds, 2))
                    ages += [one["age"] for one in inside]
        say(f"round {number + 1} of {args.rounds}", error=True)
    return samples, ages, counts


def standing(process: psutil.Process, address: str) -> tuple[float, int, float, float]:
    """Now, pictures so far, processor seconds so far, and the wall clock in milliseconds."""
    with urlopen(f"http://{address}/status.json", timeout=10) as answer:
        pictures = json.load(answer)["pictures"]
    spent = process.cpu_times()
    return time.monotonic(), pictures, spent.user + spent.system, time.time() * 1e3


def watching(args: argparse.Namespace, address: str) -> subprocess.Popen[str]:
    """The viewers, in a process of their own."""
    command = [sys.executable, "-m", "benchmarks.live.viewers", address, "--viewers", str(args.viewers)]
    command += ["--stalled", str(args.stalled), "--seconds", str(args.seconds + 3)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@contextlib.contextmanager
def serving(command: list[str], folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    """The program with its page open, before its first picture, and the page's address."""
    log = folder / "log"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("w") as told, subprocess.Popen(command, stderr=told, stdout=told, env=environment) as run:
        try:
            limit = time.monotonic() + GRACE_S
            while not (found := re.search(r"http://([^/\s]+)/", log.read_text())):
                if run.poll() is not None or time.monotonic() > limit:
                    raise WorkError("the page does not open", got=log.read_text()[-300:])
                time.sleep(0.02)
            yield psutil.Process(run.pid), found[1]
        finally:
            run.terminate()


BENCHMARK = Benchmark("live.page", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
