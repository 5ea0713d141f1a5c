"""Finding a calibration pattern in a picture of either spectrum: a chessboard or a grid of circles.

OpenCV finds and refines the points. Two things are added. A board that is heated (by the sun, a lamp) shows
its dark
fields bright in infrared, so both polarities are tried. And a sensor of 80x62 pixels shows fields of a few
pixels, which no detector takes for corners: small pictures are enlarged first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import cv2
import numpy as np

from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime.calibration.features import F32, U8, level
from tdfusion_edge.runtime.calibration.fit import F64

Kind: TypeAlias = Literal["chessboard", "circles", "acircles"]

EXAMPLES = "chessboard:9x6, circles:7x5 or acircles:4x11"
FEWEST, MOST = 3, 40
"""Points of a pattern along a side."""
ENLARGED = (240, 480)
"""A picture whose shorter side has fewer pixels is enlarged to about that, and then to about that."""
MOST_OTHER_BLOBS = 60
"""Blobs beside the pattern's own in a picture that is searched for a grid of circles."""
REFINED = 0.35
"""Side of the window of the refinement of corners, in distances of neighbouring corners."""
BLUR_OF_ENLARGED = 0.35
"""Standard deviation of the blur that hides the enlarged pixels, in pixels of the picture as it was."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What is to be found."""

    kind: Kind
    columns: int
    """Inner corners of a chessboard, or circles, along a row."""
    rows: int

    @property
    def points(self) -> int:
        """How many there are."""
        return self.columns * self.rows

    def __str__(self) -> str:
        return f"{self.kind}:{self.columns}x{self.rows}"


def parse(text: str) -> Pattern:
    """The pattern that ``chessboard:9x6`` and the like stand for.

    Raises:
        RequestError: it is none.
    """
    match = re.fullmatch(r"(chessboard|circles|acircles):(\d{1,3})x(\d{1,3})", text)
    if match is None:
        raise RequestError(
            f"--pattern {text}",
            expected=f"{EXAMPLES}: the inner corners, or circles, along a row and a column",
        )
    kind, columns, rows = cast(Kind, match[1]), int(match[2]), int(match[3])
    if not (FEWEST <= columns <= MOST and FEWEST <= rows <= MOST):
        raise RequestError(f"--pattern {text}", expected=f"{FEWEST} to {MOST} points along a side")
    return Pattern(kind, columns, rows)


