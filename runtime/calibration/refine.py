"""From a rough place to a fraction of a pixel: blocks are looked for around where they should be.

Each block of infrared's features, warped as the homography has it, is compared with visible's at every shift
within a radius. The comparisons of all pairs are added up before the best shift is looked for, as in
``coarse``. The shifts of all blocks give the next homography, at twice the size, until the shifts are small.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias, cast

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.runtime.calibration.features import F32, U8, orientations

F64: TypeAlias = npt.NDArray[np.float64]
Size: TypeAlias = tuple[int, int]

LEAST_ENERGY = 0.02
"""Mean square length of a block's features, below which there is no edge to go by."""
LEAST_SEEN = 0.8
"""Share of a block that infrared must see."""


class Shifts(NamedTuple):
    """Where the blocks of warped infrared are found in visible."""

    places: F64
    """(N, 2) x y, centres of the blocks in visible pixels."""
    shifts: F64
    """(N, 2) x y, how far visible's match lies from there, pixels."""
    scores: F64
    """(N,) correlation at the match, -1 to 1."""
    margins: F64
    """(N,) by how much the correlation there is above the best of those farther away: how distinct it is."""
    grid: Size
    """Columns and rows that the picture was divided into; blocks without edges are left out."""


def block_shifts(
    infrared: Sequence[F32], visible: Sequence[F32], homography: F64, *, radius: int, block: int
) -> Shifts:
    """Look for every block of the warped infrared picture in the visible one.

    Args:
        infrared: Levelled pictures of one size, float32 (h, w).
        visible: Those of the same moments, float32 (H, W).
        homography: 3 x 3 from infrared pixels to visible ones.
        radius: Largest shift in x and y, pixels.
        block: Side of a block, pixels; neighbours overlap by a quarter.
    """
    height, width = visible[0].shape
    tops, lefts = (_starts(length, radius, block) for length in (height, width))
    mask = warped_mask(infrared[0].shape, homography, (width, height))
    seen = _sums((mask > 0).astype(np.float32), block) / block**2
    corners = [(top, left) for top in tops for left in lefts if seen[top, left] >= LEAST_SEEN]
    shape = (len(corners), 2 * radius + 1, 2 * radius + 1)
    products, energies = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    own = np.zeros(len(corners), np.float32)
    for one, other in zip(infrared, visible, strict=True):
        ours, theirs = orientations(warped(one, homography, (width, height)), mask), orientations(other)
        length2 = np.einsum("hwc,hwc->hw", theirs, theirs)
        energy = _sums(length2, block)
        for index, (top, left) in enumerate(corners):
            part = ours[top : top + block, left : left + block]
            above, before, side = top - radius, left - radius, 2 * radius + 1
            around = theirs[above : above + block + side - 1, before : before + block + side - 1]
            products[index] += cv2.matchTemplate(around, part, cv2.TM_CCORR)
            energies[index] += energy[above : above + side, before : before + side]
            own[index] += np.einsum("hwc,hwc->", part, part)
    least = LEAST_ENERGY * block * block * len(infrared)
    edged = np.flatnonzero(
        (own >= least) & (energies.reshape(len(corners), -1).max(axis=1, initial=0) >= least)
    )
    scores = products / np.sqrt(np.maximum(energies * own[:, None, None], 1e-9))
    peaks = [_peak(scores[index], radius) for index in edged]
    places = [(corners[i][1] + (block - 1) / 2, corners[i][0] + (block - 1) / 2) for i in edged]
    return Shifts(
        np.array(places, np.float64).reshape(-1, 2),
        np.array([peak[0] for peak in peaks], np.float64).reshape(-1, 2),
        np.array([peak[1] for peak in peaks]),
        np.array([peak[2] for peak in peaks]),
        (len(lefts), len(tops)),
    )


def _sums(picture: F32, block: int) -> F32:
    """Sum of the block whose upper left corner is at each pixel."""
    border = cv2.BORDER_CONSTANT
    summed = cv2.boxFilter(picture, -1, (block, block), anchor=(0, 0), normalize=False, borderType=border)
    return cast(F32, summed)


def _starts(length: int, radius: int, block: int) -> list[int]:
    """Where blocks begin along a side: from edge to edge, neighbours overlapping by about a quarter."""
    room = length - 2 * radius - block
    if room <= 0:
        return [radius] if room == 0 else []
    starts = np.linspace(radius, radius + room, 1 + max(1, round(room / (0.75 * block))))
    return [int(start) for start in starts]


def _peak(score: F32, radius: int) -> tuple[tuple[float, float], float, float]:
    """Shift of the highest score to a fraction of a pixel, the score, and its margin."""
    y, x = divmod(int(np.argmax(score)), score.shape[1])
    best = float(score[y, x])
    near = max(2, radius // 2)
    far = score.copy()
    far[max(0, y - near) : y + near + 1, max(0, x - near) : x + near + 1] = -1
    margin = best - float(far.max())
    if not (0 < x < 2 * radius and 0 < y < 2 * radius):
        return (x - radius, y - radius), best, 0.0  # the true one lies outside
    dx = _vertex(score[y, x - 1], score[y, x], score[y, x + 1])
    dy = _vertex(score[y - 1, x], score[y, x], score[y + 1, x])
    return (x - radius + dx, y - radius + dy), best, margin


def _vertex(before: float, at: float, after: float) -> float:
    """Where a parabola through three values has its top, from the middle one."""
    bend = before - 2 * at + after
    return 0.0 if bend >= 0 else float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))


def warped(picture: F32, homography: F64, size: Size) -> F32:
    """Infrared in visible pixels, its border repeated."""
    flags, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
    return cast(F32, cv2.warpPerspective(picture, homography, size, flags=flags, borderMode=border))


def warped_mask(shape: tuple[int, ...], homography: F64, size: Size) -> U8:
    """uint8 (H, W), 255 where infrared sees."""
    whole = np.full(shape[:2], 255, np.uint8)
    return cast(U8, cv2.warpPerspective(whole, homography, size, flags=cv2.INTER_NEAREST))
