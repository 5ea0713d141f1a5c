"""Results as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from benchmarks.detector_rows import DetectorScore
from benchmarks.rows import Trained
from benchmarks.schema import Results


def as_table(results: Results) -> str:
    """All numbers, a line each, under the names of their columns."""
    rows = list(_rows(results))
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"{name:{width}}{cells}" for name, cells in rows)


def _rows(results: Results) -> Iterator[tuple[str, str]]:
    if results.timings:
        yield "milliseconds", _cells(("median", "q1", "q3", "minimum", "count"))
    for timing in results.timings:
        yield timing.name, _cells((timing.median, timing.q1, timing.q3, timing.minimum, timing.count))
    for ratio in results.ratios:
        name = f"{ratio.numerator} / {ratio.denominator}"
        yield name, _cells((ratio.median, ratio.q1, ratio.q3, "", ratio.rounds))
    if results.latencies:
        yield "milliseconds", _cells(("p50", "p95", "p99", "max"))
    for latency in results.latencies:
        yield latency.name, _cells((latency.p50, latency.p95, latency.p99, latency.max))
    for figure in results.figures:
        yield figure.name, f"{figure.value:12.6g} {figure.unit}"
    if results.scores:
        yield f"{results.scores[0].pairs} pairs", _cells(results.scores[0].metrics)
    for score in results.scores:
        yield f"{score.method}, stretch {score.stretch}", _cells(score.metrics.values())
    yield from _over_seeds([(row.row, row) for row in results.trainings])
    if results.peaks:
        yield "peak memory", _cells(("MB", "share"))
    for peak in results.peaks:
        yield peak.name, _cells((peak.megabytes, peak.share))
    if results.weights:
        yield "w_ir", _cells(("mean", "sd", "- 1/2", "- outside"))
    for weight in results.weights:
        yield weight.name, _cells((weight.mean, weight.deviation, weight.over_half, weight.over_outside))
    yield from _over_seeds([(row.name, row) for row in results.detectors])
    if results.differences:
        yield "difference of map50", _cells(("value", "mean", "2.5 %", "97.5 %"))
    for one in results.differences:
        yield one.name, _cells((one.value, one.mean, one.low, one.high))


def _over_seeds(rows: Sequence[tuple[str, Trained | DetectorScore]]) -> Iterator[tuple[str, str]]:
    """Mean and spread over the seeds; what the values of each seed are stands in the file."""
    metrics = list(dict.fromkeys(metric for _, row in rows for metric in row.mean))
    if metrics:
        seeds = max(len(row.seeds) for _, row in rows)
        yield f"mean +- sd of {seeds or 1}", "".join(f"{metric:>17}" for metric in metrics)
    for name, row in rows:
        cells = (_with_spread(row, metric) for metric in metrics)
        yield name, "".join(f"{cell:>17}" for cell in cells)


def _with_spread(row: Trained | DetectorScore, name: str) -> str:
    if name not in row.mean:
        return "-"
    spread = f" +- {row.deviation[name]:.3f}" if name in row.deviation else ""
    return f"{row.mean[name]:.3f}{spread}"


def _cells(values: Iterable[float | str]) -> str:
    return "".join(f"{value:12.3f}" if isinstance(value, float) else f"{value:>12}" for value in values)
