"""The networks of ``run`` and ``fuse``: their options, and the Fuser that they ask for."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from tdfusion_edge import bundle
from tdfusion_edge.arguments import bundle_path
from tdfusion_edge.console import note
from tdfusion_edge.pairs.source import parse_classes
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.commands.engine_options import add_engine_arguments, choice_of, progress_shower
from tdfusion_edge.runtime.engines.base import OnProgress
from tdfusion_edge.runtime.engines.base import Progress as Building
from tdfusion_edge.runtime.executors import GRAPHS
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.picture.stretch import StretchName
from tdfusion_edge.runtime.picture.watch import Watch


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which networks run, on what, and what becomes of their output."""
    parser.add_argument(
        "--bundle", type=bundle_path, default=bundle.default_path(), metavar="BUNDLE",
        help="path of a bundle, or the name of a shipped one (default: edge)",
    )  # fmt: skip
    add_engine_arguments(parser)
    parser.add_argument(
        "--graphs", choices=GRAPHS, default="auto",
        help="staged: network by network; onepass: all in one graph, whose stretch is a picture behind "
        "(default: onepass on a GPU where the bundle has it and the picture fits)",
    )  # fmt: skip
    parser.add_argument(
        "--score-threshold", type=float, metavar="X",
        help="only what the detector gives a higher score counts, 0 to 1 (default: the bundle's; 0.25 for "
        "--detector)",
    )  # fmt: skip
    add_detector_arguments(parser, default="all 80")
    parser.add_argument("--range", choices=get_args(rig.RangeName), help="how infrared becomes 8 bits")
    parser.add_argument(
        "--stretch", choices=get_args(StretchName),
        help="output stretch (default: temporal for streams and videos, image for pictures)",
    )  # fmt: skip


def add_detector_arguments(parser: argparse.ArgumentParser, *, default: str) -> None:
    """Declare a detector that stands in for the bundle's.

    Args:
        parser: Of the command.
        default: Which of its classes are taken where none are named, for people.
    """
    parser.add_argument(
        "--detector", type=Path, metavar="FILE.onnx",
        help="use this detector, unchanged, in place of the bundle's: YOLOX, NanoDet, YOLOv8 or alike, with "
        "COCO's 80 classes; on the CPU. It sees the fused picture in the visible camera's colours",
    )  # fmt: skip
    parser.add_argument(
        "--detector-classes", metavar="NAME,NAME",
        help="which of COCO's classes --detector is to find, as person,bicycle,car; car takes in bus and "
        f"truck unless they are named too (default: {default})",
    )  # fmt: skip


def detector_classes(args: argparse.Namespace) -> tuple[str, ...] | None:
    """The names of ``--detector-classes``; None where it is not there.

    Raises:
        RequestError: a name is empty or there twice.
    """
    given: str | None = args.detector_classes
    return None if given is None else parse_classes(given, "--detector-classes")


def read_files(args: argparse.Namespace) -> list[Path]:
    """Files and folders of the networks and the rig, as far as the command line names them."""
    return [path for path in (args.bundle, args.detector, args.rig) if path is not None]


def open_fuser(
    args: argparse.Namespace,
    thermal: rig.ThermalRange,
    registration: rig.Registration | None,
    *,
    detect: bool,
    stretch: StretchName,
    visible_size: rig.Size | None = None,
    watch: Watch = Watch(),  # noqa: B008 (immutable)
    at_work: Callable[[], None] = lambda: None,
) -> Fuser:
    """What the command line asks for, and a line that says so.

    Args:
        args: The command line.
        thermal: How infrared becomes 8 bits.
        registration: Of the rig.
        detect: Whether the bundle's heads are wanted.
        stretch: The output stretch where the command line names none.
        visible_size: Width and height of the visible pictures, where the rig tells them.
        watch: When a camera is left out because of what it shows.
        at_work: Called while an engine is built, which takes minutes.

    Raises:
        RequestError: options that do not fit.
        BundleError: the bundle is damaged.
        EngineError: a network cannot be loaded.
    """
    choice = choice_of(args)

    def on_progress(graph: str) -> OnProgress:
        show = progress_shower(graph)

        def tell(progress: Building) -> None:
            at_work()
            show(progress)

        return tell

    note(f"loading bundle {args.bundle.name} ...")
    fuser = Fuser(
        args.bundle,
        **choice._asdict(),
        graphs=args.graphs,
        detect=detect,
        score_threshold=args.score_threshold,
        detector=args.detector,
        detector_classes=detector_classes(args),
        range=thermal,
        stretch=args.stretch or stretch,
        registration=registration,
        visible_size=visible_size,
        watch=watch,
        on_progress=on_progress,
    )
    note(str(fuser))
    return fuser
