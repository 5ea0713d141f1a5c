"""Outputs in segments: a file each so many seconds or bytes, and a budget that the oldest ones make room for.

A segment is named by its beginning in UTC: ``fused-20260301T120000.250Z.mp4``. Names of that form are
ours, and nothing else is ever removed: a segment that is renamed is kept.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from tdfusion_edge.result import Result
from tdfusion_edge.runtime.sinks.base import Sink

log = logging.getLogger(__name__)

STAMP = r"\d{8}T\d{6}\.\d{3}Z"
"""What :func:`utc_stamp` gives."""
LOOK_NS = 5_000_000_000
"""How often the budget is looked at while segments grow."""


class Limits(NamedTuple):
    """When a segment is full; None: never for that reason."""

    seconds: float | None = None
    """Of capture time."""
    bytes: int | None = None

    @property
    def any(self) -> bool:
        """Whether there are segments at all."""
        return self.seconds is not None or self.bytes is not None

    def reached(self, begun_ns: int, time_ns: int, size: int) -> bool:
        """Whether a picture captured at ``time_ns`` belongs into the next segment.

        Args:
            begun_ns: Capture time of the segment's first picture.
            time_ns: Of the picture that comes.
            size: Bytes in the segment.
        """
        seconds = self.seconds is not None and time_ns - begun_ns >= round(self.seconds * 1e9)
        return seconds or (self.bytes is not None and size >= self.bytes)


def utc_stamp(utc_ns: int) -> str:
    """Nanoseconds since 1970 as a part of a file's name, to the millisecond.

    >>> utc_stamp(1_772_366_400_250_000_999)
    '20260301T120000.250Z'
    """
    seconds, rest_ns = divmod(utc_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y%m%dT%H%M%S}.{rest_ns // 1_000_000:03d}Z"


def free_stamp(utc_ns: int, taken: Callable[[str], bool]) -> str:
    """The first stamp from ``utc_ns`` on that names no segment yet, as after a clock that was set back."""
    while taken(stamp := utc_stamp(utc_ns)):
        utc_ns += 1_000_000
    return stamp


class Budget:
    """Keeps the segments of several outputs together within so many bytes, by removing the oldest ones.

    Args:
        most: Bytes; None removes nothing.
        clock: Monotonic nanoseconds.
    """

    def __init__(self, most: int | None, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._most, self._clock = most, clock
        self._outputs: list[tuple[Path, re.Pattern[str]]] = []
        self._writing: dict[int, str] = {}
        """Stamp of the segment that an output is writing."""
        self._lock = threading.Lock()
        self._looked_ns: int | None = None
        self.removed = 0
        """Files that made room."""

    def add(self, folder: Path, before: str, suffixes: Iterable[str]) -> int:
        """Count the segments in ``folder`` called ``before``, a stamp and one of ``suffixes``, and no others.

        Returns:
            The output's number, for :meth:`look`.
        """
        endings = "|".join(map(re.escape, suffixes))
        name = re.compile(rf"{re.escape(before)}(?P<stamp>{STAMP})(?:{endings})", re.ASCII)
        with self._lock:
            self._outputs.append((folder, name))
            return len(self._outputs) - 1

    def look(self, outputs: Iterable[int], writing: str, *, now: bool = False) -> None:
        """Remove what is over, if it is time to look; never raises.

        Args:
            outputs: Numbers of the outputs that ask.
            writing: Stamp of the segment that they are writing, which stays.
            now: Whether it is time anyway, as where a segment begins.
        """
        if self._most is None:
            return
        with self._lock:
            self._writing.update(dict.fromkeys(outputs, writing))
            at_ns = self._clock()
            if now or self._looked_ns is None or at_ns - self._looked_ns >= LOOK_NS:
                self._looked_ns = at_ns
                self._make_room(self._most)

    def _make_room(self, most: int) -> None:
        segments, total = self._segments()
        for stamp in sorted(segments):
            if total <= most:
                return
            for path, size in segments[stamp]:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    log.warning("%s makes no room: %s", path, error.strerror)
                    continue
                total -= size
                self.removed += 1

    def _segments(self) -> tuple[dict[str, list[tuple[Path, int]]], int]:
        """Files that may go and their sizes, by stamp, and the bytes of these and of those that may not."""
        found: dict[str, list[tuple[Path, int]]] = defaultdict(list)
        total = 0
        for output, (folder, name) in enumerate(self._outputs):
            for path, size in _files(folder):
                if (match := name.fullmatch(path.name)) is not None:
                    total += size
                    if match["stamp"] != self._writing.get(output):
                        found[match["stamp"]].append((path, size))
        return found, total


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    """Regular files in a folder, links left out."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    # What takes room is blocks; a file that is being written may have more than it is long.
                    yield Path(entry.path), max(found.st_size, getattr(found, "st_blocks", 0) * 512)


class SegmentedSink:
    """Write results into one segment after the other, each a whole file of its own.

    A new one begins where :class:`Limits` say so, and where the pictures' size changes.

    Args:
        path: ``fused.mp4`` gives ``fused-20260301T120000.250Z.mp4`` and so on.
        opened: Opens the output of one segment.
        limits: When a segment is full.
        budget: Told of this output, and asked to make room.
        wall_clock: Nanoseconds since 1970, for results that do not know their time.
    """

    def __init__(
        self,
        path: Path,
        opened: Callable[[Path], Sink],
        limits: Limits,
        budget: Budget,
        *,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._path, self._opened, self._limits, self._budget = path, opened, limits, budget
        self._wall_clock = wall_clock
        self._number = budget.add(path.parent, f"{path.stem}-", (path.suffix,))
        # What cannot be written is refused now; nothing is made before the first result.
        opened(self._named("00000000T000000.000Z")).abort()
        self._sink: Sink | None = None
        self._stamp = ""
        self._begun_ns = 0
        self._size: tuple[int, ...] = ()

    def write(self, result: Result) -> None:
        """Write one result.

        Raises:
            SinkError: as that of the segment; segments before are whole.
        """
        size = result.picture.shape[:2]
        if self._sink is not None:
            full = self._limits.reached(self._begun_ns, result.pair.time_ns, self._bytes())
            if full or size != self._size or result.pair.time_ns < self._begun_ns:
                self.close()
        if self._sink is None:
            utc_ns = self._wall_clock() if result.utc_ns is None else result.utc_ns
            self._stamp = free_stamp(utc_ns, lambda stamp: self._named(stamp).exists())
            self._begun_ns, self._size = result.pair.time_ns, size
            self._budget.look([self._number], self._stamp, now=True)
            self._sink = self._opened(self._named(self._stamp))
        self._sink.write(result)
        self._budget.look([self._number], self._stamp)

    def close(self) -> None:
        """Finish the segment; safe to call twice. Raises SinkError as that does."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()

    def abort(self) -> None:
        """Give the segment up as its output does."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.abort()

    def _named(self, stamp: str) -> Path:
        return self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}")

    def _bytes(self) -> int:
        try:
            return self._named(self._stamp).stat().st_size
        except OSError:
            return 0
