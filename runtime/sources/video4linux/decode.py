"""The bytes of a driver's buffer as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.frames import Image


class Layout(NamedTuple):
    """How a format lies in memory."""

    sample_bytes: int
    """Bytes a pixel of the first plane."""
    dtype: str = "u1"
    planes: float = 1.0
    """Rows of the whole picture, as a multiple of its height."""
    channels: int = 1
    to_bgr: int | None = None
    """OpenCV's code of the conversion; None for grey and for BGR."""


LAYOUTS: Mapping[str, Layout] = {
    "GREY": Layout(1),
    **dict.fromkeys(("Y16", "Y14", "Y12", "Y10"), Layout(2, "<u2")),
    "YUYV": Layout(2, channels=2, to_bgr=cv2.COLOR_YUV2BGR_YUYV),
    "UYVY": Layout(2, channels=2, to_bgr=cv2.COLOR_YUV2BGR_UYVY),
    "NV12": Layout(1, planes=1.5, to_bgr=cv2.COLOR_YUV2BGR_NV12),
    "BGR3": Layout(3, channels=3),
    "RGB3": Layout(3, channels=3, to_bgr=cv2.COLOR_RGB2BGR),
}
"""Formats of fixed size, by V4L2's four-character codes."""

COMPRESSED = ("MJPG",)
READ = (*LAYOUTS, *COMPRESSED)
"""What this reader takes; OpenCV has more."""


def decoded(
    data: memoryview | npt.NDArray[np.uint8], fourcc: str, size: tuple[int, int], stride: int
) -> Image | None:
    """A picture of its own memory.

    Args:
        data: The used bytes of a buffer.
        fourcc: One of :data:`READ`.
        size: Width and height in pixels.
        stride: Bytes a row of the first plane; 0 where rows follow each other.

    Returns:
        uint8 or uint16 (H, W) of grey, else uint8 (H, W, 3) BGR; None for a frame that is not whole.
    """
    flat = np.frombuffer(data, np.uint8)
    if fourcc in COMPRESSED:
        return cv2.imdecode(flat, cv2.IMREAD_COLOR) if flat.size else None
    layout, (width, height) = LAYOUTS[fourcc], size
    used, rows = width * layout.sample_bytes, int(height * layout.planes)
    stride = max(stride, used)
    # The last row may come without its padding.
    if flat.size < stride * (rows - 1) + used:
        return None
    shaped = np.lib.stride_tricks.as_strided(flat, (rows, used), (stride, 1))
    pixels = np.ascontiguousarray(shaped)
    if pixels.base is not None or np.shares_memory(pixels, flat):
        pixels = pixels.copy()  # the driver writes the next frame into its buffer
    if layout.dtype != "u1":
        return pixels.view(layout.dtype).astype(np.uint16, copy=False)
    if layout.channels > 1:
        pixels = pixels.reshape(height, width, layout.channels)
    return pixels if layout.to_bgr is None else cv2.cvtColor(pixels, layout.to_bgr)
