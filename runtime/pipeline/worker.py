"""The thread that writes, so that encoding does not delay fusion."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Literal, TypeAlias

from tdfusion_edge.errors import SinkError
from tdfusion_edge.observations import with_events_before
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.sinks.base import Sink

Mode: TypeAlias = Literal["latest", "every"]

log = logging.getLogger(__name__)

POLL_S = 0.1
"""A blocked caller looks this often whether the thread still lives, and whether Ctrl-C came."""


class SinkWorker:
    """Feed results to all sinks in one thread of its own.

    A sink that fails is told of at once, gets no further result and is aborted at the end; the others go on.
    Where none is left, the failure is raised at the next :meth:`put` and at :meth:`close`.

    Used as a context manager it closes at the end of the block, also where a SinkError ended it, and
    aborts after any other exception.

    Args:
        sinks: Fed in this order. Written, closed and aborted in the worker's thread only.
        mode: ``every``: :meth:`put` waits while the queue is full, nothing is lost (files).
            ``latest``: it never waits, the oldest result of a full queue is dropped and counted (live).
        capacity: Results that may wait, at least 1. Each holds its pictures, about 2 MB at 640x480.
        together: The sinks are worth something together only: the first that fails is as if all did, though
            the others still get what is queued.
        on_written: Called in the worker's thread with a result and the time at which every sink had
            taken it, for the latency from capture to sink. What it raises is as if all sinks failed.
        clock: Monotonic nanoseconds, the clock of the capture times.

    Raises:
        ValueError: ``mode`` is neither, or ``capacity`` is below 1.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        *,
        mode: Mode,
        capacity: int = 4,
        together: bool = False,
        on_written: Callable[[Result, int], None] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if mode not in ("latest", "every"):
            raise ValueError(f"mode must be 'latest' or 'every', got {mode!r}")
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self.written = 0
        """Results that every sink took that had not failed."""
        self.dropped = 0
        """Results that no sink got: pushed out of a full queue, or left in it by :meth:`abort`."""
        self.failed = 0
        """Sinks that failed."""
        self._sinks = tuple(sinks)
        self._healthy = list(sinks)
        self._mode, self._together = mode, together
        self._capacity = capacity
        self._on_written = on_written
        self._clock = clock
        self._queue: deque[Result] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._aborting = False
        self._reported = False
        self._failure: tuple[str, BaseException] | None = None
        """What ended the writing."""
        # A daemon: a disk that never answers must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="sinks", daemon=True)
        self._thread.start()

    def put(self, result: Result) -> None:
        """Queue one result. Its pictures must not be changed afterwards.

        Raises:
            SinkError: no sink is left, since now or an earlier result; the last one's error is the cause.
            RuntimeError: the worker is closed.
        """
        with self._changed:
            self._refuse()
            while len(self._queue) >= self._capacity:
                if self._mode == "latest":
                    result = self._left_out(self._queue.popleft(), result)
                else:
                    self._changed.wait(POLL_S)
                    self._refuse()
            self._queue.append(result)
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """Results in the queue."""
        return len(self._queue)

    def close(self) -> None:
        """Write what is queued, close every sink, and end the thread; safe to call twice.

        Raises:
            SinkError: no sink is left, while they were written or closed (once; a second call is silent).
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        while self._thread.is_alive():
            self._thread.join(POLL_S)
        if self._failure is not None and not self._reported:
            self._reported = True
            raise self._error()

    def abort(self, timeout_s: float = 5.0) -> bool:
        """Drop what is queued, abort every sink, and end the thread; for interrupts. Never raises.

        Args:
            timeout_s: How long to wait for a sink that is still writing.

        Returns:
            False where that was not enough: the thread ends with the process then.
        """
        with self._changed:
            self._closing = self._aborting = self._reported = True
            self._drop_queue()
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def __enter__(self) -> SinkWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif issubclass(kind, SinkError):
            self._reported = True  # it is under way; a second one would hide where it came from
            self.close()
        else:
            self.abort()

    def _refuse(self) -> None:
        """Raise where nothing can be put any more; the lock is held."""
        if self._failure is not None:
            raise self._error()
        if self._closing or not self._thread.is_alive():
            raise RuntimeError("the sinks are closed")

    def _left_out(self, old: Result, new: Result) -> Result:
        """Count a result that no sink gets. The next one, which may be ``new``, tells its events."""
        self.dropped += 1
        following = self._queue[0] if self._queue else new
        if not old.events:
            return new
        following = replace(following, events=with_events_before(old.events, following.events))
        if not self._queue:
            return following
        self._queue[0] = following
        return new

    def _error(self) -> SinkError:
        """A fresh error of the failure: the one that was kept belongs to the other thread."""
        assert self._failure is not None
        return _sink_error(*self._failure)

    def _run(self) -> None:
        while (result := self._next()) is not None:
            self._deliver(result)
        for sink in self._sinks:
            healthy = sink in self._healthy and not self._aborting
            self._attempt(sink, sink.close if healthy else sink.abort)

    def _next(self) -> Result | None:
        """The oldest queued result, waiting for it; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            if not self._queue:
                return None
            self._changed.notify_all()
            return self._queue.popleft()

    def _deliver(self, result: Result) -> None:
        for sink in tuple(self._healthy):
            self._attempt(sink, partial(sink.write, result))
        if self._sinks and not self._healthy:
            return
        self.written += 1
        if self._on_written is not None:
            self._attempt(None, partial(self._on_written, result, self._clock()))

    def _attempt(self, sink: Sink | None, work: Callable[[], None]) -> None:
        """Do ``work`` for ``sink``; what it raises is told or, where no sink is left, wakes whoever waits."""
        try:
            work()
        # Everything: an exception that ended the thread would leave the caller waiting for it.
        except BaseException as error:
            self._fail(sink, "on_written" if sink is None else type(sink).__name__, error)

    def _fail(self, sink: Sink | None, name: str, error: BaseException) -> None:
        with self._changed:
            if sink is not None and sink not in self._healthy:
                return  # it was told of; this is what it said when it was given up
            if sink is not None:
                self._healthy.remove(sink)
                self.failed += 1
            ends = sink is None or self._together or not self._healthy
            if ends:
                self._failure = self._failure or (name, error)
                self._changed.notify_all()
                return
        # Now, not at the end: whoever watches can still free the disk.
        said, _, hint = str(_sink_error(name, error)).partition("\n")
        log.error("%s", "\n".join(filter(None, (f"{said}; the other outputs go on", hint))))
        log.debug("where the error comes from", exc_info=error)

    def _drop_queue(self) -> None:
        self.dropped += len(self._queue)
        self._queue.clear()


class Detached:
    """A sink with a thread of its own, so that the others need not wait for it; the newest results only.

    Args:
        sink: Written, closed and aborted in that thread.
    """

    def __init__(self, sink: Sink) -> None:
        self._worker = SinkWorker([sink], mode="latest", capacity=2)

    def write(self, result: Result) -> None:
        """Hand a result over; never waits. Raises SinkError where the sink failed before."""
        self._worker.put(result)

    def close(self) -> None:
        """Write what is queued and end; raises SinkError where the sink failed."""
        self._worker.close()

    def abort(self) -> None:
        """End without what is queued; never raises."""
        self._worker.abort()


def _sink_error(name: str, cause: BaseException) -> SinkError:
    """An error of this thread for one of the other's."""
    if isinstance(cause, SinkError):
        error = SinkError(cause.what, expected=cause.expected, got=cause.got, hint=cause.hint)
    else:
        error = SinkError(f"{name} failed: {cause!r}")
    error.__cause__ = cause
    return error
