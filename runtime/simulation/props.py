"""Trees, street lamps and neon signs: what stands between the house fronts and the road."""

from __future__ import annotations

import cv2
import numpy as np

from tdfusion_edge.runtime.simulation import layout
from tdfusion_edge.runtime.simulation.layout import Colour, Lamp, Tree
from tdfusion_edge.runtime.simulation.view import F32, U8, View

_SHIFT = 4
SIGNS: tuple[tuple[str, tuple[float, float, float, float], float, Colour], ...] = (
    ("HOTEL", (-7.2, 3.9, -6.25, 8.6), 18.0, (190.0, 60.0, 255.0)),
    ("BAR", (-7.2, 3.7, -6.2, 6.6), 29.0, (255.0, 200.0, 40.0)),
)
"""Neon signs across the pavement: text, left, bottom, right and top in metres, distance, BGR colour."""

# Tubes are bent from few strokes: corners of the letters in a cell 4 wide and 6 high, rows downwards.
_TUBES: dict[str, tuple[tuple[tuple[int, int], ...], ...]] = {
    "A": (((0, 6), (2, 0), (4, 6)), ((1, 4), (3, 4))),
    "B": (((0, 0), (0, 6), (3, 6), (4, 5), (4, 4), (3, 3), (0, 3)), ((0, 0), (3, 0), (4, 1), (4, 2), (3, 3))),
    "E": (((4, 0), (0, 0), (0, 6), (4, 6)), ((0, 3), (3, 3))),
    "H": (((0, 0), (0, 6)), ((4, 0), (4, 6)), ((0, 3), (4, 3))),
    "L": (((0, 0), (0, 6), (4, 6)),),
    "O": (((1, 0), (3, 0), (4, 1), (4, 5), (3, 6), (1, 6), (0, 5), (0, 1), (1, 0)),),
    "R": (((0, 6), (0, 0), (3, 0), (4, 1), (4, 2), (3, 3), (0, 3)), ((2, 3), (4, 6))),
    "T": (((0, 0), (4, 0)), ((2, 0), (2, 6))),
}


def polygon(
    image: F32 | U8, view: View, corners: list[tuple[float, float, float]], colour: tuple[float, ...]
) -> None:
    """Fill a polygon given by its corners in the world."""
    pixels = view.points(np.array(corners)) - 0.5
    cv2.fillPoly(image, [np.rint(pixels * (1 << _SHIFT)).astype(np.int32)], colour, cv2.LINE_8, _SHIFT)


def trunk(tree: Tree) -> list[tuple[float, float, float]]:
    """Outline of a tree's trunk up to its crown."""
    top = tree.height - 1.6 * tree.radius + 0.6
    return [
        (tree.x - 0.17, 0.0, tree.z), (tree.x + 0.17, 0.0, tree.z),
        (tree.x + 0.10, top, tree.z), (tree.x - 0.10, top, tree.z),
    ]  # fmt: skip


def post(lamp: Lamp) -> list[tuple[float, float, float]]:
    """Outline of a lamp's post."""
    wide = 0.075
    return [
        (lamp.post - wide, 0.0, lamp.z), (lamp.post + wide, 0.0, lamp.z),
        (lamp.post + 0.6 * wide, lamp.height, lamp.z), (lamp.post - 0.6 * wide, lamp.height, lamp.z),
    ]  # fmt: skip


