"""Registration by edges alone: pictures whose contrast has nothing in common but where it changes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.live.boards import rig
from tdfusion_edge.errors import WorkError
from tdfusion_edge.runtime.calibration.features import level, orientations
from tdfusion_edge.runtime.calibration.fit import applied
from tdfusion_edge.runtime.calibration.refine import block_shifts
from tdfusion_edge.runtime.calibration.targetless import align

SIZE, VISIBLE = (160, 120), (320, 240)


def texture(seed: int, size: tuple[int, int] = VISIBLE) -> Any:
    """Patches of random brightness: a scene of things with edges."""
    rng = np.random.default_rng(seed)
    picture = np.full(size[::-1], 120, np.uint8)
    for _ in range(60):
        x, y = rng.uniform((0, 0), size)
        wide, high = rng.uniform(0.05, 0.3, 2) * size[0]
        corners = cv2.boxPoints(((x, y), (wide, high), rng.uniform(0, 90))).astype(np.int32)
        cv2.fillConvexPoly(picture, corners, int(rng.integers(20, 240)), cv2.LINE_AA)
    return picture


def warped(picture: Any, known: Any) -> Any:
    """What an infrared camera of another view makes of it, bright and dark exchanged, in counts."""
    smooth = cv2.GaussianBlur(picture, (0, 0), 0.8)
    seen = cv2.warpPerspective(smooth, np.linalg.inv(known), SIZE, borderMode=cv2.BORDER_REFLECT)
    return (255 - seen.astype(np.uint16)) * 7 + 20000


def test_features_do_not_see_which_side_is_bright() -> None:
    picture = texture(0)
    there, inverted = orientations(level(picture)), orientations(level(255 - picture))
    assert np.abs(there - inverted).max() < 1e-4
    assert np.abs(there).max() > 0.3
    assert not orientations(level(np.full((60, 80), 7, np.uint16))).any()


def test_features_tell_orientations_apart() -> None:
    rows, columns = np.mgrid[:64, :64]
    upright = orientations(level(((columns // 8) % 2 * 200).astype(np.uint8)))
    level_ = orientations(level(((rows // 8) % 2 * 200).astype(np.uint8)))
    middle = np.s_[24:40, 24:40]
    alike = float((upright[middle] * level_[middle]).sum())
    assert alike < 0.2 * float((upright[middle] ** 2).sum())


@pytest.mark.parametrize("shift", [(0.0, 0.0), (2.4, -1.7)])
def test_blocks_are_found_to_a_tenth_of_a_pixel(shift: tuple[float, float]) -> None:
    visible = texture(1)
    moved = cv2.warpAffine(
        cv2.GaussianBlur(visible, (0, 0), 0.8), np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), VISIBLE
    )
    found = block_shifts([level(255 - moved)], [level(visible)], np.eye(3), radius=5, block=64)
    inner = found.margins > 0.05
    assert inner.sum() >= 6
    assert np.abs(found.shifts[inner] + shift).max() < 0.25
    assert np.median(np.abs(found.shifts[inner] + shift)) < 0.1


def test_a_rough_place_becomes_a_homography() -> None:
    known = rig(np.random.default_rng(11), SIZE, VISIBLE)
    rough = np.array([[1, 0, 4.0], [0, 1, -3.0], [0, 0, 1]]) @ known
    visible = [texture(2), texture(3)]
    found = align([warped(picture, known) for picture in visible], visible, rough)
    grid = np.random.default_rng(0).uniform((0, 0), SIZE, (100, 2))
    assert np.median(np.linalg.norm(applied(found.homography, grid) - applied(known, grid), axis=1)) < 0.5
    assert found.agreeing > 0.6
    assert found.repeatability < 1


def test_what_has_no_edges_is_refused() -> None:
    blank = np.full((120, 160), 300, np.uint16)
    with pytest.raises(WorkError, match=r"too few edges(.|\n)*got 0"):
        align([blank], [texture(4)], np.diag([2.0, 2.0, 1.0]))


def test_two_scenes_are_refused_with_their_residual() -> None:
    known = np.diag([2.0, 2.0, 1.0])
    with pytest.raises(
        WorkError, match=r"cannot be aligned(.|\n)*got \d+% of \d+ blocks, median residual \d"
    ):
        align([warped(texture(5), known)], [texture(6)], known)
