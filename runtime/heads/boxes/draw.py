"""Boxes in a picture, each in its class's colour with its name and score."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from tdfusion_edge.color import U8
from tdfusion_edge.detections import Detections
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime.heads.colours import COLOURS, Colour
from tdfusion_edge.text import drawable

FONT = cv2.FONT_HERSHEY_SIMPLEX
REFERENCE = 480
"""Shorter side in pixels of a picture whose lines are two pixels wide and whose letters 11 high."""


def draw(picture: Image, found: Detections) -> Image:
    """A copy of a picture with boxes drawn, the best on top.

    Args:
        picture: uint8 (H, W) or (H, W, 3) BGR; is not changed.
        found: Boxes in its pixels.

    Returns:
        uint8 (H, W, 3) BGR. The picture itself, grey if it is, where there is nothing to draw: every sink
        takes grey and colour in turn, and a copy would cost more than the look.
    """
    if not len(found):
        return picture
    drawn = cast(U8, cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)) if picture.ndim == 2 else picture.copy()
    for index in np.argsort(found.scores, kind="stable"):
        class_id = int(found.class_ids[index])
        track = found.track_of(int(index))
        name = drawable(found.names[class_id])
        which = name if track is None else f"{name} {track}:"
        label = f"{which} {found.scores[index]:.2f}"
        _one(drawn, [float(side) for side in found.boxes[index]], label, COLOURS[class_id % len(COLOURS)])
    return drawn


def _one(picture: U8, box: list[float], label: str, colour: Colour) -> None:
    height, width = picture.shape[:2]
    unit = min(height, width) / REFERENCE
    line, text = max(1, round(2 * unit)), max(1, round(unit))
    # A box counts from pixel edges: its last pixel lies before x2 and y2.
    left, top = (min(round(side), last - 1) for side, last in zip(box[:2], (width, height), strict=True))
    right, bottom = (max(round(side) - 1, first) for side, first in zip(box[2:], (left, top), strict=True))
    cv2.rectangle(picture, (left, top), (right, bottom), colour, line)
    scale = max(0.35, unit / 2)
    (long, high), below = cv2.getTextSize(label, FONT, scale, text)
    # Above the box, or inside where the picture ends.
    foot = top if top >= high + below else min(top + high + below, height)
    start = max(0, min(left, width - long))
    cv2.rectangle(picture, (start, foot - high - below), (start + long - 1, foot - 1), colour, cv2.FILLED)
    ink = (0, 0, 0) if _is_bright(colour) else (255, 255, 255)
    cv2.putText(picture, label, (start, foot - below), FONT, scale, ink, text, cv2.LINE_AA)


def _is_bright(colour: Colour) -> bool:
    blue, green, red = colour
    return 0.114 * blue + 0.587 * green + 0.299 * red > 110
