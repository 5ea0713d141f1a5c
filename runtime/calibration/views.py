"""Views of a pattern: which of many frames are worth their place, and the homography through all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tdfusion_edge.errors import WorkError
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime.calibration.fit import (
    F64,
    Errors,
    applied,
    errors_of,
    fit,
    homography_of,
)
from tdfusion_edge.runtime.calibration.pattern import Pattern, find, same_order, sharpness

FEWEST_VIEWS = 3
"""Views below which nothing can be held out."""
ENOUGH_VIEWS = 40
"""No more are kept."""
STILL = 0.0015
"""Largest movement of the pattern from one look to the next, in widths of the visible picture: 1 px of 640.
What moves is seen by two cameras at two moments, and is blurred."""
STILL_WITHIN_NS = 1_000_000_000
"""Two looks that are further apart tell nothing of movement."""
ANOTHER = 0.06
"""Least distance of a new view from every one that is kept, in widths of the visible picture."""
WRONG = 3.0
"""Error of a point beyond which it is left out, pixels of a visible picture 640 wide."""
LEAST_AGREEING = 0.6
"""Share of all points that have to lie nearer than that."""
CELLS = (6, 4)
"""Columns and rows that the picture is divided into, to tell how much of it the views cover."""


class View(NamedTuple):
    """A pattern that both cameras saw."""

    infrared: F64
    """(N, 2) x y."""
    visible: F64
    """(N, 2) x y, the same points in the same order."""
    sharpness: float
    """Of the blurrier of the two pictures."""


class Views:
    """Collects views from pairs in the order of their time.

    Args:
        pattern: What is looked for.
        moving: The pairs are of a stream: a view counts only if the pattern stood still since the look
            before.
    """

    def __init__(self, pattern: Pattern, *, moving: bool) -> None:
        self._pattern, self._moving = pattern, moving
        self._before: tuple[int, F64] | None = None
        self._polarity = True
        """Whether infrared was inverted when the pattern was last found: that is tried first."""
        self.kept: list[View] = []
        self.looked = self.found_infrared = self.found_visible = self.moved = 0
        """Pairs that were looked at, those in which each camera showed the pattern, and those where it
        moved."""

    def look(self, infrared: Image, visible: Image, time_ns: int) -> bool:
        """Look at a pair; whether it became a view, or replaced a blurrier one of the same place."""
        self.looked += 1
        theirs = find(self._pattern, visible)
        if theirs is None:
            self._before = None
            # Still looked for in infrared at times: a user is to know which of the two does not see it.
            if self.looked % 4 == 1:
                self.found_infrared += find(self._pattern, infrared, inverted=True) is not None
            return False
        self.found_visible += 1
        width = visible.shape[1]
        before, self._before = self._before, (time_ns, theirs)
        if self._moving and not self._stood_still(before, time_ns, theirs, width):
            self.moved += 1
            return False
        ours = find(self._pattern, infrared, inverted=True)
        if ours is None:
            return False
        self.found_infrared += 1
        ours = same_order(self._pattern, ours, theirs)
        sharp = min(sharpness(infrared, ours), sharpness(visible, theirs))
        return self._keep(View(ours, theirs, sharp), width)

    @property
    def enough(self) -> bool:
        """No more views are needed."""
        return len(self.kept) >= ENOUGH_VIEWS

    def _stood_still(self, before: tuple[int, F64] | None, time_ns: int, points: F64, width: int) -> bool:
        if before is None or time_ns - before[0] > STILL_WITHIN_NS:
            return False
        same = same_order(self._pattern, before[1], points)
        return bool(np.abs(same - points).max() <= STILL * width)

    def _keep(self, view: View, width: int) -> bool:
        for index, other in enumerate(self.kept):
            if np.linalg.norm(view.visible - other.visible, axis=1).mean() < ANOTHER * width:
                if view.sharpness > other.sharpness:
                    self.kept[index] = view
                    return True
                return False
        if self.enough:
            return False
        self.kept.append(view)
        return True


class Patterned(NamedTuple):
    """A homography from views of a pattern, with what speaks for it."""

    homography: F64
    """3 x 3 from infrared pixels to visible ones."""
    errors: Errors
    """Of the points that count."""
    held_out: Errors
    """Of all points of each view, by the homography of the other views."""
    coverage: float
    """Share of the cells of infrared's view that hold a point."""
    views: int


def solve(views: Sequence[View], infrared: tuple[int, int], visible: tuple[int, int]) -> Patterned:
    """The homography through the points of all views.

    Args:
        views: Of boards at one distance.
        infrared: Width and height of the infrared picture.
        visible: Likewise.

    Raises:
        WorkError: fewer than three views, or views that lie on no one homography, with the residual.
    """
    if len(views) < FEWEST_VIEWS:
        raise WorkError(
            "too few views of the pattern", expected=f"{FEWEST_VIEWS} or more", got=str(len(views))
        )
    ours, theirs = (np.concatenate([view[side] for view in views]) for side in (0, 1))
    threshold = WRONG * visible[0] / 640
    found = fit(ours, theirs, threshold=threshold)
    lengths = np.linalg.norm(found.residuals, axis=1)
    agreeing = float(np.mean(found.inliers))
    if agreeing < LEAST_AGREEING:
        raise WorkError(
            "the views of the pattern lie on no one homography",
            expected=f"{LEAST_AGREEING:.0%} of the points or more within {threshold:.2g} px",
            got=f"{agreeing:.0%}, median residual {np.median(lengths):.1f} px",
            hint="Hold the board at one distance, face on, and keep it still for a second at every place.",
        )
    out = []
    for left_out in range(len(views)):
        rest = [view for index, view in enumerate(views) if index != left_out]
        others = homography_of(
            np.concatenate([view.infrared for view in rest]),
            np.concatenate([view.visible for view in rest]),
            threshold=threshold,
            start=found.homography,
        )
        view = views[left_out]
        out.append(np.linalg.norm(view.visible - applied(others, view.infrared), axis=1))
    return Patterned(
        found.homography,
        errors_of(found.errors),
        errors_of(np.concatenate(out)),
        coverage(ours, infrared),
        len(views),
    )


def coverage(points: F64, size: tuple[int, int]) -> float:
    """Share of the cells of a picture (width, height) that hold one of the points (N, 2)."""
    cells = np.floor((points + 0.5) / size * CELLS).astype(int)
    inside = ((cells >= 0) & (cells < CELLS)).all(axis=1)
    return len({tuple(cell) for cell in cells[inside]}) / (CELLS[0] * CELLS[1])
