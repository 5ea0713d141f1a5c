"""How long to wait before a camera that failed is asked again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from tdfusion_edge.errors import FailureKind

USUAL_S = (0.5, 2.0)
"""First and longest pause, seconds: so that a camera that is back is back within three."""
PAUSES_S: Mapping[FailureKind, tuple[float, float]] = {
    # Cameras lock an account after some wrong passwords, and a right one does not appear by itself.
    "unauthorised": (60.0, 600.0),
    # What it gives, or what the rig asks for, has to be changed by hand.
    "format": (0.5, 8.0),
}
"""Those of failures that are not likely to be over soon."""
BUDGET, WINDOW_NS = 5, 60_000_000_000
"""A stream that began and broke so often within a minute is flapping."""
FLAPPING_S = 10.0
"""Shortest pause before a flapping camera is asked again, seconds."""


class Pace:
    """Exponential pauses with jitter, and a budget of restarts.

    Args:
        clock: Monotonic nanoseconds.
        random: A number in [0, 1); each pause is between half of it and all of it, so that several cameras
            that failed together do not come back together.
    """

    def __init__(self, clock: Callable[[], int], random: Callable[[], float]) -> None:
        self._clock, self._random = clock, random
        self._kind: FailureKind = "other"
        self._failures = 0
        """In a row."""
        self._lost: deque[int] = deque(maxlen=BUDGET)
        """When its stream broke."""
        self._told = False

    @property
    def flapping(self) -> bool:
        """Its stream broke more often within the last minute than the budget allows."""
        return len(self._lost) == BUDGET and self._clock() - self._lost[0] < WINDOW_NS

    def came(self) -> None:
        """A frame came."""
        self._failures = 0

    def failed(self, kind: FailureKind, *, lost: bool) -> str | None:
        """It failed.

        Args:
            kind: Why.
            lost: There was a stream, and it broke.

        Returns:
            What is to be told, once: that it is asked slowly from now on.
        """
        # Of another kind it is a new one: a camera that boots is unreachable, then has no stream.
        self._failures = self._failures + 1 if kind == self._kind else 1
        self._kind = kind
        if lost:
            self._lost.append(self._clock())
        if not self.flapping:
            self._told = False
            return None
        if self._told:
            return None
        self._told = True
        return (
            f"Its stream broke {BUDGET} times in {WINDOW_NS // 1_000_000_000} s; from now on it is opened "
            f"every {FLAPPING_S:g} s."
        )

    def pause_s(self) -> float:
        """Seconds to wait now."""
        first, longest = PAUSES_S.get(self._kind, USUAL_S)
        whole = min(first * 2.0 ** min(max(self._failures - 1, 0), 16), longest)
        pause = whole * (1 - 0.5 * self._random())
        return max(pause, FLAPPING_S) if self.flapping else pause
