"""Boards that are drawn through a homography: what a camera sees of them, and where exactly."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.runtime.calibration.pattern import Pattern

F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]
FINE = 4
"""Drawn so many times as large and averaged: edges are exact to a sixteenth of a pixel."""


def points(pattern: Pattern) -> F64:
    """(N, 2) x y of the pattern's points on the board, row by row, in squares."""
    rows, columns = np.mgrid[: pattern.rows, : pattern.columns]
    if pattern.kind == "acircles":
        return np.stack([2 * columns + rows % 2, rows], axis=-1).reshape(-1, 2).astype(float)
    return np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(float)


def drawn(
    pattern: Pattern, to: F64, size: tuple[int, int], *, dark: int = 30, bright: int = 220, blur: float = 0.7
) -> U8:
    """A picture (width, height) of a board whose points lie where ``to`` sends those of :func:`points`."""
    unit = 40  # pixels of the board's own picture to a square
    wide = 2 * pattern.columns + 4 if pattern.kind == "acircles" else pattern.columns + 5
    board = np.full(((pattern.rows + 5) * unit, wide * unit), bright, np.uint8)
    at = points(pattern)
    for x, y in at:
        if pattern.kind != "chessboard":
            centre = (round((x + 2.5) * unit * 16), round((y + 2.5) * unit * 16))
            radius = 0.42 if pattern.kind == "acircles" else 0.28
            cv2.circle(board, centre, round(radius * unit * 16), dark, -1, cv2.LINE_AA, 4)
    if pattern.kind == "chessboard":
        for row in range(pattern.rows + 1):
            for column in range(pattern.columns + 1):
                if (row + column) % 2 == 0:
                    left, top = int((column + 1.5) * unit), int((row + 1.5) * unit)
                    board[top : top + unit, left : left + unit] = dark
    # A pixel's centre is a whole number in the picture; on the board a square's edge lies between two pixels.
    half = 0.5 if pattern.kind == "chessboard" else 0.0
    to_board = np.array(
        [[1 / unit, 0, (half - 2.5 * unit) / unit], [0, 1 / unit, (half - 2.5 * unit) / unit], [0, 0, 1]]
    )
    finer = np.array([[FINE, 0, (FINE - 1) / 2], [0, FINE, (FINE - 1) / 2], [0, 0, 1]])
    whole = (size[0] * FINE, size[1] * FINE)
    grey = (dark + bright) // 2
    picture = cv2.warpPerspective(
        board,
        finer @ to @ to_board,
        whole,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=grey,
    )
    picture = cv2.GaussianBlur(picture, (0, 0), blur * FINE)
    return cast(U8, cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def pose(rng: np.random.Generator, pattern: Pattern, size: tuple[int, int], share: float = 0.5) -> F64:
    """A random homography from board to picture (width, height), the board ``share`` of the picture wide."""
    spread = points(pattern)
    middle, extent = spread.mean(axis=0), np.ptp(spread, axis=0)
    scale = share * min(size[0] / (extent[0] + 3), size[1] / (extent[1] + 3))
    angle = np.deg2rad(rng.uniform(-12, 12))
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    room = (1 - share) / 2 * np.array(size) * 0.8
    to = np.array(size) / 2 + rng.uniform(-room, room)
    tilt = rng.uniform(-0.012, 0.012, 2)
    matrix = np.array([[c, -s, 0], [s, c, 0], [*tilt, 1]])
    centred = matrix @ np.array([[1, 0, -middle[0]], [0, 1, -middle[1]], [0, 0, 1]])
    whole: F64 = np.array([[1, 0, to[0]], [0, 1, to[1]], [0, 0, 1]]) @ centred
    return whole


def noisy(picture: U8, rng: np.random.Generator, sigma: float = 2.0) -> U8:
    """With a sensor's noise, levels."""
    return np.clip(picture + rng.normal(0, sigma, picture.shape), 0, 255).astype(np.uint8)


def rig(rng: np.random.Generator, infrared: tuple[int, int], visible: tuple[int, int] = (640, 480)) -> F64:
    """A random homography from infrared pixels to visible ones: fields of view, turn, shift and tilt differ.

    Infrared's view is .75 to 1.25 times as wide as visible's, turned by up to 4 degrees, and its middle
    lies up to a tenth of the picture from visible's.
    """
    scale = rng.uniform(0.75, 1.25) * visible[0] / infrared[0]
    angle = np.deg2rad(rng.uniform(-4, 4))
    tilt = rng.uniform(-0.06, 0.06, 2) / infrared
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    centred = np.array([[c, -s, 0], [s, c, 0], [*tilt, 1]])
    to = np.array(visible) / 2 + rng.uniform(-0.1, 0.1, 2) * visible
    x, y = (np.array(infrared) - 1) / 2
    whole: F64 = (
        np.array([[1, 0, to[0]], [0, 1, to[1]], [0, 0, 1]])
        @ centred
        @ np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]])
    )
    return whole
