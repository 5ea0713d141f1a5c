"""Pixel formats of V4L2 cameras: asked for, checked, and turned into pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np

from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime.sources.capture import Capture


class PixelFormat(NamedTuple):
    """How the frames of a format are taken from OpenCV."""

    bits: int
    """8 or 16 a pixel and channel, as delivered."""
    raw: bool
    """Taken as they come instead of converted to BGR; OpenCV's conversion keeps 8 bits of 16."""


FORMATS: Mapping[str, PixelFormat] = {
    **dict.fromkeys(("Y16", "Y14", "Y12", "Y10"), PixelFormat(16, raw=True)),
    "GREY": PixelFormat(8, raw=True),
    **dict.fromkeys(
        ("MJPG", "YUYV", "UYVY", "NV12", "YU12", "YV12", "BGR3", "RGB3"), PixelFormat(8, raw=False)
    ),
}
"""What ``format=`` may name, by V4L2's four-character codes."""

CONVERTED = PixelFormat(8, raw=False)
"""How a format is taken that the camera chose itself and that is not in the table."""

_RATE_TOLERANCE = 0.1
"""Drivers round rates to what the sensor does: 8.6 for 9, 29.97 for 30."""


def as_picture(raw: Image, size: tuple[int, int], pixel_format: PixelFormat) -> Image | None:
    """What OpenCV hands out, as a picture.

    Some versions of OpenCV give frames that they do not convert as one long row of bytes
    (opencv/opencv#27166); here they get their shape back. Each row of the camera may end in padding.

    Args:
        raw: uint8 or uint16, (H, W), (H, W, 3), (1, N) or (N, 1).
        size: Width and height in pixels.
        pixel_format: What the bytes are.

    Returns:
        (H, W) or (H, W, 3); None for a frame that is not whole.
    """
    width, height = size
    if raw.size == 0:
        return None
    if raw.ndim == 3 and raw.shape[2] == 1:
        raw = raw[..., 0]
    if raw.ndim != 2 or raw.shape == (height, width) or 1 not in raw.shape:
        return raw
    flat = raw.reshape(-1).view(np.uint8)
    channels = 1 if pixel_format.raw else 3
    used = width * channels * pixel_format.bits // 8
    if len(flat) < used * height:
        return None
    stride = len(flat) // height if len(flat) % height == 0 else used
    rows = flat[: stride * height].reshape(height, stride)[:, :used]
    if pixel_format.bits == 16:
        return np.ascontiguousarray(rows).view("<u2")
    return np.ascontiguousarray(rows).reshape((height, width, 3) if channels == 3 else (height, width))


def configure(
    capture: Capture,
    name: str,
    pixel_format: str | None,
    size: tuple[int, int] | None,
    fps: float | None,
) -> tuple[PixelFormat, tuple[int, int]]:
    """Ask for what was named, in the one order that works, and check each answer.

    Returns:
        How to take the frames, and their width and height in pixels.

    Raises:
        RequestError: the camera does not have the format, size or rate that was named.
    """
    # Each change of format or size sets the device up anew, and the rate with it; the switch that keeps
    # 16 bits comes last, because in some versions a change of format turns it back.
    if pixel_format is not None:
        capture.set(cv2.CAP_PROP_FOURCC, _code(pixel_format))
    chosen = _fourcc(capture.get(cv2.CAP_PROP_FOURCC))
    if pixel_format is not None and chosen != pixel_format:
        raise _refused(name, "format", pixel_format, chosen, "")
    if size is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    got = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    if size is not None and got != size:
        offers = capture.offers(chosen)
        raise _refused(name, "size", f"{size[0]}x{size[1]}", f"{got[0]}x{got[1]}", offers)
    if fps is not None:
        capture.set(cv2.CAP_PROP_FPS, fps)
        rate = capture.get(cv2.CAP_PROP_FPS)
        # Drivers without a rate control answer 0, -1 or no number: nothing to compare.
        if 0 < rate < float("inf") and abs(rate - fps) > _RATE_TOLERANCE * fps:
            offers = capture.offers(chosen)
            raise _refused(name, "rate", f"{fps:g} frames a second", f"{rate:g}", offers)
    taken = FORMATS.get(chosen, CONVERTED)
    if taken.raw:
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
    return taken, got


def _refused(name: str, what: str, expected: str, got: str, offers: str) -> RequestError:
    return RequestError(
        f"camera {name} does not have that {what}",
        expected=expected,
        got=got,
        hint=f"{f'It offers {offers}. ' if offers else ''}See all: tdfusion-edge cameras",
    )


def _code(fourcc: str) -> int:
    return int.from_bytes(fourcc.ljust(4).encode("ascii"), "little")


def _fourcc(code: float) -> str:
    return int(code).to_bytes(4, "little", signed=code < 0).decode("ascii", "replace").strip() if code else ""
