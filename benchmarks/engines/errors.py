"""What FP16 costs: the same pairs through a network's FP32 graph and its FP16 graph, both in ONNX Runtime.

The networks of a bundle are measured as the gate of the export measures them. Networks that ship no weights
have fresh ones: their numbers show how the arithmetic rounds, and say nothing about a trained network.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.schema import Figure
from benchmarks.script import ROOT, add_bundle, parse_count
from tdfusion_edge.bundle import FUSION, ONE_PASS, Bundle, Precision
from tdfusion_edge.color import U8, luma
from tdfusion_edge.errors import InputMissing
from tdfusion_edge.frames import Image
from tdfusion_edge.pairs import LabelledPair, PairSource
from tdfusion_edge.pairs.reader import pair_names
from tdfusion_edge.pairs.source import add_label_arguments, labels_of
from tdfusion_edge.resize import resized
from tdfusion_edge.runtime.engines import Engine
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.evaluation.pairs import heads_of, measured_pairs
from tdfusion_edge.runtime.evaluation.parity import (
    REFERENCE,
    Gap,
    Looks,
    least_score,
    measure,
    measure_each,
)
from tdfusion_edge.runtime.executors.base import Looked
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.picture.units import UNIT, unit_inputs

FRESH = 8
"""Pairs for fresh weights: some such networks are slow on a CPU, and more pairs would not tell more."""


class Material(NamedTuple):
    """What the errors are measured on."""

    pairs: Sequence[LabelledPair]
    """With boxes where the bundle has a detector."""
    told: str


def add_error_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the errors are measured on."""
    data = Path(os.environ.get("TDFUSION_DATA") or ROOT.parent / "shared" / "data") / "msrs"
    add_bundle(parser)
    parser.add_argument(
        "--data", type=Path, default=data, metavar="DIR",
        help="folder with ir/, vi/ and labels (default: msrs in $TDFUSION_DATA or ../shared/data)",
    )  # fmt: skip
    parser.add_argument("--names", default="split_val.txt", metavar="FILE", help="list of stems in DIR")
    add_label_arguments(parser, default="those of the bundle's head")
    parser.set_defaults(labels="yolo:labels/fusion", classes="person,bicycle,car")
    parser.add_argument("--first", type=parse_count, metavar="N", help="only the first N of the pairs")
    parser.add_argument("--without-errors", action="store_true", help="measure no error: no data is needed")


def material(args: argparse.Namespace, opened: Bundle) -> Material:
    """Pairs, and labels where there is a detector to score.

    Raises:
        InputMissing: the data are not there.
    """
    if not args.data.is_dir():
        raise InputMissing(
            f"there is no folder {args.data}", hint="Name it: --data DIR, or --without-errors."
        )
    names = pair_names(args.data, PairSource(names=args.names), videos=False)[: args.first]
    labels = labels_of(args) if opened.manifest.head("boxes") is not None else None
    pairs = measured_pairs(args.data, names, labels, heads_of(opened.manifest))
    return Material(tuple(pairs), f"{len(names)} pairs of {args.data.name}")


class Mixed:
    """The fused luma of one Fuser, and what the heads of another find in it."""

    def __init__(self, fusion: Fuser, heads: Fuser) -> None:
        self._fusion, self._heads = fusion, heads
        self.heads = heads.heads

    def look(self, infrared: U8, visible: Image) -> Looked:
        """What they make of an aligned pair."""
        fused = self._fusion.look(infrared, visible).fused
        return Looked(fused, self._heads.find(fused, infrared=infrared))


def of_bundle(opened: Bundle, given: Material) -> dict[str, Gap]:
    """FP16 against FP32: of the fusion network alone, of the heads alone, and of the one-pass graph.

    Returns:
        ``fusion``, ``detector`` and ``onepass``; nothing where the bundle has no FP16, and those alone that
        it has graphs for; no ``onepass`` where not all pairs are of a size that it serves.
    """
    graphs, threshold = opened.manifest.graphs, opened.manifest.score_threshold
    if "fp16" not in graphs[FUSION].files:
        return {}
    least = least_score(opened.manifest, scored=any(pair.boxes is not None for pair in given.pairs))
    with ExitStack() as stack:

        def fuser(precision: Precision, way: str = "staged", *, detect: bool = True) -> Fuser:
            one = Fuser(
                opened,
                backend=REFERENCE,
                precision=precision,
                graphs=way,
                stretch="none",
                score_threshold=least if detect else None,
                detect=detect,
            )
            return stack.enter_context(one)

        full, low = fuser("fp32"), fuser("fp16")
        others: dict[str, Looks] = {"fusion": fuser("fp16", detect=False)}
        if full.heads:
            others["detector"] = Mixed(full, low)
        gaps = measure_each(given.pairs, full, others, threshold)
        whole = graphs.get(ONE_PASS)
        served = whole is not None and all(whole.serves(*pair.visible.shape) for pair in given.pairs)
        if whole is not None and served and "fp16" in whole.files:
            both = fuser("fp32", "onepass"), fuser("fp16", "onepass")
            gaps[ONE_PASS] = measure(given.pairs, *both, threshold)
        return gaps


