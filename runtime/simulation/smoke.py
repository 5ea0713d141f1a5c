"""A bank of smoke that drifts over the crossing: opaque in visible light, absent in infrared."""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import cv2
import numpy as np

from tdfusion_edge.runtime.simulation.noise import field, to_u8
from tdfusion_edge.runtime.simulation.view import U8, View

_WIDTH, _HEIGHT = 10.0, 3.3
_TRAVEL = 34.0
"""Metres from where the bank appears to where it starts again, all out of the picture."""
_PERIOD = 53.0
_COLOUR = (92.0, 86.0, 84.0)
_DEPTHS = ((11.7, 0.55), (8.75, 0.85), (8.2, 0.85))
"""Distance and densest alpha of each sheet: one behind the people who cross, two before them."""


class Sheet(NamedTuple):
    """One flat layer of the bank."""

    z: float
    cover: U8
    """uint8 (h, w, 3): what it leaves of the picture behind it, 255 for all."""
    colour: U8
    """uint8 (h, w, 3) BGR: what it adds."""
    lead: float
    """Seconds by which it is ahead of the others in its sway."""


def sheets(view: View, seed: int) -> list[Sheet]:
    """The layers of the bank, farthest first."""
    made = []
    for number, (z, dense) in enumerate(_DEPTHS):
        rng = np.random.default_rng((seed, 77, number))
        scale = view.scale(z)
        shape = (round(_HEIGHT * scale), round(_WIDTH * scale))
        across = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
        up = np.linspace(1, 0, shape[0], dtype=np.float32)[:, None]
        billow = field(shape, 1.3 * scale, rng, octaves=5)
        body = 1.25 * (1 - across**4) - 1.35 * up**3 + 0.34 * billow * (0.4 + up) - 0.05
        edge = np.minimum(np.minimum(1 - up, 1 - np.abs(across)) * 6, 1) * np.minimum(6 * up, 1)
        alpha = dense * np.clip(body, 0, 1) * edge
        shade = 0.62 + 0.12 * billow + 0.30 * up
        cover = cast(U8, cv2.merge([to_u8(255 * (1 - alpha))] * 3))
        colour = to_u8(alpha[..., None] * shade[..., None] * np.array(_COLOUR, np.float32))
        made.append(Sheet(z, cover, colour, 11.0 * number))
    return made


def place(seed: int, time_s: float) -> float:
    """X of the middle of the bank in metres; it drifts to the right and starts again out of sight."""
    return ((time_s + 7.0 * (seed % 5) + 21.0) / _PERIOD % 1.0 - 0.5) * _TRAVEL


def lay(image: U8, sheet: Sheet, view: View, seed: int, time_s: float) -> None:
    """Draw one sheet into a visible frame, uint8 (H, W, 3), in place."""
    x = place(seed, time_s) + 0.5 * math.sin(0.21 * (time_s + sheet.lead))
    column, row = view.point(x, 0.0, sheet.z)
    height, width = sheet.cover.shape[:2]
    left, top = round(column - width / 2), round(row) - height + round(0.12 * height)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + width, view.width), min(top + height, view.height)
    if x1 <= x0 or y1 <= y0:
        return
    part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    roi = image[y0:y1, x0:x1]
    cv2.multiply(roi, sheet.cover[part], dst=roi, scale=1 / 255)
    cv2.add(roi, sheet.colour[part], dst=roi)
