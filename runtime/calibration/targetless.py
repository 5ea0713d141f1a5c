"""Registration without a pattern: from pairs of any scene that has edges in both spectra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import cv2
import numpy as np

from tdfusion_edge.errors import WorkError
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime.calibration.coarse import rough_place
from tdfusion_edge.runtime.calibration.features import F32, level
from tdfusion_edge.runtime.calibration.fit import F64, Errors, applied, errors_of, fit, inverse
from tdfusion_edge.runtime.calibration.refine import Shifts, Size, block_shifts

MOST_PAIRS, MOST_ROUGH_PAIRS = 24, 8
"""Pairs that are looked at, spread evenly over those that are given; fewer for the rough place."""
WIDEST = 640
"""Width of the visible picture at the last step; a larger one is made smaller."""
STEPS = ((160, 6, 32), (320, 6, 48), (640, 6, 96), (640, 3, 96))
"""Width of the visible picture, radius of the search and side of a block, pixels, one after the other."""
LAST_LOOK = 8
"""Radius of the search behind the last step, pixels at :data:`WIDEST`: wide enough to tell chance from
agreement."""
AGREES = 3.0
"""Pixels at :data:`WIDEST` up to which a block agrees with the homography. By chance one of nine does."""
LEAST_AGREEING, FEWEST_AGREEING = 0.5, 8
"""Share and number of the blocks with edges that have to agree."""
FEWEST_FOR_PERSPECTIVE = 12
"""Blocks below which perspective is left out: they lie in a part of the picture only."""


class Targetless(NamedTuple):
    """A homography from edges, with what speaks for it."""

    homography: F64
    """3 x 3 from infrared pixels to visible ones."""
    errors: Errors
    """Of the blocks that agree, visible pixels."""
    blocks: Shifts
    """What every block with edges still lacks, in visible pixels: the residual map."""
    agreeing: float
    """Share of these blocks that agree."""
    repeatability: float
    """Median distance, visible pixels, between the places that two disjoint halves of the pairs (of one
    pair: of its blocks) give to the same points of infrared's view: what another recording would change."""
    pairs: int


def align(
    infrared: Sequence[Image],
    visible: Sequence[Image],
    start: F64 | None = None,
    *,
    tell: Callable[[float], None] = lambda done: None,
) -> Targetless:
    """The homography from infrared to visible by the edges of all pairs together.

    Args:
        infrared: Pictures of one size, uint8 or uint16 (h, w) or BGR.
        visible: Those of the same moments, of one size.
        start: 3 x 3 where it is roughly known, to a fiftieth of the picture; None searches scales from 0.4
            to 2 and turns up to 9 degrees.
        tell: Called with the share of the work that is done.

    Raises:
        WorkError: the pictures cannot be aligned: no edges, or no homography that most blocks agree on.
            Says the residual and how many blocks agree.
    """
    chosen = np.unique(np.linspace(0, len(infrared) - 1, min(len(infrared), MOST_PAIRS)).astype(int))
    size: Size = (visible[0].shape[1], visible[0].shape[0])
    ours = [_narrowed(level(infrared[index]), WIDEST) for index in chosen]
    shrunk_by = ours[0].shape[1] / infrared[0].shape[1]
    ours_to_full = _scaling(1 / shrunk_by)
    theirs = [_narrowed(level(visible[index]), WIDEST) for index in chosen]
    factor = theirs[0].shape[1] / size[0]
    tell(0.05)
    if start is None:
        few = np.unique(np.linspace(0, len(chosen) - 1, min(len(chosen), MOST_ROUGH_PAIRS)).astype(int))
        place = rough_place([ours[index] for index in few], [theirs[index] for index in few])
        current = place.homography(ours[0].shape[::-1], theirs[0].shape[::-1])
    else:
        current = _scaling(factor) @ start @ ours_to_full
    tell(0.3)
    for number, (width, radius, block) in enumerate(STEPS):
        if width > theirs[0].shape[1] and number:
            continue
        current = _stepped(ours, theirs, current, width, radius, block)
        tell(0.3 + 0.5 * (number + 1) / len(STEPS))
    blocks = block_shifts(ours, theirs, current, radius=LAST_LOOK, block=_block(theirs[0].shape[1]))
    agreeing = _require_agreement(blocks, theirs[0].shape[1])
    tell(0.9)
    repeatability = _repeatability(ours, theirs, current, blocks)
    tell(1.0)
    lengths = np.linalg.norm(blocks.shifts, axis=1)
    within = lengths[lengths <= _agrees(theirs[0].shape[1])]
    homography = _scaling(1 / factor) @ current @ inverse(ours_to_full)
    full = blocks._replace(places=(blocks.places + 0.5) / factor - 0.5, shifts=blocks.shifts / factor)
    return Targetless(
        homography, errors_of(within / factor), full, agreeing, repeatability / factor, len(chosen)
    )


