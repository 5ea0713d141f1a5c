"""GStreamer's samples as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from tdfusion_edge.errors import SourceError
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime.sources.gstreamer.library import GStreamer

_GREY: Mapping[str, str] = {"GRAY8": "u1", "GRAY16_LE": "<u2", "GRAY16_BE": ">u2"}
_CHANNELS: Mapping[str, int] = {"BGR": 3, "RGB": 3, "BGRx": 4, "BGRA": 4, "RGBx": 4, "RGBA": 4}
_TO_BGR: Mapping[str, int] = {
    "RGB": cv2.COLOR_RGB2BGR,
    **dict.fromkeys(("BGRx", "BGRA"), cv2.COLOR_BGRA2BGR),
    **dict.fromkeys(("RGBx", "RGBA"), cv2.COLOR_RGBA2BGR),
}


def picture(sample: Any, library: GStreamer, name: str) -> Image:
    """The picture in a sample of one of :data:`.pipeline.FORMATS`.

    Args:
        sample: ``Gst.Sample`` with caps and a buffer.
        library: GStreamer.
        name: Of the source, for messages.

    Returns:
        uint8 or uint16 (H, W) of grey, in this machine's byte order; else uint8 (H, W, 3) BGR.

    Raises:
        SourceError: the buffer is shorter than its caps say.
    """
    info = library.video.VideoInfo.new_from_caps(sample.get_caps())
    form, width, height = info.finfo.name, info.width, info.height
    buffer = sample.get_buffer()
    meta = library.video.buffer_get_video_meta(buffer)
    stride, offset = (info if meta is None else meta).stride[0], (info if meta is None else meta).offset[0]
    dtype, channels = np.dtype(_GREY.get(form, "u1")), _CHANNELS.get(form, 1)
    used = width * channels * dtype.itemsize
    whole, mapped = buffer.map(library.gst.MapFlags.READ)
    try:
        data = np.frombuffer(mapped.data if whole else b"", np.uint8)[offset:]
        if len(data) < stride * (height - 1) + used:
            raise SourceError(
                f"{name}: a frame is not whole",
                expected=f"{stride * height} bytes of {form} {width}x{height}",
                got=str(len(data)),
                kind="format",
            )
        rows = np.lib.stride_tricks.as_strided(data, (height, used), (stride, 1))
        pixels = np.ascontiguousarray(rows).view(dtype)
    finally:
        if whole:
            buffer.unmap(mapped)
    if form in _GREY:
        return pixels.astype(dtype.newbyteorder("="))
    colour = pixels.reshape(height, width, channels)
    return cv2.cvtColor(colour, _TO_BGR[form]) if form in _TO_BGR else colour.copy()
