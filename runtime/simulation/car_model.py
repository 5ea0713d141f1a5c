"""The solid model of a car: flat faces in metres, and what they are made of in both spectra."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from tdfusion_edge.runtime.simulation.view import F32, View

Heading: TypeAlias = Literal["towards", "away"]
Colour: TypeAlias = tuple[float, float, float]
Corner: TypeAlias = tuple[float, float, float]

LENGTH = 4.4
"""Metres from bumper to bumper."""
_HALF = 0.88


@dataclass(frozen=True, slots=True)
class Car:
    """How one car looks: BGR paint by daylight, and whether its engine ran in the last hour."""

    paint: Colour
    heading: Heading
    warm: bool = True
    estate: bool = False


CARS = (
    Car((150, 150, 156), "towards"),
    Car((52, 44, 138), "towards", estate=True),
    Car((120, 84, 46), "away"),
    Car((74, 76, 80), "away", estate=True),
    Car((86, 96, 60), "away", warm=False),
)
"""The cars of the street; the last one is parked and cold."""

# Side view, front to back: metres from the front bumper, metres above the road.
_SALOON = (
    (0.06, 0.24), (0.0, 0.46), (0.10, 0.72), (1.15, 0.92),
    (1.95, 1.40), (2.95, 1.44), (3.70, 1.04), (4.30, 0.98),
    (4.40, 0.60), (4.34, 0.26),
)  # fmt: skip
_ESTATE = (
    (0.06, 0.24), (0.0, 0.48), (0.10, 0.80), (1.05, 1.00),
    (1.70, 1.56), (3.60, 1.62), (4.15, 1.08), (4.28, 1.00),
    (4.40, 0.62), (4.34, 0.26),
)  # fmt: skip
_STRIPS = ("apron", "nose", "bonnet", "windscreen", "roof", "back window", "lid", "tail", "skirt")
ONE_SIDED = frozenset({*_STRIPS, "post"})
"""Materials of the faces that hide when they look away from the camera."""


_COLOURS: dict[str, Colour] = {
    "windscreen": (34, 28, 24), "back window": (30, 25, 22),
    "side window": (40, 33, 28), "tyre": (10, 10, 10),
    "rim": (72, 70, 68), "grille": (14, 14, 14), "intake": (10, 10, 10), "headlight": (226, 240, 250),
    "tail lamp": (40, 30, 220), "plate": (150, 160, 165), "exhaust": (60, 60, 60),
}  # fmt: skip
_COLD: dict[str, float] = {
    "windscreen": 50.0, "back window": 56.0, "side window": 54.0, "roof": 44.0, "bonnet": 50.0, "lid": 48.0,
    "tyre": 66.0, "rim": 70.0, "headlight": 62.0, "tail lamp": 66.0, "grille": 54.0, "plate": 60.0,
}  # fmt: skip
_WARM: dict[str, float] = {
    "bonnet": 158.0, "nose": 172.0, "grille": 226.0, "intake": 196.0, "apron": 150.0, "headlight": 186.0,
    "tyre": 176.0, "rim": 150.0, "exhaust": 246.0,
    "skirt": 146.0, "door": 92.0, "pillar": 84.0, "tail": 104.0,
    "crease": 100.0, "tail lamp": 140.0, "plate": 112.0, "lid": 82.0, "roof": 74.0,
}  # fmt: skip


class Face(NamedTuple):
    """A flat piece of the car: its material, its corners in metres (x, y, along), its slope to the sky."""

    material: str
    corners: tuple[Corner, ...]
    up: float


class Placed(NamedTuple):
    """A car on its lane at X = ``lane`` metres, its middle at Z = ``z`` metres, seen in ``view``."""

    car: Car
    lane: float
    z: float
    view: View

    def project(self, corners: F32) -> F32:
        """Pixels (N, 2) of points (N, 3) of the car: across, up and along from its front, in metres."""
        along = corners[:, 2] if self.car.heading == "towards" else LENGTH - corners[:, 2]
        # What has passed under the camera is far outside the picture: it only must not turn inside out.
        ahead = np.maximum(along + (self.z - LENGTH / 2), 0.3)
        return self.view.points(np.stack([corners[:, 0] + self.lane, corners[:, 1], ahead], axis=1))

    def outline(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom in pixels."""
        pixels = self.project(corners(self.car, self.lane))
        (left, top), (right, bottom) = pixels.min(axis=0), pixels.max(axis=0)
        return float(left), float(top), float(right), float(bottom)


@lru_cache(maxsize=32)
def corners(car: Car, lane: float) -> F32:
    """Corners of all faces one after the other, float32 (N, 3): across, up, along from the front."""
    return np.array([corner for face in faces(car, lane) for corner in face.corners], np.float32)


def _width(height: float, profile: tuple[tuple[float, float], ...]) -> float:
    """Half the car's width at a height: the cabin leans inwards."""
    waist, roof = profile[3][1], profile[5][1]
    return _HALF - 0.24 * min(max((height - waist) / (roof - waist), 0.0), 1.0)


@lru_cache(maxsize=32)
def faces(car: Car, lane: float) -> list[Face]:
    """Every face in the order in which they are drawn."""
    profile = _ESTATE if car.estate else _SALOON
    side = 1.0 if lane < 0 else -1.0
    strips = []
    for material, (l0, y0), (l1, y1) in zip(_STRIPS, profile, profile[1:], strict=False):
        w0, w1 = _width(y0, profile), _width(y1, profile)
        run = abs(l1 - l0)
        corners = ((-w0, y0, l0), (w0, y0, l0), (w1, y1, l1), (-w1, y1, l1))
        face = Face(material, corners, run / float(np.hypot(run, y1 - y0)))
        if "wind" in material:
            strips.append(face._replace(material="post"))
            face = face._replace(corners=_shrunk(corners, 0.90, 0.86))
        strips.append(face)
    return [*_wheels(side), *_flank(profile, side), *strips, *_details(car, profile)]


