"""Whether a live camera is alive: by the frames that came lately, never by counters that only grow."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tdfusion_edge.errors import FailureKind, SourceError, TdfusionError
from tdfusion_edge.frames import Frame
from tdfusion_edge.redact import redact

State: TypeAlias = Literal["opening", "live", "silent", "failing", "ended"]

WINDOW_NS = 2_000_000_000
"""The rate is that of the last two seconds, so that it falls to zero two seconds after the last frame."""
MOST_ARRIVALS = 4096
"""Arrivals that are remembered: those of 2 s at 2000 frames a second."""


@dataclass(frozen=True, slots=True)
class CameraState:
    """What is known of one camera at one moment."""

    state: State
    """``opening``: no frame yet and no failure; ``live``: a fresh frame within the limit of silence;
    ``silent``: none, and no failure; ``failing``: the last that was heard of it is a failure, and it is
    asked again; ``ended``: its stream is over, or nobody asks it any more."""
    rate_hz: float
    """Fresh frames a second over the last two seconds."""
    age_s: float | None
    """Seconds since the newest fresh frame arrived; None before the first."""
    failures: int
    """How often it failed since the run began."""
    failure: str | None
    """The last failure, one line without credentials; None while it is live."""
    kind: FailureKind | None = None
    """Why it fails; None while it is live."""
    returns: int = 0
    """How often a frame came after a failure: it was opened anew, or was not there at the start."""


class Health:
    """Follows one camera: told of frames and failures, it gives a :class:`CameraState`.

    A frame is fresh where its sequence number and its capture time are not those of the one before it.

    Args:
        silent_ns: So long without a fresh frame is silence.
    """

    def __init__(self, silent_ns: int) -> None:
        self._silent_ns = silent_ns
        self._arrivals: deque[int] = deque(maxlen=MOST_ARRIVALS)
        self._newest: tuple[int, int] | None = None
        """Sequence number and capture time of the newest frame."""
        self._heard_ns: int | None = None
        self._failures = 0
        self._failure: str | None = None
        self._kind: FailureKind | None = None
        self._returns = 0
        self._ended = False

    def frame(self, frame: Frame, now_ns: int) -> None:
        """A frame came."""
        newest = frame.sequence, frame.time_ns
        if newest == self._newest:
            return
        self._returns += self._failure is not None
        self._newest, self._heard_ns, self._ended = newest, now_ns, False
        self._failure = self._kind = None
        self._arrivals.append(now_ns)

    def failed(self, error: TdfusionError) -> None:
        """A read failed."""
        self._failures += 1
        self._failure = redact(str(error).splitlines()[0])
        self._kind = error.kind if isinstance(error, SourceError) else "other"

    def ended(self) -> None:
        """Nobody reads from it any more."""
        self._ended = True

    def state(self, now_ns: int) -> CameraState:
        """What is known at ``now_ns``, on the clock of :meth:`frame`."""
        while self._arrivals and now_ns - self._arrivals[0] > WINDOW_NS:
            self._arrivals.popleft()
        age_ns = None if self._heard_ns is None else now_ns - self._heard_ns
        rate_hz = len(self._arrivals) / (WINDOW_NS / 1e9)
        age_s = None if age_ns is None else age_ns / 1e9
        word = self._word(age_ns)
        return CameraState(
            word, rate_hz, age_s, self._failures, self._failure, kind=self._kind, returns=self._returns
        )

    def _word(self, age_ns: int | None) -> State:
        if self._ended:
            return "ended"
        if self._failure is not None:
            return "failing"
        if age_ns is None:
            return "opening"
        return "live" if age_ns < self._silent_ns else "silent"
