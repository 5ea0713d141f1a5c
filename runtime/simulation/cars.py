"""Cars in perspective, drawn once for every distance of their lane."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from tdfusion_edge.runtime.simulation import car_model
from tdfusion_edge.runtime.simulation.car_model import CARS, LENGTH, ONE_SIDED, Car, Placed
from tdfusion_edge.runtime.simulation.people import Spectrum
from tdfusion_edge.runtime.simulation.sprites import Sprite
from tdfusion_edge.runtime.simulation.view import F32, U8, Array, View

NEAR = 1.4
"""Metres to the foot of a car of which nothing is in the picture any more."""
_FAR = 100.0
_SUPERSAMPLING = 2
_SHIFT = 4


def lane_sprites(index: int, lane: float, spectrum: Spectrum, view: View) -> list[Sprite]:
    """Sprites of car ``index`` in the lane at X = ``lane`` metres, from far to near.

    They are drawn for distances of their foot, the point of the road under the middle of the car, at
    rising density: take the one that :func:`.sprites.nearest` finds.
    """
    distances = [_FAR]
    while distances[-1] > NEAR:
        # Near the camera the shape changes quickly with the distance; far away hardly.
        distances.append(distances[-1] / (1.04 if distances[-1] < 20 else 1.08))
    return [draw(CARS[index], lane, z, spectrum, view) for z in distances]


def draw(car: Car, lane: float, z: float, spectrum: Spectrum, view: View) -> Sprite:
    """The car at one place, clipped to the picture, as a sprite of the view's scale at ``z``."""
    placed = Placed(car, lane, z, view)
    left, top, right, bottom = placed.outline()
    margin = 0.15 * (right - left) + 3
    x0, y0 = max(int(left - margin), -8), max(int(top - 3), -8)
    x1, y1 = min(int(right + margin), view.width + 8), min(int(bottom + margin), view.height + 8)
    shape, origin = (max(y1 - y0, 2), max(x1 - x0, 2)), np.array([x0, y0], np.float32)
    body = _body(placed, shape, origin, spectrum)
    shadow, level = _shadow(placed, shape, origin, spectrum)
    alpha = body[..., 3]
    cover = cv2.multiply(shadow, cv2.bitwise_not(alpha), scale=1 / 255)
    ground = cv2.convertScaleAbs(cover, alpha=level / 255)
    if spectrum == "infrared":
        image = cv2.add(cv2.merge((body[..., 0], alpha)), cv2.merge((ground, cover)))
    else:
        image = cv2.add(body, cv2.merge((ground, ground, ground, cover)))
    foot = view.point(lane, 0.0, z)
    return Sprite(cast(U8, image), view.scale(z), (foot[0] - x0, foot[1] - y0))


def _body(placed: Placed, shape: tuple[int, int], origin: F32, spectrum: Spectrum) -> U8:
    car, scale = placed.car, placed.view.scale(placed.z)
    canvas = np.zeros((shape[0] * _SUPERSAMPLING, shape[1] * _SUPERSAMPLING, 4), np.uint8)
    pixels = (placed.project(car_model.corners(car, placed.lane)) - origin) * _SUPERSAMPLING - 0.5
    points = _fixed(pixels)
    last = 0
    for face in car_model.faces(car, placed.lane):
        first, last = last, last + len(face.corners)
        if face.material in ONE_SIDED and not _seen(pixels[first:last], car):
            continue
        colour = car_model.paint(face, car) if spectrum == "visible" else (car_model.warmth(face, car),) * 3
        cv2.fillPoly(canvas, [points[first:last]], (*colour, 255.0), cv2.LINE_8, _SHIFT)
    image = cast(U8, cv2.resize(canvas, (shape[1], shape[0]), interpolation=cv2.INTER_AREA))
    if spectrum == "infrared":
        return cast(U8, cv2.GaussianBlur(image, (0, 0), min(max(0.012 * scale, 0.4), 2.0)))
    return _rounded(image, scale)


def _fixed(pixels: F32) -> Array:
    """Pixels as the fixed-point integers that OpenCV draws with."""
    return np.rint(np.clip(pixels, -30000, 30000) * (1 << _SHIFT)).astype(np.int32)


def _rounded(image: U8, scale: float) -> U8:
    """Shade flat panels as if they were curved: light from above, darker towards the outline."""
    small = (max(image.shape[1] // 4, 1), max(image.shape[0] // 4, 1))
    alpha = cv2.resize(image[..., 3], small, interpolation=cv2.INTER_AREA).astype(np.float32)
    mask = cast(F32, cv2.GaussianBlur(alpha, (0, 0), max(0.0225 * scale, 0.5)))
    rise = cv2.Sobel(mask, cv2.CV_32F, 0, 1, ksize=3, scale=0.00003 * scale)
    light = np.clip(0.30 + 0.75 * mask / 255 + rise, 0.3, 1.6) * 128
    plane = cv2.resize(light.astype(np.uint8), (image.shape[1], image.shape[0]))
    full = np.full_like(plane, 128)
    return cast(U8, cv2.multiply(image, cv2.merge((plane, plane, plane, full)), scale=1 / 128))


def _seen(pixels: F32, car: Car) -> bool:
    """Whether a strip shows its outer side: its corners then run in one sense of rotation."""
    (ax, ay), (bx, by), (cx, cy) = pixels[:3].tolist()
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    return bool(area < 0 if car.heading == "towards" else area > 0)


def _shadow(placed: Placed, shape: tuple[int, int], origin: F32, spectrum: Spectrum) -> tuple[U8, float]:
    """Darkness under the car for the visible camera, the engine's warmth on the asphalt for infrared.

    Returns:
        Its alpha, uint8 (H, W), and its level.
    """
    alpha = np.zeros(shape, np.uint8)
    if spectrum == "infrared" and not placed.car.warm:
        return alpha, 0.0
    ring = [(-0.95, 0.0, -0.12), (0.95, 0.0, -0.12), (0.95, 0.0, LENGTH + 0.1), (-0.95, 0.0, LENGTH + 0.1)]
    pixels = placed.project(np.array(ring, np.float32)) - origin
    level, cover = (4.0, 200) if spectrum == "visible" else (118.0, 150)
    cv2.fillConvexPoly(alpha, _fixed(pixels), cover, cv2.LINE_8, _SHIFT)
    side = max(int(0.25 * placed.view.scale(placed.z)), 1)
    flat = (side, max(side // 2, 1))  # the road is seen at a low angle
    return cast(U8, cv2.blur(cv2.blur(alpha, flat), flat)), level
