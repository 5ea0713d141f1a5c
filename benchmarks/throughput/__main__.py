"""How many pictures a second does the whole program make of recordings, on two cores and on one?

  python -m benchmarks.throughput
  python -m benchmarks.throughput --bundle edge --bundle runs/small/bundle --frames 2000

Two H.264 recordings of the simulated street go in; decoding, pairing, fusion, the bundle's heads, stretch and
colour follow, and a JSONL file of what was found, or a video, comes out. Every pair is taken (mode every), by
ONNX Runtime on the CPU. Each run is a process of its own on the first two of the cores that this one may use,
with two threads, and on the first alone, with one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.schema import Figure, Latency, Results, Timing
from benchmarks.script import ROOT, Benchmark, Measured, add_count, main, parse_size
from benchmarks.throughput.child import Answer, Request
from tdfusion_edge import bundle
from tdfusion_edge.config import parse, to_json
from tdfusion_edge.console import say
from tdfusion_edge.errors import RequestError, WorkError
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime.measuring.numbers import DIGITS
from tdfusion_edge.runtime.measuring.recording import FPS
from tdfusion_edge.runtime.measuring.timing import summary
from tdfusion_edge.runtime.simulation.scene import Scene

DRAWN = 60
"""Pictures of the street that a recording shows forwards and backwards, again and again."""
WARM_UP = 30
"""First pictures that are not counted: buffers are made, files opened."""
CORES = (2, 1)
OUTPUTS = {"boxes as JSONL": "out.jsonl", "video": "out.mp4"}
GRACE_S = 600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "--bundle", type=bundle.place, action="append", metavar="BUNDLE",
        help="may be repeated (default: all that ship)",
    )  # fmt: skip
    add_count(parser, "frames", 600, "pairs of each run")
    parser.add_argument(
        "--size", type=parse_size, default=(640, 480), metavar="WxH", help="of both (default: 640x480)"
    )


def measure(args: argparse.Namespace) -> Measured:
    """Record, and run every bundle on both numbers of cores with both outputs."""
    if args.frames <= 2 * WARM_UP:
        raise RequestError("--frames", expected=f"more than {2 * WARM_UP}", got=str(args.frames))
    usable = usable_cores()
    opened = {path: bundle.read(path).manifest for path in args.bundle or bundle.shipped()}
    names = [manifest.name for manifest in opened.values()]
    if len(set(names)) < len(names):
        raise RequestError("two bundles have one name", got=", ".join(names))
    timings: list[Timing] = []
    latencies: list[Latency] = []
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="throughput") as name:
        folder = Path(name)
        say("recording ...", error=True)
        recordings = record(folder, args.size, args.frames)
        for path, cores, (output, file) in product(opened, CORES, OUTPUTS.items()):
            case = f"{opened[path].name}, {cores} core{'s' if cores > 1 else ''}, {output}"
            say(f"{case} ...", error=True)
            target = folder / f"{len(figures)}_{file}"
            request = Request(bundle=str(path), output=str(target), threads=cores, **recordings)
            found = run_on(usable[:cores], request, folder)
            if found.pictures != args.frames or found.written != args.frames:
                raise WorkError(f"{case}: pictures", expected=str(args.frames), got=str(found.pictures))
            timings.append(summary(f"{case}: picture to picture", list(found.intervals_ms[WARM_UP:])))
            latencies += latencies_of(case, found)
            figures += figures_of(case, found)
    facts = {
        manifest.name: ", ".join([manifest.network, *(head.network for head in manifest.heads.values())])
        for manifest in opened.values()
    }
    numbers = Results(timings=tuple(timings), latencies=tuple(latencies), figures=tuple(figures))
    return Measured(numbers, facts | {"back end": "onnxruntime", "mode": "every"})


def usable_cores() -> list[int]:
    """Numbers of the cores that this process may use.

    Raises:
        RequestError: the system cannot put a process on some of them, or there are too few.
    """
    if not hasattr(os, "sched_getaffinity"):
        raise RequestError("a process on some of the cores", expected="Linux", got=sys.platform)
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < max(CORES):
        raise RequestError("cores", expected=f"{max(CORES)} or more", got=str(len(usable)))
    return usable


def record(folder: Path, size: tuple[int, int], count: int) -> dict[str, str]:
    """Two recordings of the simulated street, by the fields of a request that name them."""
    scene, width = Scene(0, size), size[0]
    times = [number / FPS for number in range(DRAWN)]
    views = {"infrared": scene.infrared, "visible": scene.visible}
    recorded = {}
    for role, view in views.items():
        path = folder / f"{role}.mp4"
        drawn = [view(time_s) for time_s in times]
        assert drawn[0].shape[1] == width
        encode(path, islice(cycle([*drawn, *drawn[-2:0:-1]]), count), size)
        recorded[role] = str(path)
    return recorded


def encode(path: Path, pictures: Iterator[Image], size: tuple[int, int]) -> None:
    """An H.264 video of uint8 pictures, (H, W) or (H, W, 3) BGR."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height = size
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, FPS)
        for number, picture in enumerate(pictures):
            eight = np.ascontiguousarray(picture)
            frame = av.VideoFrame.from_ndarray(eight, format="gray" if eight.ndim == 2 else "bgr24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def run_on(cores: Sequence[int], request: Request, folder: Path) -> Answer:
    """One run as a process on these cores.

    Raises:
        WorkError: it failed, does not end, or ran elsewhere.
    """
    asked = folder / "request.json"
    asked.write_bytes(to_json(request))
    command = [sys.executable, "-c", _PINNED, ",".join(map(str, cores)), str(asked)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=GRACE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise WorkError("a run does not end", got=f"{GRACE_S:g} s") from error
    if done.returncode != 0:
        raise WorkError("a run failed", got=done.stderr.strip()[-2000:] or "no message")
    answer = parse(done.stdout.encode(), Answer, name="answer of a run")
    if answer.cores != len(cores):
        raise WorkError("a run was on other cores", expected=str(len(cores)), got=str(answer.cores))
    return answer


_PINNED = """
import os, sys
os.sched_setaffinity(0, set(map(int, sys.argv.pop(1).split(","))))  # before any library makes a thread
from benchmarks.throughput.child import main
sys.exit(main())
"""


def figures_of(case: str, found: Answer) -> Iterator[Figure]:
    """Pictures a second, and the processor time that one takes."""
    counted = found.intervals_ms[WARM_UP:]
    rate = 1e3 * len(counted) / sum(counted)
    yield Figure(name=f"{case}: throughput", value=round(rate, 2), unit="pictures a second")
    cpu_ms = sum(found.cpu_ms[WARM_UP:]) / len(counted)
    yield Figure(name=f"{case}: processor time", value=round(cpu_ms, 3), unit="ms a picture")


def latencies_of(case: str, found: Answer) -> Iterator[Latency]:
    """Percentiles of the time from picture to picture, and of the stages as the program reports them."""
    p50, p95, p99, most = np.percentile(found.intervals_ms[WARM_UP:], (50, 95, 99, 100))
    whole = {"p50": p50, "p95": p95, "p99": p99, "max": most}
    for stage, percentiles in {"picture to picture": whole, **found.latency_ms}.items():
        rounded = {key: round(float(value), DIGITS) for key, value in percentiles.items()}
        yield Latency(name=f"{case}: {stage}", **rounded)


BENCHMARK = Benchmark("throughput", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
