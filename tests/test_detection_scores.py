"""Scores of boxes: numbers worked out by hand, and a second implementation of the definition."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Sequence

import numpy as np
import pytest

from tdfusion_edge.detection_scores import ClassScores, Truth, score
from tdfusion_edge.detections import Detections
from tdfusion_edge.errors import RequestError
from tdfusion_edge.install import install_command

NAMES = ("person", "car")


def found(*rows: tuple[int, float, tuple[float, float, float, float]]) -> Detections:
    """Class, score and box of each."""
    return Detections(
        np.array([row[2] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[1] for row in rows], np.float32),
        np.array([row[0] for row in rows], np.int64),
        NAMES,
    )


def labelled(*rows: tuple[int, tuple[float, float, float, float]]) -> Truth:
    return Truth(
        np.array([row[1] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[0] for row in rows], np.int64),
    )


BOX = (10.0, 10.0, 30.0, 50.0)
FAR = (100.0, 10.0, 120.0, 50.0)


def test_a_perfect_detector_and_one_that_finds_nothing() -> None:
    truths = [labelled((0, BOX), (1, FAR)), labelled((1, BOX)), labelled()]
    right = [found((0, 0.9, BOX), (1, 0.8, FAR)), found((1, 0.7, BOX)), found()]
    perfect = score(right, truths, NAMES)
    assert perfect.per_class == {"person": ClassScores(1, 1, 1), "car": ClassScores(1, 1, 2)}
    assert (perfect.map50, perfect.map50_95) == (1, 1)
    nothing = score([found()] * 3, truths, NAMES)
    assert nothing.per_class == {"person": ClassScores(0, 0, 1), "car": ClassScores(0, 0, 2)}
    assert (nothing.map50, nothing.map50_95) == (0, 0)


def test_one_of_two_objects_is_found_up_to_half_of_the_recalls() -> None:
    truths = [labelled((0, BOX), (0, FAR))]
    # Recalls 0, 0.01 ... 0.5 have a precision of 1, the 50 above have none.
    assert score([found((0, 0.9, BOX))], truths, NAMES).map50 == pytest.approx(51 / 101)
    # A false one before it halves the precision wherever there is one.
    wrong = (0, 0.95, (200.0, 10.0, 220.0, 50.0))
    assert score([found((0, 0.9, BOX), wrong)], truths, NAMES).map50 == pytest.approx(51 / 202)
    # The second hit has precision 2/3, which also holds for what was 1/2 before: interpolation.
    both = found((0, 0.9, BOX), wrong, (0, 0.5, FAR))
    assert score([both], truths, NAMES).map50 == pytest.approx(2 / 3)


def test_the_overlap_decides_how_many_thresholds_a_box_passes() -> None:
    # 10 of 14 columns in common: an IoU of 10/14 = 0.714 passes 0.5, 0.55, 0.6, 0.65 and 0.7.
    scores = score([found((0, 0.9, (0, 0, 12, 10)))], [labelled((0, (2, 0, 14, 10)))], NAMES)
    assert scores.map50 == pytest.approx(1)
    assert scores.map50_95 == pytest.approx(0.5)


def test_of_two_boxes_on_one_object_the_second_is_false() -> None:
    truths = [labelled((0, BOX), (0, FAR))]
    twice = found((0, 0.9, BOX), (0, 0.8, BOX), (0, 0.7, FAR))
    # Precision 1 up to a recall of 1/2, then 2/3.
    assert score([twice], truths, NAMES).map50 == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_class_without_objects_has_no_score_and_does_not_count() -> None:
    scores = score([found((0, 0.9, BOX), (1, 0.9, FAR))], [labelled((0, BOX))], NAMES)
    assert scores.per_class == {"person": ClassScores(1, 1, 1), "car": ClassScores(None, None, 0)}
    assert (scores.map50, scores.map50_95) == (1, 1)


@pytest.mark.parametrize("pictures", [0, 2])
def test_pictures_without_objects_have_no_score(pictures: int) -> None:
    scores = score([found((0, 0.9, BOX))] * pictures, [labelled()] * pictures, NAMES)
    assert (scores.map50, scores.map50_95) == (None, None)
    assert scores.per_class["person"] == ClassScores(None, None, 0)


def test_a_hundred_boxes_count_and_no_more() -> None:
    false = [(0, 0.9, (200.0, float(n), 220.0, n + 1.0)) for n in range(100)]
    truths = [labelled((0, BOX))]
    assert score([found(*false[:99], (0, 0.5, BOX))], truths, NAMES).map50 == pytest.approx(1 / 100)
    assert score([found(*false, (0, 0.5, BOX))], truths, NAMES).map50 == 0


def test_boxes_of_any_size_count() -> None:
    """Published area ranges end at 10^10 pixels and begin at 0: nothing must fall out of them."""
    for box in [(0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 8000.0, 6000.0)]:
        assert score([found((1, 0.3, box))], [labelled((1, box))], NAMES).map50_95 == 1


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = float(width * height)
    return common / (float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - common)


def average_precision(
    predictions: Sequence[Detections], truths: Sequence[Truth], class_id: int, threshold: float
) -> float:
    """AP from its definition: match by falling score, then the best precision at each recall or above."""
    ranked = sorted(
        (
            (float(value), picture, box)
            for picture, boxes in enumerate(predictions)
            for box, value, of in zip(boxes.boxes, boxes.scores, boxes.class_ids, strict=True)
            if of == class_id
        ),
        key=lambda row: -row[0],
    )
    left = {
        picture: [c for c, of in zip(truth.corners, truth.classes, strict=True) if of == class_id]
        for picture, truth in enumerate(truths)
    }
    objects = sum(map(len, left.values()))
    hits = []
    for _, picture, box in ranked:
        overlaps = [overlap(box, corners) for corners in left[picture]]
        best = int(np.argmax(overlaps)) if overlaps else -1
        hits.append(bool(overlaps) and overlaps[best] >= threshold)
        if hits[-1]:
            del left[picture][best]
    right = np.cumsum(hits)
    recall, precision = right / objects, right / np.arange(1, len(hits) + 1)
    return float(np.mean([precision[recall >= r].max(initial=0) for r in np.linspace(0, 1, 101)]))


def test_random_pictures_score_as_a_second_implementation_says() -> None:
    random = np.random.default_rng(1)
    predictions, truths = [], []
    for _ in range(12):
        corner = random.uniform(0, 200, (5, 2))
        corners = np.hstack((corner, corner + random.uniform(20, 60, (5, 2)))).astype(np.float32)
        classes = random.integers(0, 2, 5)
        truths.append(Truth(corners, classes))
        moved = np.vstack((corners + random.normal(0, 4, (5, 4)), corners[:2] + 15)).astype(np.float32)
        ids = np.concatenate((classes, random.integers(0, 2, 2)))
        predictions.append(Detections(moved, random.uniform(0, 1, 7).astype(np.float32), ids, NAMES))
    scores = score(predictions, truths, NAMES)
    thresholds = np.linspace(0.5, 0.95, 10)
    for k, name in enumerate(NAMES):
        expected = [average_precision(predictions, truths, k, t) for t in thresholds]
        assert 0.1 < np.mean(expected) < 0.9
        assert scores.per_class[name].map50 == pytest.approx(expected[0], abs=1e-9)
        assert scores.per_class[name].map50_95 == pytest.approx(np.mean(expected), abs=1e-9)
    assert scores.map50_95 == pytest.approx(
        np.mean([row.map50_95 for row in scores.per_class.values()]), abs=1e-12
    )


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        score([found((0, 0.9, BOX))], [labelled((0, BOX))], NAMES)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_what_cannot_be_scored() -> None:
    boxes, truth = found((0, 0.9, BOX)), labelled((0, BOX))
    with pytest.raises(RequestError, match="unequal numbers of pictures: expected 1, got 2"):
        score([boxes, boxes], [truth], NAMES)
    with pytest.raises(RequestError, match="other classes than the labels: expected dog, car, got person"):
        score([boxes], [truth], ("dog", "car"))
    with pytest.raises(RequestError, match="a class without a name: expected 0 to 1, got 2 to 2"):
        score([boxes], [labelled((2, BOX))], NAMES)
    with pytest.raises(RequestError, match="two classes of one name"):
        score([], [], ("car", "car"))


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(RequestError, match=re.escape(install_command("metrics"))):
        score([found()], [labelled()], NAMES)
