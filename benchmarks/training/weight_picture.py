"""A picture of what a loss network says: infrared, visible, fused and w_ir, a column for every pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, cast

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.color import U8
from tdfusion_edge.pairs import LabelledPair

Column: TypeAlias = tuple[LabelledPair, U8, npt.NDArray[np.float32]]
"""A pair, its fused luma and its w_ir, both (H, W)."""

WIDTH = 400
"""Of each picture, pixels."""
GAP = 4
BAR = 96
"""Width of the strip on the right with titles and the colour bar, pixels."""
LOW, MIDDLE, HIGH = (178, 72, 24), (255, 255, 255), (34, 34, 190)
"""BGR of the lowest weight (follow visible), of 1/2, and of the highest (follow infrared)."""
BOX = (60, 200, 60)
OUTER = 99.5
"""Percentile of |w_ir - 1/2| at which the colours end: a few pixels should not pale all others."""


def draw(columns: Sequence[Column], label_id: int) -> bytes:
    """The picture as PNG.

    Args:
        columns: At least one.
        label_id: Class whose boxes are drawn.
    """
    reach = float(np.percentile([np.percentile(np.abs(w - 0.5), OUTER) for _, _, w in columns], 100))
    reach = max(reach, 1e-3)
    rows: dict[str, list[U8]] = {"infrared": [], "visible": [], "fused": [], "w_ir": []}
    for sample, fused, weights in columns:
        tiles = (sample.infrared, sample.visible, fused, heat(weights, reach))
        for row, tile in zip(rows.values(), tiles, strict=True):
            row.append(_tile(tile, sample, label_id))
    height = max(tile.shape[0] for row in rows.values() for tile in row)
    lines = []
    for title, row in rows.items():
        side = _bar(height, reach) if title == "w_ir" else np.full((height, BAR, 3), 255, np.uint8)
        _write(side, title, (6, 16))
        lines.append(np.hstack([_padded(tile, height) for tile in (*row, side)]))
    encoded: bytes = cv2.imencode(".png", np.vstack(lines))[1].tobytes()
    return encoded


def heat(weights: npt.NDArray[np.float32], reach: float) -> U8:
    """Colours of w_ir, (H, W, 3) BGR: white at 1/2, and full at 1/2 -+ ``reach``."""
    place = (weights - 0.5) / reach
    channels = [
        np.interp(place, (-1, 0, 1), (low, middle, high))
        for low, middle, high in zip(LOW, MIDDLE, HIGH, strict=True)
    ]
    return cast(U8, np.dstack(channels).round().astype(np.uint8))


def _tile(picture: U8, sample: LabelledPair, label_id: int) -> U8:
    coloured = picture if picture.ndim == 3 else cv2.merge([picture] * 3)
    scale = WIDTH / coloured.shape[1]
    size = (WIDTH, max(1, round(coloured.shape[0] * scale)))
    tile = cast(U8, cv2.resize(coloured, size, interpolation=cv2.INTER_AREA))
    if sample.boxes is not None:
        for box in sample.boxes.corners[sample.boxes.classes == label_id]:
            left, top, right, bottom = (round(float(side) * scale) for side in box)
            cv2.rectangle(tile, (left, top), (right - 1, bottom - 1), BOX, 1)
    return tile


def _padded(tile: U8, height: int) -> U8:
    """White below and at the right."""
    below = height + GAP - tile.shape[0]
    white = (255, 255, 255)
    return cast(U8, cv2.copyMakeBorder(tile, 0, below, 0, GAP, cv2.BORDER_CONSTANT, value=white))


def _bar(height: int, reach: float) -> U8:
    """The colour bar with its ends and its middle in numbers."""
    side = np.full((height, BAR, 3), 255, np.uint8)
    top, bottom = 28, height - 12
    ramp = np.linspace(0.5 + reach, 0.5 - reach, bottom - top, dtype=np.float32)[:, None]
    side[top:bottom, 8:26] = heat(ramp, reach)
    for value, y in ((0.5 + reach, top), (0.5, (top + bottom) // 2), (0.5 - reach, bottom - 1)):
        _write(side, f"{value:.3f}", (32, y + 5))
    return side


def _write(picture: U8, text: str, at: tuple[int, int]) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
