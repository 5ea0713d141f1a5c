"""How far apart two cameras really exposed, by what moves in both of their pictures.

Stamps cannot tell it: a driver or a stream may shift them by any constant. But what moves is seen by both.
Every small part of the picture has its own history of motion in each camera, and the two are correlated
for a range of time lags. The mean of these coefficients over all parts is largest where the exposures
meet. (Each part counts alike: head lamps, which light the road in front of a car and exist in one spectrum
only, do not outweigh people.) Pictures that do not lie on each other feign a lag, by the time that things
take from the one place to the other: map infrared onto visible first.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

F64: TypeAlias = npt.NDArray[np.float64]
F32: TypeAlias = npt.NDArray[np.float32]
Lags: TypeAlias = npt.NDArray[np.floating]

COARSE_S, FURTHEST_S = 0.05, 1.0
"""Step and reach of the first search, seconds."""
FINE_S = 0.02
"""Step of the second one; the peak is interpolated between its steps."""
AROUND = 4
"""So many steps around the coarse peak are looked at again."""
BLOCKS = 8
"""The motion is cut into so many pieces; how the result depends on each tells its error."""
FEWEST = 80
"""So many intervals of the slower camera at least."""
LIVELY = 0.001
"""Cells with less than this share of the mean motion are left out."""


class Motion(NamedTuple):
    """How much moved between the frames of one camera."""

    begins_s: F64
    """(N,) seconds: capture time of the earlier frame of each interval."""
    ends_s: F64
    """(N,) of the later one, the next interval's beginning or before it."""
    cells: F32
    """(N, rows, columns) how much changed in between, 0 or more."""


class Lag(NamedTuple):
    """A time lag that was found."""

    lag_s: float
    """To be added to the first camera's capture times, so that both agree, in seconds."""
    error_s: float
    """Its standard error in seconds, by leaving out each piece of the motion in turn."""
    correlation: float
    """Mean coefficient of correlation at the peak, -1 to 1."""
    prominence: float
    """How far the peak stands above the median over all lags, in mean deviations from it."""
    aligned: bool
    """The pictures agree less when one is moved sideways by a cell; where they do not, the lag is not to be
    relied on."""


def find(first: Motion, second: Motion) -> Lag | None:
    """The lag between two cameras; None where there is too little to tell one.

    Args:
        first: The slower camera.
        second: The other one, of as many rows and columns.
    """
    usual_s = float(np.median(first.ends_s - first.begins_s)) if len(first.cells) else 0.0
    reach_s = FURTHEST_S + (AROUND + 1) * FINE_S
    keep = first.ends_s - first.begins_s < 1.6 * usual_s
    if len(second.cells):
        keep &= (first.begins_s > second.begins_s[0] + reach_s) & (first.ends_s < second.ends_s[-1] - reach_s)
    if not len(second.cells) or keep.sum() < FEWEST:
        return None
    first = Motion(first.begins_s[keep], first.ends_s[keep], first.cells[keep])
    lags_s = np.arange(-round(FURTHEST_S / COARSE_S), round(FURTHEST_S / COARSE_S) + 1) * COARSE_S
    rough = _Correlation(_merged(first), _merged(second)).over(lags_s).mean()
    middle = float(np.median(rough))
    spread = float(np.abs(rough - middle).mean())
    at = int(rough.argmax())
    if spread == 0.0:
        return None
    prominence = (float(rough[at]) - middle) / spread
    return _refined(_Correlation(first, second), float(lags_s[at]), prominence)


def _refined(correlation: _Correlation, near_s: float, prominence: float) -> Lag | None:
    """The peak near a lag, between its steps."""
    lags_s = near_s + np.arange(-AROUND, AROUND + 1) * FINE_S
    table = correlation.over(lags_s)
    whole = table.mean()
    at = min(max(int(whole.argmax()), 1), len(lags_s) - 2)
    found = _peak(whole[at - 1 : at + 2])
    without = [_peak(table.mean(without=block)[at - 1 : at + 2]) for block in range(BLOCKS)]
    each = np.array([one for one in without if one is not None])
    if found is None or len(each) < BLOCKS:
        return None
    error = float(np.sqrt((BLOCKS - 1) / BLOCKS * ((each - each.mean()) ** 2).sum()))
    best = float(whole[at])
    aside = max(float(correlation.over(lags_s[::2], aside=step).mean().max()) for step in (-1, 1))
    return Lag(float(lags_s[at]) + found * FINE_S, error * FINE_S, best, prominence, aligned=best >= aside)


