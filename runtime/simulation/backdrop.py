"""The street without anything that moves, drawn once at twice the size in each spectrum."""

from __future__ import annotations

from typing import NamedTuple, cast

import cv2
import numpy as np

from tdfusion_edge.runtime.simulation import ground, layout, props
from tdfusion_edge.runtime.simulation.car_model import CARS
from tdfusion_edge.runtime.simulation.cars import draw
from tdfusion_edge.runtime.simulation.facades import front
from tdfusion_edge.runtime.simulation.layout import Building, Tower
from tdfusion_edge.runtime.simulation.noise import field, to_u8
from tdfusion_edge.runtime.simulation.sprites import Sprite, blend
from tdfusion_edge.runtime.simulation.view import F32, U8, Array, View

_FACTOR = 2
_HAZE = (50.0, 40.0, 42.0)
_HAZE_LEVEL = 62.0
PARKED_CAR = len(CARS) - 1


class Occluder(NamedTuple):
    """A standing thing that moving ones can pass behind: the backdrop's pixels under ``mask``."""

    z: float
    left: int
    top: int
    mask: U8

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom in pixels."""
        height, width = self.mask.shape
        return float(self.left), float(self.top), float(self.left + width), float(self.top + height)


def visible(view: View, seed: int) -> U8:
    """The empty street as the visible camera sees it, uint8 (H, W, 3) BGR."""
    fine = view.supersampled(_FACTOR)
    canvas = _night_sky(fine, seed)
    mirrored = np.zeros_like(canvas)
    floor = ground.grid(fine)
    for house in layout.buildings(seed):
        _house(fine, house, canvas, mirrored)
    for text, box, z, colour in props.SIGNS:
        image = props.sign(text, colour)[0]
        _paste(canvas, image, fine, _upright(box, z, 1.0))
        _paste(mirrored, image * 1.6, fine, _upright(box, z, -1.0))
    for lamp in layout.LAMPS:
        # The road is rough: it draws a lamp out, from its foot to below its mirror image.
        (column, top), (_, bottom) = (fine.point(lamp.x, y, lamp.z) for y in (-1.5, -8.5))
        axes = (round(0.20 * fine.scale(lamp.z)), round(0.5 * (bottom - top)))
        middle = (round(column), round(0.5 * (top + bottom)))
        cv2.ellipse(mirrored, middle, axes, 0, 0, 360, tuple(0.6 * v for v in lamp.colour), -1)
    _lay_ground(canvas, floor, ground.visible(floor, seed, _rippled(mirrored, fine)[floor.top :]))
    for tree in reversed(layout.TREES):
        props.draw_tree(canvas, fine, tree, seed, infrared=False)
    for lamp in reversed(layout.LAMPS):
        props.draw_lamp(canvas, fine, lamp, infrared=False)
    image = cast(F32, cv2.resize(canvas, (view.width, view.height), interpolation=cv2.INTER_AREA))
    _bloom(image, view)
    ready = to_u8(image)
    for x, z in reversed(layout.PARKED):
        light = float(layout.lamplight(np.array([[x]]), np.array([[z]]))[0, 0].mean())
        car = draw(CARS[PARKED_CAR], x, z, "visible", view)
        blend(ready, car, view.point(x, 0.0, z), car.density, 0.25 + 0.6 * light)
    return ready


def infrared(view: View, seed: int) -> U8:
    """The empty street as the infrared camera sees it, uint8 (H, W)."""
    fine = view.supersampled(_FACTOR)
    canvas = _cold_sky(fine, seed)
    floor = ground.grid(fine)
    for house in layout.buildings(seed):
        _house(fine, house, canvas)
    for text, box, z, colour in props.SIGNS:
        _paste(canvas, props.sign(text, colour)[1], fine, _upright(box, z, 1.0))
    _lay_ground(canvas, floor, ground.infrared(floor, seed))
    for tree in reversed(layout.TREES):
        props.draw_tree(canvas, fine, tree, seed, infrared=True)
    for lamp in reversed(layout.LAMPS):
        props.draw_lamp(canvas, fine, lamp, infrared=True)
    image = cv2.resize(canvas, (view.width, view.height), interpolation=cv2.INTER_AREA)
    image = cv2.GaussianBlur(image, (0, 0), 0.9 * view.unit)
    # Columns of a microbolometer differ a little, whatever they look at.
    image += np.random.default_rng(seed).normal(0, 0.7, view.width).astype(np.float32)
    ready = to_u8(image)
    for x, z in reversed(layout.PARKED):
        car = draw(CARS[PARKED_CAR], x, z, "infrared", view)
        blend(ready, car, view.point(x, 0.0, z), car.density)
    return ready


def occluders(view: View) -> list[Occluder]:
    """Posts, trunks and parked cars that people and cars pass behind, farthest first."""
    found = []
    shapes = [(lamp.z, props.post(lamp)) for lamp in layout.LAMPS]
    shapes += [(tree.z, props.trunk(tree)) for tree in layout.TREES]
    for z, corners in shapes:
        full = np.zeros((view.height, view.width), np.uint8)
        props.polygon(full, view, corners, (255,))
        found.append(_cropped(z, full))
    for x, z in layout.PARKED:
        car = draw(CARS[PARKED_CAR], x, z, "infrared", view)
        full = np.zeros((view.height, view.width), np.uint8)
        outline = Sprite(np.repeat(car.colour[..., 1:], 2, axis=2), car.density, car.foot)
        blend(full, outline, view.point(x, 0.0, z), car.density)
        found.append(_cropped(z, np.where(full > 127, 255, 0).astype(np.uint8)))
    return sorted((item for item in found if item is not None), key=lambda item: -item.z)


def _cropped(z: float, full: U8) -> Occluder | None:
    left, top, width, height = cv2.boundingRect(full)
    if not width:
        return None
    return Occluder(z, left, top, np.ascontiguousarray(full[top : top + height, left : left + width]))


def _night_sky(view: View, seed: int) -> F32:
    rng = np.random.default_rng(seed + 1)
    height = np.linspace(0, 1, view.height, dtype=np.float32)[:, None]
    down = np.clip(height / 0.42, 0, 1) ** 1.6
    top, low = np.array((34.0, 19.0, 13.0), np.float32), np.array((66.0, 46.0, 50.0), np.float32)
    sky = top + (low - top) * down[..., None]
    sky = np.broadcast_to(sky, (view.height, view.width, 3)).copy()
    cloud = field((view.height, view.width), 260 * view.unit / 2, rng, octaves=4)
    sky *= (1 + 0.22 * np.clip(cloud, -1, 2))[..., None]
    # The town beyond the end of the street lights the haze.
    rows, columns = np.mgrid[0 : view.height, 0 : view.width].astype(np.float32)
    away = ((columns - view.centre) / (170 * view.unit)) ** 2 + (
        (rows - view.horizon) / (75 * view.unit)
    ) ** 2
    sky += np.exp(-away)[..., None] * np.array((26.0, 40.0, 62.0), np.float32)
    for _ in range(60):
        place = (int(rng.uniform(0, view.width)), int(rng.uniform(0, 0.3 * view.height)))
        sky[place[1], place[0]] += rng.uniform(30, 150)
    _moon(sky, view, rows, columns)
    _skyline(sky, view, seed, rng)
    return cast(F32, sky)


def _moon(sky: F32, view: View, rows: F32, columns: F32) -> None:
    x, y, radius = view.centre + 62 * view.unit, 40 * view.unit, 11 * view.unit
    distance = np.hypot(columns - x, rows - y) / radius
    sky += (46 / (1 + distance**2))[..., None] * np.array((1.1, 0.95, 0.85), np.float32)
    disc = np.clip((1 - distance) * radius / 2, 0, 1)[..., None]
    sky += disc * (np.array((205.0, 222.0, 228.0), np.float32) - sky)


def _skyline(sky: F32, view: View, seed: int, rng: np.random.Generator) -> None:
    """Towers at the end of the street, hazy and with a few lights."""
    for tower in layout.towers(seed):
        props.polygon(sky, view, _silhouette(tower), tuple(v * rng.uniform(0.72, 0.95) for v in _HAZE))
        for _ in range(26):
            place = rng.uniform(tower.left + 0.5, tower.right - 0.8), rng.uniform(2, tower.height - 1)
            column, row = view.point(*place, tower.z)
            colour = tuple(rng.uniform(0.4, 0.9) * np.array((110.0, 175.0, 225.0)))
            cv2.rectangle(sky, (int(column), int(row)), (int(column) + 1, int(row) + 2), colour, -1)


def _silhouette(tower: Tower) -> list[tuple[float, float, float]]:
    low = -6.0  # below the last row of ground, so that no gap shows the sky
    return [
        (tower.left, low, tower.z), (tower.right, low, tower.z),
        (tower.right, tower.height, tower.z), (tower.left, tower.height, tower.z),
    ]  # fmt: skip


def _cold_sky(view: View, seed: int) -> F32:
    rng = np.random.default_rng(seed + 1)
    down = np.clip(np.linspace(0, 1, view.height, dtype=np.float32) / 0.42, 0, 1)[:, None] ** 1.8
    cloud = field((view.height, view.width), 260 * view.unit / 2, rng, octaves=3)
    sky = 14 + 34 * down + 3.0 * cloud
    for tower in layout.towers(seed):
        props.polygon(sky, view, _silhouette(tower), (_HAZE_LEVEL + rng.uniform(-4, 2),))
    return cast(F32, sky.astype(np.float32))


def _house(view: View, house: Building, canvas: F32, mirrored: F32 | None = None) -> None:
    """Draw one house, and upside down what a wet road shows of it."""
    wall = layout.WALL_LEFT if house.left else layout.WALL_RIGHT
    density = float(np.clip(view.scale(max(house.near, 11.0)) * 1.1, 7, 44))
    picture = front(house.far - house.near, house.height, density, house.seed)
    z = np.linspace(house.near, house.far, picture.infrared.shape[1], dtype=np.float32)
    clear = np.exp(-z / 95)[None, :]
    if canvas.ndim == 3:
        lit = _lit(picture.visible, wall, z, density) + picture.glow
        image = lit * clear[..., None] + np.array(_HAZE, np.float32) * (1 - clear[..., None])
        gable = tuple(np.array((22.0, 20.0, 20.0)) * clear[0, 0] + np.array(_HAZE) * (1 - clear[0, 0]))
    else:
        image = picture.infrared * clear + _HAZE_LEVEL * (1 - clear)
        gable = (float(66 * clear[0, 0] + _HAZE_LEVEL * (1 - clear[0, 0])),)
    outer = wall - 14 if house.left else wall + 14
    for target, top in ((canvas, house.height), (mirrored, -house.height)):
        if target is None:
            continue
        end = [
            (wall, 0.0, house.near),
            (outer, 0.0, house.near),
            (outer, top, house.near),
            (wall, top, house.near),
        ]
        props.polygon(target, view, end, gable)
        corners = [
            (wall, top, house.near),
            (wall, top, house.far),
            (wall, 0.0, house.far),
            (wall, 0.0, house.near),
        ]
        _paste(target, image, view, corners)


def _lit(paint: F32, wall: float, z: F32, density: float) -> F32:
    """A wall under the street lamps: brightest a little below their heads."""
    inside = wall + (1.5 if wall < 0 else -1.5)
    light = layout.lamplight(np.full((1, len(z)), inside, np.float32), z[None, :])[0]
    up = np.arange(paint.shape[0], 0, -1, dtype=np.float32) / density
    fall = 1 / (1 + ((up - 3.2) / 3.6) ** 2)
    return cast(
        F32, paint * (light[None] * fall[:, None, None] * 1.15 + np.array((0.40, 0.32, 0.29), np.float32))
    )


def _upright(box: tuple[float, float, float, float], z: float, up: float) -> list[tuple[float, float, float]]:
    left, bottom, right, top = box
    return [(left, up * top, z), (right, up * top, z), (right, up * bottom, z), (left, up * bottom, z)]


def _paste(canvas: F32, image: F32, view: View, corners: list[tuple[float, float, float]]) -> None:
    """Draw a flat picture in perspective; ``corners`` are its own from the upper left one clockwise."""
    height, width = image.shape[:2]
    own = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32) - 0.5
    pixels = view.points(np.array(corners)) - 0.5
    x0, y0 = np.maximum(np.floor(pixels.min(axis=0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(pixels.max(axis=0)).astype(int) + 1, (view.width, view.height))
    if x1 <= x0 or y1 <= y0:
        return
    shift = np.array([x0, y0], np.float32)
    matrix = cv2.getPerspectiveTransform(own, pixels - shift)
    size = (int(x1 - x0), int(y1 - y0))
    warped = cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros(size[::-1], np.uint8)
    cv2.fillConvexPoly(mask, np.rint((pixels - shift) * 16).astype(np.int32), 255, cv2.LINE_8, 4)
    cv2.copyTo(warped, mask, canvas[y0:y1, x0:x1])


def _lay_ground(canvas: F32, floor: ground.Ground, image: F32) -> None:
    street = (floor.x > layout.WALL_LEFT) & (floor.x < layout.WALL_RIGHT) & (floor.z < layout.FAR_END)
    inside = street | (floor.z < layout.SIDE_STREETS)
    canvas[floor.top :][inside] = image[inside]


def _rippled(mirrored: F32, view: View) -> F32:
    """A mirror image drawn out downwards, as a wet rough road shows it."""
    long = cv2.GaussianBlur(mirrored, (0, 0), sigmaX=2.2 * view.unit / 2, sigmaY=16 * view.unit / 2)
    short = cv2.GaussianBlur(mirrored, (0, 0), sigmaX=1.2 * view.unit / 2, sigmaY=5 * view.unit / 2)
    return cast(F32, 0.6 * long + 0.4 * short)


def _bloom(image: F32, view: View) -> None:
    """Light that the lens scatters around lamps, signs and windows."""
    bright = np.maximum(image - 120, 0)
    small = cv2.resize(bright, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    veil = 0.55 * cv2.GaussianBlur(small, (0, 0), 3.0 * view.unit) + 1.1 * cv2.GaussianBlur(
        small, (0, 0), 16 * view.unit
    )
    for lamp in layout.LAMPS:
        column, row = view.point(lamp.x, lamp.height - 0.1, lamp.z)
        reach = 2.6 * view.scale(lamp.z)
        _halo(image, (column, row), reach, np.array(lamp.colour, np.float32) * 0.75)
    image += cv2.resize(veil, (view.width, view.height))


def _halo(image: F32, place: tuple[float, float], reach: float, colour: Array) -> None:
    x0, x1 = max(int(place[0] - reach), 0), min(int(place[0] + reach), image.shape[1])
    y0, y1 = max(int(place[1] - reach), 0), min(int(place[1] + reach), image.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    rows, columns = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    distance = np.hypot(columns - place[0], rows - place[1]) / reach
    fall = np.clip(1 - distance, 0, 1) ** 2 * (0.35 + 0.65 / (1 + (6 * distance) ** 2))
    image[y0:y1, x0:x1] += fall[..., None] * colour
