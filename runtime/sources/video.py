"""Videos from files, every frame at its true presentation time."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from tdfusion_edge.errors import InputMissing, RequestError, SourceError
from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.integrity import video_bytes_missing
from tdfusion_edge.redact import redact
from tdfusion_edge.runtime.sources.uri import SourceUri

# Grey formats keep their counts: a conversion to gray16 would stretch 10, 12 or 14 bits to 16.
_GREY: Mapping[str, str] = {
    "gray": "|u1",
    **{f"gray{bits}le": "<u2" for bits in (9, 10, 12, 14, 16)},
    **{f"gray{bits}be": ">u2" for bits in (9, 10, 12, 14, 16)},
}

_FALLBACK_FPS = Fraction(30)
_HIGHEST_FPS = 1000
"""A stated rate above it is a time base that was mistaken for a rate."""


class VideoSource:
    """The video stream of a file.

    Frames come in presentation order, each at ``epoch_ns`` plus its presentation time in the file;
    the file's earliest time, which a muxer may set to anything, counts as 0. Frames without a time
    follow each other at the average rate. Rotation flags are ignored.

    Grey streams come as (H, W), uint8 or uint16 with the counts as stored; all others as uint8
    (H, W, 3) BGR.

    Args:
        name: Name for messages and frames, without credentials.
        path: The file.
        epoch_ns: Monotonic nanoseconds at the file's time 0.

    Raises:
        InputMissing: there is no such file.
        SourceError: it is no video, or cut so short that it cannot be opened.
    """

    live = False

    def __init__(self, name: str, path: Path, *, epoch_ns: int) -> None:
        if not path.is_file():
            raise InputMissing(f"{path} does not exist", expected="a video file")
        self.name = name
        self._path, self._epoch_ns = path, epoch_ns
        self._failure: SourceError | None = None
        self._sequence, self._reached = 0, Fraction(0)
        try:
            self._bytes_missing = video_bytes_missing(path)
            # "file:" keeps a colon in a file name from being taken for a protocol. A title need not be
            # UTF-8, and nobody here reads it.
            self._container = av.open(f"file:{path}", metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            raise self._damaged("cannot be opened as a video", error) from error
        # FFmpeg "plays" a text file as a picture of a terminal.
        if not self._container.streams.video or self._container.format.name == "tty":
            self._container.close()
            raise SourceError(f"{path} holds no video stream", expected="a video file")
        self._stream: VideoStream = self._container.streams.video[0]
        # With several threads FFmpeg now and then hands out a damaged frame without saying so. One decodes
        # 640x480 in about a millisecond.
        self._stream.thread_type = "NONE"
        self._origin = _origin(self._container)
        self._period = 1 / _rate(self._stream)
        # One converter for the stream: setting up a new one costs ten times the conversion.
        self._to_bgr = VideoReformatter()
        self._frames: Iterator[VideoFrame] | None = self._decode()

    @property
    def duration_s(self) -> float | None:
        """Length in seconds as the file states it; None where it states none."""
        end = _promised_end(self._container, self._stream)
        return None if end is None else float(end - self._origin)

    def read(self) -> Frame | None:
        """The next frame, None after the last.

        Raises:
            SourceError: the file is damaged or ends too early; the message says how far it was
                read. Reading again raises the same.
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
        except (av.FFmpegError, ValueError, OSError) as error:
            self._failure = self._damaged("cannot be decoded further", error)
            raise self._failure from error
        frame = Frame(image, self._epoch_ns + self._time_ns(decoded), self._sequence, self.name)
        self._sequence += 1
        return frame

    def close(self) -> None:
        """Release the file."""
        self._frames = None
        self._container.close()

    def _decode(self) -> Iterator[VideoFrame]:
        for packet in self._container.demux(self._stream):
            # Decoding nothing hands out what the decoder still holds from before the damage.
            for frame in self._stream.decode(None) if packet.is_corrupt else packet.decode():
                # A decoder repairs what it cannot read with guesses, and says so by this flag alone.
                if frame.is_corrupt:
                    raise self._damaged("is damaged")
                yield frame
            if packet.is_corrupt:
                raise self._damaged("is cut short or damaged")

    def _time_ns(self, frame: VideoFrame) -> int:
        """Presentation time in nanoseconds after the file's earliest time."""
        # Frames that a decoder hands out without a packet carry no time base of their own.
        base = frame.time_base or self._stream.time_base
        if frame.pts is not None and base is not None:
            self._reached = frame.pts * base - self._origin
        elif self._sequence:
            self._reached += self._period
        return round(self._reached * 1_000_000_000)

    def _picture(self, frame: VideoFrame) -> Image:
        dtype = _GREY.get(frame.format.name)
        if dtype is not None:
            return _grey(frame, np.dtype(dtype))
        return self._to_bgr.reformat(frame, format="bgr24").to_ndarray()

    def _check_end(self) -> None:
        """Raise where the stream ended before the file or the stream was to end."""
        if self._bytes_missing:
            raise self._damaged(f"is cut short, {self._bytes_missing} bytes are missing")
        promised = _promised_end(self._container, self._stream)
        if promised is None:
            return
        # A last frame may be shown long, and stated lengths are rounded: only more than two frames count.
        missing = promised - self._origin - self._reached
        if missing > 3 * self._period + Fraction(1, 10):
            raise self._damaged(f"is damaged, {float(missing):.2f} s at its end cannot be read")

    def _damaged(self, what: str, error: Exception | None = None) -> SourceError:
        reason = f": {redact(getattr(error, 'strerror', None) or str(error))}" if error else ""
        if not self._sequence:
            return SourceError(f"{self._path} {what}{reason}", expected="a whole video", got="no frame")
        whole = f"ffmpeg -i {shlex.quote(str(self._path))} -c copy whole{self._path.suffix}"
        return SourceError(
            f"{self._path} {what}{reason}",
            expected="a whole video",
            got=f"{self._sequence} frames up to {float(self._reached):.3f} s",
            hint=f"Keep what is whole: {whole}",
        )


