"""Rows of a result file from detectors on kinds of pictures: their scores, and how far they are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from benchmarks.numbers import SCORE_ROUNDING, deviations, means
from benchmarks.rows import check_statistics
from tdfusion_edge.config import Table
from tdfusion_edge.runtime.measuring.numbers import Count, Text, same

Protocol: TypeAlias = Literal["unchanged", "fine-tuned"]
"""A detector as it is, or one that was trained on the row's own pictures."""
OVERALL = "map50"


class DetectorScore(Table, frozen=True, kw_only=True):
    """AP50 of one detector on one kind of picture, pooled over all pictures."""

    protocol: Protocol
    detector: Text
    row: Text
    """Kind of picture."""
    pictures: Count
    classes: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Those that the pictures show, of which :data:`OVERALL` is the mean."""
    seeds: tuple[int, ...]
    """Of the trainings; empty where nothing was trained, which gives one value."""
    values: dict[str, tuple[float, ...]]
    """By name, beside :attr:`seeds`."""
    mean: dict[str, float]
    deviation: dict[str, float] = {}
    """Standard deviation over the seeds with n - 1 in the denominator; empty with one value."""

    def __post_init__(self) -> None:
        check_statistics(f"score '{self.name}'", self.seeds or (0,), self.values, self.mean, self.deviation)
        parts = [self.values.get(f"{OVERALL} {name}") for name in self.classes]
        known = [part for part in parts if part is not None]
        if OVERALL not in self.values or len(known) < len(parts):
            raise ValueError(f"score '{self.name}': expected {OVERALL}, and that of every class")
        computed = tuple(fmean(of_seed) for of_seed in zip(*known, strict=True))
        same(f"score '{self.name}', {OVERALL}", computed, self.values[OVERALL], SCORE_ROUNDING)

    @property
    def name(self) -> str:
        """Protocol, detector and row."""
        return f"{self.protocol}, {self.detector}, {self.row}"


class Difference(Table, frozen=True, kw_only=True):
    """How much higher :data:`OVERALL` is on one kind of picture than on another."""

    protocol: Protocol
    detector: Text
    row: Text
    reference: Text
    value: float
    """Of the two means over the seeds, on all pictures."""
    resamples: Count
    mean: float
    """Over the resamples of the pictures, the same ones for both rows."""
    low: float
    """The 2.5th percentile of the resamples."""
    high: float
    """The 97.5th."""

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"difference '{self.name}': expected low <= high")

    @property
    def name(self) -> str:
        """Protocol, detector and both rows."""
        return f"{self.protocol}, {self.detector}, {self.row} - {self.reference}"


def detector_score(
    protocol: Protocol,
    detector: str,
    row: str,
    classes: Sequence[str],
    pictures: int,
    seeds: Sequence[int],
    looks: Sequence[Mapping[str, float]],
) -> DetectorScore:
    """A row with its statistics.

    Args:
        protocol: How the detector came to its weights.
        detector: Its name.
        row: Kind of picture.
        classes: Those that there may be a value of.
        pictures: How many.
        seeds: Of the trainings; empty where nothing was trained.
        looks: Values by name, one a seed, or a single one without any.
    """
    values = {name: tuple(look[name] for look in looks) for name in looks[0]}
    return DetectorScore(
        protocol=protocol,
        detector=detector,
        row=row,
        pictures=pictures,
        classes=tuple(name for name in classes if f"{OVERALL} {name}" in values),
        seeds=tuple(seeds),
        values=values,
        mean=means(values),
        deviation=deviations(values),
    )


def check_differences(differences: Sequence[Difference], scores: Sequence[DetectorScore]) -> None:
    """Compute every difference again.

    Raises:
        ValueError: a row is not there, or the difference is another.
    """
    found = {(score.protocol, score.detector, score.row): score.mean[OVERALL] for score in scores}
    for one in differences:
        for row in (one.row, one.reference):
            if (one.protocol, one.detector, row) not in found:
                raise ValueError(f"difference '{one.name}': expected the score of '{row}' in the same file")
        higher, lower = (found[one.protocol, one.detector, row] for row in (one.row, one.reference))
        same(f"difference '{one.name}'", (higher - lower,), (one.value,), SCORE_ROUNDING)