def draw_tree(image: F32, view: View, tree: Tree, seed: int, infrared: bool) -> None:
    """Trunk and crown; the crown is a heap of leaf clumps, lighter towards the lamps below it."""
    rng = np.random.default_rng((seed, int(tree.z * 10)))
    light = layout.lamplight(np.array([[tree.x]]), np.array([[tree.z]]))[0, 0]
    bark = (76.0,) if infrared else tuple(np.array((34.0, 40.0, 46.0)) * (0.3 + light))
    polygon(image, view, trunk(tree), bark)
    count = 420
    angle, distance = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count))
    across = tree.x + tree.radius * distance * np.cos(angle)
    up = tree.height - 0.8 * tree.radius + 0.8 * tree.radius * distance * np.sin(angle)
    order = np.argsort(-distance)  # the middle of the crown is nearest to the camera
    low = (tree.height - up) / (1.6 * tree.radius)
    for k in order:
        column, row = view.point(across[k], up[k], tree.z)
        radius = max(rng.uniform(0.10, 0.26) * view.scale(tree.z), 1.0)
        if infrared:
            colour: tuple[float, ...] = (66 + 6 * low[k] + rng.normal(0, 3.0),)
        else:
            shade = (0.12 + 1.15 * light * low[k]) * rng.uniform(0.45, 1.15)
            colour = tuple(np.array((30.0, 74.0, 52.0)) * shade + np.array((5.0, 5.0, 3.0)))
        axes = (round(radius), round(0.7 * radius))
        cv2.ellipse(image, (round(column), round(row)), axes, rng.uniform(0, 180), 0, 360, colour, -1)


def draw_lamp(image: F32, view: View, lamp: Lamp, infrared: bool) -> None:
    """Post, arm and shining head."""
    metal: tuple[float, ...] = (60.0,) if infrared else (34.0, 36.0, 40.0)
    polygon(image, view, post(lamp), metal)
    side = 1.0 if lamp.x > lamp.post else -1.0
    high, wide = lamp.height, 0.05
    arm = [(lamp.post, high - 0.35, lamp.z), (lamp.x - 0.35 * side, high, lamp.z)]
    polygon(image, view, [*arm, *[(x, y + 2 * wide, z) for x, y, z in reversed(arm)]], metal)
    head = [
        (lamp.x - 0.42, high - 0.07, lamp.z), (lamp.x + 0.42, high - 0.07, lamp.z),
        (lamp.x + 0.34, high + 0.12, lamp.z), (lamp.x - 0.34, high + 0.12, lamp.z),
    ]  # fmt: skip
    polygon(image, view, head, (176.0,) if infrared else metal)
    bulb = [
        (lamp.x - 0.36, high - 0.16, lamp.z), (lamp.x + 0.36, high - 0.16, lamp.z),
        (lamp.x + 0.36, high - 0.04, lamp.z), (lamp.x - 0.36, high - 0.04, lamp.z),
    ]  # fmt: skip
    white = 0.6 * np.array(lamp.colour) + 0.4 * 255
    polygon(image, view, bulb, (206.0,) if infrared else tuple(white))


def sign(text: str, colour: Colour) -> tuple[F32, F32]:
    """A neon sign seen straight on: float32 (h, w, 3) BGR in 0..255, and its level (h, w) in infrared."""
    tube = _tubes(text).astype(np.float32) / 255
    halo = cv2.GaussianBlur(tube, (0, 0), 6)
    core = cv2.GaussianBlur(tube, (0, 0), 1.2)
    tint = np.array(colour, np.float32)
    image = (halo * 1.1)[..., None] * tint * 0.8 + core[..., None] * (0.6 * tint + 0.4 * 255) + 6.0
    frame = np.zeros_like(tube)
    frame[3:-3, 3:-3] = 1
    image[frame == 0] = tint * 0.35
    return np.minimum(image, 255).astype(np.float32), (82 + 34 * halo).astype(np.float32)


def _tubes(text: str) -> U8:
    """The strokes of a text, letter below letter, uint8 (h, w)."""
    step, margin = 10, 16
    pitch = 6 * step + 18
    image = np.zeros((pitch * len(text) - 18 + 2 * margin, 4 * step + 2 * margin), np.uint8)
    for place, letter in enumerate(text):
        for stroke in _TUBES[letter]:
            line = np.array(
                [(margin + step * x, margin + place * pitch + step * y) for x, y in stroke], np.int32
            )
            cv2.polylines(image, [line], False, 255, 6, cv2.LINE_AA)
    return image
