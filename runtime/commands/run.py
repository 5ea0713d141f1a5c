"""Stream two cameras into one fused picture.

  tdfusion-edge run --camera ir0,vis0 --seconds 10 --output fused.mp4

--camera takes two names of the rig, or two addresses: sim://ir, v4l2:///dev/video0?format=Y16, a
video file, a folder of images. Without a rig file, ir0 and vis0 are simulated cameras.
Where the bundle has a detector, pictures show its boxes, and an output out.jsonl lists them.
Ctrl-C ends a run properly: every file is closed, and the table is printed.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import msgspec

from tdfusion_edge import bundle
from tdfusion_edge.console import say
from tdfusion_edge.errors import RequestError, WorkError
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.commands.engine_options import add_engine_arguments, choice_of, progress_shower
from tdfusion_edge.runtime.engines import Choice, open_graph
from tdfusion_edge.runtime.folded import Folded, open_folded
from tdfusion_edge.runtime.heads.boxes import Detector, open_detector
from tdfusion_edge.runtime.heads.masks import open_segmenter
from tdfusion_edge.runtime.pairing.streams import Mode
from tdfusion_edge.runtime.picture.draw import with_boxes
from tdfusion_edge.runtime.picture.fusion import Fusion
from tdfusion_edge.runtime.picture.stretch import Stretch, StretchName
from tdfusion_edge.runtime.pipeline.files import Networks
from tdfusion_edge.runtime.pipeline.loop import Plan, run
from tdfusion_edge.runtime.pipeline.signals import stopped_by_signals
from tdfusion_edge.runtime.sinks import Sink, open_sink
from tdfusion_edge.runtime.sources import open_source
from tdfusion_edge.runtime.sources import uri as addresses
from tdfusion_edge.runtime.sources.base import Source

FOLDED_ON = ("tensorrt", "tensorrt-rtx")
"""Where a pass through all networks at once saves the ways between them. Torch-TensorRT builds none of it."""
SHOWN_CLASSES = 6
"""So many classes of a detector are named at the start."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--camera", required=True, metavar="IR,VIS", help="two cameras, infrared first")
    parser.add_argument(
        "--rig", type=Path, metavar="FILE", help="rig file (default: $TDFUSION_RIG, ./rig.toml)"
    )
    parser.add_argument(
        "-o", "--output", action="append", default=[], metavar="OUT",
        help="out.mp4, out.mkv, out.jsonl or a folder for PNGs; may be given several times",
    )  # fmt: skip
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
        "single: show it alone once the other camera is silent (default: the rig's, else single)",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance-ms", type=float, metavar="MS",
        help="largest time difference in a pair (default: the rig's, else 20)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the final figures as JSON")
    parser.add_argument(
        "--no-detect", action="store_true",
        help="leave the bundle's detector and segmentation out: no boxes and masks, less work",
    )  # fmt: skip
    parser.add_argument(
        "--no-boxes", action="store_true", help="draw no boxes and masks; out.jsonl still tells of them"
    )
    add_network_arguments(parser)


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that ``run`` and ``fuse`` share."""
    parser.add_argument(
        "--bundle", type=bundle.place, default=bundle.default_path(), metavar="BUNDLE",
        help="path of a bundle, or the name of a shipped one: edge, edge_fixed (default: edge)",
    )  # fmt: skip
    add_engine_arguments(parser)
    parser.add_argument(
        "--graphs", choices=("auto", "staged", "folded"), default="auto",
        help="staged: network by network; folded: all in one graph, whose stretch is a picture behind "
        "(default: folded on a GPU where the bundle has it and the picture fits)",
    )  # fmt: skip
    parser.add_argument(
        "--score-threshold", type=float, metavar="X",
        help="only what the detector gives a higher score counts, 0 to 1 (default: the bundle's)",
    )  # fmt: skip
    parser.add_argument("--range", choices=get_args(rig.RangeName), help="how infrared becomes 8 bits")
    parser.add_argument(
        "--stretch", choices=get_args(StretchName),
        help="output stretch (default: temporal for streams and videos, image for pictures)",
    )  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Run until the end and print the table."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    path = rig.find(args.rig)
    (ir_name, ir), (vis_name, vis) = rig.choose(chosen := rig.read(path), _two_names(args.camera))
    sync, stop = sync_options(chosen.sync, args), threading.Event()
    refuse_clashes(args.output, [place for camera in (ir, vis) if (place := _file_of(camera)) is not None])
    if ir.uri.startswith("sim:") and path is None and "://" not in args.camera:
        say("no rig file: ir0 and vis0 are simulated cameras", error=True)
    with ExitStack() as stack:
        networks = open_networks(args, stack, ir, chosen.registration, detect=not args.no_detect)
        sinks = open_sinks(args, stop)
        sources = open_sources({"infrared": (ir_name, ir), "visible": (vis_name, vis)}, stack)
        mode = delivery_mode(args.mode, sources)
        fusion, detector = networks.stage("temporal"), networks.detector
        folded, seconds = networks.folded, args.seconds
        plan = Plan(
            sources,
            sync,
            fusion,
            sinks,
            mode,
            detector,
            networks.segmenter,
            folded,
            seconds=seconds,
            stop=stop,
        )
        with stopped_by_signals(stop) as interrupted:
            report = run(plan)
    say(json.dumps(report.as_dict()) if args.json else report.as_table())
    if report.failure is not None:
        raise report.failure
    if not report.pictures and not interrupted.is_set():
        raise WorkError("no picture was made", hint="The counters above say what became of the frames.")
    return 0


def open_sinks(args: argparse.Namespace, stop: threading.Event) -> list[Sink]:
    """The outputs asked for; a window that is closed sets ``stop``."""
    picture = None if args.no_boxes else with_boxes
    sinks: list[Sink] = [open_sink(output, picture=picture) for output in args.output]
    if args.show:
        from tdfusion_edge.runtime.sinks.window import WindowSink

        sinks.append(WindowSink(picture=picture, on_close=stop.set))
    return sinks


def open_sources(
    cameras: Mapping[rig.Role, tuple[str, rig.Camera]], stack: ExitStack
) -> dict[rig.Role, Source]:
    """Both cameras on one epoch, closed by ``stack``.

    Raises:
        RequestError: one is live and the other recorded.
    """
    epoch_ns = time.monotonic_ns()
    sources: dict[rig.Role, Source] = {}
    for role, (name, camera) in cameras.items():
        sources[role] = open_source(name, camera, role, epoch_ns=epoch_ns)
        stack.callback(sources[role].close)
    kinds = ["live" if source.live else "recorded" for source in sources.values()]
    if kinds[0] != kinds[1]:
        raise RequestError(
            "the two cameras do not share a clock",
            expected="two live or two recorded",
            got=" and ".join(kinds),
        )
    return sources


def delivery_mode(asked: Mode | None, sources: Mapping[rig.Role, Source]) -> Mode:
    """What ``--mode`` asks for, or what the sources need.

    Raises:
        RequestError: ``latest`` for recordings: which frames it would drop depends on the machine.
    """
    live = any(source.live for source in sources.values())
    if asked == "latest" and not live:
        raise RequestError("--mode latest is for live cameras", expected="every for files", got="latest")
    return asked or ("latest" if live else "every")


def open_networks(
    args: argparse.Namespace,
    stack: ExitStack,
    infrared: rig.Camera,
    registration: rig.Registration | None,
    *,
    detect: bool,
    stretch: StretchName = "temporal",
) -> Networks:
    """Load the networks; fusion stages that come out share theirs.

    Args:
        args: The command line.
        stack: Closes them.
        infrared: The infrared camera.
        registration: Of the rig.
        detect: Whether the bundle's detector and segmentation are wanted.
        stretch: The output stretch where the command line names none.

    Raises:
        RequestError: options that do not fit.
        BundleError: the bundle is damaged.
        EngineError: a network cannot be loaded.
    """
    choice = choice_of(args)
    opened = bundle.read(args.bundle)
    backend, precision, engine = open_graph(opened, "fusion", choice, progress_shower("fusion"))
    stack.callback(engine.close)
    detector = _open_detector(args, opened, choice, detect=detect)
    if detector is not None:
        stack.callback(detector.close)
    segmenter = open_segmenter(opened, choice, progress_shower("segmentation")) if detect else None
    if segmenter is not None:
        stack.callback(segmenter.close)
    if args.range is not None:
        infrared = with_range(infrared, args.range)
    mode: StretchName = args.stretch or stretch
    folded = _open_folded(args, opened, choice, backend, precision, detect=detect, stretch=mode)
    if folded is not None:
        stack.callback(folded.close)
    finds = "" if detector is None else f", detects {_listed(detector.names)}"
    finds += "" if segmenter is None else f", segments {_listed(segmenter.names)}"
    one = "" if folded is None else f", in one graph for {folded.sizes}"
    say(f"bundle {opened.manifest.name}, back end {backend}, {precision}{one}{finds}", error=True)

    def stage(default: StretchName) -> Fusion:
        shown = Stretch(args.stretch or default)
        return Fusion(opened, engine, infrared, registration, shown, split_early=folded is None)

    return Networks(stage, detector, segmenter, folded)


def _open_folded(
    args: argparse.Namespace,
    opened: bundle.Bundle,
    choice: Choice,
    backend: str,
    precision: bundle.Precision,
    *,
    detect: bool,
    stretch: StretchName,
) -> Folded | None:
    """The pipeline graph where ``--graphs`` asks for it, or the back end gains by it."""
    graph = opened.manifest.graphs.get(bundle.ONE_PASS)
    there = graph is not None and precision in graph.files
    demanded = args.graphs == "folded"
    if demanded and stretch == "image":
        raise RequestError(
            "--graphs folded", expected="--stretch temporal or none", got=f"--stretch {stretch}"
        )
    gains = backend in FOLDED_ON and there and detect and stretch != "image"
    wanted = demanded or (args.graphs == "auto" and gains)
    if not wanted:
        return None
    if not there:
        raise RequestError(
            "--graphs folded",
            expected=f"a bundle with a pipeline graph in {precision}",
            got=f"bundle '{opened.manifest.name}' with {_in_words(opened.manifest)}",
            hint=_why_not_folded(opened.manifest, precision),
        )
    shower = progress_shower("pipeline")
    threshold = args.score_threshold
    return open_folded(opened, choice, threshold=threshold, demanded=demanded, on_progress=shower)


def _why_not_folded(manifest: bundle.Manifest, precision: bundle.Precision) -> str:
    if manifest.head("mask"):
        return "A bundle with masks has none: leave --graphs out."
    if precision == "int8":
        return "There is none in INT8: leave --graphs out, or give --precision fp16."
    return "Leave --graphs out, or export the bundle again."


def _in_words(manifest: bundle.Manifest) -> str:
    return ", ".join(f"{name} in {' and '.join(graph.files)}" for name, graph in manifest.graphs.items())


def _open_detector(
    args: argparse.Namespace, opened: bundle.Bundle, choice: Choice, *, detect: bool
) -> Detector | None:
    threshold = args.score_threshold
    if threshold is not None and not 0 <= threshold <= 1:
        raise RequestError("--score-threshold", expected="0 to 1", got=f"{threshold:g}")
    detector = None
    if detect:
        detector = open_detector(opened, choice, threshold=threshold, on_progress=progress_shower("detector"))
    if detector is None and threshold is not None:
        raise RequestError(
            "--score-threshold, but nothing is detected",
            expected="a bundle with a detector, and its boxes to be asked for",
            got=f"bundle '{opened.manifest.name}' with {', '.join(opened.manifest.graphs)}",
        )
    return detector


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN_CLASSES]) + (", ..." if len(names) > SHOWN_CLASSES else "")


def with_range(camera: rig.Camera, mode: rig.RangeName) -> rig.Camera:
    """The camera with another range mode.

    Raises:
        RequestError: ``linear`` where the rig gives no counts.
    """
    try:
        return msgspec.structs.replace(camera, range=msgspec.structs.replace(camera.range, mode=mode))
    except ValueError as error:
        raise RequestError(
            f"--range {mode}: {error}", hint="Set low and high in [cameras.NAME.range] of a rig file."
        ) from error


def sync_options(sync: rig.Sync, args: argparse.Namespace) -> rig.Sync:
    """``[sync]`` of the rig with what the command line overrides."""
    for option, value in (("--tolerance-ms", args.tolerance_ms), ("--seconds", args.seconds)):
        if value is not None and not 0 < value < math.inf:
            raise RequestError(option, expected="more than 0 and finite", got=f"{value:g}")
    changes = {"policy": args.policy, "tolerance_ms": args.tolerance_ms}
    return msgspec.structs.replace(
        sync, **{key: value for key, value in changes.items() if value is not None}
    )


def refuse_clashes(outputs: Sequence[str], inputs: Sequence[Path]) -> None:
    """Refuse two outputs in one place, and an output that would replace an input.

    Raises:
        RequestError: the first clash.
    """
    taken = {path.resolve(): "an input" for path in inputs}
    for output in outputs:
        place = Path(output).resolve()
        if place in taken:
            raise RequestError(f"--output {output} is {taken[place]} already", expected="another name")
        taken[place] = "an output"


def _file_of(camera: rig.Camera) -> Path | None:
    """The file or folder behind a camera's address; None for a device or a simulation."""
    uri = addresses.parse(camera.uri)
    return uri.local_path() if uri.scheme == "file" else None


def _two_names(camera: str) -> tuple[str, str]:
    names = camera.split(",")
    if len(names) != 2 or not all(names):
        raise RequestError(
            f"--camera {camera}",
            expected="two names or addresses, infrared first: ir0,vis0",
            got=str(len(names)),
        )
    return names[0], names[1]
