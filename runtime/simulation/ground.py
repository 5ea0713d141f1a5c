"""Road and pavements: asphalt, markings, kerbs and puddles in both spectra."""

from __future__ import annotations

from typing import NamedTuple, cast

import cv2
import numpy as np

from tdfusion_edge.runtime.simulation import layout
from tdfusion_edge.runtime.simulation.noise import field
from tdfusion_edge.runtime.simulation.view import F32, Array, View

_ASPHALT, _PAVING, _PAINT = (40.0, 38.0, 37.0), (58.0, 60.0, 64.0), (168.0, 176.0, 180.0)


class Ground(NamedTuple):
    """Rows of the picture from the horizon down, and which of their pixels are ground."""

    top: int
    x: F32
    """float32 (h, W): metres to the right."""
    z: F32
    """float32 (h, W): metres ahead."""


def grid(view: View) -> Ground:
    """World coordinates of every pixel below the horizon."""
    top = int(view.horizon) + 2
    rows = np.arange(top, view.height, dtype=np.float32) + 0.5 - view.horizon
    columns = np.arange(view.width, dtype=np.float32) + 0.5 - view.centre
    z = np.broadcast_to((view.focal * view.eye / rows)[:, None], (len(rows), view.width))
    return Ground(top, columns[None, :] * z / view.focal, np.ascontiguousarray(z))


def visible(ground: Ground, seed: int, mirrored: F32) -> F32:
    """Lit ground, float32 (h, W, 3) BGR in 0..255; ``mirrored`` is what the wet road shows upside down."""
    rng = np.random.default_rng(seed)
    fine, coarse = _textures(ground, rng)
    road = (ground.x > layout.KERB_LEFT) & (ground.x < layout.KERB_RIGHT)
    albedo = np.where(road[..., None], np.array(_ASPHALT, np.float32), np.array(_PAVING, np.float32))
    albedo = albedo * (1 + 0.20 * fine + 0.10 * coarse)[..., None]
    _paving(albedo, ground, road)
    paint = _markings(ground) * np.clip(0.85 + 0.18 * fine + 0.12 * coarse, 0, 1)
    albedo += paint[..., None] * (np.array(_PAINT, np.float32) - albedo)
    _kerbs(albedo, ground)
    light = cv2.resize(
        layout.lamplight(ground.x[::4, ::4], ground.z[::4, ::4]),
        ground.x.shape[::-1],
        interpolation=cv2.INTER_LINEAR,
    )
    lit = albedo * (light * 0.95 + np.array((0.34, 0.29, 0.27), np.float32))
    wet = np.clip(0.42 + 0.22 * coarse, 0.1, 1.0) * np.where(road, 1.0, 0.4)
    # Water mirrors more, the flatter one looks at it.
    flat = np.clip(ground.z / 26, 0.35, 1.0)
    return cast(F32, lit * (1 - 0.25 * wet)[..., None] + mirrored * (wet * flat)[..., None])


def infrared(ground: Ground, seed: int) -> F32:
    """Level of the ground, float32 (h, W): asphalt warm from the day, tyre tracks warmer."""
    rng = np.random.default_rng(seed)
    fine, coarse = _textures(ground, rng)
    road = (ground.x > layout.KERB_LEFT) & (ground.x < layout.KERB_RIGHT)
    level = np.where(road, 84.0, 71.0) + 1.2 * fine + 2.6 * coarse
    for lane in (layout.LANE_TOWARDS, layout.LANE_AWAY):
        for wheel in (-0.75, 0.75):
            level += 7.0 * np.exp(-(((ground.x - lane - wheel) / 0.30) ** 2))
    level -= 5.0 * _markings(ground)
    level -= 9.0 * (_band(ground.x, layout.KERB_LEFT, 0.14) + _band(ground.x, layout.KERB_RIGHT, 0.14))
    # Far away the road is seen flat and mirrors the sky.
    return cast(F32, (level - 12 * np.clip(ground.z / 90, 0, 1)).astype(np.float32))


def _textures(ground: Ground, rng: np.random.Generator) -> tuple[F32, F32]:
    """Grain of the asphalt and patches of damp, sampled in perspective."""
    tile = field((512, 512), 6, rng, octaves=3)
    patches = field((512, 512), 70, rng, octaves=4)
    # Grain finer than a pixel would only flicker between neighbours: it fades with distance.
    fade = np.clip(9 / ground.z, 0.05, 1.0)
    return cast(F32, _sampled(tile, ground, 64) * fade), _sampled(patches, ground, 26)


def _sampled(tile: F32, ground: Ground, density: float) -> F32:
    across = np.mod(ground.x * density, tile.shape[1] - 1).astype(np.float32)
    along = np.mod(ground.z * density, tile.shape[0] - 1).astype(np.float32)
    return cast(F32, cv2.remap(tile, across, along, cv2.INTER_LINEAR))


def _band(position: F32, middle: float, width: float) -> F32:
    return cast(F32, (np.abs(position - middle) < width / 2).astype(np.float32))


def _markings(ground: Ground) -> F32:
    """Share of paint in every pixel: lane lines, stop line and zebra crossing."""
    x, z = ground.x, ground.z
    near, far = layout.CROSSING
    clear = ((z < near - 1) | (z > far + 2.2)).astype(np.float32)
    dashes = (np.mod(z, 6.0) < 3.0).astype(np.float32)
    parking = _band(x, 3.45, 0.10) * (np.mod(z, 1.6) < 0.8)
    paint = clear * (_band(x, 0.0, 0.13) * dashes + _band(x, layout.KERB_LEFT + 0.28, 0.12) + parking)
    inside = ((z > near) & (z < far) & (x > layout.KERB_LEFT + 0.3) & (x < layout.KERB_RIGHT - 0.3)).astype(
        np.float32
    )
    paint += inside * (np.mod(x - 0.2, 1.05) < 0.52)
    paint += _band(z, layout.STOP_LINE, 0.4) * ((x > layout.KERB_LEFT + 0.3) & (x < -0.1))
    return cast(F32, np.minimum(paint, 1).astype(np.float32))


def _paving(albedo: F32, ground: Ground, road: Array) -> None:
    """Joints between the slabs of the pavement, as far as they can be told apart."""
    joint = (np.mod(ground.x, 0.8) < 0.05) | (np.mod(ground.z, 1.2) < 0.05)
    albedo[~road & joint & (ground.z < 28)] *= 0.72


def _kerbs(albedo: F32, ground: Ground) -> None:
    for kerb, side in ((layout.KERB_LEFT, -1), (layout.KERB_RIGHT, 1)):
        albedo[np.abs(ground.x - kerb - 0.08 * side) < 0.09] *= 1.5
        albedo[np.abs(ground.x - kerb + 0.12 * side) < 0.13] *= 0.5
