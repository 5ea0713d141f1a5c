"""Capture times in nanoseconds to presentation times in ticks of a video."""

from __future__ import annotations

TICKS_PER_S = 90_000
"""The customary video clock: it holds 24, 25, 30 and 60 frames a second without remainder."""

LONGEST_STEP = 6 * 3600 * TICKS_PER_S
"""MP4 counts the duration of a frame in 31 bits, 6.6 hours of this clock."""


class Timeline:
    """Strictly increasing ticks since the first frame, within half a tick of the capture times.

    Two cases cannot be kept as they are, since a video has no room for them:
    a frame that is not later than its predecessor comes one tick after it (where it is more than a
    second earlier, the clock was reset, and time goes on from there); a pause longer than
    :data:`LONGEST_STEP` is recorded as that long.

    Args:
        origin_ns: Capture time of tick 0; that of the first frame where none is given.
    """

    def __init__(self, origin_ns: int | None = None) -> None:
        self._origin_ns = origin_ns
        self._last = 0

    def place(self, time_ns: int) -> int:
        """Ticks of a frame that was captured at ``time_ns``; 0 for the first."""
        if self._origin_ns is None:
            self._origin_ns = time_ns
            return 0
        ticks = _to_ticks(time_ns - self._origin_ns)
        step = ticks - self._last
        if step < 1:
            ticks = self._last + 1
        elif step > LONGEST_STEP:
            ticks = self._last + LONGEST_STEP
        if step < -TICKS_PER_S or step > LONGEST_STEP:
            self._origin_ns = time_ns - _to_ns(ticks)
        self._last = ticks
        return ticks


def _to_ticks(ns: int) -> int:
    return (ns * 9 + 50_000) // 100_000  # 90 kHz / 1 GHz, rounded, in whole numbers


def _to_ns(ticks: int) -> int:
    return ticks * 100_000 // 9
