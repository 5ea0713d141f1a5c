"""House fronts: windows, shops and walls as flat pictures, seen straight on, in both spectra."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np

from tdfusion_edge.runtime.simulation.noise import field
from tdfusion_edge.runtime.simulation.view import F32

Colour: TypeAlias = tuple[float, float, float]

STOREY = 3.1
"""Metres from floor to floor."""
_SHOP_HEIGHT = 3.6

_WALLS: tuple[Colour, ...] = ((46, 54, 78), (70, 74, 82), (62, 60, 58), (48, 62, 86), (76, 70, 66))
_LIT: tuple[Colour, ...] = ((86, 168, 240), (110, 190, 250), (150, 205, 245), (205, 215, 215), (70, 130, 220))
_AWNINGS: tuple[Colour, ...] = ((40, 40, 150), (110, 70, 30), (50, 90, 50), (60, 60, 66))


class Front(NamedTuple):
    """One house front, rows from the roof down."""

    visible: F32
    """float32 (H, W, 3) BGR in 0..255: paint under full lamplight."""
    glow: F32
    """float32 (H, W, 3) BGR in 0..255: what shines by itself."""
    infrared: F32
    """float32 (H, W): level."""


def front(width: float, height: float, density: float, seed: int) -> Front:
    """A house front of ``width`` x ``height`` metres at ``density`` pixels to the metre."""
    rng = np.random.default_rng(seed)
    shape = (max(round(height * density), 8), max(round(width * density), 8))
    wall = np.array(_WALLS[rng.integers(len(_WALLS))], np.float32)
    grain = field(shape, 0.5 * density, rng, octaves=4)
    visible = wall * (1 + 0.10 * grain)[..., None]
    _courses(visible, density)
    infrared = 78 + 6 * float(rng.standard_normal()) + 2.0 * grain
    # Walls gave off the day's heat to the sky: the roof is colder than the ground floor.
    infrared -= np.linspace(12, 0, shape[0], dtype=np.float32)[:, None]
    picture = Front(visible, np.zeros_like(visible), infrared.astype(np.float32))
    _windows(picture, width, height, density, rng)
    _shop(picture, width, density, rng)
    _cornice(picture, density)
    return picture


def _courses(visible: F32, density: float) -> None:
    """Thin lines between storeys."""
    rows = visible.shape[0]
    level = _SHOP_HEIGHT
    while (row := rows - round(level * density)) > 2:
        thick = max(round(0.14 * density), 1)
        visible[row - thick : row] *= 1.35
        visible[row : row + max(thick // 2, 1)] *= 0.6
        level += STOREY


def _windows(picture: Front, width: float, height: float, density: float, rng: np.random.Generator) -> None:
    columns = max(int(width / rng.uniform(2.0, 2.6)), 2)
    pitch = width / columns
    wide, tall = pitch * rng.uniform(0.42, 0.56), rng.uniform(1.45, 1.85)
    home = rng.uniform(0.16, 0.42)
    level = _SHOP_HEIGHT + 0.75
    while level + tall + 0.5 < height:
        for column in range(columns):
            left = (column + 0.5) * pitch - wide / 2
            _window(picture, (left, level, wide, tall), density, bool(rng.random() < home), rng)
        level += STOREY


def _window(
    picture: Front,
    box: tuple[float, float, float, float],
    density: float,
    lit: bool,
    rng: np.random.Generator,
) -> None:
    """One window; ``box`` is left, sill, width and height in metres."""
    rows = picture.visible.shape[0]
    x0, x1 = round(box[0] * density), round((box[0] + box[2]) * density)
    y0, y1 = rows - round((box[1] + box[3]) * density), rows - round(box[1] * density)
    edge = max(round(0.09 * density), 1)
    picture.visible[y0 - edge : y1 + edge, x0 - edge : x1 + edge] *= 1.5
    picture.visible[y1 + edge : y1 + 2 * edge, x0 - edge : x1 + edge] *= 0.5
    pane = picture.visible[y0:y1, x0:x1]
    pane[:] = np.linspace(34, 14, max(y1 - y0, 1), dtype=np.float32)[:, None, None] * np.array(
        [1.25, 1.0, 0.85]
    )
    # Glass mirrors the cold sky; a heated room behind it shows a little.
    picture.infrared[y0:y1, x0:x1] = rng.normal(74 if lit else 56, 3)
    picture.infrared[y0 - edge : y0, x0 - edge : x1 + edge] += 10 if lit else 5
    if lit:
        colour = np.array(_LIT[rng.integers(len(_LIT))], np.float32) * rng.uniform(0.45, 0.95)
        ramp = np.linspace(1.1, 0.65, max(y1 - y0, 1), dtype=np.float32)[:, None, None]
        picture.glow[y0:y1, x0:x1] = colour * ramp
        if rng.random() < 0.6:  # curtains to both sides
            part = max(round((x1 - x0) * rng.uniform(0.15, 0.35)), 1)
            picture.glow[y0:y1, x0 : x0 + part] *= 0.55
            picture.glow[y0:y1, x1 - part : x1] *= 0.55
        elif rng.random() < 0.5:  # a blind
            picture.glow[y0 : y0 + (y1 - y0) // 2, x0:x1] *= 0.5
    bar, middle = max(round(0.05 * density), 1), (x0 + x1) // 2
    picture.glow[y0:y1, middle : middle + bar] *= 0.25
    picture.visible[y0:y1, middle : middle + bar] = 26


def _shop(picture: Front, width: float, density: float, rng: np.random.Generator) -> None:
    """The ground floor: a lit shop with sign and awning, or a shuttered one."""
    rows = picture.visible.shape[0]
    top, sill = rows - round(2.7 * density), rows - round(0.55 * density)
    open_late = rng.random() < 0.6
    awning = np.array(_AWNINGS[rng.integers(len(_AWNINGS))], np.float32)
    picture.visible[rows - round(_SHOP_HEIGHT * density) :] *= 0.75
    sign_top = rows - round(3.45 * density)
    picture.visible[sign_top:top] = awning * 0.8
    panes = max(int(width / 2.4), 2)
    pitch = width / panes
    tone = np.array(_LIT[rng.integers(4)], np.float32) * rng.uniform(0.65, 0.9)
    for pane in range(panes):
        x0, x1 = round((pane * pitch + 0.15) * density), round(((pane + 1) * pitch - 0.15) * density)
        bottom = rows - 2 if pane == panes // 2 else sill
        window = np.s_[top:bottom, x0:x1]
        picture.visible[window] = 16
        picture.infrared[window] = 88 if open_late else 66
        if open_late:
            depth = np.linspace(1.0, 0.5, max(bottom - top, 1), dtype=np.float32)[:, None, None]
            picture.glow[window] = tone * depth
            _goods(picture.glow[window], density, rng)
        else:
            slats = 20 + 10 * (np.arange(bottom - top) // max(round(0.12 * density), 1) % 2)
            picture.visible[window] = slats[:, None, None].astype(np.float32)
    if open_late:
        picture.glow[sign_top + 1 : top - 1] += awning * 0.2
        picture.infrared[sign_top:top] += 12
        lip = max(round(0.3 * density), 1)
        picture.glow[top : top + lip] *= 0.2
        picture.visible[top : top + lip] = awning


def _goods(window: F32, density: float, rng: np.random.Generator) -> None:
    """Dark and coloured things behind the glass of a lit shop."""
    rows, columns = window.shape[:2]
    for _ in range(7):
        wide, tall = rng.uniform(0.15, 0.5) * density, rng.uniform(0.2, 0.9) * density
        x, y = rng.uniform(0, columns), rows - rng.uniform(0, 0.4) * density
        tint = np.array(rng.uniform(0.15, 0.8, 3), np.float32)
        part = window[max(int(y - tall), 0) : int(y), max(int(x), 0) : int(x + wide)]
        part *= tint


def _cornice(picture: Front, density: float) -> None:
    thick = max(round(0.35 * density), 1)
    picture.visible[:thick] *= 1.4
    picture.visible[thick : 2 * thick] *= 0.55
    picture.infrared[:thick] -= 8
