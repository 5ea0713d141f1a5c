"""Joint augmentation: what happens to one sensor's picture happens to the other's and to the labels.

Only contrast and brightness (``gain``) differ between the sensors, as they do between cameras.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.color import NEUTRAL, U8, split
from tdfusion_edge.errors import RequestError
from tdfusion_edge.pairs import Boxes, LabelledPair
from tdfusion_edge.resize import halved, resized_planes
from tdfusion_edge.train.recipe import Augmentation, Task

F32 = npt.NDArray[np.float32]

IGNORED = 255
"""Class of a mask's pixels that do not count."""
OUTSIDE = 114
"""Level of what a zoomed-out picture does not cover: YOLO's customary grey."""
KEPT_AREA = 0.3
"""A box of which less than this share stays inside the view is left out."""
SMALLEST = 2.0
"""A box of fewer pixels a side is left out."""


class View(NamedTuple):
    """One pair at the task's size."""

    infrared: F32
    """(h, w) in [0, 1]."""
    visible: F32
    """(h, w) in [0, 1]."""
    boxes: Boxes | None
    """In pixels of the view."""
    mask: U8 | None
    chroma: U8 | None = None
    """uint8 (2, h, w), Cr then Cb; None for a pair without colours."""


def crop(sample: LabelledPair, augmentation: Augmentation, random: np.random.Generator) -> tuple[F32, ...]:
    """The same random square of infrared, visible and saliency, where the pair has one; all for a side of 0.

    Each is (c, c) float32 in [0, 1].

    Raises:
        RequestError: the pair is smaller than the crop.
    """
    side = augmentation.crop
    require_crop(sample, side)
    height, width = sample.infrared.shape
    if side:
        top, left = random.integers(height - side + 1), random.integers(width - side + 1)
        window = np.s_[top : top + side, left : left + side]
    else:
        window = np.s_[:, :]
    mirrored = augmentation.flip and random.random() < 0.5
    crops = []
    for image in (sample.infrared, sample.visible):
        gained = gain(image[window], augmentation.gain, random)
        crops.append(gained[:, ::-1].copy() if mirrored else gained)
    if sample.saliency is not None:
        place = gain(sample.saliency[window], 0.0, random)
        crops.append(place[:, ::-1].copy() if mirrored else place)
    return tuple(crops)


def require_crop(sample: LabelledPair, side: int) -> None:
    """Refuse a pair from which no square of ``side`` pixels can be cut.

    Raises:
        RequestError: it is smaller.
    """
    height, width = sample.infrared.shape
    if min(height, width) < side:
        raise RequestError(
            f"pair '{sample.name}' is smaller than the crop",
            expected=f"{side}x{side} or more",
            got=f"{width}x{height}",
            hint="Set [augmentation] crop to a smaller number.",
        )


def view(
    pick: Callable[[], LabelledPair], task: Task, augmentation: Augmentation, random: np.random.Generator
) -> View:
    """One view for the task network: a whole pair, zoomed and shifted, or a mosaic of four.

    Args:
        pick: Gives the pair, and three more for a mosaic.
        task: Size of the view, and of its two lumas where F fuses larger ones.
        augmentation: ``zoom``, ``flip``, ``gain`` and ``mosaic``.
        random: What decides.
    """
    if augmentation.mosaic and random.random() < augmentation.mosaic:
        made = _mosaic(pick, task.fused_size, augmentation, random)
    else:
        made = _whole(pick(), task.fused_size, augmentation, random)
    return _seen(made, task)


def _seen(view: View, task: Task) -> View:
    """A view whose labels and colours are those of T's size, while its lumas keep theirs."""
    size = height, width = task.height, task.width
    if view.visible.shape == size:
        return view
    scale = np.diag([width / view.visible.shape[1], height / view.visible.shape[0], 1])[:2]
    boxes = None if view.boxes is None else _moved(view.boxes, scale, (0, 0, width, height))
    mask = None if view.mask is None else _warp(view.mask, scale, size, IGNORED, cv2.INTER_NEAREST)
    chroma = None if view.chroma is None else resized_planes(view.chroma, width, height)
    return view._replace(boxes=boxes, mask=mask, chroma=chroma)


def gain(image: U8, amount: float, random: np.random.Generator) -> F32:
    """uint8 to float32 in [0, 1], with random contrast and brightness if ``amount`` > 0."""
    unit = image.astype(np.float32) / np.float32(255)
    if amount:
        scale, shift = random.uniform(-1, 1, 2) * amount
        unit = np.clip(unit * np.float32(1 + scale) + np.float32(shift / 2), 0, 1)
    return unit


