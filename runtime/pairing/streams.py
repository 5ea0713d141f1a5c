"""Two cameras become one stream of pairs: a reader thread each, and the synchroniser between them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Literal, TypeAlias

from tdfusion_edge.errors import FrameLost, SourceError, TdfusionError
from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.redact import redact
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.pairing.apart import Apart
from tdfusion_edge.runtime.pairing.content import Place
from tdfusion_edge.runtime.pairing.health import CameraState, Health
from tdfusion_edge.runtime.pairing.skew import SkewReport
from tdfusion_edge.runtime.pairing.sync import Synchroniser
from tdfusion_edge.runtime.pairing.timing import TimeReport, Timing
from tdfusion_edge.runtime.sources.base import Source

Mode: TypeAlias = Literal["latest", "every"]

log = logging.getLogger(__name__)

TICK_S = 0.005
"""Live, an unpaired frame is decided by the clock: look this often while one may be waiting."""
JOIN_S = 5.0
"""Longest wait for a reader that does not end, seconds."""
REPEAT_WARNING_NS = 5_000_000_000
"""A camera that stays away is reported this often."""


class Streams:
    """Reads both cameras and yields pairs in the order of their time.

    ``latest`` (live) gives the newest pair and counts older ones as superseded; ``every`` (files)
    gives all of them and lets the readers wait. A live camera that fails is asked again for as
    long as the run lasts, and the policy of ``[sync]`` decides what is shown meanwhile. What cannot
    get better, such as a damaged file, ends the stream after the pairs that came before it, and is
    kept in :attr:`failure`.

    Args:
        sources: By role, all live or all recorded. Closed by :meth:`close`.
        sync: ``[sync]`` of the rig.
        mode: ``latest`` or ``every``.
        stop: Set from anywhere to end the stream.
        seconds: End after this long: by the clock for live cameras, by capture time for files.
        place: What of the rig the check of the times by the pictures' content needs.
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
        place: Place | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._sources, self._mode, self._stop, self._clock = dict(sources), mode, stop, clock
        self.live = any(source.live for source in sources.values())
        self.synchroniser = Synchroniser(sync, live=self.live)
        self._timing = Timing(sync, place or Place(), live=self.live, stop=stop)
        self.failures: dict[rig.Role, int] = dict.fromkeys(self._sources, 0)
        """How often each live camera failed, and how many frames of a recording could not be read."""
        self.last_failures: dict[rig.Role, str] = {}
        """Why a live camera last failed, one line without credentials; also where it came back."""
        self.failure: TdfusionError | None = None
        """What ended the stream before its end."""
        self._failed: rig.Role | None = None
        """Whose recording that is."""
        self._crash: BaseException | None = None
        self._left_ns = None if seconds is None else round(seconds * 1e9)
        self._end_ns: int | None = None
        self._undelivered: list[Pair] = []
        self._peeked: list[Pair] = []
        self.turned_ns = clock()
        """When the loop last looked for a pair: every few milliseconds, pair or not, where it lives."""
        self._apart = Apart()
        self._health = {role: Health(round(sync.silent_ms * 1e6)) for role in self._sources}
        self._changed = threading.Condition()
        self._running = len(self._sources)
        self._threads: dict[rig.Role, threading.Thread] = {
            role: threading.Thread(target=self._read, args=(role,), name=f"read {role}", daemon=True)
            for role in self._sources
        }
        for thread in self._threads.values():
            thread.start()

    def __iter__(self) -> Iterator[Pair]:
        """Pairs, until both cameras have ended, one failed, the time is over or ``stop`` is set."""
        if self.live:
            self._is_over(self._clock())
        while not self._stop.is_set() and not (self.live and self._is_over(self._clock())):
            pairs = self._next_pairs()
            if pairs is None:
                break
            self._undelivered = pairs
            while self._undelivered and not self._stop.is_set():
                if not self.live and self._is_over(self._undelivered[0].time_ns):
                    self._stop.set()
                    break
                yield self._undelivered.pop(0)
        if self._crash is not None:
            raise self._crash

    def peek(self) -> Pair | None:
        """The pair that comes next, if it is there already; called by whoever iterates, between two pairs.

        It is not delivered by that and counts for nothing: in ``latest`` a newer one may still come instead,
        and the end may come first.
        """
        if self._undelivered:
            return self._undelivered[0]
        with self._changed:
            # Behind a failure not all that is ready comes; _next_pairs() decides that.
            if self._crash is None and self._failed is None and not self._stop.is_set():
                self._peeked += self.synchroniser.ready(self._clock())
                self._changed.notify_all()
            if not self._peeked:
                return None
            return self._peeked[-1 if self._mode == "latest" else 0]

    def states(self, now_ns: int) -> dict[rig.Role, CameraState]:
        """How each camera is at ``now_ns``; safe from any thread."""
        with self._changed:
            return {role: health.state(now_ns) for role, health in self._health.items()}

    def times(self) -> TimeReport:
        """What is known of the cameras' clocks, and of their times by the pictures; safe from any thread."""
        with self._changed:
            return self._timing.report()

    def figures(self) -> tuple[dict[rig.Role, dict[str, int]], SkewReport]:
        """What became of the frames of each camera, and the skew, so far; safe from any thread."""
        with self._changed:
            counts = {
                role: {
                    **dict(sorted(reasons.items())),
                    **self._timing.counts(role),
                    "failures": self.failures[role],
                }
                for role, reasons in self.synchroniser.counts.items()
            }
            return counts, self.synchroniser.skew_report()

    def close(self) -> None:
        """End the readers, close both cameras and count what was left; safe to call twice."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        for source in self._sources.values():
            if source.live:
                source.close()  # that is what ends its wait for a silent camera
        for role, thread in self._threads.items():
            thread.join(timeout=JOIN_S)
            # Closed under a decoder that still runs, a file would take the process with it.
            if not self._sources[role].live and not thread.is_alive():
                self._sources[role].close()
        self._timing.close()
        with self._changed:
            for pair in (*self._undelivered, *self._peeked):
                self.synchroniser.supersede(pair, "left")
            self._undelivered, self._peeked = [], []
            self.synchroniser.close()

    def __enter__(self) -> Streams:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next_pairs(self) -> list[Pair] | None:
        """Pairs that are ready, waiting a little for them; None at the end."""
        self.turned_ns = self._clock()
        with self._changed:
            if self._crash is not None:
                return None
            pairs = [*self._peeked, *self.synchroniser.ready(self._clock())]
            self._peeked = []
            if self.live and (reason := self._apart.told(self._clock(), shown=bool(pairs))) is not None:
                log.warning("%s", reason)
            if self._failed is not None:
                pairs = self._before_the_failure(pairs, self._failed)
            # Deciding makes room for the readers, whether or not it gave a pair.
            self._changed.notify_all()
            if not pairs:
                # What the failed one gave before may still find its partner in what the other one gives.
                if not self._running or (
                    self._failed is not None and not self.synchroniser.waits(self._failed)
                ):
                    return None
                self._changed.wait(TICK_S)
            elif self._mode == "latest":
                for pair in pairs[:-1]:
                    self.synchroniser.supersede(pair, "superseded")
                pairs = pairs[-1:]
            return pairs

    def _before_the_failure(self, pairs: list[Pair], failed: rig.Role) -> list[Pair]:
        """The pairs up to the last one with a frame of the camera that failed; the others are left."""
        shown = [pair.infrared is not None and not pair.held for pair in pairs]
        if failed == "visible":
            shown = [pair.visible is not None for pair in pairs]
        count = max((place + 1 for place, there in enumerate(shown) if there), default=0)
        for pair in pairs[count:]:
            self.synchroniser.supersede(pair, "left")
        return pairs[:count]

    def _is_over(self, now_ns: int) -> bool:
        """Whether the time asked for has passed since the first call."""
        if self._left_ns is None:
            return False
        if self._end_ns is None:
            self._end_ns = now_ns + self._left_ns
        return now_ns >= self._end_ns

    def _read(self, role: rig.Role) -> None:
        try:
            self._read_until_end(role)
        except TdfusionError as error:
            with self._changed:
                if self.failure is None:
                    self.failure, self._failed = error, role
        # Anything else is a defect; it is raised in the thread that iterates, not lost in this one.
        except BaseException as error:
            self._crash = error
        with self._changed:
            self._health[role].ended()
            self.synchroniser.finish(role)
            self._running -= 1
            self._changed.notify_all()

    def _read_until_end(self, role: rig.Role) -> None:
        source = self._sources[role]
        warned_ns: int | None = None
        while not self._stop.is_set():
            try:
                frame = source.read()
            except FrameLost as error:
                if not self.failures[role]:
                    log.warning("%s: %s; it is left out, the others go on", role, _first_line(error))
                self.failures[role] += 1
                continue
            except SourceError as error:
                if not source.live:
                    raise
                with self._changed:
                    self.failures[role] += 1
                    self._health[role].failed(error)
                    self.last_failures[role] = _first_line(error)
                now_ns = self._clock()
                if warned_ns is None or now_ns - warned_ns >= REPEAT_WARNING_NS:
                    log.warning("%s camera: %s", role, _in_a_line(error))
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
                if self._stop.is_set():
                    return
                now_ns = self._clock()
                self._health[role].frame(frame, now_ns)
                timed = self._push(role, frame, now_ns)
                self._changed.notify_all()
            if timed is not None:  # behind the hand-over: no pair waits for it
                self._timing.look_at(role, timed)

    def _push(self, role: rig.Role, frame: Frame, now_ns: int) -> Frame | None:
        """Hand a frame over with its time corrected; None where its clock may have jumped."""
        timed = self._timing.corrected(role, frame, now_ns)
        if timed is None:
            self.synchroniser.leave_out(role, frame)
            return None
        self.synchroniser.push(role, timed, now_ns)
        self._apart.came(role, timed, now_ns)
        return timed


def _in_a_line(error: Exception) -> str:
    """What is wrong and what helps: a warning is one line."""
    return ". ".join(line.strip().rstrip(".") for line in redact(str(error)).splitlines())


def _first_line(error: TdfusionError) -> str:
    """What an error says, without its hint and without credentials."""
    return redact(str(error).splitlines()[0])
