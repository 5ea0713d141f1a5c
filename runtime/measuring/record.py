"""What a result file holds of times and figures; reading it computes again what follows from the samples.

The contract stands in ``benchmarks/README.md``. ``benchmarks/schema.py`` has the rows that only benchmarks
write.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from tdfusion_edge.config import Table
from tdfusion_edge.runtime.measuring.numbers import Count, NotNegative, Text, same, spread

Commit: TypeAlias = Annotated[str, Meta(pattern="^([0-9a-f]{40}|[0-9a-f]{64})$")]
Sha256: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Load: TypeAlias = tuple[NotNegative, NotNegative, NotNegative]
Argument: TypeAlias = str | int | float | bool | tuple[str, ...] | None


class Machine(Table, frozen=True, kw_only=True):
    """What the benchmark ran on."""

    cpu: Text
    cores: Count
    """Cores that the process may use."""
    memory_gb: Annotated[float, Meta(gt=0)]
    system: Text
    """Operating system and processor architecture."""
    load_before: Load | None
    """Load averages over 1, 5 and 15 minutes before the run; None where the system has none."""
    load_after: Load | None


class Metadata(Table, frozen=True, kw_only=True):
    """Where the numbers come from."""

    format: Literal[1]
    benchmark: Text
    """Module below ``benchmarks``, or ``bench``."""
    arguments: dict[str, Argument]
    """Command-line options by name, defaults included."""
    facts: dict[str, str] = {}
    """What the benchmark says about its subject: digests of the networks, names of the bundles."""
    started: Text
    """ISO 8601 with time zone."""
    seconds: NotNegative
    """Duration of the run."""
    commit: Commit | None
    """None outside a git checkout."""
    dirty: bool | None
    """Files outside ``benchmarks/results`` differ from the commit."""
    package: Sha256 | None = None
    """Digest of the installed package's files, by :func:`~tdfusion_edge.runtime.measuring.machine.package`:
    what was measured, where no commit is known."""
    machine: Machine
    versions: dict[str, str]
    """Python and the packages that the numbers depend on."""

    def __post_init__(self) -> None:
        if datetime.datetime.fromisoformat(self.started).tzinfo is None:
            raise ValueError(f"started: expected a time zone, got '{self.started}'")
        if "python" not in self.versions:
            raise ValueError("versions: expected 'python' among them")


class Timing(Table, frozen=True, kw_only=True):
    """Durations of one case, in milliseconds."""

    name: Text
    count: Count
    median: NotNegative
    q1: NotNegative
    q3: NotNegative
    minimum: NotNegative
    rounds: tuple[int, ...] = ()
    """Number of the round that each sample comes from, ascending; empty where none are kept."""
    samples: tuple[NotNegative, ...] = ()
    """Beside :attr:`rounds`; kept where ratios rest on them."""

    def __post_init__(self) -> None:
        if not self.minimum <= self.q1 <= self.median <= self.q3:
            raise ValueError(f"timing '{self.name}': expected minimum <= q1 <= median <= q3")
        if len(self.rounds) != len(self.samples) or (self.samples and len(self.samples) != self.count):
            raise ValueError(f"timing '{self.name}': expected as many rounds and samples as count says")
        if list(self.rounds) != sorted(set(self.rounds)):
            raise ValueError(f"timing '{self.name}': expected ascending rounds")
        if self.samples:
            stored = (self.median, self.q1, self.q3, self.minimum)
            same(f"timing '{self.name}'", spread(self.samples), stored)


class Ratio(Table, frozen=True, kw_only=True):
    """How many times as long one case takes as another: statistics over the rounds that ran both."""

    numerator: Text
    denominator: Text
    rounds: Count
    median: NotNegative
    q1: NotNegative
    q3: NotNegative


class Latency(Table, frozen=True, kw_only=True):
    """Percentiles of one stage, milliseconds: of samples, or in the 2 % wide buckets of a run's report."""

    name: Text
    p50: NotNegative
    p90: NotNegative | None = None
    """None in files that were written before it was kept."""
    p95: NotNegative
    p99: NotNegative
    max: NotNegative

    def __post_init__(self) -> None:
        known = [self.p50, *(() if self.p90 is None else (self.p90,)), self.p95, self.p99, self.max]
        if known != sorted(known):
            raise ValueError(f"latency '{self.name}': expected p50 <= p90 <= p95 <= p99 <= max")


class Figure(Table, frozen=True, kw_only=True):
    """One number."""

    name: Text
    value: float
    unit: Text


class Numbers(Table, frozen=True, kw_only=True):
    """The numbers; at least one."""

    timings: tuple[Timing, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    latencies: tuple[Latency, ...] = ()
    figures: tuple[Figure, ...] = ()

    def __post_init__(self) -> None:
        names = list(self.rows())
        if not names:
            raise ValueError("results: expected at least one number, got none")
        twice = [f"{kind} '{name}'" for kind, name in names if names.count((kind, name)) > 1]
        if twice:
            raise ValueError(f"results: {twice[0]} is there twice")
        timings = {timing.name: timing for timing in self.timings}
        for ratio in self.ratios:
            _check_ratio(ratio, timings)

    def rows(self) -> Iterator[tuple[str, str]]:
        """Kind and name of every row."""
        yield from (("timing", row.name) for row in self.timings)
        yield from (("ratio", f"{row.numerator} / {row.denominator}") for row in self.ratios)
        yield from (("latency", row.name) for row in self.latencies)
        yield from (("figure", row.name) for row in self.figures)


class Record(Table, frozen=True, kw_only=True):
    """A whole file."""

    metadata: Metadata
    results: Numbers


def pairwise(numerator: dict[int, float], denominator: dict[int, float]) -> list[float]:
    """Quotients of two cases, one for each round that ran both, in the order of the rounds."""
    return [numerator[n] / denominator[n] for n in sorted(numerator.keys() & denominator.keys())]


def _check_ratio(ratio: Ratio, timings: dict[str, Timing]) -> None:
    name = f"ratio '{ratio.numerator} / {ratio.denominator}'"
    parts = []
    for part in (ratio.numerator, ratio.denominator):
        if part not in timings or not timings[part].samples:
            raise ValueError(f"{name}: expected the samples of '{part}' in the same file")
        parts.append(dict(zip(timings[part].rounds, timings[part].samples, strict=True)))
    quotients = pairwise(parts[0], parts[1])
    if len(quotients) != ratio.rounds:
        raise ValueError(f"{name}: expected {len(quotients)} rounds, got {ratio.rounds}")
    same(name, spread(quotients)[:3], (ratio.median, ratio.q1, ratio.q3))
