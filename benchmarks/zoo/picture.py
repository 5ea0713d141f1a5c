"""The zoo as a drawing: what a picture is worth against what its network costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.detector_rows import OVERALL
from benchmarks.plot import Panel, Point, figure
from benchmarks.quality import PEERS
from benchmarks.schema import Results

OPERATIONS = "million multiply-adds a 640x480 pair"
MILLISECONDS = "ms a 640x480 pair, two threads"


def draw(results: Results) -> str:
    """Qabf and mAP50 against operations and against time, as SVG; what was not measured is not drawn."""
    figures = {one.name: one.value for one in results.figures}
    times = {one.name: one.median for one in results.timings}
    qabf = {one.method: one.metrics["qabf"] for one in results.scores}
    names = list(qabf)
    operations = {name: figures.get(f"{name}: multiply-adds") for name in names}
    milliseconds = {name: times.get(f"{name}, 2 threads") for name in names}
    panels = [
        _panel("Qabf against operations", OPERATIONS, "Qabf", operations, qabf),
        _panel("Qabf against time", MILLISECONDS, "Qabf", milliseconds, qabf),
    ]
    for detector, scores in found_by(results).items():
        title = f"mAP50 of {detector} against operations"
        panels.append(_panel(title, OPERATIONS, "mAP50", operations, scores))
    return figure(panels)


def found_by(results: Results) -> dict[str, dict[str, float]]:
    """mAP50 by row, of each unchanged detector, and of the members' own behind those."""
    found: dict[str, dict[str, float]] = {}
    for one in sorted(results.detectors, key=lambda row: row.protocol != "unchanged"):
        name = one.detector if one.protocol == "unchanged" else "the bundle's detector"
        found.setdefault(name, {})[one.row] = one.mean[OVERALL]
    return found


def _panel(
    title: str, x_label: str, y_label: str, costs: Mapping[str, float | None], worth: Mapping[str, float]
) -> Panel:
    return Panel(title, x_label, y_label, tuple(_points(costs, worth)))


def _points(costs: Mapping[str, float | None], worth: Mapping[str, float]) -> Iterator[Point]:
    for name, y in worth.items():
        cost = costs.get(name)
        if cost is not None:
            yield Point(name, cost, y, ours=name not in PEERS)
