"""Frames of one camera that wait for a partner, and what they tell about the camera's rhythm."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from tdfusion_edge.frames import Frame

RHYTHM = 32
"""So many frames tell a camera's interval and delay: about a second."""


class Waiting(NamedTuple):
    """A frame and since when it waits."""

    frame: Frame
    since_ns: int
    """Time of arrival."""


class Stream:
    """Frames of one camera that wait for a partner, and the camera's rhythm."""

    def __init__(self) -> None:
        self.waiting: deque[Waiting] = deque()
        self.finished = False
        self.restart()

    def restart(self) -> int:
        """Forget the rhythm and drop what waits; the number of frames dropped."""
        dropped = len(self.waiting)
        self.waiting.clear()
        self.passed: Frame | None = None
        """Newest frame that left the queue."""
        self.last: tuple[int, int] | None = None
        """Newest sequence number and capture time."""
        self.arrived_ns = 0
        """Time of arrival of the newest frame that was taken."""
        self.heard_ns: int | None = None
        """Time of arrival of the newest frame, taken or refused: a camera that is late is not silent."""
        self._intervals: deque[int] = deque(maxlen=RHYTHM)
        self._delays: deque[int] = deque(maxlen=RHYTHM)
        self.interval_ns: int | None = None
        """Median time between frames."""
        self.delay_ns: int | None = None
        """Time from capture to arrival that nine frames in ten keep."""
        return dropped

    def set_back(self, frame: Frame, now_ns: int, silent_ns: int) -> bool:
        """True where the camera's clock was set back, as after a reconnect.

        That is: the frame is older than the newest one, and nothing else came for ``silent_ns``.
        """
        late = self.last is not None and frame.time_ns <= self.last[1]
        return late and now_ns - self.arrived_ns >= silent_ns

    def refuse(self, frame: Frame) -> int:
        """Note that a frame arrived and is not used, so that it is not taken for a lost one.

        Returns:
            The number of frames that were lost before it.
        """
        if self.last is None:
            return 0
        lost = max(0, frame.sequence - self.last[0] - 1)
        self.last = max(self.last[0], frame.sequence), self.last[1]
        return lost

    def take(self, frame: Frame, now_ns: int) -> int:
        """Queue a frame; the number of frames that were lost before it."""
        lost = 0
        if self.last is not None:
            lost = max(0, frame.sequence - self.last[0] - 1)
            # Where frames were lost, the gap holds several intervals.
            self._intervals.append((frame.time_ns - self.last[1]) // (lost + 1))
            self.interval_ns = sorted(self._intervals)[len(self._intervals) // 2]
        self._delays.append(now_ns - frame.time_ns)
        self.delay_ns = sorted(self._delays)[len(self._delays) * 9 // 10]
        self.last, self.arrived_ns, self.finished = (frame.sequence, frame.time_ns), now_ns, False
        self.waiting.append(Waiting(frame, now_ns))
        return lost

    def pop(self) -> Frame:
        """The oldest waiting frame, now settled."""
        self.passed = self.waiting.popleft().frame
        return self.passed
