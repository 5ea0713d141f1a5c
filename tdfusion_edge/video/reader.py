"""A video file, frame by frame: whole pictures at their true times, or an error that says what is wrong.

PyAV decodes; it is imported at use, so that importing this module stays cheap.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tdfusion_edge.errors import InputMissing, SourceError
from tdfusion_edge.frames import Image
from tdfusion_edge.integrity import VideoStructure, video_structure
from tdfusion_edge.video.beginning import Beginning, beginning_of
from tdfusion_edge.video.clock import Clock
from tdfusion_edge.video.damage import damaged, keep_all, keep_around, no_counts
from tdfusion_edge.video.orientation import UPRIGHT, Orientation, matrix_of, orientation, turn_of
from tdfusion_edge.video.pixels import NoCounts, Taker, converts, deepest, taker

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    StoredAs: TypeAlias = Packet[VideoStream]

log = logging.getLogger(__name__)

_REMEMBERED = 32
"""Packets that are kept until their frame is shown; a decoder holds back 16 at most."""

_BLAMED = 3
"""So many packets before the joint of two recordings may be called corrupt for it."""


_COVER = 0x400
"""FFmpeg's AV_DISPOSITION_ATTACHED_PIC."""


class Shown(NamedTuple):
    """A frame of a video."""

    image: Image
    """uint8 or uint16 (H, W) with the counts as stored, or uint8 (H, W, 3) BGR; held as it is to be seen."""
    time_ns: int
    """Nanoseconds after the start of the video stream."""


def _chosen(path: Path, container: InputContainer) -> VideoStream:
    """The stream that is read."""
    # The oldest PyAV that is supported does not tell of covers.
    streams = [one for one in container.streams.video if not int(getattr(one, "disposition", 0)) & _COVER]
    # FFmpeg "plays" a text file as a picture of a terminal.
    if not streams or container.format.name == "tty":
        container.close()
        raise SourceError(f"{path} holds no video stream", expected="a video file")
    if len(streams) > 1:
        log.warning(
            "%s holds %d videos, of which the first is read; take out another one: "
            "ffmpeg -i %s -map 0:v:1 -c copy second%s",
            path, len(streams), shlex.quote(str(path)), path.suffix,
        )  # fmt: skip
    return streams[0]


