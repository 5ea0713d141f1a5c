"""What a run tells besides findings: events at places of the picture, temperatures, and those places."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

EventKind: TypeAlias = Literal["enter", "leave", "dwell", "cross", "above", "below", "normal"]
Side: TypeAlias = Literal["left", "right"]

MOST_EVENTS = 1000
"""Events that wait with one result: where outputs stand still, older ones go."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened at a zone, a line or a measured place of the rig."""

    kind: EventKind
    """``enter``, ``leave`` and ``dwell`` of a zone, ``cross`` of a line, and of a temperature ``above``,
    ``below`` and ``normal`` again."""
    place: str
    """Name of the zone, line or measured place."""
    time_ns: int
    """Capture time of the picture that showed it, monotonic nanoseconds."""
    utc_ns: int | None = None
    """The same by the wall clock, nanoseconds since 1970; None for recordings."""
    track: int | None = None
    """Whose event it is; None for temperatures."""
    name: str | None = None
    """Class of the thing; None for temperatures."""
    seconds: float | None = None
    """``leave`` and ``dwell``: how long it was inside, in seconds of capture time."""
    lost: bool = False
    """``leave``: it was not seen to go; its track ended inside."""
    to: Side | None = None
    """``cross``: to which side, for someone who looks from the line's first point to its second."""
    celsius: float | None = None
    """Of a temperature: its value in degrees Celsius."""


class Temperature(NamedTuple):
    """Of a measured place, in degrees Celsius."""

    low: float
    high: float
    mean: float


class Mark(NamedTuple):
    """A place as it is drawn into the picture."""

    points: tuple[tuple[float, float], ...]
    """In pixels of the picture: one is a spot, two a line, more the corners of an area."""
    label: str
    alarmed: bool = False
    """Somebody is in the zone, or the temperature is beyond its limit."""


def with_events_before(events: Iterable[Event], later: tuple[Event, ...]) -> tuple[Event, ...]:
    """Events of a picture that is left out, before those of the next: no output misses one."""
    return (*events, *later)[-MOST_EVENTS:]