def _whole(
    sample: LabelledPair, size: tuple[int, int], augmentation: Augmentation, random: np.random.Generator
) -> View:
    """One pair through one affine map."""
    height, width = size
    zoom = float(np.exp(random.uniform(-1, 1) * np.log(augmentation.zoom))) if augmentation.zoom > 1 else 1.0
    # A picture that is zoomed out may stand anywhere in the view, one that is zoomed in may be cut anywhere.
    shift_x, shift_y = (
        (random.uniform(0, 1) * (1 - zoom) * side if augmentation.zoom > 1 else 0.0)
        for side in (width, height)
    )
    mirrored = augmentation.flip and bool(random.random() < 0.5)
    matrix = _matrix(sample, size, zoom, shift_x, shift_y, mirrored)
    infrared, visible = (
        gain(_warp(image, matrix, size, OUTSIDE), augmentation.gain, random)
        for image in (sample.infrared, sample.visible)
    )
    mask = None if sample.mask is None else _warp(sample.mask, matrix, size, IGNORED, cv2.INTER_NEAREST)
    boxes = None if sample.boxes is None else _moved(sample.boxes, matrix, (0, 0, width, height))
    colour = sample.colour
    chroma = None if colour is None else split(_warp(colour, matrix, size, OUTSIDE))[1]
    return View(infrared, visible, boxes, mask, chroma)


def _mosaic(
    pick: Callable[[], LabelledPair],
    size: tuple[int, int],
    augmentation: Augmentation,
    random: np.random.Generator,
) -> View:
    """Four pairs around a random centre, each cut by its quarter of the view."""
    height, width = size
    cx, cy = (round(side * random.uniform(0.3, 0.7)) for side in (width, height))
    quarters = ((0, 0, cx, cy), (cx, 0, width, cy), (0, cy, cx, height), (cx, cy, width, height))
    infrared, visible = np.empty(size, np.float32), np.empty(size, np.float32)
    mask: U8 | None = None
    chroma: U8 | None = None
    corners, classes = [], []
    for quarter in quarters:
        sample = pick()
        x1, y1, x2, y2 = quarter
        part = _whole(sample, size, augmentation, random)
        # A window of the part as large as the quarter, anywhere in it.
        left, top = random.integers(width - (x2 - x1) + 1), random.integers(height - (y2 - y1) + 1)
        window = np.s_[top : top + y2 - y1, left : left + x2 - x1]
        infrared[y1:y2, x1:x2], visible[y1:y2, x1:x2] = part.infrared[window], part.visible[window]
        if part.mask is not None:
            if mask is None:
                mask = np.full(size, IGNORED, np.uint8)
            mask[y1:y2, x1:x2] = part.mask[window]
        if part.chroma is not None:
            if chroma is None:
                chroma = np.full((2, *size), NEUTRAL, np.uint8)
            chroma[:, y1:y2, x1:x2] = part.chroma[(slice(None), *window)]
        if part.boxes is not None:
            shift = np.array([[1, 0, x1 - left], [0, 1, y1 - top]], np.float64)
            moved = _moved(part.boxes, shift, quarter)
            corners.append(moved.corners)
            classes.append(moved.classes)
    boxes = Boxes(np.concatenate(corners), np.concatenate(classes)) if corners else None
    return View(infrared, visible, boxes, mask, chroma)


def _matrix(
    sample: LabelledPair, size: tuple[int, int], zoom: float, shift_x: float, shift_y: float, mirrored: bool
) -> npt.NDArray[np.float64]:
    """2x3 map from corners of the picture (0..W, 0..H) to corners of the view."""
    (height, width), (source_height, source_width) = size, sample.infrared.shape
    scale_x, scale_y = zoom * width / source_width, zoom * height / source_height
    if mirrored:
        return np.array([[-scale_x, 0, width - shift_x], [0, scale_y, shift_y]])
    return np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y]])


def _warp(
    image: U8, matrix: npt.NDArray[np.float64], size: tuple[int, int], fill: int, how: int = cv2.INTER_LINEAR
) -> U8:
    height, width = size
    if how == cv2.INTER_LINEAR:
        source_height, source_width = image.shape[:2]
        image = halved(image, source_width * abs(matrix[0, 0]), source_height * matrix[1, 1])
        # From corners of the smaller picture: its columns are as many times wider as there are fewer.
        matrix = matrix @ np.diag([source_width / image.shape[1], source_height / image.shape[0], 1])
    # OpenCV counts from pixel centres, the matrix from corners.
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    return cast(U8, cv2.warpAffine(image, centred, (width, height), flags=how, borderValue=(fill,) * 3))


def _moved(boxes: Boxes, matrix: npt.NDArray[np.float64], limits: tuple[float, float, float, float]) -> Boxes:
    """Boxes through an axis-parallel map, cut at ``limits`` x1 y1 x2 y2; what hardly stays is left out."""
    x = np.sort(boxes.corners[:, [0, 2]] * matrix[0, 0] + matrix[0, 2], axis=1)
    y = np.sort(boxes.corners[:, [1, 3]] * matrix[1, 1] + matrix[1, 2], axis=1)
    area = (x[:, 1] - x[:, 0]) * (y[:, 1] - y[:, 0])
    x, y = x.clip(limits[0], limits[2]), y.clip(limits[1], limits[3])
    sides = np.stack((x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]))
    kept = (sides.min(axis=0) >= SMALLEST) & (sides.prod(axis=0) >= KEPT_AREA * area)
    corners = np.stack((x[:, 0], y[:, 0], x[:, 1], y[:, 1]), axis=1)[kept].astype(np.float32)
    return Boxes(corners, boxes.classes[kept])
