"""Zones, lines and measured places, drawn into a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np

from tdfusion_edge.color import U8
from tdfusion_edge.frames import Image
from tdfusion_edge.observations import Mark
from tdfusion_edge.text import drawable

QUIET, ALARMED = (0, 215, 255), (40, 40, 255)
"""BGR: of a place, and of one where something is."""
REFERENCE = 480
"""Shorter side in pixels of a picture whose lines are two pixels wide."""


def draw_marks(picture: Image, marks: Sequence[Mark]) -> Image:
    """A copy of a picture with places drawn; the picture itself where there are none.

    Args:
        picture: uint8 (H, W) or (H, W, 3) BGR; is not changed.
        marks: In its pixels.

    Returns:
        uint8 (H, W, 3) BGR.
    """
    if not marks:
        return picture
    drawn = cast(U8, cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)) if picture.ndim == 2 else picture.copy()
    unit = min(drawn.shape[:2]) / REFERENCE
    for mark in marks:
        _one(drawn, mark, unit)
    return drawn


def _one(picture: U8, mark: Mark, unit: float) -> None:
    colour = ALARMED if mark.alarmed else QUIET
    line = max(1, round(2 * unit))
    points = np.round(np.array(mark.points) - 0.5).astype(np.int32)
    x, y = (int(value) for value in points[points[:, 1].argmin()])
    if len(points) == 1:
        cv2.drawMarker(picture, (x, y), colour, cv2.MARKER_CROSS, max(7, round(16 * unit)), line)
    else:
        cv2.polylines(picture, [points], len(points) > 2, colour, line, cv2.LINE_AA)
    label = drawable(mark.label)
    scale, thick = max(0.35, unit / 2), max(1, round(unit))
    (long, high), below = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    height, width = picture.shape[:2]
    left, foot = max(0, min(x, width - long)), max(high + below, min(y - line, height - 1))
    cv2.rectangle(picture, (left, foot - high - below), (left + long - 1, foot - 1), (30, 30, 30), cv2.FILLED)
    cv2.putText(
        picture, label, (left, foot - below), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thick, cv2.LINE_AA
    )
