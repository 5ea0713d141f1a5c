"""Labelled boxes in YOLO's text format."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.text import decoded

YOLO_LINE = "'CLASS CX CY WIDTH HEIGHT', a whole number and four shares of the picture"
MOST_CLASS = 2**31 - 1
"""Largest number of a class, which is far beyond any set's."""
ROUNDING = 1e-3
"""How far a share may pass 0 or 1: what tools write is rounded, and clipped here."""


def read_yolo(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Labelled boxes of one picture in YOLO's text format, a line an object.

    Args:
        path: A text file; an empty one says that the picture shows no object.

    Returns:
        Classes (N,) int64 from 0, and corners (N, 4) float64, x1 y1 x2 y2 in shares of the picture's
        width and height, clipped to 0..1, with x1 < x2 and y1 < y2.

    Raises:
        InputMissing: there is no such file.
        RequestError: it is no text, or a line is none of this format.
    """
    classes: list[int] = []
    boxes: list[list[float]] = []
    for number, line in enumerate(_lines(path), 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 5:
            _refuse(path, number, line, f"{len(fields)} fields")
        try:
            numbers = [float(field) for field in fields]
        except ValueError:
            _refuse(path, number, line, "no numbers")
        # NumPy and spreadsheets write whole numbers as 0.0 or 1e0. Written so that a NaN is refused as well.
        if not (numbers[0] == numbers[0] // 1 and abs(numbers[0]) <= MOST_CLASS):
            _refuse(path, number, line, "a class that is no whole number")
        classes.append(int(numbers[0]))
        boxes.append(numbers[1:])
        centre, sides = boxes[-1][:2], boxes[-1][2:]
        # Written so that a NaN is refused as well.
        if not (classes[-1] >= 0 and all(-ROUNDING <= value <= 1 + ROUNDING for value in centre)):
            _refuse(path, number, line, "a centre outside of the picture, or a class below 0")
        if not all(0 < value <= 1 + ROUNDING for value in sides):
            _refuse(path, number, line, "sides that are no shares")
    return _corners(classes, boxes)


def _lines(path: Path) -> list[str]:
    try:
        return decoded(path.read_bytes()).splitlines()
    except FileNotFoundError as error:
        raise InputMissing(f"there is no label file {path}") from error
    except (UnicodeDecodeError, OSError) as error:
        raise RequestError(f"{path} cannot be read", expected="a text file of YOLO labels") from error


def _refuse(path: Path, number: int, line: str, reason: str) -> NoReturn:
    raise RequestError(
        f"{path}, line {number} is no YOLO box",
        expected=YOLO_LINE,
        got=f"{reason}: '{line[:60]}'",
        hint="Polygons, scores and pixel coordinates are other formats.",
    )


def _corners(
    classes: list[int], boxes: list[list[float]]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    shares = np.asarray(boxes, np.float64).reshape(-1, 4)
    ids = np.asarray(classes, np.int64)
    half = shares[:, 2:] / 2
    corners = np.concatenate((shares[:, :2] - half, shares[:, :2] + half), axis=1).clip(0, 1)
    # A box on the rim may have nothing left within the picture.
    left = (corners[:, :2] < corners[:, 2:]).all(axis=1)
    return ids[left], corners[left]
