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
from tdfusion_edge.runtime.evaluation.pairs import PAIRS, Traits, described, served, simulated_for
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
        size: Width and height that the one-pass graph was made for; where no pair has one that it serves, or
            none of these has colours, it is measured on simulated ones of this.

    Returns:
        A row for each precision below float32, of fusion network and what looks at its pictures one behind
        the other, and for each precision of the one-pass graph, where there is one, against the same.

    Raises:
        ExportError: a precision passes one of its limits, or the one-pass graph is not the networks.
    """
    opened = bundle.assembled(manifest, files)
    return (*_staged(opened, pairs), *_one_pass(opened, pairs, size))


def _staged(opened: Bundle, pairs: Pairs) -> Iterator[Parity]:
    gaps = _gaps(opened, FUSION, "staged", pairs.measured)
    for precision, gap in gaps.items():
        _refuse("the networks", precision, gap.offences(precision))
        yield _row(FUSION, gap, precision, pairs.in_words(precision))


def _one_pass(opened: Bundle, pairs: Pairs, size: tuple[int, int] | None) -> Iterator[Parity]:
    """The one-pass graph in every precision, float32 as well, against the networks one by one in float32."""
    graph = opened.manifest.graphs.get(ONE_PASS)
    if graph is None:
        return
    taken, coloured = served(graph, [Traits.of(pair) for pair in pairs.measured])
    measured = [pairs.measured[index] for index in taken]
    pictures = pairs.pictures
    if len(measured) < len(pairs.measured):
        # Scores of a part would not be those of the networks' row.
        measured = [pair._replace(boxes=None, mask=None) for pair in measured]
        pictures = f"{len(measured)} of {pictures}"
    if not measured:
        measured = simulated_for(graph, size, PAIRS)
        pictures = described(None, len(measured))
    for precision, gap in _gaps(opened, ONE_PASS, "onepass", measured).items():
        _refuse("the one-pass graph", precision, gap.offences(precision))
        yield _row(ONE_PASS, gap, precision, pictures)
    if taken and not coloured:
        for precision, gap in _gaps(opened, ONE_PASS, "onepass", simulated_for(graph, size)).items():
            _refuse("the one-pass graph, on simulated pairs in colour", precision, gap.offences(precision))


def _gaps(opened: Bundle, graph: str, graphs: str, pairs: Sequence[LabelledPair]) -> dict[Precision, Gap]:
    """How far the precisions of a graph, by way of ``graphs``, are from float32 staged; nothing for none."""
    across = graphs == "onepass"
    others: list[Precision] = [one for one in opened.manifest.graphs[graph].files if across or one != "fp32"]
    if not others:
        return {}
    least = least_score(opened.manifest, scored=any(pair.boxes is not None for pair in pairs))
    with ExitStack() as stack:

        def fuser(precision: Precision, graphs: str) -> Fuser:
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

        reference, named = fuser("fp32", "staged"), {one: fuser(one, graphs) for one in others}
        return measure_each(pairs, reference, named, opened.manifest.score_threshold, across=across)


def _refuse(what: str, precision: Precision, said: list[str]) -> None:
    if said:
        other = (
            "leave that graph out (--no-onepass)"
            if what.startswith("the one")
            else "leave out the task networks (--no-heads) or look at the pairs (--data)"
        )
        hint = f"Leave {precision} out (--precision), or {other}."
        if precision == "fp32":  # which cannot be left out
            hint = f"{other[0].upper()}{other[1:]}."
        raise ExportError(
            f"{what}: {precision} is too far from float32: {'; '.join(said)}",
            hint=f"Nothing was written. {hint}",
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
