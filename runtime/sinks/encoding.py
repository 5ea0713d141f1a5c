"""How pictures are encoded: H.264 for people, FFV1 for whoever needs every count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import cast

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer
from av.video.stream import VideoStream

from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime.sinks.timeline import TICKS_PER_S

# The fusion network needs the processor more than the video does. 640x480 on one x86 core, a real
# scene with added sensor noise of 2 levels: ultrafast at 20 takes 1.2 ms a frame for 3.0 Mbit/s and
# 40.0 dB of luma; superfast at 21 3.0 ms, 3.1 Mbit/s, 39.2 dB; veryfast at 20 4.6 ms, 2.3 Mbit/s,
# 38.8 dB. zerolatency leaves no frame in the encoder, where a crash would lose it.
_H264 = {
    "preset": "ultrafast",
    "tune": "zerolatency",
    "crf": "20",
    "threads": "1",
    "g": "100000",  # keyframes come by time, see VideoFile._is_due
    # What to_yuv420 does: BT.601 luma and chroma of sRGB pictures, limited range, chroma in the
    # middle of four pixels.
    "colorspace": "smpte170m",
    "color_range": "tv",
    "color_primaries": "bt709",
    "color_trc": "iec61966-2-1",
    "chroma_sample_location": "center",
}

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


@dataclass(frozen=True)
class Codec:
    """One way to encode pictures."""

    encoder: str
    """FFmpeg's name."""
    options: Mapping[str, str]
    even: bool
    """Whether width and height must be even; the last column or row is doubled then."""
    deep: bool
    """Whether it takes uint16 (H, W)."""
    layout: Callable[[Image], str]
    """FFmpeg's pixel format for a picture."""
    frame: Callable[[Image], av.VideoFrame]
    """The picture in that format, its size even where it must be."""

    def takes(self, image: Image) -> bool:
        """Whether this is a picture that can be encoded so."""
        if image.ndim == 3:
            return image.dtype == np.uint8 and image.shape[2] == 3
        return image.ndim == 2 and (image.dtype == np.uint8 or (self.deep and image.dtype == np.uint16))

    def add_to(self, container: OutputContainer, image: Image, rate: Fraction) -> VideoStream:
        """Add a stream for pictures like ``image`` and open its encoder.

        Args:
            container: Open, without a header yet.
            image: The first picture.
            rate: Frames a second for the header.
        """
        stream = cast(VideoStream, container.add_stream(self.encoder, rate=rate, options=dict(self.options)))
        height, width = image.shape[:2]
        odd = (height % 2, width % 2) if self.even else (0, 0)
        stream.width, stream.height = width + odd[1], height + odd[0]
        stream.pix_fmt = self.layout(image)
        stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
        # Before the header: an encoder that does not open leaves an existing file alone.
        stream.codec_context.open()
        return stream

    def require(self) -> None:
        """Refuse where this PyAV lacks the encoder, with a RequestError."""
        try:
            av.Codec(self.encoder, "w")
        except av.codec.codec.UnknownCodecError as error:
            raise RequestError(
                f"this PyAV has no encoder for {'H.264' if self.encoder == 'libx264' else self.encoder}",
                expected=self.encoder,
                hint="The wheels on PyPI have it: pip install --force-reinstall --only-binary=:all: av",
            ) from error


def _yuv_frame(image: Image) -> av.VideoFrame:
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return av.VideoFrame.from_ndarray(to_yuv420(image), format="yuv420p")


def _lossless_layout(image: Image) -> str:
    if image.ndim == 3:
        return "bgr0"
    return "gray" if image.dtype == np.uint8 else "gray16le"


def _lossless_frame(image: Image) -> av.VideoFrame:
    if image.ndim == 3:
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24").reformat(format="bgr0")
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=_lossless_layout(image))


H264 = Codec("libx264", MappingProxyType(_H264), True, False, lambda image: "yuv420p", _yuv_frame)
"""uint8 (H, W) or (H, W, 3), 4:2:0: odd sizes are filled up, and colours are of half resolution."""

H264_FINE = Codec(
    "libx264",
    MappingProxyType({**_H264, "crf": "14"}),
    True,
    False,
    lambda image: "yuv420p",
    _yuv_frame,
)
"""As :data:`H264`, for a training to see: 640x480 with noise of 2 levels takes 3.3 ms a frame and 5 to 8 GB
an hour, and stays 38 dB near the camera's."""

# Version 3 with sums of slices, so that damage is seen. Every frame stands for itself (g=1), which costs 1 %.
_FFV1 = {"level": "3", "slicecrc": "1", "slices": "4", "coder": "1", "context": "0", "g": "1", "threads": "1"}

FFV1 = Codec("ffv1", MappingProxyType(_FFV1), False, True, _lossless_layout, _lossless_frame)
"""uint8 or uint16 (H, W), or uint8 (H, W, 3), to the last bit."""
