"""The homography through points: exact on exact points, and near the truth where some are wrong."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.live.boards import rig
from tdfusion_edge.errors import WorkError
from tdfusion_edge.runtime.calibration.fit import applied, errors_of, fit, least_squares


def scattered(rng: np.random.Generator, count: int, size: tuple[int, int] = (320, 256)) -> Any:
    return rng.uniform((0, 0), size, (count, 2))


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(4, 60))
def test_any_homography_comes_back_from_its_points(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    known = rig(rng, (320, 256))
    # Four points that nearly lie on a line tell little: corners first.
    ours = np.concatenate([[[5, 5], [310, 8], [312, 250], [8, 245]], scattered(rng, count - 4)])
    found = least_squares(ours, applied(known, ours), np.ones(count))
    assert np.abs(applied(found, ours) - applied(known, ours)).max() < 1e-6
    assert found[2] @ (*ours.mean(axis=0), 1) == pytest.approx(1)


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_wrong_points_are_left_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    known = rig(rng, (320, 256))
    ours = scattered(rng, 80)
    theirs = applied(known, ours) + rng.normal(0, 0.4, ours.shape)
    wrong = np.arange(80) < 24
    theirs[wrong] += rng.uniform(15, 80, (24, 2)) * rng.choice([-1, 1], (24, 2))
    found = fit(ours, theirs, threshold=3.0)
    assert not found.inliers[wrong].any()
    grid = scattered(rng, 200)
    assert np.median(np.linalg.norm(applied(found.homography, grid) - applied(known, grid), axis=1)) < 0.5
    assert errors_of(found.errors).rms < 1.0


def test_it_agrees_with_opencv_on_noise() -> None:
    """OpenCV's least squares without robustness minimise the same errors by another method."""
    rng = np.random.default_rng(3)
    known = rig(rng, (320, 256))
    ours = scattered(rng, 100)
    theirs = applied(known, ours) + rng.normal(0, 0.5, ours.shape)
    other = cv2.findHomography(ours, theirs, 0)[0]
    found = least_squares(ours, theirs, np.ones(100))
    assert np.abs(applied(found, ours) - applied(other, ours)).max() < 0.02


def test_an_affine_fit_has_no_perspective() -> None:
    rng = np.random.default_rng(4)
    ours = scattered(rng, 30)
    found = least_squares(ours, applied(rig(rng, (320, 256)), ours), np.ones(30), affine=True)
    assert np.abs(found[2, :2]).max() < 1e-12


@pytest.mark.parametrize(
    ("ours", "message"),
    [
        ([[0, 0], [1, 0], [0, 1]], "too few points"),
        ([[0, 0], [1, 1], [2, 2], [3, 3], [5, 5]], "on a line"),
    ],
)
def test_points_that_tell_none_are_refused(ours: Any, message: str) -> None:
    points = np.array(ours, float)
    with pytest.raises(WorkError, match=message):
        fit(points, points, threshold=1.0)
