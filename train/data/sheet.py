"""A contact sheet: some pairs of a set with what their labels say, for a look by eye."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from tdfusion_edge.color import U8
from tdfusion_edge.errors import InputMissing, RequestError, SinkError
from tdfusion_edge.files import write_aside
from tdfusion_edge.pairs.drawn import Drawn
from tdfusion_edge.pairs.labels import LabelFiles, in_pixels
from tdfusion_edge.pairs.reader import is_video, read_pair
from tdfusion_edge.train.data.check import DataSet, spaced

ROWS = 12
"""Pairs on a sheet at most."""
WIDTH = 400
"""Of each picture on the sheet, pixels."""
BAND = 22
"""Height of the line of text above a row, pixels."""

Colour = tuple[int, int, int]


def sheet(data: DataSet, names: Sequence[str]) -> U8:
    """Up to 12 pairs, a row each: infrared, visible, and both in one with boxes or mask on top.

    Args:
        data: The set.
        names: Stems of pairs that can be read, at least one.

    Returns:
        BGR picture.
    """
    return np.concatenate([_row(data, names[index]) for index in spaced(len(names), ROWS)])


def require_png(path: Path) -> None:
    """Refuse where no picture can be written to, before the work that it shows.

    Raises:
        RequestError: its name does not end in ``.png``.
        InputMissing: its folder does not exist.
    """
    if path.suffix.lower() != ".png":
        raise RequestError(f"{path}: unknown kind of picture", expected="a name that ends in .png")
    if not path.parent.is_dir():
        raise InputMissing(f"there is no folder {path.parent} to write {path.name} to")


def write_png(path: Path, picture: U8) -> None:
    """Write a picture aside and rename it, so that ``path`` is whole or as it was before.

    Raises:
        SinkError: it cannot be written.
    """
    try:
        write_aside(path, cv2.imencode(".png", picture)[1].tobytes(), parents=False)
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror}") from error


def colour_of(number: int) -> Colour:
    """A BGR colour for a class, far from those of its neighbours' numbers."""
    # Steps of the golden ratio around the circle of hues never come back to a colour soon.
    hue = int(number * 0.618 * 180) % 180
    bgr = cv2.cvtColor(np.array([[[hue, 230, 255]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    return int(bgr[0]), int(bgr[1]), int(bgr[2])


def _row(data: DataSet, name: str) -> U8:
    pair = read_pair(name, data.files.infrared[name], data.files.visible[name], every=1 << 30)[0]
    infrared, visible = (cv2.merge([image] * 3) for image in (pair.infrared, pair.visible))
    height, width = pair.visible.shape
    scale = WIDTH / width
    size = (WIDTH, max(1, round(height * scale)))
    blend = cast(U8, cv2.addWeighted(infrared, 0.5, visible, 0.5, 0))
    legend: list[str] = []
    labels = data.labels if name not in (data.labels.lacking if data.labels else ()) else None
    if labels is not None and labels.is_mask:
        blend = _tinted(blend, labels.mask(name, (height, width)), labels.classes, legend)
    tiles = [
        cast(U8, cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        for image in (infrared, visible, blend)
    ]
    if labels is not None and not labels.is_mask and not is_video(data.files.visible[name]):
        _draw_boxes(tiles[2], labels, labels.drawn(name), name, (height, width), legend)
    band = np.zeros((BAND, 3 * WIDTH, 3), np.uint8)
    text = f"{name}  {width}x{height}  {' '.join(legend)}"
    _write(band, text, (6, BAND - 7), (255, 255, 255), 0.45)
    return np.concatenate((band, np.concatenate(tiles, axis=1)))


def _draw_boxes(
    tile: U8, labels: LabelFiles, drawn: Drawn, name: str, size: tuple[int, int], legend: list[str]
) -> None:
    scale = tile.shape[1] / size[1]
    order = list(labels.classes) or sorted(set(drawn.names))
    for corners, one in zip(in_pixels(drawn, name, *size), drawn.names, strict=True):
        colour = colour_of(order.index(one) if one in order else len(order))
        left, top, right, bottom = (round(float(value) * scale) for value in corners)
        cv2.rectangle(tile, (left, top), (right, bottom), colour, 1)
        _write(tile, one, (left, max(9, top - 3)), colour, 0.35)
    legend.append(f"{len(drawn.names)} boxes")


def _write(picture: U8, text: str, at: tuple[int, int], colour: Colour, size: float) -> None:
    # The font has ASCII alone; OpenCV shows anything else as question marks.
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


def _tinted(blend: U8, mask: U8, classes: Sequence[str], legend: list[str]) -> U8:
    tint = np.zeros((256, 3), np.uint8)
    tint[: len(classes)] = [colour_of(number) for number in range(len(classes))]
    known = (mask != 255)[..., None]
    legend += [classes[value] for value in np.unique(mask) if value != 255]
    return np.where(known, cv2.addWeighted(blend, 0.6, tint[mask], 0.4, 0), blend)
