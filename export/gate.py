"""The gate: no precision leaves the export that gives other pictures or boxes than float32."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from tdfusion_edge import bundle
from tdfusion_edge.bundle import FUSION, ONE_PASS, Bundle, Parity, Precision
from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.heads import KINDS
from tdfusion_edge.export.pairs import Pairs
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.runtime.evaluation.pairs import SIZE, described, simulated
from tdfusion_edge.runtime.evaluation.parity import REFERENCE, Gap, least_score, measure_each
from tdfusion_edge.runtime.fuser import Fuser

FUSION_FIGURES = {"psnr_db": "PSNR {:.1f} dB"}
"""How a figure of the fused luma is put in words; a head's kind has those of its own."""


def passed(
    manifest: Mapping[str, Any],
    files: Mapping[str, bytes],
    pairs: Pairs,
    size: tuple[int, int] | None = None,
) -> tuple[Parity, ...]:
    """Measure every precision below float32 of a bundle that is about to be written against its float32.

    Args:
        manifest: Of the bundle.
        files: Name to content.
        pairs: What is measured on, labelled or not.
        size: Width and height that the one-pass graph was made for; where no pair has one that it serves, it
            is measured on simulated ones of this.

    Returns:
        A row for each precision, of fusion network and what looks at its pictures one behind the other, and
        one of the one-pass graph, where there is one.

    Raises:
        ExportError: a precision passes one of its limits.
    """
    opened = bundle.assembled(manifest, files)
    return (*_staged(opened, pairs), *_one_pass(opened, pairs, size))


def _staged(opened: Bundle, pairs: Pairs) -> Iterator[Parity]:
    gaps = _gaps(opened, FUSION, "staged", pairs.measured)
    for precision, gap in gaps.items():
        _refuse("the networks", precision, gap.offences(precision))
        yield _row(FUSION, gap, precision, pairs.in_words(precision))


def _one_pass(opened: Bundle, pairs: Pairs, size: tuple[int, int] | None) -> Iterator[Parity]:
    graph = opened.manifest.graphs.get(ONE_PASS)
    if graph is None or len(graph.files) == 1:
        return
    served = tuple(pair for pair in pairs.measured if graph.serves(*pair.visible.shape))
    pictures = pairs.pictures
    if len(served) < len(pairs.measured):
        # Scores of a part would not be those of the networks' row.
        served = tuple(pair._replace(boxes=None, mask=None) for pair in served)
        pictures = f"{len(served)} of {pictures}"
    if not served:
        served = tuple(simulated(size=size or SIZE))
        pictures = described(None, len(served))
    for precision, gap in _gaps(opened, ONE_PASS, "onepass", served).items():
        _refuse("the one-pass graph", precision, gap.offences(precision, in_8_bits=True))
        yield _row(ONE_PASS, gap, precision, pictures)


def _gaps(opened: Bundle, graph: str, graphs: str, pairs: Sequence[LabelledPair]) -> dict[Precision, Gap]:
    """How far every other precision of a graph is from float32, by way of ``graphs``; nothing for none."""
    others: list[Precision] = [one for one in opened.manifest.graphs[graph].files if one != "fp32"]
    if not others:
        return {}
    least = least_score(opened.manifest, scored=any(pair.boxes is not None for pair in pairs))
    with ExitStack() as stack:

        def fuser(precision: Precision) -> Fuser:
            return stack.enter_context(
                Fuser(
                    opened,
                    backend=REFERENCE,
                    precision=precision,
                    graphs=graphs,
                    stretch="none",
                    score_threshold=least,
                )
            )

        reference, named = fuser("fp32"), {one: fuser(one) for one in others}
        return measure_each(pairs, reference, named, opened.manifest.score_threshold)


def _refuse(what: str, precision: Precision, said: list[str]) -> None:
    if said:
        raise ExportError(
            f"{what}: {precision} is too far from float32: {'; '.join(said)}",
            hint=f"Nothing was written. Leave {precision} out (--precision), or look at the pairs (--data).",
        )


def _row(graph: str, gap: Gap, precision: Precision, pictures: str) -> Parity:
    figures = {name: value for name, value in gap.figures().items() if math.isfinite(value)}
    del figures["pairs"]  # which stand in words
    return Parity(
        graph=graph,
        precision=precision,
        against="fp32",
        pictures=pictures,
        max_error=figures.pop("max_error"),
        figures=figures,
    )


def in_words(row: Parity) -> str:
    """One line of what the gate measured."""
    known = FUSION_FIGURES | {name: words for kind in KINDS.values() for name, words in kind.figures.items()}
    parts = [f"largest error {row.max_error:.1e}"]
    parts += [words.format(row.figures[name]) for name, words in known.items() if name in row.figures]
    return f"{row.graph} in {row.precision} against {row.against} ({row.pictures}): {', '.join(parts)}"
