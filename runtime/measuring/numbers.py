"""Numbers of a result file: kinds, precision, and the statistics that reading it computes again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple, TypeAlias

import numpy as np
from msgspec import Meta

DIGITS = 4
"""Decimals of a stored number: tenths of a microsecond in milliseconds."""
ROUNDING = 1.5 * 10**-DIGITS
"""So much may a repeated figure differ from its source."""

Text: TypeAlias = Annotated[str, Meta(min_length=1)]
Count: TypeAlias = Annotated[int, Meta(ge=1)]
NotNegative: TypeAlias = Annotated[float, Meta(ge=0)]


class Spread(NamedTuple):
    """Order statistics of some samples; quartiles are interpolated linearly."""

    median: float
    q1: float
    q3: float
    minimum: float


def spread(values: Sequence[float]) -> Spread:
    """Median, quartiles and minimum of at least one number."""
    q1, median, q3 = np.percentile(values, (25, 50, 75))
    return Spread(*(round(float(v), DIGITS) for v in (median, q1, q3, min(values))))


def same(
    name: str, computed: tuple[float, ...], stored: tuple[float, ...], rounding: float = ROUNDING
) -> None:
    """Refuse figures that differ from those that they follow from.

    Raises:
        ValueError: they differ by more than ``rounding``.
    """
    if not all(
        math.isclose(a, b, rel_tol=1e-9, abs_tol=rounding) for a, b in zip(computed, stored, strict=True)
    ):
        raise ValueError(f"{name}: the samples give {computed}, the file says {stored}")
