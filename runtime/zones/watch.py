"""Who enters, leaves, stays and crosses: what tracks become at the places of a rig."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tdfusion_edge.detections import Detections
from tdfusion_edge.observations import Event, Mark, Side
from tdfusion_edge.runtime.zones.geometry import F64, distances, meet, sides
from tdfusion_edge.runtime.zones.tables import Line, Place, Size, Zone, in_pixels


class Moment(NamedTuple):
    """One picture: when, what is found in it, and which tracks are remembered."""

    found: Detections
    time_ns: int
    utc_ns: int | None
    tracks: Collection[int]


class _Thing(NamedTuple):
    """A thing that a place is concerned with, in one picture."""

    track: int
    name: str
    point: F64
    """(2,)"""


@dataclass(slots=True)
class _Stay:
    name: str
    since_ns: int
    seen_ns: int
    told: bool = False


class ZoneWatch:
    """Watches one zone; memory is that of the tracks that are remembered.

    A thing enters with its point on the zone's border or inside, and leaves with it beyond the border by the
    hysteresis, so that one that stands on the border makes no storm of events. One whose track ends inside
    leaves as ``lost``.

    Args:
        name: Of the zone.
        zone: Its table.
        size: Width and height of the visible picture.

    Raises:
        ConfigError: it lies outside of the picture.
    """

    def __init__(self, name: str, zone: Zone, size: Size) -> None:
        self._name, self._zone = name, zone
        self._polygon = in_pixels(f"zones.{name}", zone.polygon, zone.units, size)
        self._margin = zone.hysteresis * min(size)
        self._sure: set[int] = set()
        self._stays: dict[int, _Stay] = {}

    def update(self, moment: Moment) -> list[Event]:
        """What happened since the last picture."""
        return list(self._events(moment))

    def mark(self) -> Mark | None:
        """The zone with the number of things inside; None where it is not to be drawn."""
        if not self._zone.draw:
            return None
        count = len(self._stays)
        return Mark(_points(self._polygon), f"{self._name} {count}" if count else self._name, bool(count))

    def _events(self, moment: Moment) -> Iterator[Event]:
        things = _concerned(moment, self._zone, self._sure)
        depth = distances(np.array([one.point for one in things]).reshape(-1, 2), self._polygon)
        for thing, deep in zip(things, depth, strict=True):
            stay = self._stays.get(thing.track)
            if stay is None and deep >= 0:
                self._stays[thing.track] = _Stay(thing.name, moment.time_ns, moment.time_ns)
                yield self._event("enter", thing.track, thing.name, moment)
            elif stay is not None and deep < -self._margin:
                yield self._leave(thing.track, moment, moment.time_ns)
            elif stay is not None:
                stay.seen_ns = moment.time_ns
        for track in [track for track in self._stays if track not in moment.tracks]:
            yield self._leave(track, moment, self._stays[track].seen_ns, lost=True)
        yield from self._dwellers(moment)

    def _dwellers(self, moment: Moment) -> Iterator[Event]:
        for track, stay in self._stays.items():
            seconds = (stay.seen_ns - stay.since_ns) / 1e9
            if self._zone.dwell_s is not None and not stay.told and seconds >= self._zone.dwell_s:
                stay.told = True
                yield self._event("dwell", track, stay.name, moment, seconds=seconds)

    def _leave(self, track: int, moment: Moment, last_ns: int, *, lost: bool = False) -> Event:
        stay = self._stays.pop(track)
        seconds = (last_ns - stay.since_ns) / 1e9
        return self._event("leave", track, stay.name, moment, seconds=seconds, lost=lost)

    def _event(self, kind: str, track: int, name: str, moment: Moment, **facts: float | bool) -> Event:
        return Event(kind, self._name, moment.time_ns, moment.utc_ns, track, name, **facts)  # type: ignore[arg-type]


class LineWatch:
    """Watches one line; memory is that of the tracks that are remembered.

    A thing is across when its point is beyond the line by the hysteresis, and its way cut the line between
    its two ends.

    Args:
        name: Of the line.
        line: Its table.
        size: Width and height of the visible picture.

    Raises:
        ConfigError: it lies outside of the picture.
    """

    def __init__(self, name: str, line: Line, size: Size) -> None:
        self._name, self._line = name, line
        self._ends = in_pixels(f"lines.{name}", line.points, line.units, size)
        self._margin = line.hysteresis * min(size)
        self._sure: set[int] = set()
        self._last: dict[int, tuple[Side, F64]] = {}
        """Where each track was last beyond the hysteresis, on which side."""

    def update(self, moment: Moment) -> list[Event]:
        """What happened since the last picture."""
        things = _concerned(moment, self._line, self._sure)
        right = sides(np.array([one.point for one in things]).reshape(-1, 2), self._ends)
        events = []
        for thing, distance in zip(things, right, strict=True):
            if abs(distance) <= self._margin:
                continue
            side: Side = "right" if distance > 0 else "left"
            before = self._last.get(thing.track)
            self._last[thing.track] = side, thing.point
            if before is None or before[0] == side:
                continue
            if meet(np.array((before[1], thing.point)), self._ends):
                events.append(
                    Event(
                        "cross", self._name, moment.time_ns, moment.utc_ns, thing.track, thing.name, to=side
                    )
                )  # fmt: skip
        for track in [track for track in self._last if track not in moment.tracks]:
            del self._last[track]
        return events

    def mark(self) -> Mark | None:
        """The line; None where it is not to be drawn."""
        return Mark(_points(self._ends), self._name) if self._line.draw else None


def _concerned(moment: Moment, place: Place, sure: set[int]) -> Sequence[_Thing]:
    """The things in a picture that a place is concerned with; ``sure`` holds those of enough score so far."""
    found = moment.found
    sure &= set(moment.tracks)
    things = []
    for index, (x1, y1, x2, y2) in enumerate(found.boxes.tolist()):
        track, name = found.track_of(index), found.names[int(found.class_ids[index])]
        if track is None or (place.classes is not None and name not in place.classes):
            continue
        if found.scores[index] >= place.score:
            sure.add(track)
        if track in sure:
            y = y2 if place.anchor == "bottom" else (y1 + y2) / 2
            things.append(_Thing(track, name, np.array(((x1 + x2) / 2, y))))
    return things


def _points(points: F64) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in points)
