"""What `run --record` costs: processor and disk, for infrared of 16 bits beside a visible camera.

python -m benchmarks.recording                   20 s each way, to a temporary folder
python -m benchmarks.recording --folder /data    on the disk that will be recorded to
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.schema import Figure, Results
from benchmarks.script import Benchmark, Measured, add_count, main, parse_size
from tdfusion_edge.console import say
from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.recording.recorder import Recorder
from tdfusion_edge.runtime.sinks.kinds import VisibleCodec
from tdfusion_edge.runtime.sources import open_source
from tdfusion_edge.runtime.sources.base import Source
from tdfusion_edge.runtime.sources.recording import RecordingSource
from tdfusion_edge.video.times import FOLDERS, pieces

FPS = 30
DRAWN = 60
"""Pictures that are drawn before and shown again and again, so that no drawing is measured."""
DROPPABLE = 0
"""Frames that may be dropped: a cost at which some are left out is none."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_count(parser, "seconds", 20, "of recording, each way")
    parser.add_argument(
        "--infrared", type=parse_size, default=(640, 512), metavar="WxH", help="(default: 640x512)"
    )
    parser.add_argument(
        "--visible", type=parse_size, default=(640, 480), metavar="WxH", help="(default: 640x480)"
    )
    parser.add_argument("--folder", type=Path, help="where to record to (default: a temporary folder)")


def measure(args: argparse.Namespace) -> Measured:
    """Record both ways."""
    say("drawing the simulated street ...", error=True)
    shown: dict[rig.Role, list[Image]] = {
        "infrared": drawn(f"sim://ir?size={args.infrared[0]}x{args.infrared[1]}&depth=16", "infrared"),
        "visible": drawn(f"sim://vis?size={args.visible[0]}x{args.visible[1]}", "visible"),
    }  # fmt: skip
    figures: list[Figure] = []
    whole = True
    for codec in get_args(VisibleCodec):
        say(f"recording with {codec} for {args.seconds} s ...", error=True)
        with tempfile.TemporaryDirectory(prefix="recording", dir=args.folder) as folder:
            found = list(recorded(Path(folder) / "rec", shown, codec, args.seconds))
            whole &= all(figure.value == DROPPABLE for figure in found if figure.name.endswith("dropped"))
            figures += found
    return Measured(Results(figures=tuple(figures)), {"every frame recorded": "yes" if whole else "no"})


def drawn(address: str, role: rig.Role) -> list[Image]:
    """Pictures of a simulated camera, whose sensors have noise."""
    camera = rig.Camera(uri=f"{address}&realtime=0&frames={DRAWN}")
    source = open_source(role, camera, role, epoch_ns=0)
    try:
        return [frame.image for frame in iter(source.read, None)]
    finally:
        source.close()


def recorded(
    folder: Path, shown: dict[rig.Role, list[Image]], codec: VisibleCodec, seconds: int
) -> Iterator[Figure]:
    """Record in real time; figures of what it took, and of what came back."""
    recorder = Recorder(folder, lambda place: None, visible=codec)
    start_ns, worked_s = time.monotonic_ns(), time.process_time()
    for number in range(seconds * FPS):
        at_ns = start_ns + round(number * 1e9 / FPS)
        time.sleep(max(0, at_ns - time.monotonic_ns()) / 1e9)
        for role, pictures in shown.items():
            recorder.put(role, Frame(pictures[number % len(pictures)], at_ns, number, role))
    recorder.close()
    took_s, worked_s = (time.monotonic_ns() - start_ns) / 1e9, time.process_time() - worked_s
    name = f"visible {codec}"
    yield Figure(name=f"{name}: processor", value=round(100 * worked_s / took_s, 2), unit="% of a core")
    for role, pictures in shown.items():
        size = sum(path.stat().st_size for path in pieces(folder / FOLDERS[role]))
        yield Figure(name=f"{name}: {role}", value=round(size / took_s * 3600 / 1e9, 3), unit="GB an hour")
        yield Figure(name=f"{name}: {role} dropped", value=recorder.dropped[role], unit="frames")
        source = RecordingSource(role, folder / FOLDERS[role], epoch_ns=0)
        error = mean_error(source, pictures)
        source.close()
        if error:
            psnr = 10 * np.log10(255**2 / error)
            yield Figure(name=f"{name}: {role} against the camera's", value=round(float(psnr), 2), unit="dB")
        else:
            yield Figure(name=f"{name}: {role} different pixels", value=0, unit="pixels")


def mean_error(source: Source, pictures: list[Image]) -> float:
    """Mean squared error of what is played, in levels or counts."""
    errors = [
        float(np.square(frame.image.astype(np.float64) - pictures[frame.sequence % len(pictures)]).mean())
        for frame in iter(source.read, None)
    ]
    return float(np.mean(errors))


BENCHMARK = Benchmark("recording", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