def _shrunk(corners: tuple[Corner, ...], across: float, along: float) -> tuple[Corner, ...]:
    """A rectangle's corners moved towards its middle."""
    middle_y = sum(corner[1] for corner in corners) / 4
    middle_l = sum(corner[2] for corner in corners) / 4
    return tuple(
        (across * x, middle_y + along * (y - middle_y), middle_l + along * (length - middle_l))
        for x, y, length in corners
    )


def _flank(profile: tuple[tuple[float, float], ...], side: float) -> list[Face]:
    """The side that looks at the middle of the road: door metal, then the glass above it."""
    waist, rear = profile[3], profile[6]
    body = [*profile[:4], rear, *profile[7:]]
    metal = tuple((side * _width(y, profile), y, along) for along, y in body)

    def at(along: float, y: float) -> Corner:
        return (side * (_width(y, profile) + 0.002), y, along)

    front_top, rear_top = profile[4], profile[5]
    cabin = tuple(at(*corner) for corner in (waist, front_top, rear_top, rear))
    low, high = waist[1] + 0.06, front_top[1] - 0.07
    middle = 0.5 * (waist[0] + rear[0])
    front = (
        at(waist[0] + 0.28, low),
        at(front_top[0] + 0.06, high),
        at(middle - 0.04, high),
        at(middle - 0.04, low),
    )
    back = (
        at(middle + 0.04, low),
        at(middle + 0.04, high),
        at(rear_top[0] - 0.02, high),
        at(rear[0] - 0.3, low),
    )
    crease = (at(0.3, 0.60), at(4.2, 0.62), at(4.2, 0.56), at(0.3, 0.54))
    return [
        Face("door", metal, 0.1), Face("crease", crease, 0.0), Face("pillar", cabin, 0.25),
        Face("side window", front, 0.2), Face("side window", back, 0.2),
    ]  # fmt: skip


def _wheels(side: float) -> list[Face]:
    angles = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    faces = []
    for along in (0.82, 3.55):
        for half, material in (
            (side * -0.80, "tyre"),
            (side * 0.62, "tyre"),
            (side * 0.885, "tyre"),
            (side * 0.89, "rim"),
        ):
            radius = 0.32 if material == "tyre" else 0.19
            ring = tuple((half, 0.32 + radius * np.sin(a), along + radius * np.cos(a)) for a in angles)
            faces.append(Face(material, ring, 0.0))
    # The tread under the near end, seen below the bumper.
    for x in (-0.72, 0.72):
        for along in (0.5, 3.88):
            corners = (
                (x - 0.1, 0.0, along),
                (x + 0.1, 0.0, along),
                (x + 0.1, 0.4, along),
                (x - 0.1, 0.4, along),
            )
            faces.append(Face("tyre", corners, 0.0))
    return faces


def _details(car: Car, profile: tuple[tuple[float, float], ...]) -> list[Face]:
    """Lamps, grille and plate on the end that looks at the camera."""
    towards = car.heading == "towards"
    (l0, y0), (l1, y1), (l2, y2) = profile[:3] if towards else (profile[9], profile[8], profile[7])
    out = -0.004 if towards else 0.004

    def patch(material: str, x0: float, x1: float, v0: float, v1: float) -> Face:
        """A rectangle on the bumper (v below 0) or on the panel above it (v from 0 to 1)."""

        def at(v: float) -> tuple[float, float]:
            low, high, t = ((l0, y0), (l1, y1), v + 1) if v < 0 else ((l1, y1), (l2, y2), v)
            return low[0] + (high[0] - low[0]) * t + out, low[1] + (high[1] - low[1]) * t

        (la, ya), (lb, yb) = at(v0), at(v1)
        return Face(material, ((x0, ya, la), (x1, ya, la), (x1, yb, lb), (x0, yb, lb)), 0.0)

    if towards:
        return [
            patch("grille", -0.42, 0.42, 0.18, 0.72), patch("intake", -0.56, 0.56, -0.72, -0.28),
            patch("headlight", -0.80, -0.48, 0.38, 0.92), patch("headlight", 0.48, 0.80, 0.38, 0.92),
            patch("plate", -0.24, 0.24, -0.2, 0.08),
        ]  # fmt: skip
    return [
        patch("intake", -0.70, 0.70, -0.92, -0.55), patch("plate", -0.25, 0.25, 0.28, 0.58),
        patch("tail lamp", -0.84, -0.54, 0.40, 0.90), patch("tail lamp", 0.54, 0.84, 0.40, 0.90),
        patch("exhaust", 0.40, 0.56, -0.96, -0.62),
    ]  # fmt: skip


def paint(face: Face, car: Car) -> Colour:
    """BGR colour of a face by daylight."""
    if face.material in _COLOURS:
        return _COLOURS[face.material]
    shade = {"crease": 0.26, "pillar": 0.30, "apron": 0.35, "skirt": 0.30}.get(
        face.material, 0.42 + 0.42 * face.up
    )
    blue, green, red = (shade * value for value in car.paint)
    return blue + 8, green + 6, red + 6


def warmth(face: Face, car: Car) -> float:
    """Infrared level of a face."""
    level = _COLD.get(face.material, 62.0)
    return _WARM.get(face.material, level + 12) if car.warm else level
