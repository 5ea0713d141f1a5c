"""Pictures as a video that a power cut cannot take away."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from tdfusion_edge.errors import RequestError, SinkError
from tdfusion_edge.frames import Image
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.sinks.encoding import H264, Codec
from tdfusion_edge.runtime.sinks.fragments import FragmentFile
from tdfusion_edge.runtime.sinks.output import StreamFile, require_writable, sink_error
from tdfusion_edge.runtime.sinks.timeline import TICKS_PER_S, Timeline

FORMATS = {".mp4": "mp4", ".mkv": "matroska"}

_CONTAINER = {
    # Each fragment carries its own index, and leaves the buffers as soon as the next one begins.
    "mp4": {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"},
    "matroska": {"cluster_time_limit": "1000", "flush_packets": "1"},
}

_IO_BUFFER = 1 << 20  # a fragment in one write, not in many


class VideoFile:
    """Write an ``.mp4`` or ``.mkv`` file at the pace at which the pictures were taken.

    - Frames keep their capture times (variable frame rate): exact to half a tick of 1/90000 s in
      MP4, to a millisecond in Matroska. :class:`Timeline` names the two exceptions.
    - The file is in fragments of at most a second, synced to the disk as they end. What a crash, a
      power cut or a full disk leaves behind plays up to the last whole fragment.
    - H.264 4:2:0 has even sizes only: a picture of odd width or height gets its last column or row
      twice, and ``decoded[:height, :width]`` is the picture. (4:4:4 would take odd sizes, but
      browsers and hardware decoders do not play it.)
    - Grey pictures stay grey; in H.264 grey and colour may alternate.
    - An existing file is replaced at the first picture. Where no picture comes, there is no file.

    Args:
        path: Ends in ``.mp4`` or ``.mkv``.
        codec: How pictures are encoded.
        fps_hint: Nominal frames a second for the file's header, 0.01 to 1000, 30 where none is given;
            players go by the true times.
        origin_ns: Capture time that is 0 in the file; that of the first picture where none is given.
        tags: Metadata of the file.
        clock: Monotonic nanoseconds, for the pace of syncs.

    Raises:
        RequestError: another suffix, a place that cannot be written, a rate that is none, or a PyAV
            without the encoder.
    """

    def __init__(
        self,
        path: Path,
        *,
        codec: Codec = H264,
        fps_hint: float | None = None,
        origin_ns: int | None = None,
        tags: Mapping[str, str] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if path.suffix.lower() not in FORMATS:
            raise RequestError(f"{path}: unknown kind of video", expected=" or ".join(FORMATS))
        if fps_hint is not None and not 0.01 <= fps_hint <= 1000:
            raise RequestError("fps_hint is no frame rate", expected="0.01 to 1000", got=str(fps_hint))
        require_writable(path)
        codec.require()
        self._path, self._codec, self._tags = path, codec, dict(tags or {})
        self._kind = FORMATS[path.suffix.lower()]
        self._rate = Fraction(fps_hint or 30).limit_denominator(1001)
        file = FragmentFile if self._kind == "mp4" else StreamFile
        self._file: StreamFile = file(path, clock=clock)
        self._timeline = Timeline(origin_ns)
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._size = (0, 0)
        self._layout = ""
        self._last: int | None = None
        self._keyframe = 0
        self._frames = 0
        self._kept = 0
        """Frames in whole fragments: what survives a failure."""

    @property
    def size(self) -> int:
        """Bytes that were written so far."""
        return self._file.size

    def write(self, image: Image, time_ns: int) -> None:
        """Encode one picture.

        Args:
            image: uint8 (H, W) or (H, W, 3) BGR; for FFV1 uint16 (H, W) too.
            time_ns: Capture time, nanoseconds.

        Raises:
            SinkError: a picture of another size than the first or of another dtype (the video stays
                open), or the disk is full or gone (it is closed behind its last whole fragment).
        """
        image = self._checked(image)
        try:
            container, stream = self._opened(image)
            for packet in stream.encode(self._frame(image, time_ns)):
                container.mux(packet)
            # The muxer lets go of a fragment when it sees the next one's first frame.
            if self._file.commit():
                self._kept = self._frames
        except (OSError, av.FFmpegError) as error:
            raise self._fail(error) from error
        self._frames += 1

    def close(self) -> None:
        """Finish the video; safe to call twice.

        Raises:
            SinkError: the disk refuses the last fragment; those before it stay.
        """
        container, stream = self._container, self._stream
        self._container = self._stream = None
        try:
            if container is not None and stream is not None:
                try:
                    container.mux(stream.encode(None))
                finally:
                    container.close()
                self._file.commit(sync=True)
        except (OSError, av.FFmpegError) as error:
            raise self._fail(error) from error
        finally:
            self._file.close()

    def abort(self) -> None:
        """Finish what there is: the frames so far are a whole video. Never raises."""
        try:
            self.close()
        except SinkError:
            return

    def _checked(self, image: Image) -> Image:
        self._file.require_usable()
        if not self._codec.takes(image):
            raise SinkError(
                f"{self._path}: frame {self._frames} is no picture for a video",
                expected="uint8 (H, W) or (H, W, 3)" + (", or uint16 (H, W)" if self._codec.deep else ""),
                got=f"{image.dtype} {image.shape}",
            )
        height, width = image.shape[:2]
        if self._container is not None and (width, height) != self._size:
            raise SinkError(
                f"{self._path}: the size changed at frame {self._frames}",
                expected=f"{self._size[0]}x{self._size[1]} as before",
                got=f"{width}x{height}",
                hint="A video has one size: fix the camera's with size = [width, height] in rig.toml.",
            )
        if self._container is not None and self._codec.layout(image) != self._layout:
            raise SinkError(
                f"{self._path}: the kind of pictures changed at frame {self._frames}",
                expected=f"{self._layout} as before",
                got=self._codec.layout(image),
            )
        return image

    def _opened(self, image: Image) -> tuple[OutputContainer, VideoStream]:
        if self._container is not None and self._stream is not None:
            return self._container, self._stream
        height, width = image.shape[:2]
        container = av.open(
            self._file,
            "w",
            format=self._kind,
            container_options=_CONTAINER[self._kind],
            buffer_size=_IO_BUFFER,
        )
        container.metadata.update(self._tags)
        stream = self._codec.add_to(container, image, self._rate)
        self._layout = self._codec.layout(image)
        self._container, self._stream, self._size = container, stream, (width, height)
        return container, stream

    def _frame(self, image: Image, time_ns: int) -> av.VideoFrame:
        frame = self._codec.frame(image)
        frame.pts = self._timeline.place(time_ns)
        frame.time_base = Fraction(1, TICKS_PER_S)
        if self._is_due(frame.pts):
            frame.pict_type = PictureType.I
            self._keyframe = frame.pts
        self._last = frame.pts
        return frame

    def _is_due(self, pts: int) -> bool:
        """Whether a fragment begins here: a further step like the last would make it over a second."""
        return self._last is None or 2 * pts - self._last - self._keyframe > TICKS_PER_S

    def _fail(self, error: BaseException) -> SinkError:
        """Give the file up behind its last whole fragment, and say what is in it."""
        container, self._container, self._stream = self._container, None, None
        if not self._kept:
            self._file.committed = 0  # a header without a frame is no video
        self._file.discard_tail()
        if container is not None:
            _close_quietly(container)
        self._file.close()
        megabytes = self._file.committed / 1e6
        return sink_error(
            self._path,
            error,
            f"{self._kept} frames ({megabytes:.1f} MB)",
            hint="The video ends behind its last whole fragment and plays." if self._kept else None,
        )


class VideoSink:
    """Write results as a :class:`VideoFile` in H.264.

    Args:
        path: Ends in ``.mp4`` or ``.mkv``.
        fps_hint: As of :class:`VideoFile`.
        picture: What of a result is recorded, e.g. with its boxes drawn; the fused picture as it is
            where none is given.
        clock: Monotonic nanoseconds, for the pace of syncs.

    Raises:
        RequestError: as :class:`VideoFile`.
    """

    def __init__(
        self,
        path: Path,
        *,
        fps_hint: float | None = None,
        picture: Callable[[Result], Image] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._video = VideoFile(path, fps_hint=fps_hint, clock=clock)
        self._picture = picture or _fused

    def write(self, result: Result) -> None:
        """Encode one picture, uint8 (H, W) or (H, W, 3) BGR.

        Raises:
            SinkError: as :meth:`VideoFile.write`.
        """
        self._video.write(self._picture(result), result.pair.time_ns)

    def close(self) -> None:
        """Finish the video; safe to call twice.

        Raises:
            SinkError: the disk refuses the last fragment; those before it stay.
        """
        self._video.close()

    def abort(self) -> None:
        """Give the video up behind its last whole fragment."""
        self._video.abort()


def _fused(result: Result) -> Image:
    return result.picture


def _close_quietly(container: OutputContainer) -> None:
    try:
        container.close()
    except (OSError, av.FFmpegError):
        return