def figures_of_gap(case: str, gap: Gap, *, fusion: bool = True, detector: bool = True) -> Iterator[Figure]:
    """The figures of one comparison; those that it does not have are left out.

    Args:
        case: What the names begin with.
        gap: What was measured.
        fusion: Whether the fused luma is this network's work.
        detector: Likewise the boxes.
    """
    rows: list[tuple[str, float | None, str]] = []
    if fusion:
        rows += [
            ("PSNR", gap.psnr_db, "dB"),
            ("largest error", gap.max_error, "of the fused luma, 0 to 1"),
            ("Qabf change", gap.qabf_change, ""),
            ("SSIM change", gap.ssim_change, ""),
        ]
    if detector and "boxes" in gap.heads:
        boxes = gap.heads["boxes"].figures()
        if not fusion:
            rows.append(("largest error", boxes.get("score_error", 0.0), "of a score, 0 to 1"))
        if "boxes_kept" in boxes:
            rows.append(("boxes kept", 100 * boxes["boxes_kept"], f"% of {boxes['boxes']:.0f} boxes"))
        if "map50_change" in boxes:
            rows.append(("mAP50 change", 100 * boxes["map50_change"], "points"))
    for what, value, unit in rows:
        if value is not None and np.isfinite(value):  # PSNR is infinite where there is no difference
            yield Figure(name=f"{case}, {what}", value=round(value, 6), unit=unit or "of 1")


def of_fresh_fusion(full: bytes, low: bytes, given: Material, size: tuple[int, int]) -> Gap:
    """A fusion network's two graphs, which take pictures of this width and height."""
    with closing(OnnxRuntimeEngine(full)) as one, closing(OnnxRuntimeEngine(low)) as other:
        return measure(_sized(given.pairs, size), FusionAlone(one), FusionAlone(other))


class FusionAlone:
    """A fusion graph that is in no bundle."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.heads: Mapping[str, object] = {}

    def look(self, infrared: U8, visible: Image) -> Looked:
        """What it makes of an aligned pair."""
        return Looked(self._engine.run(unit_inputs(infrared, luma(visible)))["fused"][0, 0], {})


def of_fresh_task(
    case: str, full: bytes, low: bytes, given: Material, size: tuple[int, int]
) -> Iterator[Figure]:
    """A task network's two graphs on the visible lumas, at this width and height."""
    worst: dict[str, float] = {}
    same = []
    with closing(OnnxRuntimeEngine(full)) as one, closing(OnnxRuntimeEngine(low)) as other:
        for pair in _sized(given.pairs, size):
            feeds = {"luma": pair.visible[None, None] * UNIT}
            want, got = one.run(feeds), other.run(feeds)
            for name, array in want.items():
                worst[name] = max(worst.get(name, 0.0), float(np.abs(array - got[name]).max()))
            if "logits" in want:
                same.append(float((want["logits"].argmax(1) == got["logits"].argmax(1)).mean()))
    for name, unit in UNITS.items():
        if name in worst:
            what = "largest error" if name != "boxes" else "largest error of a box"
            yield Figure(name=f"{case}, {what}", value=round(worst[name], 6), unit=unit)
    if same:
        kept = round(100 * float(np.mean(same)), 4)
        yield Figure(name=f"{case}, pixels kept", value=kept, unit="% of all pixels")


UNITS: Mapping[str, str] = {
    "scores": "of a score, 0 to 1",
    "boxes": "pixels of a side",
    "logits": "of a logit",
}


def _sized(pairs: Sequence[LabelledPair], size: tuple[int, int]) -> Iterator[LabelledPair]:
    for pair in pairs[:FRESH]:
        yield LabelledPair(pair.name, resized(pair.infrared, *size), resized(pair.visible, *size))
