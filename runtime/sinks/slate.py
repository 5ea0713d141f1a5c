"""The picture that a stream shows while there is none: OFFLINE, since when, and why."""

from __future__ import annotations

import textwrap
from datetime import datetime, timezone

import cv2
import numpy as np

from tdfusion_edge.color import U8
from tdfusion_edge.escape import one_line
from tdfusion_edge.text import drawable

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_DARK, _BRIGHT, _DIM = 32, 235, 150
_LINES = 4
"""Of the reason; more has no room."""


def slate(size: tuple[int, int], reason: str, utc_ns: int) -> U8:
    """Draw it.

    Args:
        size: Width and height in pixels, 32 or more each.
        reason: Why there is no picture; letters lose their accents, other signs become ``?``.
        utc_ns: What time it is, nanoseconds since 1970: a viewer sees that the stream itself lives.

    Returns:
        uint8 (H, W).
    """
    width, height = size
    picture = np.full((height, width), _DARK, np.uint8)
    scale = min(width / 640, height / 480)
    now = datetime.fromtimestamp(utc_ns // 1_000_000_000, timezone.utc)
    plain = drawable(one_line(reason))
    why = textwrap.wrap(plain, 44)[:_LINES]
    rows = [("OFFLINE", 2.4, _BRIGHT), (f"{now:%Y-%m-%d %H:%M:%S} UTC", 0.9, _DIM)]
    rows += [(line, 0.75, _BRIGHT) for line in why]
    y = height * 0.3
    for text, factor, level in rows:
        thickness = max(1, round(2 * scale * min(factor, 1.5)))
        (wide, high), _ = cv2.getTextSize(text, _FONT, factor * scale, thickness)
        place = (max(0, (width - wide) // 2), round(y + high))
        cv2.putText(picture, text, place, _FONT, factor * scale, level, thickness, cv2.LINE_AA)
        y += high + 24 * scale
    return picture
