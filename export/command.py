"""Turn checkpoints into a bundle that the runtime loads.

  tdfusion-edge export edge/best.safetensors -o bundle
  tdfusion-edge export edge/best.safetensors detector/best.safetensors -o bundle

The fusion network of the first checkpoint that has one becomes an ONNX graph with free height and
width, the detector of the last one that has one a graph of the size it was trained at. Both are
compared with PyTorch before anything is written; beyond the tolerance no bundle is written.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxsim
import torch

from tdfusion_edge import __version__, bundle
from tdfusion_edge.console import say
from tdfusion_edge.errors import RequestError
from tdfusion_edge.export.detector import describe_detector, detector_onnx, detector_parity
from tdfusion_edge.export.graph import describe, fusion_onnx, parity
from tdfusion_edge.export.model_card import fusion_metrics, model_card, task_metrics
from tdfusion_edge.export.networks import Chosen, choose

GRAPH_FILE = "fusion.onnx"
DETECTOR_FILE = "detector.onnx"
SCORE_THRESHOLD = 0.25
"""What is shown as found. Lower costs false alarms, higher misses; ``run --score-threshold`` overrides."""


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


def main(args: argparse.Namespace) -> int:
    """Export and say what was measured."""
    manifest = export(
        args.checkpoints, args.output, name=args.name, allowed=args.network, threshold=args.score_threshold
    )
    say(f"wrote {args.output}: ONNX differs from PyTorch by at most {manifest.parity['fp32_max_abs']:.1e}")
    if "detector" in manifest.graphs:
        pixels, scores = manifest.parity["detector_boxes_px"], manifest.parity["detector_scores"]
        say(
            f"detector of {', '.join(manifest.classes)}: boxes by {pixels:.1e} pixels, scores by {scores:.1e}"
        )
    say(f"next: tdfusion-edge run --bundle {args.output} --camera ir0,vis0")
    return 0


def export(
    paths: Sequence[Path],
    output: Path,
    *,
    name: str | None = None,
    allowed: Collection[str] = (),
    threshold: float = SCORE_THRESHOLD,
) -> bundle.Manifest:
    """Export one or more checkpoints.

    Args:
        paths: Checkpoints; which network comes from which, see
            :func:`~tdfusion_edge.export.networks.choose`.
        output: Bundle to write: a folder or a ``.zip``.
        name: Name of the bundle; the recipe's of the fusion network for None.
        allowed: "module:Class" that the checkpoints may name beside the networks of this package.
        threshold: Score above which a detection counts.

    Raises:
        RequestError: a checkpoint does not fit its network or names a class that is not allowed, there
            is no fusion network or two, or the threshold is none.
        ExportError: a graph does not reproduce its network; nothing is written.
    """
    if not 0 <= threshold <= 1:
        raise RequestError("--score-threshold", expected="0 to 1", got=f"{threshold:g}")
    chosen = choose(paths, allowed)
    for note in chosen.notes:
        say(note, error=True)
    name = name or chosen.fusion.header.recipe
    manifest, files = _fusion(chosen)
    detector = None
    if chosen.detector is not None:
        detector = chosen.detector.header
        _add_detector(chosen, manifest, files, threshold)
    card = model_card(name, chosen.fusion.header, detector, threshold=threshold, matched=chosen.matched)
    return bundle.write(output, {"name": name, **manifest}, {**files, "MODEL_CARD.md": card.encode()})


def _fusion(chosen: Chosen) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Manifest and files of a bundle that only fuses."""
    header, network, _ = chosen.fusion
    graph = fusion_onnx(network)
    manifest = {
        "network": header.networks["fusion"].name,
        "strategy": header.strategy,
        "created": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "graphs": {"fusion": describe(network, GRAPH_FILE)},
        "training_data": header.training_data,
        "metrics": fusion_metrics(header),
        "parity": parity(network, graph),
        "versions": {
            "tdfusion-edge": __version__,
            "torch": str(torch.__version__),
            "onnx": onnx.__version__,
            "onnxsim": onnxsim.__version__,
        },
    }
    return manifest, {GRAPH_FILE: graph}


def _add_detector(
    chosen: Chosen, manifest: dict[str, Any], files: dict[str, bytes], threshold: float
) -> None:
    """Put the detector beside the fusion network."""
    assert chosen.detector is not None
    header, network, view = chosen.detector
    graph = detector_onnx(network, view)
    differences = detector_parity(network, graph, view)
    files[DETECTOR_FILE] = graph
    manifest["graphs"]["detector"] = describe_detector(graph, view, DETECTOR_FILE)
    manifest["parity"] |= {
        "detector_boxes_px": differences.boxes_px,
        "detector_scores": differences.scores,
    }
    manifest["metrics"] |= task_metrics(header)
    rows = (*chosen.fusion.header.training_data, *header.training_data)
    manifest["training_data"] = tuple(dict.fromkeys(rows))
    manifest |= {
        "detector": header.networks["task"].name,
        "classes": view.classes,
        "score_threshold": threshold,
    }
