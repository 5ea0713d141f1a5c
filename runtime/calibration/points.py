"""Points that somebody else found in both pictures: a matcher, or a person."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tdfusion_edge.errors import InputMissing, RequestError, WorkError
from tdfusion_edge.runtime.calibration.fit import F64, FEWEST, Errors, applied, errors_of, fit, least_squares
from tdfusion_edge.runtime.calibration.views import coverage

COLUMNS = "x_ir y_ir x_vis y_vis"
MOST_BYTES = 64 << 20
"""Of a file of matches: a million of them are 40 MB."""
WRONG = 3.0
"""Error of a match beyond which it is taken for wrong, pixels of a visible picture 640 wide."""
FEWEST_MATCHES, LEAST_AGREEING = 12, 0.15
"""Matches and share of them that have to agree: so many agree by chance on no homography."""
WORST_BY_HAND = 12.0
"""Error of a point by hand beyond which it must be wrong, pixels of a visible picture 640 wide."""


class Misfit(WorkError):
    """Points by hand that lie on no one homography.

    Args:
        what: As of :class:`.TdfusionError`, and so are the other texts.
        lengths: (N,) how far each point is off, visible pixels; None where it cannot be told which is wrong.
    """

    def __init__(
        self, what: str, *, expected: str, got: str, hint: str | None = None, lengths: F64 | None
    ) -> None:
        self.lengths = lengths
        super().__init__(what, expected=expected, got=got, hint=hint)


class Pointed(NamedTuple):
    """A homography from points, with what speaks for it."""

    homography: F64
    """3 x 3 from infrared pixels to visible ones."""
    errors: Errors
    """Of the points that count; 0 for four points, which any homography fits."""
    given: int
    """Points that there were."""
    coverage: float
    """Share of the cells of infrared's view that hold a point."""
    lengths: F64
    """(N,) how far each point that was given is off, visible pixels."""


def read_matches(path: Path) -> F64:
    """The matches in a text file, (N, 4): x and y in infrared, x and y in visible, pixels.

    A line has these four numbers, with blanks, commas or semicolons between them; what follows them, such
    as a
    matcher's confidence, is passed over. Empty lines, lines that begin with ``#`` and a first line of names
    are too.

    Raises:
        InputMissing: there is no such file, or no match in it.
        RequestError: it is too large, no text, or a line has no four finite numbers.
    """
    if not path.is_file():
        raise InputMissing(f"there is no file of matches {path}", expected=f"lines of {COLUMNS}")
    if path.stat().st_size > MOST_BYTES:
        raise RequestError(f"{path} is too large", expected=f"{MOST_BYTES} bytes or fewer")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise RequestError(f"{path} cannot be read", expected=f"text, lines of {COLUMNS}") from error
    rows: list[list[float]] = []
    begun = False
    for number, line in enumerate(lines, 1):
        words = [word for word in re.split(r"[\s,;]+", line.strip()) if word]
        if not words or words[0].startswith("#"):
            continue
        try:
            row = [float(word) for word in words[:4]]
        except ValueError:
            row = []
        if len(row) == 4 and np.isfinite(row).all():
            rows.append(row)
        elif begun:
            raise RequestError(
                f"{path}, line {number}", expected=f"four numbers: {COLUMNS}", got=line.strip()[:60]
            )
        begun = True
    if not rows:
        raise InputMissing(f"{path} holds no match", expected=f"lines of {COLUMNS}")
    return np.array(rows, np.float64)


