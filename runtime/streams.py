"""Two cameras become one stream of pairs: a reader thread each, and the synchroniser between them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Literal, TypeAlias

from tdfusion_edge.errors import SourceError
from tdfusion_edge.frames import Pair
from tdfusion_edge.redact import redact
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.sources.base import Source
from tdfusion_edge.runtime.sync import Synchroniser

Mode: TypeAlias = Literal["latest", "every"]

log = logging.getLogger(__name__)

TICK_S = 0.005
"""Live, an unpaired frame is decided by the clock: look this often while one may be waiting."""
REPEAT_WARNING_NS = 5_000_000_000
"""A camera that stays away is reported this often."""


class Streams:
    """Reads both cameras and yields pairs in the order of their time.

    ``latest`` (live) gives the newest pair and counts older ones as superseded; ``every`` (files)
    gives all of them and lets the readers wait. A live camera that fails is asked again for as
    long as the run lasts, and the policy of ``[sync]`` decides what is shown meanwhile; a file that
    fails ends its stream, and its error is in :attr:`failure`.

    Args:
        sources: By role. Closed by :meth:`close`.
        sync: ``[sync]`` of the rig.
        mode: ``latest`` or ``every``.
        stop: Set from anywhere to end the stream.
        seconds: End after this long: by the clock for live cameras, by capture time for files.
        clock: Monotonic nanoseconds, the clock of the capture times.
    """

    def __init__(
        self,
        sources: Mapping[rig.Role, Source],
        sync: rig.Sync,
        *,
        mode: Mode,
        stop: threading.Event,
        seconds: float | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._sources, self._mode, self._stop, self._clock = dict(sources), mode, stop, clock
        self.live = any(source.live for source in sources.values())
        self.synchroniser = Synchroniser(sync, live=self.live)
        self.failures: dict[rig.Role, int] = dict.fromkeys(self._sources, 0)
        """How often each live camera failed."""
        self.failure: SourceError | None = None
        """What ended a file before its end."""
        self._crash: BaseException | None = None
        self._left_ns = None if seconds is None else round(seconds * 1e9)
        self._end_ns: int | None = None
        self._changed = threading.Condition()
        self._running = len(self._sources)
        self._threads = [
            threading.Thread(target=self._read, args=(role,), name=f"read {role}", daemon=True)
            for role in self._sources
        ]
        for thread in self._threads:
            thread.start()

    def __iter__(self) -> Iterator[Pair]:
        """Pairs, until both cameras have ended, the time is over or ``stop`` is set."""
        if self.live:
            self._is_over(self._clock())
        while not self._stop.is_set() and not (self.live and self._is_over(self._clock())):
            with self._changed:
                pairs = self.synchroniser.ready(self._clock())
                if not pairs:
                    if self._crash is not None:
                        raise self._crash
                    if not self._running:
                        return
                    self._changed.wait(TICK_S if self.live else 0.1)
                    continue
                self._changed.notify_all()
                if self._mode == "latest":
                    self._supersede(pairs[:-1])
                    pairs = pairs[-1:]
            for pair in pairs:
                if self._stop.is_set() or (not self.live and self._is_over(pair.time_ns)):
                    return
                yield pair

    def close(self) -> None:
        """End the readers and close both cameras; safe to call twice."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=5)
        for source in self._sources.values():
            source.close()

    def __enter__(self) -> Streams:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_over(self, now_ns: int) -> bool:
        """Whether the time asked for has passed since the first call."""
        if self._left_ns is None:
            return False
        if self._end_ns is None:
            self._end_ns = now_ns + self._left_ns
        return now_ns >= self._end_ns

    def _supersede(self, pairs: list[Pair]) -> None:
        for pair in pairs:
            if pair.infrared is not None and not pair.held:
                self.synchroniser.count("infrared", "superseded")
            if pair.visible is not None:
                self.synchroniser.count("visible", "superseded")

    def _read(self, role: rig.Role) -> None:
        try:
            self._read_until_end(role)
        except SourceError as error:
            self.failure = error
        # Anything else is a defect; it is raised in the thread that iterates, not lost in this one.
        except BaseException as error:
            self._crash = error
        with self._changed:
            self.synchroniser.finish(role)
            self._running -= 1
            self._changed.notify_all()

    def _read_until_end(self, role: rig.Role) -> None:
        source = self._sources[role]
        warned_ns: int | None = None
        while not self._stop.is_set():
            try:
                frame = source.read()
            except SourceError as error:
                if not source.live:
                    raise
                self.failures[role] += 1
                now_ns = self._clock()
                if warned_ns is None or now_ns - warned_ns >= REPEAT_WARNING_NS:
                    log.warning("%s camera: %s", role, redact(str(error)))
                    warned_ns = now_ns
                continue
            if frame is None:
                return
            if warned_ns is not None:
                log.warning("%s camera: it is back", role)
                warned_ns = None
            with self._changed:
                while not self.live and not self.synchroniser.room(role) and not self._stop.is_set():
                    self._changed.wait(0.1)
                self.synchroniser.push(role, frame, self._clock())
                self._changed.notify_all()
