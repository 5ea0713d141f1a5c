"""From checkpoints to a bundle: networks to graphs in every precision, through the gate, written whole."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxsim
import torch

from tdfusion_edge import __version__, bundle
from tdfusion_edge.bundle import ONE_PASS, Precision
from tdfusion_edge.console import note
from tdfusion_edge.errors import RequestError
from tdfusion_edge.export.fusion import fused_pictures, fusion_part
from tdfusion_edge.export.gate import in_words, passed
from tdfusion_edge.export.graph import LEGACY, OPSET, OPSETS
from tdfusion_edge.export.heads import KINDS
from tdfusion_edge.export.heads.graph import head_part
from tdfusion_edge.export.model_card import Made, model_card
from tdfusion_edge.export.networks import Chosen, choose
from tdfusion_edge.export.onepass_graph import onepass_part, served_sizes
from tdfusion_edge.export.pairs import choose_pairs
from tdfusion_edge.export.part import total
from tdfusion_edge.export.plugins import require_kernel
from tdfusion_edge.export.provenance import commands, export_command
from tdfusion_edge.pairs import Labels
from tdfusion_edge.runtime.evaluation.pairs import require_data

SCORE_THRESHOLD = 0.25
"""Only boxes with a higher score count. A lower one costs false alarms, a higher one misses;
``run --score-threshold`` overrides it."""
SIZE = (640, 480)
"""Width and height of most cameras' pictures."""


def export(
    paths: Sequence[Path],
    output: Path,
    *,
    name: str | None = None,
    heads: bool = True,
    allowed: Collection[str] = (),
    threshold: float = SCORE_THRESHOLD,
    precisions: Collection[Precision] = ("fp32", "fp16"),
    size: tuple[int, int] | None = SIZE,
    data: Path | None = None,
    names: str | None = None,
    calibration: str | None = None,
    labels: Labels | None = None,
    opset: int = OPSET,
    plugins: bool = False,
) -> bundle.Manifest:
    """Export one or more checkpoints.

    Args:
        paths: Checkpoints; which network comes from which, see
            :func:`~tdfusion_edge.export.networks.choose`.
        output: Bundle to write: a folder or a ``.zip``.
        name: Name of the bundle; the recipe's of the fusion network for None.
        heads: Whether task networks come along; without them it is a bundle of the fusion network alone.
        allowed: "module:Class" that the checkpoints may name beside the networks of this package.
        threshold: Score above which a detection counts.
        precisions: float32 is always among what is written.
        size: Width and height that the cameras give; the one-pass graph takes it and sizes like it. None
            leaves that graph out. So does a head other than a detector: it looks at a fused luma, which this
            graph does not give.
        data: Folder with pairs to measure on, and to calibrate INT8 with; None takes simulated ones.
        names: List of stems in ``data``; None takes all.
        calibration: List of stems in ``data`` for INT8; None takes every second pair, which is then not
            measured on.
        labels: Of the pairs in ``data``: the change of mAP50 or mIoU is measured as well.
        opset: Of all graphs.
        plugins: Our kernel stands for the fusion network in the one-pass graph in FP16, for TensorRT.

    Raises:
        RequestError: a checkpoint does not fit its network or names a class that is not allowed, there
            is no fusion network or two, the threshold is none, pairs or labels cannot be used, the one-pass
            graph does not take this size, or no graph is written in this opset, or not in this precision.
        InputMissing: there are no such pairs, or one has no label file.
        ExportError: a graph does not reproduce its network, or a precision costs more than its limits;
            nothing is written.
    """
    if not 0 <= threshold <= 1:
        raise RequestError("--score-threshold", expected="0 to 1", got=f"{threshold:g}")
    _check_opset(opset, precisions)
    if plugins and (size is None or "fp16" not in precisions):
        raise RequestError("--plugins", expected="the one-pass graph in fp16, in which our kernel stands")
    chosen = choose(paths, allowed, heads=heads)
    for line in chosen.notes:
        note(line)
    name = name or chosen.fusion.header.recipe
    sizes = None if size is None or not chosen.fit_one_pass else served_sizes(chosen, size, opset)
    if plugins and sizes is None:
        raise RequestError("--plugins", expected="networks that a one-pass graph can hold", got="masks")
    require_data(data, names=names, calibration=calibration, labels=labels)
    classes = {kind: task.view.classes for kind in KINDS if (task := chosen.of_kind(kind)) is not None}
    pairs = choose_pairs(data, names, calibration, precisions, size, labels=labels, heads=classes)
    parts = [fusion_part(chosen.fusion, precisions, pairs, opset)]
    kernel_of = parts[0].files["fusion.fp16.onnx"] if plugins else None
    if kernel_of is not None:
        require_kernel(kernel_of)
    if chosen.heads:
        fused = fused_pictures(parts[0].files["fusion.onnx"], pairs)
        parts += [head_part(task, precisions, fused, threshold, opset) for task in chosen.heads.values()]
    if size is not None and sizes is not None:
        parts.append(onepass_part(chosen, precisions, size, sizes, opset, kernel_of=kernel_of))
    whole = total(parts)
    made_by = commands(
        chosen.fusion.header,
        {head: task.header for head, task in chosen.heads.items()},
        export_command(
            paths,
            name,
            precisions,
            size if ONE_PASS in whole.graphs else None,
            heads=heads,
            threshold=None if threshold == SCORE_THRESHOLD else threshold,
            opset=None if opset == OPSET else opset,
            data=data,
            names=names,
            calibration=calibration,
            labels=labels,
            plugins=plugins,
        ),
    )
    manifest = {"name": name, **_of_all(chosen), **whole.fields(), "commands": made_by}
    manifest["parity"] = whole.parity + passed(manifest, whole.files, pairs, size)
    made = Made(
        graphs=whole.graphs,
        sizes={file: len(raw) for file, raw in whole.files.items()},
        measured=[in_words(row) for row in manifest["parity"]],
        commands=made_by,
    )
    card = model_card(name, chosen.fusion.header, chosen.heads, threshold, made)
    return bundle.write(output, manifest, {**whole.files, "MODEL_CARD.md": card.encode()})


def _of_all(chosen: Chosen) -> dict[str, Any]:
    """What a manifest says of the bundle as a whole."""
    header = chosen.fusion.header
    return {
        "network": header.networks["fusion"].name,
        "strategy": header.strategy,
        "created": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "versions": {
            "tdfusion-edge": __version__,
            "torch": str(torch.__version__),
            "onnx": onnx.__version__,
            "onnxsim": onnxsim.__version__,
        },
    }


def _check_opset(opset: int, precisions: Collection[Precision]) -> None:
    if opset not in OPSETS:
        raise RequestError("--opset", expected=f"{OPSETS[0]} to {OPSETS[-1]}", got=str(opset))
    # What is for TensorRT 8 alone is given nothing that TensorRT 8 is not: it does not keep a graph's types.
    if opset <= LEGACY and (asked := sorted(set(precisions) - {"fp32"})):
        raise RequestError(
            f"--opset {opset} in {', '.join(asked)}",
            expected="fp32, the one precision that is safe in TensorRT 8",
            hint=f"Give --precision fp32, or --opset {LEGACY + 1} or later for newer versions.",
        )
