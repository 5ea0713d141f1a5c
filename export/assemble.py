"""From checkpoints to a bundle: networks to graphs in every precision, through the gate, written whole."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import onnx
import onnxsim
import torch

from tdfusion_edge import __version__, bundle
from tdfusion_edge.bundle import Precision
from tdfusion_edge.console import say
from tdfusion_edge.errors import RequestError
from tdfusion_edge.export.detector import describe_detector, detector_onnx, detector_parity
from tdfusion_edge.export.fold import folded
from tdfusion_edge.export.gate import passed
from tdfusion_edge.export.graph import (
    INPUTS,
    LEGACY,
    OPSET,
    OPSETS,
    PARITY_SIZES,
    describe,
    fusion_onnx,
    parity,
)
from tdfusion_edge.export.lower import detector_feeds, files_of, fusion_feeds, in_precisions
from tdfusion_edge.export.model_card import fusion_metrics, model_card, task_metrics
from tdfusion_edge.export.networks import Chosen, choose
from tdfusion_edge.export.segmentation import add_segmentation
from tdfusion_edge.runtime.chains import fuser
from tdfusion_edge.runtime.detection import F32
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.parity import Views
from tdfusion_edge.runtime.parity_pairs import described, views

SCORE_THRESHOLD = 0.25
"""What is shown as found. Lower costs false alarms, higher misses; ``run --score-threshold`` overrides."""


def export(
    paths: Sequence[Path],
    output: Path,
    *,
    name: str | None = None,
    allowed: Collection[str] = (),
    threshold: float = SCORE_THRESHOLD,
    precisions: Collection[Precision] = ("fp32", "fp16"),
    data: Path | None = None,
    names: str | None = None,
    opset: int = OPSET,
) -> bundle.Manifest:
    """Export one or more checkpoints.

    Args:
        paths: Checkpoints; which network comes from which, see
            :func:`~tdfusion_edge.export.networks.choose`.
        output: Bundle to write: a folder or a ``.zip``.
        name: Name of the bundle; the recipe's of the fusion network for None.
        allowed: "module:Class" that the checkpoints may name beside the networks of this package.
        threshold: Score above which a detection counts.
        precisions: float32 is always among what is written.
        data: Folder with pairs to measure on, and to calibrate INT8 with; None takes simulated ones.
        names: List of stems in ``data``; None takes all.
        opset: Of all graphs.

    Raises:
        RequestError: a checkpoint does not fit its network or names a class that is not allowed, there
            is no fusion network or two, the threshold is none, or no graph is written in this opset, or not
            in this precision.
        InputMissing: there are no such pairs.
        ExportError: a graph does not reproduce its network, or a precision costs more than its limits;
            nothing is written.
    """
    if not 0 <= threshold <= 1:
        raise RequestError("--score-threshold", expected="0 to 1", got=f"{threshold:g}")
    _check_opset(opset, precisions)
    chosen = choose(paths, allowed)
    for note in chosen.notes:
        say(note, error=True)
    name = name or chosen.fusion.header.recipe
    # float32 is compared with PyTorch on random pictures: only what is below it needs pairs.
    pairs = list(views(data, names)) if set(precisions) - {"fp32"} else []
    manifest, files = _fusion(chosen, precisions, pairs, opset)
    fused = []
    if chosen.detector is not None or chosen.segmentation is not None:
        fused = _fused(files[manifest["graphs"]["fusion"].files["fp32"]], pairs)
    if chosen.detector is not None:
        _add_detector(chosen, manifest, files, threshold, precisions, fused, opset)
    if chosen.segmentation is not None:
        add_segmentation(chosen.segmentation, manifest, files, precisions, fused, opset)
    card = model_card(name, chosen.fusion.header, chosen.detector, chosen.segmentation, threshold=threshold)
    manifest, files = {"name": name, **manifest}, {**files, "MODEL_CARD.md": card.encode()}
    manifest["parity"] += passed(manifest, files, pairs, described(data, len(pairs)))
    return bundle.write(output, manifest, files)


def _check_opset(opset: int, precisions: Collection[Precision]) -> None:
    if opset not in OPSETS:
        raise RequestError("--opset", expected=f"{OPSETS[0]} to {OPSETS[-1]}", got=str(opset))
    # What is for TensorRT 8 alone is given nothing that TensorRT 8 is not: it does not keep a graph's types.
    if opset <= LEGACY and (lower := sorted(set(precisions) - {"fp32"})):
        raise RequestError(
            f"--opset {opset} in {', '.join(lower)}",
            expected="fp32, the one precision that is safe in TensorRT 8",
            hint=f"Give --precision fp32, or --opset {LEGACY + 1} or later for newer versions.",
        )


def _fusion(
    chosen: Chosen, precisions: Collection[Precision], pairs: Sequence[Views], opset: int
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Manifest and files of a bundle that only fuses."""
    header, network, _ = chosen.fusion
    example = tuple(torch.zeros(1, 1, *PARITY_SIZES[0]) for _ in INPUTS)
    graphs = in_precisions(
        folded(network, example), lambda one: fusion_onnx(one, opset), fusion_feeds(pairs), precisions
    )
    names, files = files_of("fusion", graphs)
    manifest = {
        "network": header.networks["fusion"].name,
        "strategy": header.strategy,
        "created": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "graphs": {"fusion": describe(network, names, opset)},
        "training_data": header.training_data,
        "metrics": fusion_metrics(header),
        "parity": (parity(network, graphs["fp32"]),),
        "versions": {
            "tdfusion-edge": __version__,
            "torch": str(torch.__version__),
            "onnx": onnx.__version__,
            "onnxsim": onnxsim.__version__,
        },
    }
    return manifest, files


def _fused(graph: bytes, pairs: Sequence[Views]) -> list[F32]:
    """What detector and segmentation network see of each pair."""
    if not pairs:
        return []
    with closing(OnnxRuntimeEngine(graph)) as engine:
        fuse = fuser(engine)
        return [fuse(pair.infrared, pair.visible) for pair in pairs]


def _add_detector(
    chosen: Chosen,
    manifest: dict[str, Any],
    files: dict[str, bytes],
    threshold: float,
    precisions: Collection[Precision],
    fused: Sequence[F32],
    opset: int,
) -> None:
    """Put the detector beside the fusion network."""
    assert chosen.detector is not None
    header, network, view, _ = chosen.detector
    plain = folded(network, (torch.zeros(1, 1, view.height, view.width),))
    feeds = detector_feeds(fused, view.width, view.height)
    graphs = in_precisions(plain, lambda one: detector_onnx(one, view, opset), feeds, precisions)
    names, more = files_of("detector", graphs)
    files |= more
    manifest["graphs"]["detector"] = describe_detector(graphs["fp32"], view, names)
    manifest["parity"] += (detector_parity(network, graphs["fp32"], view),)
    manifest["metrics"] |= task_metrics(header)
    rows = (*chosen.fusion.header.training_data, *header.training_data)
    manifest["training_data"] = tuple(dict.fromkeys(rows))
    manifest |= {
        "detector": header.networks["task"].name,
        "classes": view.classes,
        "score_threshold": threshold,
    }
