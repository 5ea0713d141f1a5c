"""The gate: no precision leaves the export that gives other pictures or boxes than float32."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from tdfusion_edge import bundle
from tdfusion_edge.bundle import ONE_PASS, Bundle, Parity, Precision
from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.pairs import Pairs
from tdfusion_edge.runtime.chains import REFERENCE, open_chain, open_pass
from tdfusion_edge.runtime.engines import Choice
from tdfusion_edge.runtime.evaluation.pairs import SIZE, described, simulated
from tdfusion_edge.runtime.evaluation.parity import LIMITS, Gap, Limits, in_8_bits, measure_each, offences


def passed(
    manifest: Mapping[str, Any],
    files: Mapping[str, bytes],
    pairs: Pairs,
    size: tuple[int, int] | None = None,
) -> tuple[Parity, ...]:
    """Measure every lower precision of a bundle that is about to be written against its float32.

    Args:
        manifest: Of the bundle.
        files: Name to content.
        pairs: What is measured on, labelled or not.
        size: Width and height that the pipeline graph was made for; where no pair has one that it serves, it
            is measured on simulated ones of this.

    Returns:
        A row for each precision, of fusion network and what looks at its pictures one behind the other, and
        one of the pipeline graph, where there is one.

    Raises:
        ExportError: a precision passes one of its limits.
    """
    opened = bundle.assembled(manifest, files)
    return (*_of_chain(opened, pairs), *_of_pipeline(opened, pairs, size))


def _of_chain(opened: Bundle, pairs: Pairs) -> Iterator[Parity]:
    lower = [one for one in opened.manifest.graphs["fusion"].files if one != "fp32"]
    if not lower:
        return
    scored = pairs.boxes_labelled
    with ExitStack() as stack:
        _, reference = open_chain(opened, Choice(REFERENCE, "fp32"), stack, scored=scored)
        others = {one: open_chain(opened, Choice(REFERENCE, one), stack, scored=scored)[1] for one in lower}
        gaps = measure_each(pairs.measured, reference, others, opened.manifest.score_threshold)
    for precision, gap in gaps.items():
        _refuse("the networks", precision, gap, LIMITS[precision])
        yield _row("fusion", gap, precision, pairs.told(precision))


def _of_pipeline(opened: Bundle, pairs: Pairs, size: tuple[int, int] | None) -> Iterator[Parity]:
    graph = opened.manifest.graphs.get(ONE_PASS)
    lower = [] if graph is None else [one for one in graph.files if one != "fp32"]
    if not lower:
        return
    with ExitStack() as stack:
        scored = pairs.boxes_labelled
        folded, reference = open_pass(opened, Choice(REFERENCE, "fp32"), stack, scored=scored)
        served = tuple(pair for pair in pairs.measured if folded.serves(*pair.visible.shape))
        told = pairs.pictures
        if len(served) < len(pairs.measured):
            # Scores of a part would be other ones than those of the row of all networks.
            served = tuple(pair._replace(boxes=None, mask=None) for pair in served)
            told = f"{len(served)} of {told}"
        if not served:
            served = tuple(simulated(size=size or SIZE))
            told = described(None, len(served))
        others = {one: open_pass(opened, Choice(REFERENCE, one), stack, scored=scored)[1] for one in lower}
        gaps = measure_each(served, reference, others, opened.manifest.score_threshold)
    for precision, gap in gaps.items():
        _refuse("the pipeline", precision, gap, in_8_bits(LIMITS[precision]))
        yield _row(ONE_PASS, gap, precision, told)


def _refuse(what: str, precision: Precision, gap: Gap, limits: Limits) -> None:
    said = offences(gap, limits)
    if said:
        raise ExportError(
            f"{what}: {precision} is too far from float32: {'; '.join(said)}",
            hint=f"Nothing was written. Leave {precision} out (--precision), or look at the pairs (--data).",
        )


def _row(graph: str, gap: Gap, precision: Precision, pictures: str) -> Parity:
    figures = {
        "mean_error": gap.mean_error,
        "psnr_db": None if math.isinf(gap.psnr_db) else gap.psnr_db,
        "qabf_change": gap.qabf_change,
        "ssim_change": gap.ssim_change,
        "boxes_kept": gap.boxes_kept if gap.boxes else None,
        "score_error": gap.score_error if gap.boxes else None,
        "map50_change": gap.map50_change,
        "miou_change": gap.miou_change,
        "pixels_equal": gap.pixels_equal if gap.pixels else None,
        "mask_iou": gap.mask_iou if gap.pixels else None,
    }
    return Parity(
        graph=graph,
        precision=precision,
        against="fp32",
        pictures=pictures,
        max_error=gap.max_error,
        figures={name: value for name, value in figures.items() if value is not None},
    )
