"""What a decoded frame becomes: its counts where it is grey, blue, green and red where it has colours.

A conversion to 8 bits would keep the upper ones of a thermal camera's counts alone, which is a handful of
levels. So a layout of more than 8 bits is either taken apart here, or refused; YUV alone is converted, for
that is how cameras of visible light store 10 bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge.frames import Image

if TYPE_CHECKING:
    from av.video.format import VideoFormat
    from av.video.frame import VideoFrame

Taker: TypeAlias = "Callable[[VideoFrame], Image]"
"""From a frame to uint8 or uint16 (H, W), or uint8 (H, W, 3) BGR."""

_GREY = re.compile(r"(?:gray(?P<bits>9|10|12|14|16)|ya16)(?P<order>le|be)")
_PLANES = re.compile(r"gbra?p(?:9|10|12|14|16)(?P<order>le|be)")
_PIXELS = re.compile(r"(?:rgb|bgr)(?P<alpha>a)?(?:48|64)(?P<order>le|be)")


class NoCounts(ValueError):
    """A frame of more than 8 bits that is neither grey nor of three equal channels."""


def taker(layout: VideoFormat) -> Taker:
    """What makes pictures of frames with this pixel format.

    Grey keeps its counts, without the alpha that may stand beside it. So does a layout of three channels of
    more than 8 bits: each of its frames must have three equal ones, else :class:`NoCounts` is raised. All
    others become BGR of 8 bits.

    Raises:
        NoCounts: a layout of more than 8 bits that is not known here, floats and raw sensors among them.
    """
    name = layout.name
    if name in ("gray", "ya8"):
        return _channel("|u1", 1 if name == "gray" else 2)
    if match := _GREY.fullmatch(name):
        return _channel(_dtype(match), 1 if match["bits"] else 2)
    if match := _PLANES.fullmatch(name):
        return _equal(_planes(_dtype(match)), name)
    if match := _PIXELS.fullmatch(name):
        return _equal(_interleaved(_dtype(match), 4 if match["alpha"] else 3), name)
    grey = len(layout.components) <= 2
    raw = layout.is_bayer and name.endswith(("16le", "16be"))
    if raw or ((grey or layout.is_rgb) and deepest(layout) > 8):
        raise NoCounts(name)
    return _to_bgr()


def converts(layout: VideoFormat) -> bool:
    """Whether frames with this pixel format become BGR of 8 bits, whatever they had."""
    name = layout.name
    counts = any(known.fullmatch(name) for known in (_GREY, _PLANES, _PIXELS))
    return not counts and name not in ("gray", "ya8")


def deepest(layout: VideoFormat) -> int:
    """Bits of the deepest channel of a pixel format."""
    return max(channel.bits for channel in layout.components)


def _dtype(match: re.Match[str]) -> str:
    return "<u2" if match["order"] == "le" else ">u2"


def _channel(dtype: str, channels: int) -> Taker:
    """The first of so many interleaved channels."""
    return lambda frame: _native(_rows(frame, 0, dtype, channels)[:, ::channels])


def _planes(dtype: str) -> Callable[[VideoFrame], list[Any]]:
    return lambda frame: [_rows(frame, plane, dtype, 1) for plane in range(3)]


def _interleaved(dtype: str, channels: int) -> Callable[[VideoFrame], list[Any]]:
    def three(frame: VideoFrame) -> list[Any]:
        rows = _rows(frame, 0, dtype, channels)
        return [rows[:, channel::channels] for channel in range(3)]

    return three


def _equal(channels: Callable[[VideoFrame], list[Any]], name: str) -> Taker:
    def take(frame: VideoFrame) -> Image:
        first, second, third = channels(frame)
        if not (np.array_equal(first, second) and np.array_equal(first, third)):
            raise NoCounts(name)
        return _native(first)

    return take


def _rows(frame: VideoFrame, plane: int, dtype: str, channels: int) -> npt.NDArray[Any]:
    """A plane without what pads its rows, (H, W * channels) in the file's byte order."""
    data: Any = frame.planes[plane]
    samples = np.frombuffer(data, dtype).reshape(-1, data.line_size // np.dtype(dtype).itemsize)
    return samples[: frame.height, : frame.width * channels]


def _native(samples: npt.NDArray[Any]) -> Image:
    """A copy in the machine's byte order: the decoder uses its buffer again."""
    return np.array(samples, samples.dtype.newbyteorder("="), order="C")


def _to_bgr() -> Taker:
    from av.video.reformatter import VideoReformatter

    # One converter for the stream: setting up a new one costs ten times the conversion.
    converter = VideoReformatter()
    return lambda frame: converter.reformat(frame, format="bgr24").to_ndarray()
