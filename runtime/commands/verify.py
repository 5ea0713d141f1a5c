"""Check that a back end on this machine gives the pictures and boxes that the bundle was made for.

  tdfusion-edge verify
  tdfusion-edge verify BUNDLE --backend tensorrt --data DIR
  tdfusion-edge verify BUNDLE --precision fp16 --data DIR --labels yolo:labels --json

Both the back end and the reference, the bundle's float32 graphs in ONNX Runtime on the CPU, fuse the same
pairs, look for objects in them and give their pixels classes; then the one-pass graphs of both do the same.
The limits are those of the export's own gate; the exit code is 1 where one is passed. Without --data the
pairs are of the simulated street; with --labels the change of mAP50 or mIoU is limited as well.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tdfusion_edge import bundle
from tdfusion_edge.arguments import bundle_path
from tdfusion_edge.bundle import ONE_PASS, Bundle, Precision
from tdfusion_edge.console import say, say_json, watched
from tdfusion_edge.escape import one_line
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.pairs.source import labels_of
from tdfusion_edge.runtime.commands.engine_options import add_engine_arguments, choice_of, progress_shower
from tdfusion_edge.runtime.engines import Choice
from tdfusion_edge.runtime.evaluation.pairs import (
    add_pair_arguments,
    compared_pairs,
    described,
    heads_of,
    require_data,
)
from tdfusion_edge.runtime.evaluation.parity import REFERENCE, Gap, least_score, measure
from tdfusion_edge.runtime.executors import why_not_one_pass
from tdfusion_edge.runtime.fuser import Fuser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "bundle", type=bundle_path, nargs="?", default=bundle.default_path(), metavar="BUNDLE",
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
    shapes: set[tuple[int, ...]] = set()
    noted = _noted(watched(pairs, len(pairs), "comparing, staged"), shapes)
    ran = _compare(opened, choice, "staged", noted, scored=labels is not None)
    one_pass = _one_pass(opened, choice, ran, pairs, shapes, scored=labels is not None)
    data = described(args.data, ran.gap.pairs)
    if args.json:
        say_json(as_json(ran, data, one_pass))
    else:
        say(as_text(opened, ran, data, one_pass))
    return 1 if ran.said or (isinstance(one_pass, Compared) and one_pass.said) else 0


class Compared(NamedTuple):
    """What was measured of one way through the networks."""

    gap: Gap
    said: list[str]
    """The limits that are passed."""
    backend: str
    precision: Precision


def _compare(
    opened: Bundle, choice: Choice, graphs: str, pairs: Iterable[LabelledPair], *, scored: bool
) -> Compared:
    """A back end against the reference, both by way of ``graphs``."""

    def fuser(chosen: Choice) -> Fuser:
        return Fuser(
            opened,
            **chosen._asdict(),
            graphs=graphs,
            stretch="none",
            score_threshold=least_score(opened.manifest, scored=scored),
            on_progress=progress_shower,
        )

    with fuser(choice) as other, fuser(Choice(REFERENCE, "fp32", choice.threads)) as reference:
        gap = measure(pairs, reference, other, opened.manifest.score_threshold)
        said = gap.offences(other.precision, in_8_bits=graphs == "onepass")
        return Compared(gap, said, other.backend, other.precision)


def _noted(pairs: Iterable[LabelledPair], shapes: set[tuple[int, ...]]) -> Iterator[LabelledPair]:
    """The pairs as they come, their heights and widths kept: to read all of them again would take long."""
    for pair in pairs:
        shapes.add(pair.visible.shape)
        yield pair


def _one_pass(
    opened: Bundle,
    choice: Choice,
    ran: Compared,
    pairs: Sequence[LabelledPair],
    shapes: Iterable[tuple[int, ...]],
    *,
    scored: bool,
) -> Compared | str:
    """The one-pass graph in the same precision, or why it was not measured."""
    reason = why_not_one_pass(opened.manifest, ran.backend, ran.precision)
    if reason is not None:
        return reason
    graph = opened.manifest.graphs[ONE_PASS]
    if not all(graph.serves(*shape) for shape in shapes):
        return f"it takes {graph.sizes_in_words}, which not all of these pairs are"
    choice = choice._replace(precision=ran.precision)
    watching = watched(pairs, len(pairs), "comparing, in one pass")
    return _compare(opened, choice, "onepass", watching, scored=scored)


def as_json(ran: Compared, data: str, one_pass: Compared | str) -> dict[str, object]:
    """Everything measured, for programs; an infinite PSNR is null, and one pass may have a reason alone."""
    whole: dict[str, object] = {"skipped": one_pass}
    if isinstance(one_pass, Compared):
        whole = {"gap": _figures(one_pass.gap), "offences": one_pass.said}
    return {
        "version": 2,
        "backend": ran.backend,
        "precision": ran.precision,
        "data": data,
        "gap": _figures(ran.gap),
        "offences": ran.said,
        "onepass": whole,
    }


def _figures(gap: Gap) -> dict[str, float | None]:
    return {name: None if value == math.inf else value for name, value in gap.figures().items()}


def as_text(opened: Bundle, ran: Compared, data: str, one_pass: Compared | str) -> str:
    """Everything measured, as lines for people."""
    lines = [
        f"bundle {one_line(opened.manifest.name)}: {ran.backend} in {ran.precision} "
        f"against {REFERENCE} in fp32, {data}",
        *_lines(ran.gap, "fused luma"),
        *ran.said,
    ]
    bad = bool(ran.said)
    if isinstance(one_pass, str):
        lines.append(f"all in one pass: not measured, {one_pass}")
    else:
        lines += ["all in one pass:", *_lines(one_pass.gap, "fused luma in 8 bits"), *one_pass.said]
        bad = bad or bool(one_pass.said)
    return "\n".join([*lines, "not equal: see above" if bad else "equal within the limits"])


def _lines(gap: Gap, what: str) -> Iterator[str]:
    same = "the same pictures to the last bit" if math.isinf(gap.psnr_db) else f"PSNR {gap.psnr_db:.1f} dB"
    yield (
        f"{what}: {same}, largest error {gap.max_error:.2e}, mean {gap.mean_error:.2e}; "
        f"Qabf {gap.qabf_change:+.4f}, SSIM {gap.ssim_change:+.4f}"
    )
    yield from map(str, gap.heads.values())
