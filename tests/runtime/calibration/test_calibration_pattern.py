"""Patterns in pictures of either polarity, down to 80x62 pixels, and the homography through their views."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.live.boards import drawn, noisy, points, pose, rig
from tdfusion_edge.errors import RequestError, WorkError
from tdfusion_edge.runtime.calibration.fit import applied
from tdfusion_edge.runtime.calibration.pattern import find, parse, same_order
from tdfusion_edge.runtime.calibration.views import FEWEST_VIEWS, View, Views, coverage, solve

VISIBLE = (640, 480)


def board(text: str, to: Any, size: tuple[int, int], *, hot: bool = False, seed: int = 0) -> Any:
    """A picture of a board; a hot one has its dark fields bright."""
    dark, bright = (210, 60) if hot else (30, 220)
    return noisy(drawn(parse(text), to, size, dark=dark, bright=bright), np.random.default_rng(seed))


@pytest.mark.parametrize("text", ["chessboard:7x7", "chessboard:6x5", "circles:7x5", "acircles:4x9"])
@pytest.mark.parametrize(("size", "share"), [((320, 256), 0.7), ((80, 62), 0.9)])
def test_points_are_found_to_a_tenth_of_a_pixel_whichever_side_is_warm(
    text: str, size: tuple[int, int], share: float
) -> None:
    pattern = parse(text)
    to = pose(np.random.default_rng(1), pattern, size, share)
    true = applied(to, points(pattern))
    for hot in (False, True):
        found = find(pattern, board(text, to, size, hot=hot), inverted=True)
        assert found is not None, hot
        error = np.linalg.norm(same_order(pattern, found, true) - true, axis=1)
        assert np.median(error) < 0.1
        assert error.max() < 0.3


def test_sixteen_bits_are_taken() -> None:
    pattern = parse("chessboard:7x7")
    to = pose(np.random.default_rng(1), pattern, (160, 120), 0.8)
    counts = board("chessboard:7x7", to, (160, 120)).astype(np.uint16) * 3 + 21000
    assert find(pattern, counts) is not None


@pytest.mark.parametrize("shade", [0, 128])
def test_where_there_is_no_pattern_none_is_found(shade: int) -> None:
    assert find(parse("chessboard:7x7"), np.full((120, 160), shade, np.uint8)) is None
    noise = np.random.default_rng(0).integers(0, 255, (120, 160)).astype(np.uint8)
    assert find(parse("acircles:4x9"), noise) is None


@pytest.mark.parametrize("text", ["chessboard:7x7", "chessboard:6x5", "acircles:4x9"])
def test_points_come_in_one_order_however_they_were_found(text: str) -> None:
    pattern = parse(text)
    true = applied(pose(np.random.default_rng(2), pattern, VISIBLE, 0.6), points(pattern))
    orders = [true, true[::-1]]
    if pattern.kind == "chessboard":
        grid = true.reshape(pattern.rows, pattern.columns, 2)
        orders += [grid[::-1].reshape(-1, 2), grid[:, ::-1].reshape(-1, 2)]
        if pattern.rows == pattern.columns:
            orders += [np.transpose(grid, (1, 0, 2)).reshape(-1, 2)]
    for order in orders:
        assert np.array_equal(same_order(pattern, order, true), true)


@pytest.mark.parametrize(
    "text", ["chessboard", "chessboard:9", "board:9x6", "chessboard:2x9", "circles:99x3", "a:0x0"]
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="--pattern"):
        parse(text)


# --- views ---------------------------------------------------------------------------------------


def taken(known: Any, text: str, size: tuple[int, int], count: int, seed: int = 0) -> list[Any]:
    """Pairs of pictures of a board at many places."""
    rng = np.random.default_rng(seed)
    shots = []
    for number in range(count):
        to = pose(rng, parse(text), size, 0.45)
        visible = board(text, known @ to, VISIBLE, seed=number)
        shots.append((board(text, to, size, hot=True, seed=number), visible))
    return shots


def test_views_of_a_hot_board_give_the_homography_to_half_a_pixel() -> None:
    rng = np.random.default_rng(7)
    known = rig(rng, (320, 256))
    views = Views(parse("acircles:4x9"), moving=False)
    for number, (infrared, visible) in enumerate(taken(known, "acircles:4x9", (320, 256), 9)):
        views.look(infrared, visible, number)
    assert len(views.kept) >= 5
    found = solve(views.kept, (320, 256), VISIBLE)
    grid = rng.uniform((0, 0), (320, 256), (200, 2))
    error = np.linalg.norm(applied(found.homography, grid) - applied(known, grid), axis=1)
    assert np.median(error) < 0.2
    assert found.errors.rms < 0.3
    assert found.held_out.rms < 0.5
    assert 0.3 < found.coverage <= 1


def test_a_view_is_kept_only_where_it_is_still_and_new() -> None:
    text, size = "acircles:4x9", (320, 256)
    known = rig(np.random.default_rng(7), size)
    here = pose(np.random.default_rng(1), parse(text), size, 0.45)
    there = np.array([[1, 0, 40], [0, 1, -20], [0, 0, 1]]) @ here

    def look(to: Any, at_ms: int) -> bool:
        return views.look(board(text, to, size), board(text, known @ to, VISIBLE), at_ms * 1_000_000)

    views = Views(parse(text), moving=True)
    assert not look(here, 0)  # nothing is known of its movement
    assert look(here, 200)
    assert not look(there, 400)  # it moved
    assert views.moved == 2
    assert look(there, 600)
    assert not look(there, 800)  # the same place, and not sharper
    assert len(views.kept) == 2
    assert not look(here, 5000)  # too long ago to tell


def shifted_views(count: int, noise: float, seed: int = 0) -> list[View]:
    rng = np.random.default_rng(seed)
    known = rig(rng, (320, 256))
    out = []
    for _ in range(count):
        ours = rng.uniform((0, 0), (320, 256), (30, 2))
        out.append(View(ours, applied(known, ours) + rng.normal(0, noise, (30, 2)), 1.0))
    return out


def test_views_at_several_distances_are_refused_with_their_residual() -> None:
    views = shifted_views(6, 0.1)
    apart = [view._replace(visible=view.visible + 14.0 * number) for number, view in enumerate(views)]
    with pytest.raises(
        WorkError, match=r"no one homography: .*got \d+%, median residual \d+\.\d px(.|\n)*one distance"
    ):
        solve(apart, (320, 256), VISIBLE)


def test_a_view_left_out_tells_more_than_the_fit() -> None:
    found = solve(shifted_views(3, 1.0), (320, 256), VISIBLE)
    assert found.held_out.rms > found.errors.rms


def test_two_views_are_too_few() -> None:
    with pytest.raises(WorkError, match=f"expected {FEWEST_VIEWS} or more, got 2"):
        solve(shifted_views(2, 0.1), (320, 256), VISIBLE)


def test_coverage_counts_cells() -> None:
    assert coverage(np.array([[0.0, 0.0], [1.0, 1.0], [319.0, 255.0]]), (320, 256)) == pytest.approx(2 / 24)
    assert coverage(np.array([[-5.0, 0.0], [400.0, 3.0]]), (320, 256)) == 0