def from_uri(
    name: str, uri: SourceUri, *, epoch_ns: int, clock: Callable[[], int] = time.monotonic_ns
) -> VideoSource:
    """The source for an address.

    Raises:
        RequestError: the address or the rig asks for a rate or a size.
    """
    if uri.query:
        raise RequestError(
            f"{uri.path}: a video brings its own times and size",
            expected="no options",
            got=", ".join(sorted(uri.query)),
            hint="Remove them from the address or from the rig.",
        )
    return VideoSource(name, uri.local_path(), epoch_ns=epoch_ns)


def _grey(frame: VideoFrame, dtype: np.dtype[Any]) -> Image:
    """The only plane of a grey frame, as uint8 or uint16 in the machine's byte order."""
    plane: Any = frame.planes[0]
    rows = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // dtype.itemsize)
    picture = rows[: frame.height, : frame.width]
    return np.ascontiguousarray(picture, dtype.newbyteorder("="))


def _origin(container: Any) -> Fraction:
    """Earliest time of the file in seconds.

    Exact, where the container's own figure is rounded to microseconds. Muxers shift it: with
    B-frames a fragmented MP4 starts two frames late, an MPEG-TS anywhere.
    """
    starts = [
        s.start_time * s.time_base for s in container.streams if s.start_time is not None and s.time_base
    ]
    return min(starts, default=Fraction(0))


def _rate(stream: VideoStream) -> Fraction:
    """Frames a second as far as the file says."""
    for rate in (stream.average_rate, stream.base_rate, stream.guessed_rate):
        if rate and 0 < rate <= _HIGHEST_FPS:
            return rate
    return _FALLBACK_FPS


def _promised_end(container: Any, stream: VideoStream) -> Fraction | None:
    """When the stream is to end in seconds on its own clock, None where the file does not say."""
    if stream.duration is not None and stream.time_base is not None:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base
    if "DURATION" in stream.metadata:  # Matroska, as hours:minutes:seconds
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    if container.duration is not None and len(container.streams) == 1:
        return Fraction((container.start_time or 0) + container.duration, av.time_base)
    return None
