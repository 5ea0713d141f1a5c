"""The known ways in which ONNX detectors take a picture and tell of boxes.

Which one a graph follows is seen from what it gives. Sources of the formulas: Ge et al., YOLOX, 2021,
section 2.1, for boxes from cells; Li et al., Generalized Focal Loss, NeurIPS 2020, section 3.2, for sides
as distributions, which NanoDet uses. Colours, ranges and where the picture lies are those of the projects
YOLOX, NanoDet and Ultralytics. Where in its cell a box of NanoDet begins was measured with its published
weights: mAP50 of 60 infrared pictures is .34 from the middle, and .23 from the corner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge.coco import NAMES
from tdfusion_edge.runtime.engines.base import Array

F32: TypeAlias = npt.NDArray[np.float32]
Size: TypeAlias = tuple[int, int]
"""Width and height of the input, pixels."""
Outputs: TypeAlias = Mapping[str, Array]

COCO = len(NAMES)
STRIDES = (8, 16, 32)
LARGEST = 10.0
"""A side of e^10 cells is wider than any picture; more would overflow."""


class Family(NamedTuple):
    """One way to take a picture and to tell of boxes."""

    name: str
    decode: Callable[[Outputs, Size], tuple[F32, F32]]
    """What the graph gave to boxes (A, 4), x1 y1 x2 y2 in pixels of the input, and scores (A, 80)."""
    rgb: bool = False
    """Whether red comes first; blue otherwise."""
    mean: tuple[float, float, float] = (0, 0, 0)
    """Of 255, in the channels' order; what is taken from the picture before it is divided by ``scale``."""
    scale: tuple[float, float, float] = (1, 1, 1)
    centred: bool = False
    """Whether the picture lies in the middle of the input; in the upper left corner otherwise."""


EXPECTED = (
    f"COCO's {COCO} classes from YOLOX, one output (1, A, {5 + COCO}), A of strides 8, 16 and 32; from "
    f"YOLOv8 and its like, one output (1, {4 + COCO}, A) or (1, A, {4 + COCO}); or from NanoDet, for each of "
    f"these strides (1, n, {COCO}) and (1, n, 4 k)"
)


def recognised(outputs: Outputs, size: Size) -> Family | None:
    """The family of a graph by what it gave for some picture; None where it is none of the known ones.

    Args:
        outputs: Everything that the graph gave, by name.
        size: Of the picture.
    """
    arrays = list(outputs.values())
    if any(one.dtype != np.float32 or one.ndim != 3 or len(one) != 1 for one in arrays):
        return None
    if len(arrays) == 2 * len(STRIDES):
        return _nanodet(outputs, size)
    if len(arrays) != 1:
        return None
    rows, columns = arrays[0].shape[1:]
    if columns == 5 + COCO and rows == len(cells(size)):
        # The same shape has two meanings: offsets within cells, some units at most, or pixels of the input.
        in_pixels = bool(arrays[0][0, :, :2].max() > max(size) / 2)
        return Family("YOLOX", partial(_yolox, in_pixels=in_pixels))
    if 4 + COCO in (rows, columns):
        decode = partial(_yolov8, turned=rows == 4 + COCO)
        return Family("YOLOv8", decode, rgb=True, scale=(255, 255, 255), centred=True)
    return None


def cells(size: Size, strides: tuple[int, ...] = STRIDES) -> F32:
    """(A, 3) float32: column, row and stride of every cell, row by row and stride by stride."""
    grids = []
    for stride in strides:
        columns, rows = (-(-side // stride) for side in size)
        y, x = np.mgrid[:rows, :columns]
        grids.append(np.stack((x, y, np.full_like(x, stride)), axis=-1).reshape(-1, 3))
    return np.concatenate(grids).astype(np.float32)


def _yolox(outputs: Outputs, size: Size, *, in_pixels: bool) -> tuple[F32, F32]:
    (rows,) = (array[0] for array in outputs.values())
    centres, sides = rows[:, :2], rows[:, 2:4]
    if not in_pixels:
        grid = cells(size)
        centres = (centres + grid[:, :2]) * grid[:, 2:]
        sides = np.exp(np.minimum(sides, LARGEST)) * grid[:, 2:]
    return _corners(centres, sides), rows[:, 4:5] * rows[:, 5:]


def _yolov8(outputs: Outputs, size: Size, *, turned: bool) -> tuple[F32, F32]:
    del size  # its boxes are in pixels
    (rows,) = (array[0].T if turned else array[0] for array in outputs.values())
    return _corners(rows[:, :2], rows[:, 2:4]), rows[:, 4:]


def _nanodet(outputs: Outputs, size: Size) -> Family | None:
    """NanoDet, if the six outputs are scores and sides of its three strides."""
    names: list[tuple[str, str]] = []
    for stride in STRIDES:
        count = len(cells(size, (stride,)))
        here = {name: array.shape[2] for name, array in outputs.items() if array.shape[1] == count}
        scores = [name for name, columns in here.items() if columns == COCO]
        sides = [name for name, columns in here.items() if columns != COCO and not columns % 4]
        if (len(scores), len(sides)) != (1, 1):
            return None
        names.append((scores[0], sides[0]))
    # In the order of blue, green, red.
    mean, scale = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
    return Family("NanoDet", partial(_distributions, names=names), mean=mean, scale=scale, centred=True)


def _distributions(outputs: Outputs, size: Size, *, names: list[tuple[str, str]]) -> tuple[F32, F32]:
    """A side's distance from its cell's middle is the mean of a distribution over 0, 1, ... strides."""
    scores = np.concatenate([outputs[name][0] for name, _ in names])
    logits = [outputs[name][0].reshape(-1, 4, outputs[name].shape[2] // 4) for _, name in names]
    powers = [np.exp(one - one.max(axis=2, keepdims=True)) for one in logits]
    means = [one @ np.arange(one.shape[2], dtype=np.float32) / one.sum(axis=2) for one in powers]
    grid = cells(size)
    sides = np.concatenate(means) * grid[:, 2:]
    centres = (grid[:, :2] + 0.5) * grid[:, 2:]
    return np.concatenate((centres - sides[:, :2], centres + sides[:, 2:]), axis=1), scores


def _corners(centres: F32, sides: F32) -> F32:
    return np.concatenate((centres - sides / 2, centres + sides / 2), axis=1)
