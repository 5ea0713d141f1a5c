"""Results as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.detector_rows import DetectorScore
from benchmarks.rows import Trained
from benchmarks.schema import Results
from tdfusion_edge.runtime.measuring.table import cells, lines, rows_of


def as_table(results: Results) -> str:
    """All numbers, a line each, under the names of their columns."""
    return lines(_rows(results))


def _rows(results: Results) -> Iterator[tuple[str, str]]:
    yield from rows_of(results)
    if results.scores:
        yield f"{results.scores[0].pairs} pairs", cells(results.scores[0].metrics)
    for score in results.scores:
        yield f"{score.method}, stretch {score.stretch}", cells(score.metrics.values())
    yield from _over_seeds([(row.row, row) for row in results.trainings])
    if results.peaks:
        yield "peak memory", cells(("MB", "share"))
    for peak in results.peaks:
        yield peak.name, cells((peak.megabytes, peak.share))
    if results.weights:
        yield "w_ir", cells(("mean", "sd", "- 1/2", "- outside"))
    for weight in results.weights:
        yield weight.name, cells((weight.mean, weight.deviation, weight.over_half, weight.over_outside))
    yield from _over_seeds([(row.name, row) for row in results.detectors])
    if results.differences:
        yield "difference of map50", cells(("value", "mean", "2.5 %", "97.5 %"))
    for one in results.differences:
        yield one.name, cells((one.value, one.mean, one.low, one.high))


def _over_seeds(rows: Sequence[tuple[str, Trained | DetectorScore]]) -> Iterator[tuple[str, str]]:
    """Mean and spread over the seeds; what the values of each seed are stands in the file."""
    metrics = list(dict.fromkeys(metric for _, row in rows for metric in row.mean))
    if metrics:
        seeds = max(len(row.seeds) for _, row in rows)
        yield f"mean +- sd of {seeds or 1}", "".join(f"{metric:>17}" for metric in metrics)
    for name, row in rows:
        scores = (_with_spread(row, metric) for metric in metrics)
        yield name, "".join(f"{score:>17}" for score in scores)


def _with_spread(row: Trained | DetectorScore, name: str) -> str:
    if name not in row.mean:
        return "-"
    spread = f" +- {row.deviation[name]:.3f}" if name in row.deviation else ""
    return f"{row.mean[name]:.3f}{spread}"
