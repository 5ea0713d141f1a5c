"""The rhythm of a camera that runs free: its stamps without their jitter.

A sensor takes its pictures at the pace of a crystal, exact to microseconds; its stamps tremble by
milliseconds, because a bus, a driver or a decoder is between them. Two cameras of which one frame is
chosen by its stamp are then paired wrongly wherever two candidates are nearly equally near. A straight
line through the stamps over the number of the frame takes the trembling away.

The line is followed by recursive least squares with two parameters, its value at the newest frame and its
slope, and an exponential memory. It is used only while it fits: a camera that is triggered from
outside, or changes its rate all the time, keeps its stamps.
"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import median

FIRST = 9
"""So many frames give a first interval; until then stamps stay as they are."""
MEMORY_S = 150.0
"""Time constant of the memory: a crystal's rate follows the temperature in minutes."""
IRREGULAR = 0.25
"""Trembling above this share of the interval is no trembling: the camera has no rhythm."""
MIN_NOISE_S = 2e-5
"""Stamps are never taken for more exact than this, seconds."""
CLIP, BREAK = 3.0, 5.0
"""Deviations that are pulled in, and that mean another rhythm if they persist, in standard deviations."""
NO_BREAK_S = 1e-3
"""Nor is anything below this another rhythm, seconds."""
PERSISTS = 2.5
"""Four frames in a row that are away, or nearly all of some more, are no accident."""
HOPELESS = 64
"""After so many irregular frames the interval is asked for anew."""


class Rhythm:
    """Follows the stamps of one camera, in the order of its frames."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget everything, as after a gap in which the camera may have started anew."""
        self._first: list[tuple[int, int]] = []
        """Sequence numbers and stamps of the first frames."""
        self._origin_ns = 0
        self._interval_s: float | None = None
        self._phase_s = 0.0
        """The line at the newest frame, seconds since the origin."""
        self._var = (1.0, 0.0, 1.0)
        """Variance of phase, covariance, variance of the interval, in those of one stamp."""
        self._sequence = 0
        self._noise_s = 0.0
        self._away = 0.0
        self._irregular = 0

    @property
    def interval_ns(self) -> int | None:
        """Time between two frames by the stamps; None before it is known."""
        return None if self._interval_s is None else round(self._interval_s * 1e9)

    @property
    def jitter_ms(self) -> float | None:
        """Standard deviation of the stamps around the line, milliseconds; None before it is known."""
        return None if self._interval_s is None else self._noise_s * 1e3

    @property
    def is_regular(self) -> bool:
        """Whether the camera has a rhythm, so that :meth:`take` takes the jitter away."""
        return self._interval_s is not None and self._noise_s <= IRREGULAR * self._interval_s

    def expected_ns(self, sequence: int, stamp_ns: int) -> int | None:
        """The stamp that a frame would have by the line; None where there is no rhythm.

        Frames that were lost without a gap in the numbers are told by the stamp.
        """
        if not self.is_regular:
            return None
        steps = self._steps(sequence, stamp_ns)
        assert self._interval_s is not None
        return self._origin_ns + round((self._phase_s + steps * self._interval_s) * 1e9)

    def take(self, sequence: int, stamp_ns: int) -> int:
        """The next frame's stamp without its jitter, in nanoseconds; as it is where there is no rhythm."""
        if self._interval_s is None:
            return self._begin(sequence, stamp_ns)
        steps = self._steps(sequence, stamp_ns)
        if steps < 1:
            return stamp_ns
        self._sequence = sequence
        limit_s = max(BREAK * self._noise_s, NO_BREAK_S)
        is_away = abs(self._update(steps, stamp_ns)) > limit_s
        self._away = 0.75 * self._away + is_away
        self._irregular = 0 if self.is_regular else self._irregular + 1
        if self._away > PERSISTS or self._irregular >= HOPELESS:
            self.restart()
            return self._begin(sequence, stamp_ns)
        # What is farther off than jitter ever is, such as the first frame behind a gap, is taken at its word.
        if not self.is_regular or is_away:
            return stamp_ns
        return self._origin_ns + round(self._phase_s * 1e9)

    def _steps(self, sequence: int, stamp_ns: int) -> int:
        """Intervals since the newest frame: by the numbers where the stamp agrees, else by the stamp."""
        assert self._interval_s is not None
        since_s = (stamp_ns - self._origin_ns) / 1e9 - self._phase_s
        numbered = sequence - self._sequence
        if abs(since_s - numbered * self._interval_s) < 0.6 * self._interval_s:
            return numbered
        return round(since_s / self._interval_s)

    def _begin(self, sequence: int, stamp_ns: int) -> int:
        self._first.append((sequence, stamp_ns))
        if len(self._first) < FIRST:
            return stamp_ns
        first, self._first = self._first, []
        steps = [max(b[0] - a[0], 1) for a, b in pairwise(first)]
        gaps = [(b[1] - a[1]) / 1e9 for a, b in pairwise(first)]
        interval_s = median(gap / step for gap, step in zip(gaps, steps, strict=True))
        if interval_s <= 0:
            return stamp_ns
        self._origin_ns, self._phase_s, self._interval_s = first[0][1], 0.0, interval_s
        self._sequence, self._var = first[0][0], (1.0, 0.0, 1.0)
        away = [abs(gap - step * interval_s) for gap, step in zip(gaps, steps, strict=True)]
        self._noise_s = max(median(away) * 1.5 / math.sqrt(2), MIN_NOISE_S)
        for number, stamp in first[1:]:
            count = self._steps(number, stamp)
            if count >= 1:
                self._sequence = number
                self._update(count, stamp)
        return stamp_ns

    def _update(self, steps: int, stamp_ns: int) -> float:
        """Move the line on and pull it to a stamp; how far that was away, in seconds."""
        assert self._interval_s is not None
        phase_s = self._phase_s + steps * self._interval_s
        fade = math.exp(min(steps * self._interval_s / MEMORY_S, 1.0))
        p, c, v = self._var
        p, c, v = (p + 2 * steps * c + steps * steps * v) * fade, (c + steps * v) * fade, v * fade
        deviation_s = (stamp_ns - self._origin_ns) / 1e9 - phase_s
        limit_s = CLIP * self._noise_s
        pulled_s = min(max(deviation_s, -limit_s), limit_s)
        total = p + 1.0
        self._phase_s = phase_s + p / total * pulled_s
        self._interval_s += c / total * pulled_s
        self._var = p - p * p / total, c - p * c / total, v - c * c / total
        # Around a line that is still uncertain a stamp is farther off than its own jitter.
        if abs(deviation_s) <= max(BREAK * self._noise_s, NO_BREAK_S):
            size_s = abs(deviation_s) * math.sqrt(math.pi / 2) / math.sqrt(total)
            self._noise_s = max(self._noise_s + (size_s - self._noise_s) / 64, MIN_NOISE_S)
        return deviation_s
