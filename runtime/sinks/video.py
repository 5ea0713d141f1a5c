"""Fused pictures as an H.264 video that a power cut cannot take away."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from tdfusion_edge.errors import RequestError, SinkError
from tdfusion_edge.frames import Image
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.sinks.fragments import FragmentFile
from tdfusion_edge.runtime.sinks.output import StreamFile, require_writable, sink_error
from tdfusion_edge.runtime.sinks.timeline import TICKS_PER_S, Timeline

FORMATS = {".mp4": "mp4", ".mkv": "matroska"}

_CONTAINER = {
    # Each fragment carries its own index, and leaves the buffers as soon as the next one begins.
    "mp4": {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"},
    "matroska": {"cluster_time_limit": "1000", "flush_packets": "1"},
}

# The fusion network needs the processor more than the video does. 640x480 on one x86 core, a real
# scene with added sensor noise of 2 levels: ultrafast at 20 takes 1.2 ms a frame for 3.0 Mbit/s and
# 40.0 dB of luma; superfast at 21 3.0 ms, 3.1 Mbit/s, 39.2 dB; veryfast at 20 4.6 ms, 2.3 Mbit/s,
# 38.8 dB. zerolatency leaves no frame in the encoder, where a crash would lose it.
_ENCODER = {
    "preset": "ultrafast",
    "tune": "zerolatency",
    "crf": "20",
    "threads": "1",
    "g": "100000",  # keyframes come by time, see VideoSink._is_due
    # What to_yuv420 does: BT.601 luma and chroma of sRGB pictures, limited range, chroma in the
    # middle of four pixels.
    "colorspace": "smpte170m",
    "color_range": "tv",
    "color_primaries": "bt709",
    "color_trc": "iec61966-2-1",
    "chroma_sample_location": "center",
}

_IO_BUFFER = 1 << 20  # a fragment in one write, not in many

_LUMA_GAIN, _CHROMA_GAIN = 219 / 255, 224 / 255


def to_yuv420(image: Image) -> npt.NDArray[np.uint8]:
    """BT.601 limited-range planes Y, U, V of a picture, one below the other.

    Args:
        image: uint8 (H, W) or (H, W, 3) BGR, H and W even.

    Returns:
        uint8 (3 H / 2, W): H rows of luma in 16..235, then H / 4 rows of U and H / 4 of V in
        16..240, which are the mean of four pixels. Grey pictures have 128 there.
    """
    height, width = image.shape[:2]
    if image.ndim == 2:
        grey = np.full((height * 3 // 2, width), 128, np.uint8)
        cv2.convertScaleAbs(image, dst=grey[:height], alpha=_LUMA_GAIN, beta=16)
        return grey
    # OpenCV rounds luma correctly, but takes chroma from one pixel of four, which makes coloured
    # edges crawl; swscale averages, but truncates (half a level darker) and takes twice as long.
    planes = cast(npt.NDArray[np.uint8], cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420))
    half = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    chroma = cv2.cvtColor(half, cv2.COLOR_BGR2YCrCb)
    chroma = cv2.convertScaleAbs(chroma, alpha=_CHROMA_GAIN, beta=128 * (1 - _CHROMA_GAIN))
    blue, red = planes[height:].reshape(2, height // 2, width // 2)
    cv2.extractChannel(chroma, 2, dst=blue)
    cv2.extractChannel(chroma, 1, dst=red)
    return planes


class VideoSink:
    """Write an ``.mp4`` or ``.mkv`` file at the pace at which the pictures were taken.

    - Frames keep their capture times (variable frame rate): exact to half a tick of 1/90000 s in
      MP4, to a millisecond in Matroska. :class:`Timeline` names the two exceptions.
    - The file is in fragments of at most a second, synced to the disk as they end. What a crash, a
      power cut or a full disk leaves behind plays up to the last whole fragment.
    - H.264 4:2:0 has even sizes only: a picture of odd width or height gets its last column or row
      twice, and ``decoded[:height, :width]`` is the picture. (4:4:4 would take odd sizes, but
      browsers and hardware decoders do not play it.)
    - Grey pictures stay grey; grey and colour may alternate.
    - An existing file is replaced at the first result. Where no result comes, there is no file.

    Args:
        path: Ends in ``.mp4`` or ``.mkv``.
        fps_hint: Nominal frames a second for the file's header, 0.01 to 1000, 30 where none is given;
            players go by the true times.
        picture: What of a result is recorded, e.g. with its boxes drawn; the fused picture as it is
            where none is given.
        clock: Monotonic nanoseconds, for the pace of syncs.

    Raises:
        RequestError: another suffix, a place that cannot be written, a rate that is none, or a PyAV
            without H.264 encoder.
    """

    def __init__(
        self,
        path: Path,
        *,
        fps_hint: float | None = None,
        picture: Callable[[Result], Image] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if path.suffix.lower() not in FORMATS:
            raise RequestError(f"{path}: unknown kind of video", expected=" or ".join(FORMATS))
        if fps_hint is not None and not 0.01 <= fps_hint <= 1000:
            raise RequestError("fps_hint is no frame rate", expected="0.01 to 1000", got=str(fps_hint))
        require_writable(path)
        _require_encoder()
        self._path = path
        self._kind = FORMATS[path.suffix.lower()]
        self._rate = Fraction(fps_hint or 30).limit_denominator(1001)
        self._picture = picture or _fused
        file = FragmentFile if self._kind == "mp4" else StreamFile
        self._file: StreamFile = file(path, clock=clock)
        self._timeline = Timeline()
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._size = (0, 0)
        self._last: int | None = None
        self._keyframe = 0
        self._frames = 0
        self._kept = 0
        """Frames in whole fragments: what survives a failure."""

    def write(self, result: Result) -> None:
        """Encode one picture, uint8 (H, W) or (H, W, 3) BGR.

        Raises:
            SinkError: a picture of another size than the first or of another dtype (the video stays
                open), or the disk is full or gone (it is closed behind its last whole fragment).
        """
        image = self._checked(self._picture(result))
        try:
            container, stream = self._opened(image)
            for packet in stream.encode(self._frame(image, result.pair.time_ns)):
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
        if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
            raise SinkError(
                f"{self._path}: frame {self._frames} is no picture for a video",
                expected="uint8 (H, W) or (H, W, 3)",
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
        stream = container.add_stream("libx264", rate=self._rate, options=dict(_ENCODER))
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
        # Before the header: an encoder that does not open leaves an existing file alone.
        stream.codec_context.open()
        self._container, self._stream, self._size = container, stream, (width, height)
        return container, stream

    def _frame(self, image: Image, time_ns: int) -> av.VideoFrame:
        height, width = image.shape[:2]
        if height % 2 or width % 2:
            image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        frame = av.VideoFrame.from_ndarray(to_yuv420(image), format="yuv420p")
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


def _fused(result: Result) -> Image:
    return result.picture


def _close_quietly(container: OutputContainer) -> None:
    try:
        container.close()
    except (OSError, av.FFmpegError):
        return


def _require_encoder() -> None:
    try:
        av.Codec("libx264", "w")
    except av.codec.codec.UnknownCodecError as error:
        raise RequestError(
            "this PyAV has no H.264 encoder",
            expected="libx264",
            hint="The wheels on PyPI have it: pip install --force-reinstall --only-binary=:all: av",
        ) from error
