"""Statistics of the skew between two cameras: how far apart paired frames are, and whether that drifts."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

WINDOW = 512
"""Pairs looked back on: 17 s at 30 frames a second."""
FEWEST_FOR_DRIFT = 30
"""Below so many pairs a slope is mostly noise."""
SAME_RATE = 0.1
"""Cameras whose intervals differ relatively by less than this are meant to run at one rate."""


@dataclass(frozen=True, slots=True)
class SkewReport:
    """Skew (infrared minus visible capture time) of the last ``WINDOW`` fused pairs."""

    pairs: int
    """Pairs that the figures rest on."""
    median_ms: float | None
    """Median skew in milliseconds; None before the first pair."""
    drift_ms_per_minute: float | None
    """Slope of the skew over capture time; None for too few pairs, or for cameras of unequal rates,
    where the skew walks through all values anyway."""


class SkewWindow:
    """Collects the skew of fused pairs."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int]] = deque(maxlen=WINDOW)

    def add(self, time_ns: int, skew_ns: int) -> None:
        """Take a pair's capture time and skew, both in nanoseconds."""
        self._samples.append((time_ns, skew_ns))

    def report(self, infrared_interval_ns: int | None, visible_interval_ns: int | None) -> SkewReport:
        """The figures, given the cameras' median intervals in nanoseconds (None: not known yet)."""
        if not self._samples:
            return SkewReport(0, None, None)
        times, skews = np.array(self._samples, np.float64).T / 1e6
        drift = None
        if len(skews) >= FEWEST_FOR_DRIFT and infrared_interval_ns and visible_interval_ns:
            shorter, longer = sorted((infrared_interval_ns, visible_interval_ns))
            if longer - shorter < SAME_RATE * longer:
                drift = _slope_per_minute(times, skews, shorter / 1e6)
        return SkewReport(len(skews), float(np.median(skews)), drift)


def _slope_per_minute(
    times_ms: npt.NDArray[np.float64], skews_ms: npt.NDArray[np.float64], interval_ms: float
) -> float:
    """Least-squares slope in milliseconds a minute."""
    # A drifting pair slips by one frame now and then: the skew jumps by an interval and goes on.
    skews_ms = np.unwrap(skews_ms, period=interval_ms)
    times = times_ms - times_ms.mean()
    return float(times @ (skews_ms - skews_ms.mean()) / (times @ times)) * 60_000
