"""A live camera that is opened again and again while a run lasts, present at its start or not."""

from __future__ import annotations

import random as random_numbers
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from tdfusion_edge.errors import FrameLost, InputMissing, SourceError, TdfusionError
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.sources.base import Source
from tdfusion_edge.runtime.sources.supervision.connection import Connection, Overdue
from tdfusion_edge.runtime.sources.supervision.pace import Pace

OPEN_S, READ_S = 30.0, 7.0
"""So long may opening and reading take, seconds. Sources give up before by themselves, and know why: OpenCV
waits 10 s for a first frame, a stream from the network up to 27 s, and a later frame is waited for 6 s at
most. What is longer hangs."""
CLOSE_S = 1.0
"""Longest wait for a camera that is closed, seconds; one that hangs is left to its thread."""
MOST_HANGING = 3
"""Calls into a driver that may hang before no further one is made."""


class SupervisedSource:
    """Passes on the frames of a live camera, and opens it anew when it fails.

    :meth:`read` raises what went wrong as a :class:`SourceError` that says its ``kind``; the read after it
    waits, as :class:`.pace.Pace` has it, and opens the camera. Frames are numbered on across openings.

    Args:
        name: Name for messages, without credentials.
        opener: Opens the camera. It is called in another thread, and may hang.
        first: Why it could not be opened at the start of a run: the first read raises that, so that it is
            told and counted. None where it was not asked yet.
        open_s: Longest time for opening it, seconds.
        read_s: Longest time without a frame, seconds.
        clock: Monotonic nanoseconds.
        pause: Sleeps for seconds; None sleeps so that closing ends it.
        random: A number in [0, 1) for the jitter of the pauses.
    """

    live = True

    def __init__(
        self,
        name: str,
        opener: Callable[[], Source],
        *,
        first: TdfusionError | None = None,
        open_s: float = OPEN_S,
        read_s: float = READ_S,
        clock: Callable[[], int] = time.monotonic_ns,
        pause: Callable[[float], object] | None = None,
        random: Callable[[], float] = random_numbers.random,
    ) -> None:
        self.name = name
        self._opener, self._first = opener, first
        self._open_s, self._read_s = open_s, read_s
        self._closing = threading.Event()
        self._pause = pause or self._closing.wait
        self._clock, self._pace = clock, Pace(clock, random)
        self._lock = threading.Lock()
        """Held while the connection is exchanged."""
        self._connection: Connection | None = None
        self._abandoned: list[Connection] = []
        self._asked = False
        """Whether it was opened before, so that the next opening has to wait."""
        self._next, self._shift = 0, 0
        """Number of the next frame, and what is added to those of this opening."""
        self._flowing = False
        """Frames came from this opening."""
        self._lost_since_ns: int | None = None
        """When the first of the damaged frames came that have no whole one behind them."""

    def begin(self) -> Source:
        """Open the camera now, as its opener does.

        Returns:
            This source; for what is no live camera the source itself, which needs no supervision.

        Raises:
            SourceError: opening hangs.
            TdfusionError: as the opener raises it.
        """
        connection = self._connect()
        try:
            source = None if connection is None else connection.source(self._open_s)
        except Overdue:
            self._release()
            raise self._hangs(self._open_s) from None
        except BaseException:
            self._release()
            raise
        return self if source is None or source.live else source

    def read(self) -> Frame | None:
        """The next frame; None at the end of the stream, and once the source is closed.

        Raises:
            FrameLost: this frame is damaged; the next one can be read.
            SourceError: it failed, gives nothing but damaged frames, or is still not there. Reading again
                waits and opens it anew.
        """
        if self._closing.is_set():
            return None
        if self._first is not None:
            first, self._first = self._first, None
            self._asked = True
            raise self._failed(first)
        try:
            connection = self._connection or self._reconnect()
            frame = None if connection is None else self._taken(connection)
        except FrameLost as error:
            if self._some_are_whole():
                raise
            raise self._failed(self._damaged(error)) from None
        except SourceError as error:
            # Often the same one: as its own cause, or in a variable, it would live on with all it refers to.
            raise self._failed(error) from None
        except TdfusionError as error:
            raise self._failed(error) from error
        if frame is None:
            return None
        if not self._flowing:
            self._flowing, self._shift = True, self._next - frame.sequence
        self._pace.came()
        self._lost_since_ns = None
        self._next = frame.sequence + self._shift + 1
        return frame if not self._shift else replace(frame, sequence=frame.sequence + self._shift)

    def close(self) -> None:
        """Release the camera; a read that waits in another thread ends with None. Safe to call twice.

        A camera whose driver hangs is left to its thread, which does not keep the process alive.
        """
        self._closing.set()
        self._release(CLOSE_S)

    def _taken(self, connection: Connection) -> Frame | None:
        try:
            if not connection.opened and connection.source(self._open_s) is None:
                return None
        except Overdue:
            raise self._hangs(self._open_s) from None
        try:
            return connection.take(self._read_s)
        except Overdue:
            raise SourceError(
                f"camera {self.name} is silent", expected=f"a frame within {self._read_s:g} s", got="none",
                kind="timeout",
            ) from None  # fmt: skip

    def _reconnect(self) -> Connection | None:
        """Wait as long as is due, and open the camera; None when closed meanwhile."""
        if self._asked:
            self._pause(self._pace.pause_s())
        self._abandoned = [connection for connection in self._abandoned if connection.alive]
        if len(self._abandoned) >= MOST_HANGING:
            raise SourceError(
                f"camera {self.name} is not opened again: {len(self._abandoned)} calls into its driver hang",
                hint="Unplug the camera and plug it in again, or start the program anew.",
                kind="timeout",
            )
        return self._connect()

    def _connect(self) -> Connection | None:
        with self._lock:
            if self._closing.is_set():
                return None
            self._asked, self._flowing, self._lost_since_ns = True, False, None
            self._connection = Connection(self.name, self._opener)
            return self._connection

    def _release(self, wait_s: float = 0.0) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon(wait_s)
            if connection.alive:
                self._abandoned.append(connection)

    def _failed(self, error: TdfusionError) -> SourceError:
        """What is said of a failure; the camera is released."""
        self._release()
        told = error if isinstance(error, SourceError) else _as_failure(error)
        slower = self._pace.failed(told.kind, lost=self._flowing)
        self._flowing = False
        if slower is not None:
            hint = f"{told.hint} {slower}" if told.hint else slower
            told = SourceError(told.what, expected=told.expected, got=told.got, hint=hint, kind=told.kind)
        return told

    def _some_are_whole(self) -> bool:
        """Whether damaged frames are few enough to go on with this opening."""
        now_ns = self._clock()
        self._lost_since_ns = now_ns if self._lost_since_ns is None else self._lost_since_ns
        return now_ns - self._lost_since_ns < self._read_s * 1e9

    def _damaged(self, last: FrameLost) -> SourceError:
        return SourceError(
            f"camera {self.name} gives nothing but damaged frames", expected=f"a whole one within "
            f"{self._read_s:g} s", got=last.what, hint="Check its cable; a lower rate or size may help.",
        )  # fmt: skip

    def _hangs(self, limit_s: float) -> SourceError:
        return SourceError(
            f"camera {self.name} cannot be opened", expected=f"within {limit_s:g} s", got="no answer",
            kind="timeout",
        )  # fmt: skip


def supervised(
    name: str, opener: Callable[[], Source], *, clock: Callable[[], int] = time.monotonic_ns
) -> Source:
    """Open a camera at once, and keep it going.

    Args:
        name: Name for messages, without credentials.
        opener: Opens it.
        clock: Monotonic nanoseconds.

    Raises:
        TdfusionError: it cannot be opened now, as the opener says it.
    """
    return SupervisedSource(name, opener, clock=clock).begin()


def _as_failure(error: TdfusionError) -> SourceError:
    """Whatever it is when a camera is first asked for, later it is the camera that failed."""
    return SourceError(
        error.what, expected=error.expected, got=error.got, hint=error.hint,
        kind="not-found" if isinstance(error, InputMissing) else "format",
    )  # fmt: skip