def _stepped(
    infrared: Sequence[F32], visible: Sequence[F32], current: F64, width: int, radius: int, block: int
) -> F64:
    """The next homography, from the shifts of blocks at a width."""
    small = [_narrowed(picture, width) for picture in visible]
    factor = small[0].shape[1] / visible[0].shape[1]
    down = _scaling(factor)
    # Infrared that is much finer than the picture it is warped into would alias.
    density = float(np.sqrt(abs(np.linalg.det((down @ current)[:2, :2]))))
    smooth = [_blurred(one, 0.4 / density) for one in infrared] if density < 0.67 else infrared
    found = block_shifts(
        smooth, small, down @ current, radius=radius, block=min(block, _block(small[0].shape[1]))
    )
    if len(found.places) < FEWEST_AGREEING:
        raise _no_edges(len(found.places))
    from_ = applied(inverse(down @ current), found.places)
    inside = found.margins > 0
    if inside.sum() < FEWEST_AGREEING:
        inside[:] = True
    weights = np.maximum(found.margins[inside], 1e-3)
    affine = inside.sum() < FEWEST_FOR_PERSPECTIVE or width < 320
    to = (found.places + found.shifts)[inside]
    try:
        fitted = fit(from_[inside], to, threshold=float(radius), weights=weights, affine=affine)
    except WorkError as error:  # the blocks were found at places of chance
        raise _apart(np.linalg.norm(found.shifts, axis=1), small[0].shape[1]) from error
    following: F64 = inverse(down) @ fitted.homography
    return following


def _require_agreement(blocks: Shifts, width: int) -> float:
    lengths = np.linalg.norm(blocks.shifts, axis=1)
    if len(lengths) < FEWEST_AGREEING:
        raise _no_edges(len(lengths))
    agreeing = float(np.mean(lengths <= _agrees(width)))
    if agreeing < LEAST_AGREEING:
        raise _apart(lengths, width)
    return agreeing


def _apart(lengths: F64, width: int) -> WorkError:
    """What is said of blocks so far from where one homography has them, pixels of a picture so wide."""
    return WorkError(
        "infrared and visible cannot be aligned by their edges",
        expected=f"most of the blocks within {_agrees(width):.2g} px of one homography",
        got=f"{np.mean(lengths <= _agrees(width)):.0%} of {len(lengths)} blocks, median residual "
        f"{np.median(lengths):.1f} px of a picture {width} wide",
        hint="Do both cameras show the same view at the same moment, mostly at one distance? "
        "More pairs of a scene with many edges help, and so does a pattern: --pattern chessboard:9x6",
    )


def _no_edges(found: int) -> WorkError:
    return WorkError(
        "infrared and visible cannot be aligned: they have too few edges in common places",
        expected=f"{FEWEST_AGREEING} or more blocks of the picture with edges in both",
        got=str(found),
        hint="Take pairs of a scene with more in it, in light and with differences of temperature.",
    )


def _repeatability(infrared: Sequence[F32], visible: Sequence[F32], current: F64, blocks: Shifts) -> float:
    """Median distance of the places that two halves give to points all over the blocks' places."""
    width = visible[0].shape[1]
    halves = []
    for half in (0, 1):
        if len(infrared) >= 2:
            halves.append(_stepped(infrared[half::2], visible[half::2], current, width, 5, _block(width)))
        else:
            part = np.arange(len(blocks.places)) % 2 == half
            places = blocks.places[part]
            from_ = applied(inverse(current), places)
            halves.append(
                fit(
                    from_,
                    places + blocks.shifts[part],
                    threshold=_agrees(width),
                    affine=part.sum() < FEWEST_FOR_PERSPECTIVE,
                ).homography
            )
    points = applied(inverse(current), blocks.places)
    return float(np.median(np.linalg.norm(applied(halves[0], points) - applied(halves[1], points), axis=1)))


def _agrees(width: int) -> float:
    return AGREES * width / WIDEST


def _block(width: int) -> int:
    """Side of a block: a seventh of the picture's width, but for small ones."""
    return max(24, round(96 * width / WIDEST))


def _narrowed(picture: F32, width: int) -> F32:
    """Not wider than that."""
    if picture.shape[1] <= width:
        return picture
    height = round(width * picture.shape[0] / picture.shape[1])
    return cast(F32, cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))


def _blurred(picture: F32, sigma: float) -> F32:
    return cast(F32, cv2.GaussianBlur(picture, (0, 0), sigma))


def _scaling(factor: float) -> F64:
    """3 x 3 from pixels of a picture to those of the same picture times a factor, corner onto corner."""
    return np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])
