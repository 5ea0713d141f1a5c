"""When a video says that it begins, and whether two of them say the same.

A file's first picture counts as taken at time 0: the numbers that muxers put there are no common clock. An
encoder that reorders pictures starts late by some of them, a sound track by its priming, and each device
counts from where it likes. But two files that say they begin at different moments may mean it, and then
their pairs are wrong by that difference. Nobody but the user knows; so it is told.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

_PRIMING = Fraction(1, 10)
"""A picture that begins less than so many seconds behind its sound does so for the sound encoder's sake."""
_ANYWHERE = ("mpegts", "mpeg")
"""Formats for broadcasts, by FFmpeg's names."""
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:?00)?")


class Beginning(NamedTuple):
    """When a video says that it begins, in seconds on its own clock and by the calendar."""

    shown: Fraction
    """Presentation time of the first picture."""
    decoded: Fraction
    """Decoding time of the first picture; the same where that is not told."""
    sound: Fraction | None
    """Start of a sound track that begins a little earlier."""
    from_zero: bool
    """Its clock begins at 0 with the recording; a transport stream's anywhere."""
    created: Fraction | None
    """Seconds since 1970 that the tag ``creation_time`` gives, None without one."""


def beginning_of(container: InputContainer, stream: VideoStream, first: Packet[VideoStream]) -> Beginning:
    """The beginning of a video, whose first packet has been read."""
    base = stream.time_base or Fraction(0)
    pts = stream.start_time if stream.start_time is not None else first.pts
    shown = (pts or 0) * base
    decoded = shown if first.dts is None else min(first.dts * base, shown)
    others = [
        other.start_time * other.time_base
        for other in container.streams
        if other is not stream and other.start_time is not None and other.time_base
    ]
    sound = min(others, default=shown)
    created = container.metadata.get("creation_time") or stream.metadata.get("creation_time", "")
    primed = sound if 0 < shown - sound <= _PRIMING else None
    return Beginning(shown, decoded, primed, container.format.name not in _ANYWHERE, _seconds(created))


def apart(infrared: Beginning, visible: Beginning, tolerance: Fraction) -> tuple[Fraction, str] | None:
    """By how many seconds the visible video says that it begins later, and by which clock.

    Args:
        infrared: Beginning of the one.
        visible: Beginning of the other.
        tolerance: Difference in seconds that does not count.

    Returns:
        None where neither clock tells of a difference: what reordered pictures and a sound track explain is
        none.
    """
    if infrared.created is not None and visible.created is not None:
        later = visible.created - infrared.created
        if abs(later) > tolerance:
            return later, "creation times"
    differences = [abs(b - a) for a, b in _explained(infrared, visible)]
    if differences and min(differences) > tolerance:
        return visible.shown - infrared.shown, "own clocks"
    return None


def _explained(infrared: Beginning, visible: Beginning) -> list[tuple[Fraction, Fraction]]:
    """Pairs of times, any of which may be the two beginnings; none for clocks that cannot be compared."""
    if infrared.from_zero != visible.from_zero:
        return []
    if not infrared.from_zero:
        return [(infrared.shown, visible.shown), (infrared.decoded, visible.decoded)]
    return [(a, b) for a in _begins(infrared) for b in _begins(visible)]


def _begins(one: Beginning) -> list[Fraction]:
    """When a file begins whose clock does so at 0."""
    # Decoded at 0 and shown later: the first picture waits for those that are stored before they are shown.
    own = Fraction(0) if one.decoded == 0 else one.shown
    return [own] if one.sound is None else [own, one.sound]


def _seconds(text: str) -> Fraction | None:
    """Seconds since 1970 of an ISO time in UTC; None for what is none, or a clock that was never set."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    try:
        whole = datetime.fromisoformat(match[1]).replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    return Fraction(round(whole.timestamp())) + Fraction(f"0.{match[2] or 0}")
