"""Rows of a result file that come from trained networks: scores by seed, memory peaks, loss weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from benchmarks.numbers import SCORE_ROUNDING, deviations, means
from tdfusion_edge.config import Table
from tdfusion_edge.runtime.measuring.numbers import ROUNDING, Count, NotNegative, Text, same

Time: TypeAlias = Literal["day", "night", "all"]
OUTSIDE = "outside"
"""The region in no box."""


class Trained(Table, frozen=True, kw_only=True):
    """One training repeated with several seeds: the scores of each one's last checkpoint."""

    row: Text
    steps: Count
    """Of each training."""
    seeds: Annotated[tuple[int, ...], Meta(min_length=1)]
    values: Annotated[dict[str, tuple[float, ...]], Meta(min_length=1)]
    """By metric, beside :attr:`seeds`."""
    mean: dict[str, float]
    deviation: dict[str, float] = {}
    """Standard deviation over the seeds with n - 1 in the denominator; empty with one seed."""

    def __post_init__(self) -> None:
        check_statistics(f"training '{self.row}'", self.seeds, self.values, self.mean, self.deviation)


def check_statistics(
    name: str,
    seeds: Sequence[int],
    values: Mapping[str, Sequence[float]],
    mean: Mapping[str, float],
    deviation: Mapping[str, float],
) -> None:
    """Compute mean and standard deviation of a row again from the values of its seeds.

    Raises:
        ValueError: a seed is there twice, a value is missing, or a figure is another.
    """
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"{name}: expected every seed once, got {seeds}")
    if any(len(found) != len(seeds) for found in values.values()):
        raise ValueError(f"{name}: expected a value for each of {len(seeds)} seeds")
    for what, computed, stored in (
        ("mean", means(values), mean),
        ("deviation", deviations(values), deviation),
    ):
        if computed.keys() != stored.keys():
            raise ValueError(f"{name}: expected the {what} of {', '.join(computed) or 'nothing'}")
        for key, value in computed.items():
            same(f"{name}, {what} of {key}", (value,), (stored[key],), SCORE_ROUNDING)


def trained(row: str, seeds: Sequence[int], steps: int, values: Mapping[str, tuple[float, ...]]) -> Trained:
    """A row with its statistics."""
    return Trained(
        row=row,
        steps=steps,
        seeds=tuple(seeds),
        values=dict(values),
        mean=means(values),
        deviation=deviations(values),
    )


class Peak(Table, frozen=True, kw_only=True):
    """Memory that one case takes at its peak, beyond what the process held before."""

    name: Text
    megabytes: NotNegative
    reference: Text
    """Name of the case that it is compared with."""
    share: NotNegative
    """Of the reference's."""


def check_peaks(peaks: Sequence[Peak]) -> None:
    """Compute every share again.

    Raises:
        ValueError: the reference is not there, or the share is another.
    """
    megabytes = {peak.name: peak.megabytes for peak in peaks}
    for peak in peaks:
        if not megabytes.get(peak.reference):
            raise ValueError(f"peak '{peak.name}': expected a peak of '{peak.reference}' in the same file")
        share = peak.megabytes / megabytes[peak.reference]
        same(f"peak '{peak.name}'", (share,), (peak.share,), ROUNDING)


class RegionWeight(Table, frozen=True, kw_only=True):
    """What a loss network says of the pixels of one region."""

    seed: int
    """Of the training."""
    time: Time
    region: Text
    """A class, for the pixels in its boxes; or :data:`OUTSIDE`, for those in no box."""
    pixels: Count
    mean: Annotated[float, Meta(ge=0, le=1)]
    """Of w_ir over the pixels."""
    deviation: NotNegative
    """Standard deviation over the pixels."""
    over_half: float
    """``mean`` - 1/2: how far the loss has moved from the fixed one."""
    over_outside: float
    """``mean`` less that outside all boxes at the same time of day."""

    @property
    def name(self) -> str:
        """Seed, time and region."""
        return f"seed {self.seed}, {self.time}, {self.region}"


def check_weights(weights: Sequence[RegionWeight]) -> None:
    """Compute the differences again.

    Raises:
        ValueError: one is another, or what is outside all boxes is missing.
    """
    outside = {(row.seed, row.time): row.mean for row in weights if row.region == OUTSIDE}
    for row in weights:
        if (row.seed, row.time) not in outside:
            raise ValueError(f"weight '{row.name}': expected the same of '{OUTSIDE}' in the file")
        computed = row.mean - 0.5, row.mean - outside[row.seed, row.time]
        same(f"weight '{row.name}'", computed, (row.over_half, row.over_outside), 2 * SCORE_ROUNDING)
