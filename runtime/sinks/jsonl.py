"""One line of JSON for each result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from tdfusion_edge.errors import RequestError, SinkError
from tdfusion_edge.observations import Event, EventKind, Side
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.heads import kind_of
from tdfusion_edge.runtime.sinks.base import Json
from tdfusion_edge.runtime.sinks.output import StreamFile, require_writable, sink_error

VERSION = 1
"""Version of :class:`Record`. A field may be added under the same number; none changes or goes."""


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event, see :class:`tdfusion_edge.observations.Event`."""

    event: EventKind
    """``enter``, ``leave``, ``dwell``, ``cross``, ``above``, ``below`` or ``normal``."""
    place: str
    """Name of the zone, line or measured place."""
    time_ns: int
    """Capture time, monotonic nanoseconds."""
    utc: str | None = None
    """The same by the wall clock, as :attr:`Record.utc`."""
    track: int | None = None
    """Whose event it is; null for temperatures."""
    name: str | None = msgspec.field(default=None, name="class")
    """Class of the thing; null for temperatures."""
    seconds: float | None = None
    """How long it was inside; null but for ``leave`` and ``dwell``."""
    lost: bool = False
    """``leave``: its track ended inside."""
    to: Side | None = None
    """``left`` or ``right`` of a line that was crossed."""
    celsius: float | None = None
    """The temperature that passed a limit, or is within again."""


class Degrees(msgspec.Struct, frozen=True):
    """Degrees Celsius of a place, to a hundredth."""

    min: float
    max: float
    mean: float


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One line. Each carries the version, so that any part of a file can be read alone.

    ``msgspec.json.decode(line, type=Record)`` reads it back.
    """

    version: int
    """1."""
    index: int
    """Number of the result in its run, from 0; a gap means results that were dropped."""
    time_ns: int
    """Capture time of the pair, monotonic nanoseconds."""
    utc: str | None = None
    """Capture time by the wall clock, ISO 8601 in UTC with microseconds: ``2026-03-01T12:00:00.250000Z``.
    null for recordings, which do not say when they were made. It jumps where the clock is set; ``time_ns``
    does not."""
    t: float
    """Capture time of the pair in seconds since that of the first line."""
    skew_ms: float | None
    """Infrared minus visible capture time in milliseconds; null for a single frame."""
    infrared_age_ms: float | None = None
    """Visible minus infrared capture time in milliseconds: how old infrared is at the moment of the picture,
    below 0 where it is newer; null for a single frame."""
    infrared_sequence: int | None
    """Number of the infrared frame at its camera; null where it is missing."""
    visible_sequence: int | None
    """Number of the visible frame, likewise."""
    size: tuple[int, int]
    """Width and height of the fused picture, which the boxes refer to."""
    degraded: str | None
    """null, or why the picture is not fused from two fresh frames, as
    :attr:`tdfusion_edge.result.Result.degraded` has it."""
    detections: list[Json]
    """``{"box": [x1, y1, x2, y2], "score": 0..1, "class": name}`` each, in pixels."""
    class_shares: dict[str, float] | None = None
    """null, or the share of the picture's pixels that each class of the segmentation has, by name."""
    events: list[EventRow] = []
    """What happened at zones, lines and measured places since the line before."""
    temperatures: dict[str, Degrees] | None = None
    """null, or of each measured place its temperatures in degrees Celsius."""


class NamedRecord(Record, frozen=True, kw_only=True):
    """A line about a picture that has a name, as ``tdfusion-edge fuse`` writes them."""

    name: str


