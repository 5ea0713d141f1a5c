"""Turn checkpoints into a bundle that the runtime loads.

  tdfusion-edge export edge/best.safetensors -o bundle
  tdfusion-edge export edge/best.safetensors detector/best.safetensors -o bundle
  tdfusion-edge export edge/best.safetensors -o bundle --opset 17   # for TensorRT 8

The fusion network of the first checkpoint that has one becomes an ONNX graph with free height and
width, the last task network of each kind (boxes, mask) becomes a graph of the size it was trained at, all in
every --precision; fusion and detector become one graph more, but for INT8. float32 is
compared with PyTorch and the others with float32, on the pairs of --data or on simulated ones, and FP16 is
searched for numbers that it does not hold: where one limit is passed, no bundle is written. With --labels the
detector's mAP50 is measured too and may not move. INT8 is never measured on the pairs that it was calibrated
on.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import get_args

from tdfusion_edge.arguments import file_name
from tdfusion_edge.bundle import Precision
from tdfusion_edge.clashes import refuse_clashes
from tdfusion_edge.console import say
from tdfusion_edge.errors import RequestError
from tdfusion_edge.export.assemble import SCORE_THRESHOLD, export
from tdfusion_edge.export.engines import add_engine_arguments, prepared
from tdfusion_edge.export.gate import in_words
from tdfusion_edge.export.graph import LEGACY, OPSET, OPSETS
from tdfusion_edge.pairs.reader import find_files
from tdfusion_edge.pairs.source import PairSource, labels_of
from tdfusion_edge.runtime.commands.engines import sizes_of
from tdfusion_edge.runtime.evaluation.pairs import add_pair_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "checkpoints", type=Path, nargs="+", metavar="CHECKPOINT", help="best.safetensors of a training"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="BUNDLE", help="folder, or a .zip"
    )
    parser.add_argument("--name", help="name of the bundle (default: the recipe's of the fusion network)")
    parser.add_argument(
        "--network", action="append", default=[], metavar="MODULE:CLASS",
        help="allow this class of your own, where a checkpoint names it; a checkpoint alone imports none; "
        "may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--score-threshold", type=float, default=SCORE_THRESHOLD, metavar="X",
        help="what the detector gives a higher score counts, 0 to 1 (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--precision", metavar="P,P",
        help="fp32, fp16 and int8, which needs pairs to be calibrated on "
        "(default: fp32,fp16; fp32 for opset 17)",
    )  # fmt: skip
    parser.add_argument(
        "--opset", type=int, default=OPSET, choices=OPSETS, metavar="N",
        help="version of ONNX's operators, 17 to 20; TensorRT 8 reads 17 at most (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--no-heads", action="store_true",
        help="the fusion network alone, for a detector of your own, or where the trained one does not bear "
        "a precision",
    )  # fmt: skip
    add_pair_arguments(parser)
    parser.add_argument(
        "--plugins", action="store_true",
        help="let our own kernel stand for the fusion network `edge` in the one-pass graph in fp16: TensorRT "
        "from 10.3 on launches it, other back ends run the network that lies beside it",
    )  # fmt: skip
    parser.add_argument(
        "--no-onepass", action="store_true", help="leave out the graph that holds fusion and detector in one"
    )
    parser.add_argument("--no-pipeline", dest="no_onepass", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--calibration", type=file_name, metavar="FILE",
        help="list of stems in DIR to calibrate int8 on, none of which is measured on (default: every "
        "second pair calibrates, and the others are measured on)",
    )  # fmt: skip
    add_engine_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Export and say what was measured."""
    pairs = [] if args.data is None else find_files(args.data, PairSource()).folders
    refuse_clashes([("--output", args.output)], [*args.checkpoints, *pairs])
    build_engines = prepared(args)
    manifest = export(
        args.checkpoints,
        args.output,
        name=args.name,
        heads=not args.no_heads,
        allowed=args.network,
        threshold=args.score_threshold,
        precisions=precisions_of(args.precision or ("fp32" if args.opset <= LEGACY else "fp32,fp16")),
        size=None if args.no_onepass else sizes_of(args.size)[0],
        data=args.data,
        names=args.names,
        calibration=args.calibration,
        labels=labels_of(args),
        opset=args.opset,
        plugins=args.plugins,
    )
    heads = [f"{name} of {', '.join(head.classes)}" for name, head in manifest.heads.items()]
    finds = f" with {' and '.join(heads)}" if heads else ""
    say(f"wrote {args.output}{finds}")
    for row in manifest.parity:
        say(in_words(row))
    if build_engines is not None:
        build_engines()
    else:
        say(f"next: tdfusion-edge run --bundle {shlex.quote(str(args.output))} --camera ir0,vis0")
    return 0


def precisions_of(text: str) -> tuple[Precision, ...]:
    """What ``--precision`` asks for.

    Raises:
        RequestError: something else than precisions.
    """
    known: tuple[Precision, ...] = get_args(Precision)
    asked = [part.strip() for part in text.split(",")]
    if unknown := [part for part in asked if part not in known]:
        raise RequestError(f"--precision {text}", expected=", ".join(known), got=unknown[0] or "nothing")
    return tuple(one for one in known if one in asked)