def _peak(three: F64) -> float | None:
    """Where the parabola through three values is highest, in steps from the middle; None where nowhere."""
    bend = float(three[0] - 2 * three[1] + three[2])
    if bend >= 0:
        return None
    away = float(three[0] - three[2]) / (2 * bend)
    return away if abs(away) <= 2 else None


class _Table(NamedTuple):
    """Sums of products, each (blocks, lags, cells)."""

    product: F64
    first: F64
    second: F64

    def mean(self, without: int | None = None) -> F64:
        """(lags,) mean coefficient over the lively cells, with or without one block."""
        kept = [block for block in range(BLOCKS) if block != without]
        product, first, second = (part[kept].sum(axis=0) for part in self)
        lively = first > LIVELY * first.mean(axis=-1, keepdims=True)
        rho = np.where(lively, product / np.sqrt(first * second + 1e-12), 0.0)
        coefficients: F64 = rho.sum(axis=-1) / np.maximum(lively.sum(axis=-1), 1)
        return coefficients


class _Correlation:
    def __init__(self, first: Motion, second: Motion) -> None:
        self._first, self._second = first, second
        rows, columns = first.cells.shape[1:]
        self._shape = rows, columns
        # Motion up to each moment: what lies between any two of them is a difference.
        flat = second.cells.reshape(len(second.cells), -1)
        self._times = np.concatenate([second.begins_s[:1], second.ends_s])
        sums = np.cumsum(flat, axis=0, dtype=np.float64).astype(np.float32)
        self._sums = np.concatenate([np.zeros((1, flat.shape[1]), np.float32), sums])
        self._cuts = np.linspace(0, len(first.cells), BLOCKS + 1).astype(int)

    def over(self, lags_s: Lags, *, aside: int = 0) -> _Table:
        """All sums for some lags, the first picture being moved to the right by so many cells."""
        rows, columns = self._shape
        edge = abs(aside)
        inner = np.s_[:, :, edge : columns - edge]
        moved = self._centred(np.roll(self._first.cells, aside, axis=2)[inner])
        squares = self._blocks(moved, moved)
        product, second = [], []
        for lag_s in lags_s:
            between = self._at(self._first.ends_s + lag_s) - self._at(self._first.begins_s + lag_s)
            other = self._centred(between.reshape(-1, rows, columns)[inner])
            product.append(self._blocks(moved, other))
            second.append(self._blocks(other, other))
        return _Table(
            np.stack(product, axis=1), np.stack([squares] * len(lags_s), axis=1), np.stack(second, axis=1)
        )

    def _at(self, moments_s: F64) -> F32:
        place = np.clip(np.searchsorted(self._times, moments_s) - 1, 0, len(self._times) - 2)
        share = (moments_s - self._times[place]) / (self._times[place + 1] - self._times[place])
        share = np.clip(share, 0.0, 1.0)[:, None].astype(np.float32)
        at: F32 = self._sums[place] * (1 - share) + self._sums[place + 1] * share
        return at

    def _blocks(self, one: F32, other: F32) -> F64:
        """(blocks, cells) sums of products."""
        product = one * other
        sums: F64 = np.add.reduceat(product, self._cuts[:-1], axis=0, dtype=np.float64)
        return sums

    @staticmethod
    def _centred(cells: F32) -> F32:
        flat = cells.reshape(len(cells), -1)
        centred: F32 = flat - flat.mean(axis=0)
        return centred


def _merged(motion: Motion) -> Motion:
    """The same in cells twice as wide and high."""
    count, rows, columns = motion.cells.shape
    halves = motion.cells[:, : rows // 2 * 2, : columns // 2 * 2]
    merged = halves.reshape(count, rows // 2, 2, columns // 2, 2).sum(axis=(2, 4))
    return Motion(motion.begins_s, motion.ends_s, merged)
