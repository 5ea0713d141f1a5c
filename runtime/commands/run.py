"""Stream two cameras into one fused picture.

  tdfusion-edge run --camera ir0,vis0 --seconds 10 --output fused.mp4

--camera takes two names of the rig, or two addresses: sim://ir, v4l2:///dev/video0?format=Y16,
rtsp://10.0.0.5/live, a video file, a folder of images. Without a rig file, ir0 and vis0 are simulated
cameras.
Where the bundle has a detector, pictures show its boxes, and an output out.jsonl lists them; --detector
FILE.onnx puts one of your own in its place.
Ctrl-C ends a run properly: every file is closed, and the table is printed.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

from tdfusion_edge.console import Progress, note, say, say_json
from tdfusion_edge.errors import WorkError
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.cameras import choose_cameras, delivery_mode, require_positive
from tdfusion_edge.runtime.commands.networks import add_network_arguments, open_fuser, read_files
from tdfusion_edge.runtime.commands.outputs import Outputs, add_output_arguments, check_outputs
from tdfusion_edge.runtime.live.options import add_serve_arguments, open_page, secret_files
from tdfusion_edge.runtime.mqtt.address import secret_files as broker_files
from tdfusion_edge.runtime.pairing.streams import Mode
from tdfusion_edge.runtime.picture.parallax import add_distance_argument
from tdfusion_edge.runtime.pipeline.analysis import analysis_of
from tdfusion_edge.runtime.pipeline.loop import Plan, run
from tdfusion_edge.runtime.pipeline.monitor import Monitor
from tdfusion_edge.runtime.pipeline.service import told_to_systemd
from tdfusion_edge.runtime.pipeline.signals import stopped_by_signals


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--camera", required=True, metavar="IR,VIS", help="two cameras, infrared first")
    parser.add_argument(
        "--rig", type=Path, metavar="FILE", help="rig file (default: $TDFUSION_RIG, ./rig.toml)"
    )
    add_output_arguments(parser)
    parser.add_argument("--show", action="store_true", help="show a window; q ends the run")
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="end after so much time: of the clock, or of the recording for files",
    )
    parser.add_argument(
        "--mode", choices=get_args(Mode),
        help="latest: drop what is too old (default for cameras); every: process all (default for files)",
    )  # fmt: skip
    parser.add_argument(
        "--policy", choices=get_args(rig.Policy),
        help="a frame without partner: drop it, hold-last: show visible with the last infrared frame, "
        "nearest: every visible frame with the infrared one nearest in time, "
        "single: show it alone once the other camera is silent (default: the rig's, else single)",
    )  # fmt: skip
    parser.add_argument(
        "--on-missing", choices=get_args(rig.Role),
        help="the camera that may be missing: the other one is shown alone then, and never the other way "
        "round (policies single and nearest; default: the rig's, else either)",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance-ms", type=float, metavar="MS",
        help="largest time difference in a pair (default: the rig's, else 20)",
    )  # fmt: skip
    add_distance_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the final figures as JSON")
    parser.add_argument(
        "--no-detect", action="store_true",
        help="leave the bundle's detector and segmentation out: no boxes and masks, less work",
    )  # fmt: skip
    parser.add_argument(
        "--no-boxes", action="store_true", help="draw no boxes and masks; out.jsonl still tells of them"
    )
    parser.add_argument(
        "--track", action="store_true",
        help="number the things that are found, picture to picture; [zones] and [lines] of the rig do so too",
    )  # fmt: skip
    add_serve_arguments(parser)
    add_network_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Run until the end and print the table."""
    require_positive("--seconds", args.seconds)
    cameras = choose_cameras(
        args.camera,
        args.rig,
        policy=args.policy,
        tolerance_ms=args.tolerance_ms,
        on_missing=args.on_missing,
        distance_m=args.distance,
    )
    secrets = [*secret_files(args), *cameras.secret_files(), *broker_files(args.output)]
    check_outputs(args, [*cameras.files(), *read_files(args), *secrets])
    if cameras.simulated:
        note("no rig file: ir0 and vis0 are simulated cameras")
    stop, monitor = threading.Event(), Monitor()
    with ExitStack() as stack:
        page = open_page(args, cameras, monitor, stack)
        fuser = open_fuser(
            args,
            cameras.thermal(args.range),
            cameras.registration,
            detect=not args.no_detect,
            stretch="temporal",
            visible_size=cameras.visible_size,
            watch=cameras.watch,
            at_work=monitor.alive,
        )
        stack.enter_context(fuser)
        analysis = analysis_of(cameras, fuser, track=args.track)
        outputs = Outputs(args, cameras, stop, monitor, stack)
        if page is not None:
            outputs.sinks.insert(0, page.sink)  # before what may have to wait for a disk
        note("drawing the simulated street ..." if cameras.drawn else "opening the cameras ...")
        sources = cameras.open(stack)
        mode = delivery_mode(args.mode, sources)
        sources = outputs.follow(sources, mode)
        with (
            Progress("running") as progress,
            stopped_by_signals(stop) as interrupted,
            told_to_systemd(monitor),
        ):
            tell, seconds = _teller(progress, args.seconds), args.seconds
            plan = Plan(
                sources, cameras.sync, fuser, mode, outputs.sinks, place=cameras.place, seconds=seconds,
                stop=stop, on_result=tell, outputs=outputs.counts, monitor=monitor, analyse=analysis,
                controls=None if page is None else page.controls(fuser, analysis),
            )  # fmt: skip
            report = run(plan)
        whole = outputs.finish()
        try:
            if args.json:
                say_json(report.as_dict())
            else:
                say(report.as_table())
        finally:  # a table that nobody reads must not hide it
            if report.failure is not None:
                raise report.failure
    if not report.pictures and not interrupted.is_set():
        raise WorkError("no picture was made", hint="The counters above say what became of the frames.")
    if report.lost:
        say(f"{report.lost} frames could not be read and are left out", error=True)
    return 1 if report.failed_sinks or report.lost or not whole else 0


def _teller(progress: Progress, seconds: float | None) -> Callable[[Result], None]:
    """Tells how far a run is, in capture time."""
    begun_ns: int | None = None

    def tell(result: Result) -> None:
        nonlocal begun_ns
        if begun_ns is None:
            begun_ns = result.pair.time_ns
            height, width = result.picture.shape[:2]
            note(f"first picture, {width}x{height}" + ("" if seconds else "; Ctrl-C ends the run"))
        done = (result.pair.time_ns - begun_ns) / 1e9 / seconds if seconds else None
        progress.update(done, f"{result.index + 1} pictures")

    return tell
