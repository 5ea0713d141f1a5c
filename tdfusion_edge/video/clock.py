"""When the frames of a file are shown: from its time stamps, or from their number where it has none."""

from __future__ import annotations

import logging
import re
import shlex
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

log = logging.getLogger(__name__)

_FALLBACK_FPS = Fraction(30)
_HIGHEST_FPS = 1000
"""A stated rate above it is a time base that was mistaken for a rate."""
_ASSUMED_FPS = Fraction(25)
"""FFmpeg's for a file that has neither times nor a rate."""
_NO_TIMESTAMPS = 0x80
"""FFmpeg's AVFMT_NOTIMESTAMPS: a bare stream, whose times are invented by the demuxer."""
_MICROSECONDS = 1_000_000
"""FFmpeg's AV_TIME_BASE, in which it tells lengths of whole files."""

_NANOSECONDS = 1_000_000_000

_SMALLEST_JUMP = Fraction(1, 10)
_STRAY = 1
"""A picture that is so many seconds behind the one before the last, and not behind the last, shows that
the last one's time was wrong."""
_DURATION_TAG = re.compile(r"(\d{1,4}):(\d\d):(\d\d(?:\.\d{1,12})?)")


class Clock:
    """Gives each frame of a video its time, in the order in which a decoder hands them out.

    The video stream's own start is 0: a sound track that begins earlier, or whatever a muxer adds to all
    times, does not count. Where the times jump back, as in files that were joined byte by byte, what follows
    is put behind the last picture. Frames without a time follow each other at the stream's rate; a bare
    stream (``.h264``) has none but that.

    Args:
        path: For messages.
        container: The open file.
        stream: Its video.
    """

    def __init__(self, path: Path, container: InputContainer, stream: VideoStream) -> None:
        self._path, self._stream = path, stream
        self._bare = bool(int(container.format.flags) & _NO_TIMESTAMPS)
        self.period = 1 / (_bare_rate(path, stream) if self._bare else _rate(stream))
        """Between two pictures, seconds."""
        # Whole ticks as far as may be: fractions of seconds would cost a tenth of the decoding.
        self._tick = stream.time_base or Fraction(1, _MICROSECONDS)
        step = self.period / self._tick
        self._step: Fraction | int = int(step) if step.denominator == 1 else step
        self._jump = round(max(3 * self.period / 2, _SMALLEST_JUMP) / self._tick)
        # An AVI tells when packets are decoded alone. What FFmpeg makes of that for reordered pictures jumps
        # back and forth, while they come in their order: each is shown when its turn in decoding comes.
        self._decoded = container.format.name == "avi"
        self._origin: int | None = None if self._decoded else stream.start_time
        self._reached: Fraction | int = 0
        """Of the last frame, in ticks; so are all that follow."""
        self._shift: Fraction | int = 0
        """Added to the times of a piece behind a jump."""
        self._before: Fraction | int | None = None
        """The shift before the last picture, where the times jumped back there."""
        self._count = 0
        self._told = False
        self._end = _promised_end(container, stream)

    @property
    def duration(self) -> Fraction | None:
        """Length in seconds as the file states it; None where it states none."""
        return None if self._end is None else self._end - (self._origin or 0) * self._tick

    @property
    def reached(self) -> Fraction:
        """Time of the last frame, seconds."""
        return self._reached * self._tick

    def time_ns(self, frame: VideoFrame) -> int:
        """Presentation time of the next frame, in nanoseconds after the stream's start."""
        pts = frame.dts if self._decoded else frame.pts
        if self._bare or pts is None:
            self._reached += self._step if self._count else 0
        else:
            if self._origin is None:
                self._origin = pts
            self._reached = self._placed(pts - self._origin)
        self._count += 1
        if not isinstance(self._reached, int):
            return round(self._reached * self._tick * _NANOSECONDS)
        whole, rest = divmod(self._reached * self._tick.numerator * _NANOSECONDS, self._tick.denominator)
        half = 2 * rest - self._tick.denominator
        return whole + (half > 0 or (half == 0 and whole % 2))  # halves to the even, as round() does

    def jumps_back(self, before: int | None, after: int | None) -> bool:
        """Whether two packets, one behind the other, were stamped by clocks of which the second began anew.

        Args:
            before: Decoding time of the first in ticks, None where it has none.
            after: That of the second.
        """
        return before is not None and after is not None and after < before - self._jump

    def missing(self, last: int) -> Fraction:
        """Seconds at the end that the file promises and that did not come.

        Args:
            last: How long the last frame is shown, ticks; 0 where that is not known.
        """
        if self.duration is None or (self._stream.frames and self._count >= self._stream.frames):
            return Fraction(0)
        missing = self.duration - (self._reached + last) * self._tick
        # Stated lengths are rounded, and a last frame may be shown long: only more than two frames count.
        return missing if missing > 3 * self.period + Fraction(1, 10) else Fraction(0)

    def _placed(self, since: int) -> Fraction | int:
        """Where a frame stands whose time is ``since`` ticks after the start, jumps taken out."""
        at = since + self._shift
        if at >= self._reached - self._jump or not self._count:
            return at if self._before is None else self._behind_a_jump(since, self._before)
        self._before = self._shift
        self._shift += self._reached + self._step - at
        return since + self._shift

    def _behind_a_jump(self, since: int, before: Fraction | int) -> Fraction | int:
        """Where the frame after the first one behind a jump stands: it tells whether that was one."""
        self._before = None
        at, unshifted = since + self._shift, since + before
        if (
            at > self._reached + self._jump
            and self._reached < unshifted <= self._reached + _STRAY / self._tick
        ):
            self._shift = before
            return unshifted
        if not self._told:
            self._told = True
            log.warning(
                "%s: its times jump back at %.3f s, as where recordings were joined; what follows is put "
                "behind that", self._path, float(self.reached),
            )  # fmt: skip
        return at


def _rate(stream: VideoStream) -> Fraction:
    """Frames a second as far as the file says."""
    for rate in (stream.average_rate, stream.base_rate, stream.guessed_rate):
        if rate and 0 < rate <= _HIGHEST_FPS:
            return rate
    return _FALLBACK_FPS


def _bare_rate(path: Path, stream: VideoStream) -> Fraction:
    """Frames a second of a bare stream: what its header says, else an assumption that is told."""
    rate = stream.codec_context.framerate
    if rate and 0 < rate <= _HIGHEST_FPS:
        return rate
    log.warning(
        "%s has no times and names no rate; %s pictures a second are assumed. Put it into a container: "
        "ffmpeg -r RATE -i %s -c copy %s.mkv", path, _ASSUMED_FPS, shlex.quote(str(path)),
        shlex.quote(path.stem),
    )  # fmt: skip
    return _ASSUMED_FPS


def _promised_end(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """When the stream is to end in seconds on its own clock, None where the file does not say."""
    if stream.duration is not None and stream.time_base is not None:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base
    if container.duration is None:
        return None
    # Matroska's length counts from 0, whenever its first picture comes.
    start = 0 if container.format.name.startswith("matroska") else container.start_time or 0
    whole = Fraction(start + container.duration, _MICROSECONDS)
    if len(container.streams) == 1:
        return whole
    # A tag of Matroska, as hours:minutes:seconds. Editors leave those of other files behind, and such a one
    # may not be longer than the file.
    tag = _DURATION_TAG.fullmatch(stream.metadata.get("DURATION", ""))
    if tag is None:
        return None
    end = int(tag[1]) * 3600 + int(tag[2]) * 60 + Fraction(tag[3])
    return end if end <= whole + Fraction(1, 10) else None