class JsonlSink:
    """Write a ``.jsonl`` file: a line is on its way to the disk when :meth:`write` returns.

    After a crash the file ends in a whole line; after a power cut it lacks at most the last second.
    An existing file is replaced at the first result. Where no result comes, there is no file.

    Args:
        path: Ends in ``.jsonl``.
        name: Names the results, whose lines are :class:`NamedRecord` then.
        clock: Monotonic nanoseconds, for the pace of syncs.

    Raises:
        RequestError: another suffix, or a place that cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: Callable[[Result], str] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if path.suffix.lower() != ".jsonl":
            raise RequestError(f"{path}: unknown kind of line file", expected=".jsonl")
        require_writable(path)
        self._path, self._name = path, name
        self._file = StreamFile(path, clock=clock)
        self._first_ns: int | None = None
        self._lines = 0

    def write(self, result: Result) -> None:
        """Append one line (see :class:`Record`).

        Raises:
            SinkError: the disk is full or gone; the file ends in the last whole line.
        """
        self._file.require_usable()
        if self._first_ns is None:
            self._first_ns = result.pair.time_ns
        fields = line_of(result, self._first_ns)
        if self._name is not None:
            fields["name"] = self._name(result)
        line = msgspec.json.encode(fields) + b"\n"
        try:
            self._file.write(line)
            self._file.commit()
        except OSError as error:
            raise self._fail(error) from error
        self._lines += 1

    def close(self) -> None:
        """Sync and close; safe to call twice.

        Raises:
            SinkError: the disk refuses the last lines.
        """
        try:
            if not self._file.failed:
                self._file.commit(sync=True)
        except OSError as error:
            raise self._fail(error) from error
        finally:
            self._file.close()

    def abort(self) -> None:
        """Close; whole lines stay. Never raises."""
        try:
            self.close()
        except SinkError:
            return

    def _fail(self, error: OSError) -> SinkError:
        self._file.discard_tail()
        return sink_error(self._path, error, f"{self._lines} lines", hint="Those lines are whole.")


def line_of(result: Result, first_ns: int) -> Json:
    """The fields of a :class:`Record`; what heads of other kinds say may come beside them.

    Args:
        result: What it is about.
        first_ns: Capture time of the first one, monotonic nanoseconds.
    """
    pair = result.pair
    height, width = result.picture.shape[:2]
    record = Record(
        version=VERSION,
        index=result.index,
        time_ns=pair.time_ns,
        utc=None if result.utc_ns is None else iso8601(result.utc_ns),
        t=(pair.time_ns - first_ns) / 1e9,
        skew_ms=None if pair.skew_ns is None else pair.skew_ns / 1e6,
        infrared_age_ms=None if pair.skew_ns is None else -pair.skew_ns / 1e6,
        infrared_sequence=None if pair.infrared is None else pair.infrared.sequence,
        visible_sequence=None if pair.visible is None else pair.visible.sequence,
        size=(width, height),
        degraded=result.degraded,
        detections=[],
        events=[event_row(event) for event in result.events],
        temperatures=None
        if result.temperatures is None
        else {
            place: Degrees(*(round(degrees, 2) for degrees in found))
            for place, found in result.temperatures.items()
        },
    )
    line: Json = msgspec.structs.asdict(record)
    for kind, found in result.findings.items():
        line |= kind_of(kind).record(found)
    return line


def event_row(event: Event) -> EventRow:
    """An event as lines and messages have it."""
    return EventRow(
        event=event.kind,
        place=event.place,
        time_ns=event.time_ns,
        utc=None if event.utc_ns is None else iso8601(event.utc_ns),
        track=event.track,
        name=event.name,
        seconds=None if event.seconds is None else round(event.seconds, 3),
        lost=event.lost,
        to=event.to,
        celsius=None if event.celsius is None else round(event.celsius, 2),
    )


def encoded_line(result: Result, first_ns: int) -> bytes:
    """The line of a result, with its newline.

    Args:
        result: What is told of.
        first_ns: Capture time of the first line's result.
    """
    return msgspec.json.encode(line_of(result, first_ns)) + b"\n"


def schema() -> str:
    """The JSON Schema of a line, as ``docs/jsonl.schema.json`` holds it."""
    found = msgspec.json.schema(NamedRecord)
    for definition in found["$defs"].values():
        definition["required"] = [name for name in definition["required"] if name != "name"]
    return json.dumps(found, indent=2) + "\n"


def iso8601(utc_ns: int) -> str:
    """Nanoseconds since 1970 in UTC as text, to the microsecond below.

    >>> iso8601(1_772_366_400_250_000_999)
    '2026-03-01T12:00:00.250000Z'
    """
    # In whole numbers: a float of nanoseconds is off by a hundred of them.
    seconds, rest_ns = divmod(utc_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest_ns // 1000:06d}Z"
