"""How a camera's clock runs against ours: its stamps against the arrival of its frames.

A frame arrives some time after it was stamped, at least as long as the way takes. That least delay is
constant while both clocks run alike, and changes by so many microseconds a second as they differ by parts in
a million. What it cannot tell is how long the least delay is: a constant offset of the stamps stays unknown,
and so does whether a sudden small change was one of the clock or of the way.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

BIN_NS = 2_000_000_000
"""The least delay of so much time is one point of the line."""
BINS = 150
"""Points looked back on: five minutes."""
LOW = 0.2
"""Share of delays that lie below the one that stands for a point: not the very least, for stamps tremble."""
MOST_IN_BIN = 1024
FEWEST = 15
"""Points that a slope needs: half a minute."""
STEP_MS = 15.0
"""The line begins anew behind a change of the delay by more than this, and by ``STEP_NOISE`` of its noise."""
STEP_NOISE = 6.0
STEP_BINS = 3
"""Points beyond a step that make it one."""


class DriftEstimate(NamedTuple):
    """How fast a camera's clock runs."""

    ppm: float
    """Parts in a million that it runs fast against ours."""
    error_ppm: float
    """Standard error of that."""
    begins_ns: float
    """Time of its oldest point, on our clock."""
    ends_ns: float
    """Time of its newest point."""
    delay_ns: float
    """The line's value there: arrival less stamp, by both clocks."""

    def at(self, time_ns: float) -> float:
        """The line's value at another time, nanoseconds."""
        return self.delay_ns - (time_ns - self.ends_ns) * self.ppm / 1e6


class Drift:
    """Follows the delays of one camera."""

    def __init__(self) -> None:
        self.restart()
        self.steps = 0
        """Sudden changes of the delay, of the clock or of the way."""

    def restart(self) -> None:
        """Forget the line."""
        self._bin: list[int] = []
        self._bin_begins_ns: int | None = None
        self._points: deque[tuple[int, float]] = deque(maxlen=BINS)
        """Time of arrival, and the low delay, nanoseconds."""
        self.estimate: DriftEstimate | None = None
        """None before half a minute."""

    @property
    def least_ns(self) -> float | None:
        """About the least delay lately; None within the first seconds."""
        return min(delay for _, delay in list(self._points)[-FEWEST:]) if self._points else None

    def take(self, stamp_ns: int, arrival_ns: int) -> bool:
        """A frame came; True where :attr:`estimate` may have changed."""
        if self._bin_begins_ns is None:
            self._bin_begins_ns = arrival_ns
        done = arrival_ns - self._bin_begins_ns >= BIN_NS and bool(self._bin)
        if done:
            self._close_bin(arrival_ns)
        if len(self._bin) < MOST_IN_BIN:
            self._bin.append(arrival_ns - stamp_ns)
        return done

    def _close_bin(self, arrival_ns: int) -> None:
        assert self._bin_begins_ns is not None
        low = sorted(self._bin)[int(len(self._bin) * LOW)]
        self._points.append(((self._bin_begins_ns + arrival_ns) // 2, float(low)))
        self._bin, self._bin_begins_ns = [], arrival_ns
        if len(self._points) < FEWEST:
            return
        times_ns, delays_ns = np.array(self._points, np.float64).T
        self.estimate = _line(times_ns, delays_ns)
        line_ns = self.estimate.delay_ns - (times_ns - times_ns[-1]) * self.estimate.ppm / 1e6
        away_ms = (delays_ns - line_ns) / 1e6
        limit_ms = max(STEP_MS, STEP_NOISE * 1.5 * float(np.median(np.abs(away_ms))))
        last = away_ms[-STEP_BINS:]
        if (last > limit_ms).all() or (last < -limit_ms).all():
            points = list(self._points)[-STEP_BINS:]
            self.restart()
            self._points.extend(points)
            self._bin_begins_ns = arrival_ns
            self.steps += 1


def _line(times_ns: npt.NDArray[np.float64], delays_ns: npt.NDArray[np.float64]) -> DriftEstimate:
    """The median of the slopes between all points (Theil and Sen): a quarter of them may be wild."""
    one, other = np.triu_indices(len(times_ns), 1)
    slope = float(np.median((delays_ns[other] - delays_ns[one]) / (times_ns[other] - times_ns[one])))
    now_ns = times_ns[-1]
    away = delays_ns - slope * (times_ns - now_ns)
    level = float(np.median(away))
    noise = 1.5 * float(np.median(np.abs(away - level)))
    spread = float(np.sqrt(((times_ns - times_ns.mean()) ** 2).sum()))
    error = max(noise / spread * math.sqrt(1.1), 1e-9)
    return DriftEstimate(-slope * 1e6, error * 1e6, float(times_ns[0]), float(now_ns), level)
