"""What a result file holds, and the check that every committed one passes.

A file repeats figures that follow from others in it (a median follows from the samples, a ratio
from the samples of two timings); reading it computes them again, so that none can be edited alone.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from benchmarks.detector_rows import DetectorScore, Difference, check_differences
from benchmarks.numbers import Count, NotNegative, Text, same, spread
from benchmarks.rows import Peak, RegionWeight, Trained, check_peaks, check_weights
from tdfusion_edge.config import Table, load
from tdfusion_edge.errors import ConfigError

Commit: TypeAlias = Annotated[str, Meta(pattern="^([0-9a-f]{40}|[0-9a-f]{64})$")]
Load: TypeAlias = tuple[NotNegative, NotNegative, NotNegative]
StretchMode: TypeAlias = Literal["none", "image"]
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
    """Module below ``benchmarks``."""
    arguments: dict[str, Argument]
    """Command-line options by name, defaults included."""
    facts: dict[str, str] = {}
    """What the benchmark says about its subject: digests of the networks, names of the bundles."""
    started: Text
    """ISO 8601 with time zone."""
    seconds: NotNegative
    """Duration of the run."""
    commit: Commit | None
    """None outside a git checkout; no such file can be published."""
    dirty: bool | None
    """Files outside ``benchmarks/results`` differ from the commit."""
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
    """Percentiles of one stage as the program itself reports them (2 % wide buckets), milliseconds."""

    name: Text
    p50: NotNegative
    p95: NotNegative
    p99: NotNegative
    max: NotNegative

    def __post_init__(self) -> None:
        if not self.p50 <= self.p95 <= self.p99 <= self.max:
            raise ValueError(f"latency '{self.name}': expected p50 <= p95 <= p99 <= max")


class Figure(Table, frozen=True, kw_only=True):
    """One number."""

    name: Text
    value: float
    unit: Text


class Score(Table, frozen=True, kw_only=True):
    """Fusion metrics of one method: means over the pairs."""

    method: Text
    stretch: StretchMode
    pairs: Count
    metrics: Annotated[dict[str, float], Meta(min_length=1)]


class Results(Table, frozen=True, kw_only=True):
    """The numbers; at least one."""

    timings: tuple[Timing, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    latencies: tuple[Latency, ...] = ()
    figures: tuple[Figure, ...] = ()
    scores: tuple[Score, ...] = ()
    trainings: tuple[Trained, ...] = ()
    peaks: tuple[Peak, ...] = ()
    weights: tuple[RegionWeight, ...] = ()
    detectors: tuple[DetectorScore, ...] = ()
    differences: tuple[Difference, ...] = ()

    def __post_init__(self) -> None:
        names = [
            *(("timing", row.name) for row in self.timings),
            *(("ratio", f"{row.numerator} / {row.denominator}") for row in self.ratios),
            *(("latency", row.name) for row in self.latencies),
            *(("figure", row.name) for row in self.figures),
            *(("score", f"{row.method}, stretch {row.stretch}") for row in self.scores),
            *(("training", row.row) for row in self.trainings),
            *(("peak", row.name) for row in self.peaks),
            *(("weight", row.name) for row in self.weights),
            *(("detector's score", row.name) for row in self.detectors),
            *(("difference", row.name) for row in self.differences),
        ]
        if not names:
            raise ValueError("results: expected at least one number, got none")
        twice = [f"{kind} '{name}'" for kind, name in names if names.count((kind, name)) > 1]
        if twice:
            raise ValueError(f"results: {twice[0]} is there twice")
        timings = {timing.name: timing for timing in self.timings}
        for ratio in self.ratios:
            _check_ratio(ratio, timings)
        check_peaks(self.peaks)
        check_weights(self.weights)
        check_differences(self.differences, self.detectors)


class ResultFile(Table, frozen=True, kw_only=True):
    """A whole file."""

    metadata: Metadata
    results: Results


def pairwise(numerator: dict[int, float], denominator: dict[int, float]) -> list[float]:
    """Quotients of two cases, one for each round that ran both, in the order of the rounds."""
    return [numerator[n] / denominator[n] for n in sorted(numerator.keys() & denominator.keys())]


def read(path: Path) -> ResultFile:
    """Read a result file and check it.

    Raises:
        InputMissing: there is no such file.
        ConfigError: an unknown key, a wrong type, a number that is not finite or contradicts the
            others, or a file that is not named after its benchmark.
    """
    result = load(path, ResultFile)
    name = result.metadata.benchmark.rpartition(".")[2]
    if not path.stem.startswith(name):
        raise ConfigError(f"{path}: file name", expected=f"{name}*.json", got=path.name)
    return result


def check_published(path: Path) -> ResultFile:
    """Check a file that is committed as any other, and that its commit is known.

    Raises:
        ConfigError: see :func:`read`, or the file names no commit.
    """
    result = read(path)
    if result.metadata.commit is None:
        raise ConfigError(f"{path}: commit", expected="the commit that was measured", got="none")
    return result


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
