"""The result of an evaluation, as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tdfusion_edge.detection_scores import DetectionScores
from tdfusion_edge.metrics import Scores, mean
from tdfusion_edge.runtime.evaluation.boxes import Labels, score_boxes
from tdfusion_edge.runtime.evaluation.rows import Measured

NAME = 14
"""Columns of a row's name."""


class Section(NamedTuple):
    """All rows on some of the pairs."""

    pairs: int
    fusion: dict[str, Scores]
    """By row; means over the pairs."""
    detection: dict[str, DetectionScores]
    """By row; empty where nothing is labelled."""


def section(
    measured: Mapping[str, Sequence[Measured]], names: Sequence[str], labels: Labels | None
) -> Section:
    """Scores of all rows on the pairs with these stems."""
    chosen = set(names)
    rows = {row: [pair for pair in pairs if pair.name in chosen] for row, pairs in measured.items()}
    return Section(
        pairs=len(names),
        fusion={row: mean(pair.scores for pair in pairs) for row, pairs in rows.items()},
        detection={} if labels is None else {row: score_boxes(pairs, labels) for row, pairs in rows.items()},
    )


def as_json(whole: Section, groups: Mapping[str, Section]) -> dict[str, Any]:
    """``pairs`` and ``rows``; with labels ``detection``, with groups ``groups`` of the same shape."""
    plain: dict[str, Any] = {
        "pairs": whole.pairs,
        "rows": {row: scores._asdict() for row, scores in whole.fusion.items()},
    }
    if whole.detection:
        plain["detection"] = {row: _plain(scores) for row, scores in whole.detection.items()}
    if groups:
        plain["groups"] = {name: as_json(part, {}) for name, part in groups.items()}
    return plain


def as_text(whole: Section, groups: Mapping[str, Section]) -> str:
    """Tables, one below the other."""
    return "\n\n".join([_text(whole), *(f"{name}: {_text(part)}" for name, part in groups.items())])


def _plain(scores: DetectionScores) -> dict[str, Any]:
    return {
        "map50": scores.map50,
        "map50_95": scores.map50_95,
        "classes": {name: row._asdict() for name, row in scores.per_class.items()},
    }


def _text(part: Section) -> str:
    lines = [f"{part.pairs} pairs", f"{'':{NAME}}" + "".join(f"{field:>9}" for field in Scores._fields)]
    lines += [
        f"{row:{NAME}}" + "".join(f"{value:9.4f}" for value in scores) for row, scores in part.fusion.items()
    ]
    return "\n".join(lines + _detection_lines(part.detection))


def _detection_lines(rows: Mapping[str, DetectionScores]) -> list[str]:
    if not rows:
        return []
    some = next(iter(rows.values()))  # every row has the same classes and labels
    heads = ["mAP50", "mAP50:95", *(f"{name} ({row.boxes})" for name, row in some.per_class.items())]
    widths = [max(len(head) + 2, 13 if index > 1 else 9) for index, head in enumerate(heads)]
    lines = [[f"{sum(row.boxes for row in some.per_class.values())} boxes", *heads]]
    lines += [
        [
            name,
            *(_number(value, 4) for value in (scores.map50, scores.map50_95)),
            *(f"{_number(row.map50, 3)}/{_number(row.map50_95, 3)}" for row in scores.per_class.values()),
        ]
        for name, scores in rows.items()
    ]
    return [
        f"{first:{NAME}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        for first, *cells in lines
    ]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
