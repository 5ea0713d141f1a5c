"""Fused pictures to standard output, for a player or encoder behind a pipe (``-o -``)."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from tdfusion_edge.errors import RequestError, SinkError
from tdfusion_edge.frames import Image
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.sinks.encoding import H264
from tdfusion_edge.runtime.sinks.jsonl import encoded_line
from tdfusion_edge.runtime.sinks.kinds import PipeFormat
from tdfusion_edge.runtime.sinks.timeline import TICKS_PER_S, Timeline

_CONTAINER = {
    # A cluster is held back until it ends: none lasts longer than a picture or two.
    "mkv": ("matroska", {"cluster_time_limit": "20", "flush_packets": "1", "live": "1"}),
    "mpegts": ("mpegts", {"flush_packets": "1", "muxdelay": "0"}),
}
_GONE = (errno.EPIPE, errno.ECONNRESET)


@contextmanager
def taken_stdout() -> Iterator[int]:
    """Standard output for pictures alone: whatever is printed meanwhile goes to standard error.

    Yields:
        The descriptor to write to.

    Raises:
        RequestError: standard output is a terminal, or closed.
    """
    if sys.stdout is None:
        raise RequestError("-o -: standard output is closed", expected="a pipe or a file behind it")
    with suppress(ValueError, OSError):
        sys.stdout.flush()
    try:
        descriptor = os.dup(1)
    except OSError as error:
        raise RequestError(
            "-o -: standard output is closed", expected="a pipe or a file behind it"
        ) from error
    try:
        if os.isatty(descriptor):
            raise RequestError(
                "-o - would fill the terminal with pictures",
                expected="a pipe",
                hint="tdfusion-edge run --camera ir0,vis0 -o - | ffplay -",
            )
        os.dup2(2, 1)
        try:
            yield descriptor
        finally:
            with suppress(ValueError, OSError):
                sys.stdout.flush()
            os.dup2(descriptor, 1)
    finally:
        os.close(descriptor)


class PipeSink:
    """Write results into a pipe, each as soon as it is there.

    ``mkv`` and ``mpegts`` are H.264 at the capture times; ``rawvideo`` is bare pictures, uint8 (H, W, 3) BGR,
    one behind the other; ``jsonl`` is a line a result. A reader that goes away ends the run without an error.

    Args:
        descriptor: Where to write; it is not closed.
        kind: What to write.
        picture: What of a result is shown; the fused picture as it is where none is given.
        on_close: Called once when the reader has gone.
    """

    def __init__(
        self,
        descriptor: int,
        kind: PipeFormat = "mkv",
        *,
        picture: Callable[[Result], Image] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        if kind in _CONTAINER:
            H264.require()
        self._raw, self._kind = _Pipe(descriptor), kind
        self._picture = picture or (lambda result: result.picture)
        self._on_close = on_close
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._timeline = Timeline()
        self._size: tuple[int, int] | None = None
        self._keyframe = 0
        self._first_ns: int | None = None

    def write(self, result: Result) -> None:
        """Write one result, waiting for the reader.

        Raises:
            SinkError: the size of the pictures changed, or what is behind the pipe refuses.
        """
        if self._raw.gone:
            return
        try:
            self._put(result)
        except OSError as error:  # PyAV's errors are of this kind too
            if not self._raw.gone and error.errno not in _GONE:
                raise SinkError(f"standard output cannot be written: {error.strerror or error}") from error
            self._raw.gone = True
        if self._raw.gone and self._on_close is not None:
            self._on_close()

    def close(self) -> None:
        """Finish the stream; safe to call twice."""
        container, stream = self._container, self._stream
        self._container = self._stream = None
        if container is None or stream is None:
            return
        with suppress(OSError):
            container.mux(stream.encode(None))
        with suppress(OSError):
            container.close()

    def abort(self) -> None:
        """As :meth:`close`."""
        self.close()

    def _put(self, result: Result) -> None:
        if self._kind == "jsonl":
            self._first_ns = result.pair.time_ns if self._first_ns is None else self._first_ns
            self._raw.write(encoded_line(result, self._first_ns))
            return
        image = self._picture(result)
        height, width = image.shape[:2]
        if (width, height) != (self._size or (width, height)):
            raise SinkError(
                "standard output: the size of the pictures changed",
                expected="{}x{} as before".format(*(self._size or ())),
                got=f"{width}x{height}",
            )
        self._size = width, height
        if self._kind == "rawvideo":
            colours = image if image.ndim == 3 else image[..., None].repeat(3, axis=2)
            self._raw.write(np.ascontiguousarray(colours))
            return
        container, stream = self._opened(image)
        frame = H264.frame(image)
        frame.pts = self._timeline.place(result.pair.time_ns)
        frame.time_base = Fraction(1, TICKS_PER_S)
        # Whoever looks in later, as with UDP behind it, waits a second at most.
        if frame.pts == 0 or frame.pts - self._keyframe >= TICKS_PER_S:
            frame.pict_type, self._keyframe = PictureType.I, frame.pts
        for packet in stream.encode(frame):
            container.mux(packet)

    def _opened(self, image: Image) -> tuple[OutputContainer, VideoStream]:
        if self._container is None or self._stream is None:
            name, options = _CONTAINER[self._kind]
            self._container = av.open(
                self._raw, "w", format=name, container_options=options, buffer_size=1 << 16
            )
            self._stream = H264.add_to(self._container, image, Fraction(30))
        return self._container, self._stream


class _Pipe(io.RawIOBase):
    """A descriptor that takes everything, and remembers that its reader has gone."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.gone = False

    def write(self, data: object) -> int:
        rest = memoryview(data).cast("B")  # type: ignore[arg-type]
        size = len(rest)
        while rest and not self.gone:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                self.gone = True
        return size

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False
