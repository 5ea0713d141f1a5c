"""Check that a back end on this machine gives the pictures and boxes that the bundle was made for.

  tdfusion-edge verify
  tdfusion-edge verify BUNDLE --backend tensorrt --data DIR
  tdfusion-edge verify BUNDLE --precision fp16 --data DIR --labels yolo:labels --json

Both the back end and the reference, the bundle's float32 graphs in ONNX Runtime on the CPU, fuse the same
pairs, look for objects in them and give their pixels classes; then the pipeline graphs of both do it in one
pass. The limits are those of the export's own gate; the exit code is 1 where one is passed. Without --data
the pairs are of the simulated street; with --labels the change of mAP50 or mIoU is limited as well.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

from tdfusion_edge import bundle
from tdfusion_edge.bundle import ONE_PASS, Bundle
from tdfusion_edge.console import say
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.pairs.source import labels_of
from tdfusion_edge.runtime.chains import REFERENCE, open_chain, open_pass
from tdfusion_edge.runtime.commands.engine_options import add_engine_arguments, choice_of
from tdfusion_edge.runtime.engines import Choice, Opened
from tdfusion_edge.runtime.evaluation.pairs import (
    add_pair_arguments,
    compared_pairs,
    described,
    heads_of,
    require_data,
)
from tdfusion_edge.runtime.evaluation.parity import LIMITS, Gap, in_8_bits, measure, offences
from tdfusion_edge.runtime.folded import sizes_told


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "bundle", type=bundle.place, nargs="?", default=bundle.default_path(), metavar="BUNDLE",
        help="bundle (default: the one shipped)",
    )  # fmt: skip
    add_pair_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_engine_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Compare and print; 0 where nothing passes its limit."""
    labels = labels_of(args)
    require_data(args.data, names=args.names, labels=labels)
    choice = choice_of(args)
    opened = bundle.read(args.bundle)
    pairs = compared_pairs(args.data, args.names, labels, heads_of(opened.manifest))
    threshold, scored = opened.manifest.score_threshold, labels is not None
    with ExitStack() as stack:
        ran, other = open_chain(opened, choice, stack, scored=scored)
        _, reference = open_chain(opened, Choice(REFERENCE, "fp32", choice.threads), stack, scored=scored)
        shapes: set[tuple[int, ...]] = set()
        gap = measure(_noted(pairs, shapes), reference, other, threshold)
    said = offences(gap, LIMITS[ran.precision])
    folded = _folded(pairs, opened, choice, ran, shapes, scored=scored)
    data = described(args.data, gap.pairs)
    if args.json:
        say(json.dumps(as_json(gap, ran, data, said, folded)))
    else:
        say(as_text(opened, gap, ran, data, said, folded))
    return 1 if said or (isinstance(folded, Whole) and folded.said) else 0


class Whole(NamedTuple):
    """What was measured of the pipeline graph."""

    gap: Gap
    said: list[str]


def _noted(pairs: Iterable[LabelledPair], shapes: set[tuple[int, ...]]) -> Iterator[LabelledPair]:
    """The pairs as they come, their heights and widths kept: to read all of them again would take long."""
    for pair in pairs:
        shapes.add(pair.visible.shape)
        yield pair


def _folded(
    pairs: Iterable[LabelledPair],
    opened: Bundle,
    choice: Choice,
    ran: Opened,
    shapes: Iterable[tuple[int, ...]],
    *,
    scored: bool,
) -> Whole | str:
    """The pipeline graph in the same precision, or why it was not measured."""
    graph = opened.manifest.graphs.get(ONE_PASS)
    if graph is None:
        return "the bundle has no such graph"
    if ran.precision not in graph.files:
        return f"there is none in {ran.precision}"
    if ran.backend == "torch-tensorrt":
        return f"{ran.backend} builds none"
    if graph.sizes is not None and not all(graph.serves(*shape) for shape in shapes):
        return f"it takes {sizes_told(graph)}, which not all of these pairs are"
    choice = choice._replace(precision=ran.precision)
    least = Choice(REFERENCE, "fp32", choice.threads)
    with ExitStack() as stack:
        _, other = open_pass(opened, choice, stack, scored=scored)
        _, reference = open_pass(opened, least, stack, scored=scored)
        gap = measure(pairs, reference, other, opened.manifest.score_threshold)
    return Whole(gap, offences(gap, in_8_bits(LIMITS[ran.precision])))


def as_json(gap: Gap, ran: Opened, data: str, said: list[str], folded: Whole | str) -> dict[str, object]:
    """Everything measured, for programs; an infinite PSNR is null, and a pipeline may have a reason alone."""
    whole: dict[str, object] = {"skipped": folded}
    if isinstance(folded, Whole):
        whole = {"gap": _figures(folded.gap), "offences": folded.said}
    return {
        "version": 1,
        "backend": ran.backend,
        "precision": ran.precision,
        "data": data,
        "gap": _figures(gap),
        "offences": said,
        "onepass": whole,
    }


def _figures(gap: Gap) -> dict[str, float | None]:
    return {name: None if value == math.inf else value for name, value in gap._asdict().items()}


def as_text(opened: Bundle, gap: Gap, ran: Opened, data: str, said: list[str], folded: Whole | str) -> str:
    """The same for people."""
    lines = [
        f"bundle {opened.manifest.name}: {ran.backend} in {ran.precision} against {REFERENCE} in fp32, "
        f"{data}",
        *_lines(opened, gap, "fused luma"),
        *said,
    ]
    if isinstance(folded, str):
        lines.append(f"all in one graph: not measured, {folded}")
    else:
        lines += ["all in one graph:", *_lines(opened, folded.gap, "fused luma in 8 bits"), *folded.said]
        said = [*said, *folded.said]
    return "\n".join([*lines, "not equal: see above" if said else "equal within the limits"])


def _lines(opened: Bundle, gap: Gap, what: str) -> Iterator[str]:
    same = "the same pictures to the last bit" if math.isinf(gap.psnr_db) else f"PSNR {gap.psnr_db:.1f} dB"
    yield (
        f"{what}: {same}, largest error {gap.max_error:.2e}, mean {gap.mean_error:.2e}; "
        f"Qabf {gap.qabf_change:+.4f}, SSIM {gap.ssim_change:+.4f}"
    )
    if opened.manifest.head("boxes"):
        yield (
            f"boxes: {gap.boxes}, {gap.boxes_kept:.1%} kept, {gap.boxes_added:.1%} added, "
            f"scores by at most {gap.score_error:.3f}"
        )
    if gap.map50 is not None and gap.map50_change is not None:
        yield f"mAP50: {gap.map50:.4f}, {gap.map50_change:+.4f}"
    if gap.miou is not None and gap.miou_change is not None:
        yield f"mIoU: {gap.miou:.4f}, {gap.miou_change:+.4f}"
    if opened.manifest.head("mask"):
        yield f"masks: {gap.pixels_equal:.2%} of the pixels equal, mIoU {gap.mask_iou:.3f}"
