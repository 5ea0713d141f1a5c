"""Times and figures as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tdfusion_edge.runtime.measuring.record import Latency, Numbers, Ratio

Row = tuple[str, str]
"""A name and the cells behind it."""


def lines(rows: Iterable[Row]) -> str:
    """A line a row, the cells below each other."""
    listed = list(rows)
    width = max(len(name) for name, _ in listed) + 2
    return "\n".join(f"{name:{width}}{cells}" for name, cells in listed)


def rows_of(numbers: Numbers, *, timings: bool = True) -> Iterator[Row]:
    """All of them under the names of their columns.

    Args:
        numbers: What was measured.
        timings: With median and quartiles; without where the percentiles tell the same.
    """
    if timings and numbers.timings:
        yield "milliseconds", cells(("median", "q1", "q3", "minimum", "count"))
        for timing in numbers.timings:
            yield timing.name, cells((timing.median, timing.q1, timing.q3, timing.minimum, timing.count))
    if not timings and numbers.ratios:
        yield "times as long", cells(("median", "q1", "q3", "", "rounds"))
    yield from map(_ratio, numbers.ratios)
    if numbers.latencies:
        yield "milliseconds", cells(("p50", "p90", "p95", "p99", "max"))
    yield from map(_latency, numbers.latencies)
    for figure in numbers.figures:
        yield figure.name, f"{figure.value:12.6g} {figure.unit}"


def cells(values: Iterable[float | str]) -> str:
    """Columns of twelve characters."""
    return "".join(f"{value:12.3f}" if isinstance(value, float) else f"{value:>12}" for value in values)


def _ratio(ratio: Ratio) -> Row:
    name = f"{ratio.numerator} / {ratio.denominator}"
    return name, cells((ratio.median, ratio.q1, ratio.q3, "", ratio.rounds))


def _latency(latency: Latency) -> Row:
    p90 = "-" if latency.p90 is None else latency.p90
    return latency.name, cells((latency.p50, p90, latency.p95, latency.p99, latency.max))
