"""Manifests of earlier formats, translated into today's when they are read."""

from __future__ import annotations

from typing import Any

FORMAT = 3
OLDEST = 2
"""What an earlier version wrote is refused."""

_PARITY = ("graph", "precision", "against", "pictures", "max_error")
"""Fields of a row of format 2 that are no figures of today's."""
_FIGURES = (
    "mean_error", "box_error_px", "psnr_db", "qabf_change", "ssim_change", "boxes_kept", "score_error",
    "pixels_equal", "mask_iou", "map50_change",
)  # fmt: skip
"""Fields of a row of format 2 that are."""


def to_current(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest of format 2 as one of :data:`FORMAT`; one of another format unchanged.

    What does not look like format 2 stays as it is, for the schema to refuse it.

    Args:
        manifest: What ``manifest.json`` holds. It is not changed.
    """
    return _from_2(manifest) if manifest.get("format") == OLDEST else manifest


def _from_2(old: dict[str, Any]) -> dict[str, Any]:
    """The detector and the segmentation network become heads, and the graph ``pipeline`` is ``onepass``."""
    new = {key: value for key, value in old.items() if key not in _GONE} | {"format": FORMAT}
    heads: dict[str, Any] = {}
    if old.get("detector") is not None:
        threshold = old.get("score_threshold", 0.25)
        heads["detector"] = _head("boxes", old["detector"], old.get("classes", ()), threshold)
    if old.get("segmentation") is not None:
        heads["segmentation"] = _head("mask", old["segmentation"], old.get("segmentation_classes", ()))
    new["heads"] = heads
    if isinstance(old.get("graphs"), dict):
        new["graphs"] = {_name(name): graph for name, graph in old["graphs"].items()}
    if isinstance(old.get("parity"), list):
        new["parity"] = [_row(row) for row in old["parity"]]
    return new


_GONE = ("detector", "classes", "score_threshold", "segmentation", "segmentation_classes")


def _head(kind: str, network: Any, classes: Any, threshold: Any = None) -> dict[str, Any]:
    return {"kind": kind, "network": network, "classes": classes, "score_threshold": threshold}


def _name(graph: Any) -> Any:
    return "onepass" if graph == "pipeline" else graph


def _row(row: Any) -> Any:
    if not isinstance(row, dict):
        return row
    kept = {key: row[key] for key in _PARITY if key in row}
    figures = {key: row[key] for key in _FIGURES if row.get(key) is not None}
    unknown = {key: value for key, value in row.items() if key not in (*_PARITY, *_FIGURES)}
    return unknown | kept | {"graph": _name(row.get("graph")), "figures": figures}