class VideoReader:
    """The first video stream of a file that is no cover picture; a line says where there are others.

    Frames come in presentation order, turned and mirrored as the file's display matrix says. Their times
    begin at 0 with the video stream; see :class:`~tdfusion_edge.video.clock.Clock`. What is cut short,
    damaged, or a guess of the decoder's is an error, and never a picture.

    Args:
        path: The file.

    Raises:
        InputMissing: there is no such file.
        SourceError: it is no video, or cut so short that it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        import av

        if not path.is_file():
            what = "is no file" if os.access(path, os.F_OK) else "does not exist"
            raise InputMissing(f"{path} {what}", expected="a video file")
        self.path = path
        self._failure: SourceError | None = None
        self._count = 0
        self._read_to = -1
        """Byte at which the last packet begins."""
        self._stored: dict[int, StoredAs] = {}
        """Packets by the presentation time of their frame, ticks."""
        self._last_shown: int | None = None
        """How long the last frame is shown, ticks."""
        self._suspect: StoredAs | None = None
        self._broken = (av.FFmpegError, ValueError, OSError)
        """What a decoder raises."""
        self._structure = VideoStructure()
        try:
            self._structure = video_structure(path)
            # "file:" keeps a colon in a file name from being taken for a protocol. A title need not be
            # UTF-8, and nobody here reads it.
            self._container = av.open(f"file:{path}", metadata_errors="replace")
            self._stream = _chosen(path, self._container)
            # With several threads FFmpeg now and then hands out a damaged frame without saying so. One
            # decodes 640x480 in about a millisecond.
            self._stream.thread_type = "NONE"
            self._clock = Clock(path, self._container, self._stream)
            packets = self._container.demux(self._stream)
            first = next(packets)
        except (av.FFmpegError, OSError, StopIteration) as error:
            raise self._damaged("cannot be opened as a video", error) from error
        self.beginning: Beginning = beginning_of(self._container, self._stream, first)
        """When it says that it begins."""
        self._layout: str | None = None
        self._take: Taker | None = None
        self._turn: float | None = None
        """Of the last frame; None before the first one."""
        self._orientation: Orientation = UPRIGHT
        self._frames: Iterator[VideoFrame] | None = self._decode(chain((first,), packets))

    @property
    def duration_s(self) -> float | None:
        """Length in seconds as the file states it; None where it states none."""
        duration = self._clock.duration
        return None if duration is None else float(duration)

    @property
    def layout(self) -> str:
        """Pixel format of the last frame, by FFmpeg's name; of the stream before the first one."""
        return self._layout or self._stream.codec_context.pix_fmt or "unknown"

    @property
    def bits(self) -> int:
        """Of a channel, as the stream says."""
        layout = self._stream.codec_context.format
        return 8 if layout is None else deepest(layout)

    @property
    def converted(self) -> bool:
        """Whether its pictures become BGR of 8 bits, be it from more."""
        layout = self._stream.codec_context.format
        return layout is not None and converts(layout)

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a pixel over its height, in the file as it is stored; 1 where it says nothing."""
        return self._stream.sample_aspect_ratio or Fraction(1)

    def read(self) -> Shown | None:
        """The next frame, None after the last.

        Raises:
            SourceError: the file is damaged, ends too early, or has frames of more than 8 bits that are
                neither grey nor YUV; the message says how far it was read. Reading again raises the same.
        """
        if self._failure is not None:
            raise self._failure
        if self._frames is None:
            return None
        try:
            decoded = next(self._frames, None)
            if decoded is None:
                self._check_end()
                return None
            image = self._picture(decoded)
        except SourceError as failure:
            self._failure = failure
            raise
        except NoCounts as error:
            self._failure = no_counts(self.path, str(error), self._how_far())
            raise self._failure from None
        except self._broken as error:
            self._failure = self._damaged("cannot be decoded further", error, self._suspect)
            raise self._failure from error
        time_ns = self._clock.time_ns(decoded)
        stored = self._stored.pop(decoded.pts, None) if decoded.pts is not None else None
        self._last_shown = None if stored is None else stored.duration
        self._count += 1
        return Shown(image, time_ns)

    def close(self) -> None:
        """Release the file; safe to call twice."""
        self._frames = None
        self._container.close()

    def _decode(self, packets: Iterator[StoredAs]) -> Iterator[VideoFrame]:
        ahead: deque[StoredAs] = deque()
        while (packet := ahead.popleft() if ahead else next(packets, None)) is not None:
            self._suspect = packet
            if packet.pos is not None and packet.pos > self._read_to:
                self._read_to = packet.pos
            if packet.pts is not None:
                self._stored[packet.pts] = packet
                if len(self._stored) > _REMEMBERED:
                    del self._stored[next(iter(self._stored))]
            corrupt = packet.is_corrupt and not self._at_a_joint(packet, packets, ahead)
            # Decoding nothing hands out what the decoder still holds from before the damage.
            for frame in self._stream.decode(None if corrupt else packet):
                # A decoder repairs what it cannot read with guesses, and says so by this flag alone.
                if frame.is_corrupt:
                    raise self._damaged("is damaged", at=frame)
                yield frame
            if corrupt:
                what = "is cut short or damaged"
                if self._container.format.name == "mpegts":  # whose packets alone are numbered
                    what += ", or a recording with later times was joined to it"
                raise self._damaged(what, at=packet)
        self._suspect = None

    def _at_a_joint(self, packet: StoredAs, packets: Iterator[StoredAs], ahead: deque[StoredAs]) -> bool:
        """Whether a packet is called corrupt because another recording follows: its clock begins anew.

        Where pieces of a transport stream were joined byte by byte, its count of packets breaks off, and one
        of the last whole ones before is blamed. Packets that were read to tell are put into ``ahead``.
        """
        while len(ahead) < _BLAMED and (following := next(packets, None)) is not None:
            ahead.append(following)
        return any(self._clock.jumps_back(packet.dts, following.dts) for following in ahead)

    def _picture(self, frame: VideoFrame) -> Image:
        layout = frame.format
        if self._take is None or layout.name != self._layout:
            self._layout, self._take = layout.name, taker(layout)
        image = self._take(frame)
        turn = turn_of(frame)
        if turn != self._turn:
            self._turn = turn
            self._orientation = self._held(matrix_of(frame))
        return image if self._orientation == UPRIGHT else self._orientation.apply(image)

    def _held(self, matrix: bytes | None) -> Orientation:
        asked = UPRIGHT if matrix is None else orientation(matrix)
        if asked is None:
            log.warning("%s asks to be turned by no quarter turns, which is not followed", self.path)
        return asked or UPRIGHT

    def _check_end(self) -> None:
        """Raise where the stream ended before the file or the stream was to end."""
        if self._structure.missing:
            raise self._damaged(f"is cut short, {self._structure.missing} bytes are missing")
        if missing := self._clock.missing(self._last_shown or 0):
            raise self._damaged(f"is damaged, {float(missing):.2f} s at its end cannot be read")
        further = next((begin for begin in self._structure.further if begin > self._read_to), None)
        if further is not None:
            log.warning(
                "%s holds a further recording behind what is read; take it out: "
                "tail -c +%d %s > second%s", self.path, further + 1, shlex.quote(str(self.path)),
                self.path.suffix,
            )  # fmt: skip

    def _damaged(
        self, what: str, error: BaseException | None = None, at: StoredAs | VideoFrame | None = None
    ) -> SourceError:
        """The error for a file that cannot be read to its end.

        Args:
            what: What is wrong.
            error: The cause.
            at: The damaged packet, or its frame; None for a file that is whole as far as it goes.
        """
        if self._structure.missing and error is not None:
            what, error = f"is cut short, {self._structure.missing} bytes are missing", None
        hint = keep_all(self.path) if self._count else None
        if at is not None:
            hint = keep_around(self.path, self._decoded_at(at) if self._count else None)
        return damaged(self.path, what, self._how_far(), error, hint)

    def _how_far(self) -> str:
        if not self._count:
            return "no frame"
        return f"{self._count} frames up to {float(self._clock.reached):.3f} s"

    def _decoded_at(self, at: StoredAs | VideoFrame) -> Fraction | None:
        """Half a picture before a damaged packet is to be decoded, in seconds after the file's start."""
        base = self._stream.time_base
        stored = None if at.pts is None else self._stored.get(at.pts)
        if base is None or stored is None or stored.dts is None:
            return None
        start = Fraction(self._container.start_time or 0, 1_000_000)
        return stored.dts * base - start - self._clock.period / 2