def parse_point(text: str) -> tuple[float, float, float, float]:
    """The point that ``X,Y,X,Y`` stands for: in infrared, then in visible.

    Raises:
        RequestError: it is none.
    """
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 4 or not np.isfinite(numbers).all():
        raise RequestError(f"--point {text}", expected="X,Y,X,Y in pixels: in infrared, then in visible")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def solve_matches(matches: F64, infrared: tuple[int, int], visible: tuple[int, int]) -> Pointed:
    """The homography that most of many matches agree on; the others may be wrong.

    Args:
        matches: (N, 4), as :func:`read_matches` gives them.
        infrared: Width and height of the infrared picture.
        visible: Likewise.

    Raises:
        RequestError: matches lie outside of the pictures: they are of other sizes.
        WorkError: too few agree, with the residual.
    """
    _require_inside(matches, infrared, visible)
    threshold = WRONG * visible[0] / 640
    found = fit(matches[:, :2], matches[:, 2:], threshold=threshold)
    count, lengths = int(found.inliers.sum()), np.linalg.norm(found.residuals, axis=1)
    if count < FEWEST_MATCHES or count < LEAST_AGREEING * len(matches):
        residual = float(np.median(lengths))
        raise WorkError(
            "the matches agree on no homography",
            expected=f"{FEWEST_MATCHES} and {LEAST_AGREEING:.0%} of them or more within {threshold:.2g} px",
            got=f"{count} of {len(matches)}, median residual {residual:.1f} px",
        )
    return Pointed(
        found.homography,
        errors_of(found.errors),
        len(matches),
        coverage(matches[found.inliers, :2], infrared),
        lengths,
    )


def solve_by_hand(
    points: Sequence[tuple[float, float, float, float]], infrared: tuple[int, int], visible: tuple[int, int]
) -> Pointed:
    """The homography through a few points that a person found; all of them count.

    Args:
        points: x and y in infrared, x and y in visible, four or more.
        infrared: Width and height of the infrared picture.
        visible: Likewise.

    Raises:
        RequestError: fewer than four, or points outside of the pictures.
        Misfit: points that lie on no homography, with the worst one.
        WorkError: points on a line, or so far apart that nothing fits.
    """
    if len(points) < FEWEST:
        raise RequestError(
            "too few points", expected=f"{FEWEST} or more, and 8 to tell an error", got=str(len(points))
        )
    given = np.array(points, np.float64)
    _require_inside(given, infrared, visible)
    threshold = WORST_BY_HAND * visible[0] / 640
    found = fit(given[:, :2], given[:, 2:], threshold=threshold)
    homography, lengths = found.homography, np.linalg.norm(found.residuals, axis=1)
    if found.inliers.all():
        # Among so few points the robust fit goes through four of them and leaves the rest; all are as good.
        homography = least_squares(given[:, :2], given[:, 2:], np.ones(len(given)))
        lengths = np.linalg.norm(given[:, 2:] - applied(homography, given[:, :2]), axis=1)
    if not (lengths <= threshold).all():
        raise _misfit(lengths, threshold)
    errors = errors_of(lengths)
    return Pointed(homography, errors, len(given), coverage(given[:, :2], infrared), lengths)


def _misfit(lengths: F64, threshold: float) -> Misfit:
    count, expected = len(lengths), f"all of them within {threshold:.2g} px"
    wrong, worst = int((lengths > threshold).sum()), int(np.argmax(lengths))
    if count == FEWEST + 1:  # any four of them fit exactly, whichever is wrong
        return Misfit(
            "the points lie on no homography",
            expected=expected,
            got=f"{wrong} of {count} are not, and of {count} it cannot be told which",
            hint="Take one more, or look at each again.",
            lengths=None,
        )
    got = f"{wrong} of {count} are not, point {worst + 1} is off by {lengths[worst]:.0f} px"
    return Misfit("the points lie on no homography", expected=expected, got=got, lengths=lengths)


def _require_inside(matches: F64, infrared: tuple[int, int], visible: tuple[int, int]) -> None:
    for role, points, size in (("infrared", matches[:, :2], infrared), ("visible", matches[:, 2:], visible)):
        outside = (points < -0.5).any(axis=1) | (points > np.array(size) - 0.5).any(axis=1)
        if outside.any():
            x, y = points[int(np.argmax(outside))]
            raise RequestError(
                f"{int(outside.sum())} points lie outside of the {role} picture",
                expected=f"pixels of {size[0]}x{size[1]}",
                got=f"{x:g},{y:g}",
            )
