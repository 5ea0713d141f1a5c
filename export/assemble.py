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
from tdfusion_edge.export.lower import (
    DETECTOR_FLOAT,
    FUSION_FLOAT,
    IN_RANGE,
    Fused,
    Real,
    files_of,
    fusion_feeds,
    in_precisions,
)
from tdfusion_edge.export.model_card import fusion_metrics, model_card, task_metrics
from tdfusion_edge.export.networks import Chosen, choose
from tdfusion_edge.export.pairs import Pairs, choose_pairs
from tdfusion_edge.export.pipeline_graph import add_pipeline, served_sizes
from tdfusion_edge.export.segmentation import add_segmentation
from tdfusion_edge.pairs import Labels
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.evaluation.pairs import require_data
from tdfusion_edge.runtime.picture.units import unit_inputs

SCORE_THRESHOLD = 0.25
"""What is shown as found. Lower costs false alarms, higher misses; ``run --score-threshold`` overrides."""
SIZE = (640, 480)
"""Width and height of most cameras' pictures."""


def export(
    paths: Sequence[Path],
    output: Path,
    *,
    name: str | None = None,
    allowed: Collection[str] = (),
    threshold: float = SCORE_THRESHOLD,
    precisions: Collection[Precision] = ("fp32", "fp16"),
    size: tuple[int, int] | None = SIZE,
    data: Path | None = None,
    names: str | None = None,
    calibration: str | None = None,
    labels: Labels | None = None,
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
        size: Width and height that the cameras give; the pipeline graph takes it and sizes like it. None
            leaves that graph out. So does a segmentation network: it looks at a fused luma, which this graph
            does not give.
        data: Folder with pairs to measure on, and to calibrate INT8 with; None takes simulated ones.
        names: List of stems in ``data``; None takes all.
        calibration: List of stems in ``data`` for INT8; None takes every second pair, which is then not
            measured on.
        labels: Of the pairs in ``data``: the change of mAP50 or mIoU is measured as well.
        opset: Of all graphs.

    Raises:
        RequestError: a checkpoint does not fit its network or names a class that is not allowed, there
            is no fusion network or two, the threshold is none, pairs or labels cannot be used, the
            pipeline does not take this size, or no graph is written in this opset, or not in this precision.
        InputMissing: there are no such pairs, or one has no label file.
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
    sizes = None if size is None or chosen.segmentation is not None else served_sizes(chosen, size, opset)
    require_data(data, names=names, calibration=calibration, labels=labels)
    heads = _heads(chosen)
    pairs = choose_pairs(data, names, calibration, precisions, size, labels=labels, heads=heads)
    manifest, files = _fusion(chosen, precisions, pairs, opset)
    fused = Fused((), ())
    if chosen.detector is not None or chosen.segmentation is not None:
        fused = _fused(files[manifest["graphs"]["fusion"].files["fp32"]], pairs)
    if chosen.detector is not None:
        _add_detector(chosen, manifest, files, threshold, precisions, fused, opset)
    if chosen.segmentation is not None:
        add_segmentation(chosen.segmentation, manifest, files, precisions, fused, opset)
    elif size is not None and sizes is not None:
        add_pipeline(chosen, manifest, files, precisions, size, sizes, opset)
    card = model_card(name, chosen.fusion.header, chosen.detector, chosen.segmentation, threshold=threshold)
    manifest, files = {"name": name, **manifest}, {**files, "MODEL_CARD.md": card.encode()}
    manifest["parity"] += passed(manifest, files, pairs, size)
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


def _heads(chosen: Chosen) -> dict[str, tuple[str, ...]]:
    """Classes of what looks at the fused pictures, by its kind."""
    both = {"boxes": chosen.detector, "mask": chosen.segmentation}
    return {kind: head.view.classes for kind, head in both.items() if head is not None}


def _fusion(
    chosen: Chosen, precisions: Collection[Precision], pairs: Pairs, opset: int
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Manifest and files of a bundle that only fuses."""
    header, network, _ = chosen.fusion
    example = tuple(torch.zeros(1, 1, *PARITY_SIZES[0]) for _ in INPUTS)
    real = Real(fusion_feeds(pairs.measured[:IN_RANGE]), fusion_feeds(pairs.calibrating))
    plain = folded(network, example)
    graphs = in_precisions(plain, lambda one: fusion_onnx(one, opset), real, precisions, FUSION_FLOAT)
    names, files = files_of("fusion", graphs)
    manifest = {
        "network": header.networks["fusion"].name,
        "strategy": header.strategy,
        "created": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "graphs": {"fusion": describe(network, names, opset)},
        "heads": {},
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


def _fused(graph: bytes, pairs: Pairs) -> Fused:
    """What detector and segmentation network see of the pairs that they are looked at with."""
    if not pairs.measured:
        return Fused((), ())
    with closing(OnnxRuntimeEngine(graph)) as engine:
        ranges, calibration = (
            [engine.run(unit_inputs(pair.infrared, pair.visible))["fused"][0, 0] for pair in some]
            for some in (pairs.measured[:IN_RANGE], pairs.calibrating)
        )
    return Fused(ranges, calibration)


def _add_detector(
    chosen: Chosen,
    manifest: dict[str, Any],
    files: dict[str, bytes],
    threshold: float,
    precisions: Collection[Precision],
    fused: Fused,
    opset: int,
) -> None:
    """Put the detector beside the fusion network."""
    assert chosen.detector is not None
    header, network, view, _ = chosen.detector
    real = fused.at(view.width, view.height)
    plain = folded(network, (torch.zeros(1, 1, view.height, view.width),))
    graphs = in_precisions(
        plain, lambda one: detector_onnx(one, view, opset), real, precisions, DETECTOR_FLOAT
    )
    names, more = files_of("detector", graphs)
    files |= more
    manifest["graphs"]["detector"] = describe_detector(graphs["fp32"], view, names)
    manifest["parity"] += (detector_parity(network, graphs["fp32"], view),)
    manifest["metrics"] |= task_metrics(header)
    rows = (*chosen.fusion.header.training_data, *header.training_data)
    manifest["training_data"] = tuple(dict.fromkeys(rows))
    manifest["heads"]["detector"] = bundle.HeadInfo(
        kind="boxes", network=header.networks["task"].name, classes=view.classes, score_threshold=threshold
    )