def find(pattern: Pattern, image: Image, *, inverted: bool = False) -> F64 | None:
    """The points of the pattern in a picture.

    Args:
        pattern: What to look for.
        image: uint8 or uint16 (H, W), or uint8 (H, W, 3) BGR.
        inverted: Try the picture with bright and dark exchanged first: a heated board in infrared.

    Returns:
        (N, 2) x y to a fraction of a pixel, row by row from one corner of the pattern; None: not found.
    """
    grey = np.clip((level(image) + np.float32(0.5)) * 255, 0, 255)
    factors = sorted({max(1, -(-side // min(grey.shape))) for side in ENLARGED})
    for factor in factors:
        picture = _enlarged(grey, factor)
        for polarity in (inverted, not inverted):
            points = _points(pattern, np.bitwise_not(picture) if polarity else picture)
            if points is not None:
                return cast(F64, (points + 0.5) / factor - 0.5)
    return None


def _enlarged(grey: F32, factor: int) -> U8:
    if factor > 1:
        larger = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        grey = cast(F32, cv2.GaussianBlur(larger, (0, 0), BLUR_OF_ENLARGED * factor))
    return np.clip(grey, 0, 255).astype(np.uint8)


def same_order(pattern: Pattern, infrared: F64, visible: F64) -> F64:
    """Infrared's points in the order of visible's.

    A detector begins at the corner that it likes best, and another one where bright and dark are exchanged.
    The two
    cameras see the board the same way up, within 90 degrees (45 for a square pattern), so the order is the
    one that turns the least and mirrors nothing.

    Args:
        pattern: What was found.
        infrared: (N, 2), as :func:`find` gives them.
        visible: (N, 2), likewise.
    """

    def turn(points: F64) -> float:
        own, other = points - points.mean(axis=0), visible - visible.mean(axis=0)
        linear = np.linalg.lstsq(own, other, rcond=None)[0].T
        if np.linalg.det(linear) <= 0:
            return float("inf")
        return abs(float(np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1])))

    return min(_orders(pattern, infrared), key=turn)


def sharpness(image: Image, points: F64) -> float:
    """How steep the picture is at its steepest around the pattern, in contrasts of it a pixel.

    Args:
        image: In which the points are.
        points: (N, 2).
    """
    grey = level(image)
    x0, y0 = np.maximum(np.floor(points.min(axis=0)).astype(int) - 2, 0)
    x1, y1 = np.ceil(points.max(axis=0)).astype(int) + 3
    part = grey[y0:y1, x0:x1]
    steep = np.hypot(cv2.Sobel(part, cv2.CV_32F, 1, 0), cv2.Sobel(part, cv2.CV_32F, 0, 1)) / 8
    span = max(float(np.percentile(part, 98) - np.percentile(part, 2)), 1e-3)
    return float(np.percentile(steep, 95)) / span


def _orders(pattern: Pattern, points: F64) -> Iterator[F64]:
    """The orders in which a detector may give the points."""
    if pattern.kind == "acircles":  # rows are staggered: only its own order, or the whole turned about
        yield points
        yield points[::-1]
        return
    grid = points.reshape(pattern.rows, pattern.columns, 2)
    square = pattern.rows == pattern.columns
    for one in (grid, np.transpose(grid, (1, 0, 2))) if square else (grid,):
        for rows in (one, one[::-1]):
            for both in (rows, rows[:, ::-1]):
                yield both.reshape(-1, 2)


def _points(pattern: Pattern, picture: U8) -> F64 | None:
    size = (pattern.columns, pattern.rows)
    if pattern.kind == "chessboard":
        found, corners = cv2.findChessboardCornersSB(picture, size, flags=cv2.CALIB_CB_NORMALIZE_IMAGE)
        if found:
            corners = _refined(picture, cast(F32, corners), pattern)
    else:
        grid = cv2.CALIB_CB_ASYMMETRIC_GRID if pattern.kind == "acircles" else cv2.CALIB_CB_SYMMETRIC_GRID
        detector = _blobs(picture)
        # The search tries combinations: among hundreds of blobs it would not come back.
        if not pattern.points <= len(detector.detect(picture)) <= pattern.points + MOST_OTHER_BLOBS:
            return None
        found, corners = cv2.findCirclesGrid(picture, size, flags=grid, blobDetector=detector)
    if not found or corners is None or len(corners) != pattern.points:
        return None
    return cast(F64, corners.reshape(-1, 2).astype(np.float64))


def _refined(picture: U8, corners: F32, pattern: Pattern) -> F32:
    """Corners where gradients say they are, within a window that reaches no other corner."""
    grid = corners.reshape(pattern.rows, pattern.columns, 2)
    steps = (np.linalg.norm(np.diff(grid, axis=axis), axis=2).min() for axis in (0, 1))
    window = int(np.clip(REFINED * min(steps), 2, 15))
    until = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-3)
    fine = cv2.cornerSubPix(
        picture, corners.reshape(-1, 1, 2).astype(np.float32), (window, window), (-1, -1), until
    )
    return cast(F32, fine)


def _blobs(picture: U8) -> Any:
    """A detector of dark blobs of any size that a grid can have."""
    library: Any = cv2  # whose stubs lack it
    wish = library.SimpleBlobDetector_Params()
    wish.filterByColor, wish.blobColor = True, 0
    wish.filterByArea = True
    wish.minArea, wish.maxArea = 12.0, picture.size / 20
    wish.filterByCircularity, wish.minCircularity = True, 0.6
    wish.filterByInertia, wish.minInertiaRatio = True, 0.2
    wish.filterByConvexity, wish.minConvexity = True, 0.85
    wish.minDistBetweenBlobs = 4.0
    return library.SimpleBlobDetector_create(wish)
