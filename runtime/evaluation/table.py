"""The result of an evaluation, as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tdfusion_edge.detection_scores import DetectionScores
from tdfusion_edge.mask_scores import MaskScores
from tdfusion_edge.metrics import Scores, mean
from tdfusion_edge.runtime.evaluation.rows import Measured
from tdfusion_edge.runtime.heads import kind_of

NAME = 14
"""Columns of a row's name."""


class Section(NamedTuple):
    """All rows on some of the pairs."""

    pairs: int
    fusion: dict[str, Scores]
    """By row; means over the pairs."""
    detection: dict[str, DetectionScores]
    """By row; empty where no boxes are labelled."""
    segmentation: dict[str, MaskScores]
    """By row; empty where no masks are labelled."""


def section(measured: Mapping[str, Sequence[Measured]], names: Sequence[str]) -> Section:
    """Scores of all rows on the pairs with these names."""
    chosen = set(names)
    rows = {row: [pair for pair in pairs if pair.name in chosen] for row, pairs in measured.items()}
    fusion = {row: mean(pair.scores for pair in pairs) for row, pairs in rows.items()}
    return Section(len(names), fusion, _scores(rows, "boxes"), _scores(rows, "mask"))


def _scores(rows: Mapping[str, Sequence[Measured]], kind: str) -> dict[str, Any]:
    """Scores of a head of one kind by row; nothing where it was not asked or there are no labels for it."""
    every = {
        row: kind_of(kind).score([pair.tallies.get(kind) for pair in pairs]) for row, pairs in rows.items()
    }
    return {row: scores for row, scores in every.items() if scores is not None}


def as_json(whole: Section, groups: Mapping[str, Section]) -> dict[str, Any]:
    """``pairs``, ``rows``, with labels ``detection`` or ``segmentation``, and ``groups`` of this shape."""
    plain: dict[str, Any] = {
        "pairs": whole.pairs,
        "rows": {row: scores._asdict() for row, scores in whole.fusion.items()},
    }
    for kind in ("detection", "segmentation"):
        rows: Mapping[str, DetectionScores | MaskScores] = getattr(whole, kind)
        if rows:
            plain[kind] = {row: _plain(scores) for row, scores in rows.items()}
    if groups:
        plain["groups"] = {name: as_json(part, {}) for name, part in groups.items()}
    return plain


def as_text(whole: Section, groups: Mapping[str, Section]) -> str:
    """Tables, one below the other."""
    return "\n\n".join([_text(whole), *(f"{name}: {_text(part)}" for name, part in groups.items())])


def _plain(scores: DetectionScores | MaskScores) -> dict[str, Any]:
    fields = scores._asdict()
    classes = {name: row._asdict() for name, row in fields.pop("per_class").items()}
    return {**fields, "classes": classes}


def _text(part: Section) -> str:
    lines = [f"{part.pairs} pairs", f"{'':{NAME}}" + "".join(f"{field:>9}" for field in Scores._fields)]
    lines += [
        f"{row:{NAME}}" + "".join(f"{value:9.4f}" for value in scores) for row, scores in part.fusion.items()
    ]
    return "\n".join(lines + _detection_lines(part.detection) + _segmentation_lines(part.segmentation))


def _detection_lines(rows: Mapping[str, DetectionScores]) -> list[str]:
    if not rows:
        return []
    classes = next(iter(rows.values())).per_class  # every row has the same classes and labels
    heads = ["mAP50", "mAP50:95", *(f"{name} ({row.boxes})" for name, row in classes.items())]
    cells = {
        name: [
            *(_number(value, 4) for value in (scores.map50, scores.map50_95)),
            *(f"{_number(row.map50, 3)}/{_number(row.map50_95, 3)}" for row in scores.per_class.values()),
        ]
        for name, scores in rows.items()
    }
    return _columns(f"{sum(row.boxes for row in classes.values())} boxes", heads, cells)


def _segmentation_lines(rows: Mapping[str, MaskScores]) -> list[str]:
    if not rows:
        return []
    classes = next(iter(rows.values())).per_class
    total = max(1, sum(row.pixels for row in classes.values()))
    shares = (f"{name} ({row.pixels / total:.1%})" for name, row in classes.items())
    cells = {
        name: [
            *(_number(value, 4) for value in (scores.miou, scores.accuracy)),
            *(_number(row.iou, 3) for row in scores.per_class.values()),
        ]
        for name, scores in rows.items()
    }
    return _columns("masks", ["mIoU", "accuracy", *shares], cells)


def _columns(what: str, heads: Sequence[str], rows: Mapping[str, Sequence[str]]) -> list[str]:
    """A line of headings under ``what``, and one a row."""
    widths = [max(len(head) + 2, 13 if index > 1 else 9) for index, head in enumerate(heads)]
    return [
        f"{first:{NAME}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        for first, cells in ((what, heads), *rows.items())
    ]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
