"""Every visible frame with the infrared frame nearest in time (policy ``nearest``).

A thermal camera of 9 Hz beside a visible one of 30 Hz is shown at 30 Hz then: infrared stays for three or
four pictures, at most half its interval away while none of its frames is lost.
"""

from __future__ import annotations

from typing import NamedTuple

from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.pairing.waiting import Stream


class Neighbours(NamedTuple):
    """Infrared frames around a moment; each may be missing."""

    before: Frame | None
    after: Frame | None

    def nearest(self, time_ns: int) -> Frame | None:
        """The nearer of the two; the older one of two equally near."""
        if self.before is None or self.after is None:
            return self.before or self.after
        nearer_after = self.after.time_ns - time_ns < abs(time_ns - self.before.time_ns)
        return self.after if nearer_after else self.before


def neighbours(infrared: Stream) -> Neighbours:
    """The frame that was passed last and the oldest that waits, those before a moment having been passed."""
    return Neighbours(infrared.passed, infrared.waiting[0].frame if infrared.waiting else None)


def is_announced_farther(infrared: Stream, time_ns: int) -> bool:
    """Whether the rhythm says that the next infrared frame will be no nearer than the last one."""
    last = infrared.passed
    if last is None or infrared.interval_ns is None:
        return False
    return 2 * (time_ns - last.time_ns) <= infrared.interval_ns


def is_current(infrared: Stream, frame: Frame, time_ns: int) -> bool:
    """Whether a frame is younger at a moment than an interval of its camera, so that no newer one was due."""
    if infrared.interval_ns is None:
        return False
    return abs(time_ns - frame.time_ns) <= infrared.interval_ns
