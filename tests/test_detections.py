from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tdfusion_edge import Detections

NAMES = ("person", "car")


def detections(**changes: Any) -> Detections:
    good: dict[str, Any] = {
        "boxes": np.array([[1, 2, 3.456, 4], [5, 5, 5, 5]], np.float32),
        "scores": np.array([0.98766, 0], np.float32),
        "class_ids": np.array([1, 0], np.int64),
        "names": NAMES,
    }
    return Detections(**good | changes)


def test_rows_are_plain_and_rounded() -> None:
    assert detections().to_rows() == [
        {"box": [1.0, 2.0, 3.46, 4.0], "score": 0.9877, "class": "car", "track": None},
        {"box": [5.0, 5.0, 5.0, 5.0], "score": 0.0, "class": "person", "track": None},
    ]


def test_tracks_are_numbers_from_1_and_none() -> None:
    tracked = detections(track_ids=np.array([7, -1]))
    assert [row["track"] for row in tracked.to_rows()] == [7, None]
    assert tracked.to_supervision().tracker_id.tolist() == [7, -1]
    assert detections().to_supervision().tracker_id is None


def test_none_found() -> None:
    nothing = Detections.empty(NAMES)
    assert (len(nothing), nothing.to_rows(), nothing.names) == (0, [], NAMES)
    assert len(Detections.empty()) == 0


BAD: list[tuple[dict[str, Any], str]] = [
    ({"boxes": np.zeros((2, 4))}, r"boxes must be float32 \(2, 4\), got float64"),
    ({"boxes": np.zeros((2, 5), np.float32)}, r"boxes must be float32 \(2, 4\), got float32 \(2, 5\)"),
    ({"boxes": np.zeros(4, np.float32)}, "boxes must be"),
    ({"boxes": np.full((2, 4), np.nan, np.float32)}, "boxes must be finite"),
    ({"boxes": np.array([[0, 0, np.inf, 1]] * 2, np.float32)}, "boxes must be finite"),
    ({"boxes": np.array([[3, 0, 2, 1]] * 2, np.float32)}, "x1 <= x2"),
    ({"boxes": np.array([[0, 3, 2, 1]] * 2, np.float32)}, "y1 <= y2"),
    ({"scores": np.zeros(3, np.float32)}, r"scores must be float32 \(2,\), got float32 \(3,\)"),
    ({"scores": np.zeros(2, np.float64)}, "scores must be float32"),
    ({"scores": np.array([0, np.nan], np.float32)}, r"scores must lie in 0\.\.1"),
    ({"scores": np.array([0, 1.001], np.float32)}, r"scores must lie in 0\.\.1, got 0\.0\.\.1\.001"),
    ({"scores": np.array([0, -0.001], np.float32)}, "scores must lie"),
    ({"class_ids": np.zeros(2, np.int32)}, "class_ids must be int64"),
    ({"class_ids": np.array([0, 2])}, r"class_ids must lie in 0\.\.1, got 0\.\.2"),
    ({"class_ids": np.array([-1, 0])}, "class_ids must lie"),
    ({"names": ()}, "class_ids must lie"),
    ({"track_ids": np.zeros(3, np.int64)}, r"track_ids must be int64 \(2,\), got int64 \(3,\)"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detections(**changes)
