"""Scores of masks: numbers counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge.errors import RequestError
from tdfusion_edge.mask_scores import ClassScores, confusion, score

TRUTH = np.array([[0, 0, 0, 1], [0, 1, 1, 1], [2, 255, 255, 2]], np.uint8)
PREDICTED = np.array([[0, 0, 1, 1], [0, 1, 1, 0], [1, 2, 0, 2]], np.uint8)


def test_counts_and_scores_of_a_mask_of_ten_pixels() -> None:
    matrix = confusion(TRUTH, PREDICTED, 4)
    assert matrix.dtype == np.int64
    assert matrix.tolist() == [[3, 1, 0, 0], [1, 3, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    scores = score(matrix, ("road", "car", "person", "bicycle"))
    assert scores.per_class == {
        "road": ClassScores(3 / 5, 3 / 4, 4),
        "car": ClassScores(3 / 6, 3 / 4, 4),
        "person": ClassScores(1 / 2, 1 / 2, 2),
        "bicycle": ClassScores(None, None, 0),
    }
    assert scores.miou == pytest.approx((3 / 5 + 3 / 6 + 1 / 2) / 3)
    assert scores.macc == pytest.approx((3 / 4 + 3 / 4 + 1 / 2) / 3)
    assert scores.accuracy == pytest.approx(7 / 10)


def test_a_class_that_is_only_predicted_has_an_iou_of_0_and_no_accuracy() -> None:
    scores = score(confusion(np.zeros(4, np.uint8), np.array([0, 0, 1, 1], np.uint8), 2), ("a", "b"))
    assert scores.per_class["b"] == ClassScores(0.0, None, 0)
    assert (scores.miou, scores.macc) == (0.25, 0.5)


def test_pictures_add_up_as_pixels() -> None:
    whole = confusion(TRUTH, PREDICTED, 3)
    parts = sum(confusion(t, p, 3) for t, p in zip(TRUTH, PREDICTED, strict=True))
    assert np.array_equal(whole, parts)


def test_nothing_that_counts_has_no_score() -> None:
    scores = score(confusion(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.int64), 2), ("a", "b"))
    assert (scores.miou, scores.macc, scores.accuracy) == (None, None, None)


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2, 255]), st.integers(0, 2)), min_size=1, max_size=30))
def test_every_pixel_that_counts_is_counted_once(pixels: list[tuple[int, int]]) -> None:
    truth, predicted = (np.array(column, np.uint8) for column in zip(*pixels, strict=True))
    expected = np.zeros((3, 3), np.int64)
    for true, found in pixels:
        if true != 255:
            expected[true, found] += 1
    assert np.array_equal(confusion(truth, predicted, 3), expected)


def test_what_cannot_be_counted() -> None:
    mask = np.zeros((2, 2), np.uint8)
    with pytest.raises(RequestError, match="another shape"):
        confusion(mask, np.zeros((2, 3), np.uint8), 2)
    with pytest.raises(RequestError, match="a true mask holds a value that is no class: expected 0 to 1"):
        confusion(mask + 2, mask, 2)
    with pytest.raises(RequestError, match="a predicted mask holds"):
        confusion(mask, np.full((2, 2), -1), 2)
    with pytest.raises(RequestError, match="expected 2 different ones, got a"):
        score(np.zeros((2, 2), np.int64), ("a",))
    with pytest.raises(RequestError, match="got a, a"):
        score(np.zeros((2, 2), np.int64), ("a", "a"))
