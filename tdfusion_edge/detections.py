"""Detections: boxes, scores and classes of one picture, as parallel arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

PROPOSALS = 3000
"""As many proposals are compared at most, by score: a low threshold lets thousands through."""
OVERLAP = 0.6
"""Of two boxes of one class that overlap by more than this (IoU), the better one stays."""
MOST = 300
"""Boxes of one picture at most, by score."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What was found in one picture.

    Raises:
        ValueError: if an array has another shape or dtype, a value is not finite or out of its
            range, or a class id has no name.
    """

    boxes: npt.NDArray[np.float32]
    """(N, 4) float32, x1 y1 x2 y2 in visible-image pixels, x1 <= x2 and y1 <= y2."""
    scores: npt.NDArray[np.float32]
    """(N,) float32 in [0, 1]."""
    class_ids: npt.NDArray[np.int64]
    """(N,) int64, index into ``names``."""
    names: tuple[str, ...]
    """Class names."""
    track_ids: npt.NDArray[np.int64] | None = None
    """(N,) int64, the number of the track that each box belongs to, from 1, and -1 for a box without one. A
    number stands for one thing in a stream and is not used again. None where nothing is tracked."""

    def __post_init__(self) -> None:
        count = len(self.boxes)
        _check("boxes", self.boxes, (count, 4), np.float32)
        _check("scores", self.scores, (count,), np.float32)
        _check("class_ids", self.class_ids, (count,), np.int64)
        if self.track_ids is not None:
            _check("track_ids", self.track_ids, (count,), np.int64)
        if not count:
            return
        if not np.isfinite(self.boxes).all():
            raise ValueError("boxes must be finite, got NaN or infinity")
        if (self.boxes[:, 2:] < self.boxes[:, :2]).any():
            raise ValueError("boxes must have x1 <= x2 and y1 <= y2")
        if not 0 <= self.scores.min() <= self.scores.max() <= 1:  # a NaN fails every comparison
            raise ValueError(f"scores must lie in 0..1, got {self.scores.min()}..{self.scores.max()}")
        if not 0 <= int(self.class_ids.min()) <= int(self.class_ids.max()) < len(self.names):
            raise ValueError(
                f"class_ids must lie in 0..{len(self.names) - 1}, "
                f"got {self.class_ids.min()}..{self.class_ids.max()}"
            )

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def empty(cls, names: tuple[str, ...] = ()) -> Detections:
        """No detections, of the given class names."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), names)

    def to_supervision(self) -> Any:
        """A ``supervision.Detections`` with the same boxes and tracks, and ``class_name`` in its data.

        Raises:
            ImportError: supervision is not installed (``pip install supervision``).
        """
        from supervision import Detections as Supervision

        names = np.array([self.names[class_id] for class_id in self.class_ids], dtype=str)
        return Supervision(
            xyxy=self.boxes.copy(),
            confidence=self.scores.copy(),
            class_id=self.class_ids.astype(int),
            tracker_id=None if self.track_ids is None else self.track_ids.astype(int),
            data={"class_name": names},
        )

    def to_coco(self, image_id: int = 0, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """One dictionary a box as COCO's result files have it.

        Args:
            image_id: Of the picture.
            category_ids: COCO's number of each class in ``names``; None counts them from 1.

        Returns:
            ``image_id``, ``category_id``, ``bbox`` [x, y, width, height] in pixels, ``score``.

        Raises:
            ValueError: there is not one number a class.
        """
        numbers = range(1, len(self.names) + 1) if category_ids is None else category_ids
        if len(numbers) != len(self.names):
            raise ValueError(f"category_ids must have {len(self.names)} numbers, got {len(numbers)}")
        return [
            {
                "image_id": image_id,
                "category_id": int(numbers[class_id]),
                "bbox": [float(v) for v in (x1, y1, x2 - x1, y2 - y1)],
                "score": float(score),
            }
            for (x1, y1, x2, y2), score, class_id in zip(self.boxes, self.scores, self.class_ids, strict=True)
        ]

    def track_of(self, index: int) -> int | None:
        """The track of one box; None where it has none."""
        if self.track_ids is None or self.track_ids[index] < 1:
            return None
        return int(self.track_ids[index])

    def to_rows(self) -> list[dict[str, Any]]:
        """One plain dictionary a box, as the JSONL sink writes it."""
        return [
            {
                "box": [round(float(v), 2) for v in box],
                "score": round(float(score), 4),
                "class": self.names[int(class_id)],
                "track": self.track_of(index),
            }
            for index, (box, score, class_id) in enumerate(
                zip(self.boxes, self.scores, self.class_ids, strict=True)
            )
        ]


def found_in(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    names: tuple[str, ...],
    *,
    seen: tuple[int, int],
    picture: tuple[int, int],
    threshold: float = 0.25,
) -> Detections:
    """What a detector's output says about the picture that it saw at another size.

    Args:
        boxes: (A, 4) float32, x1 y1 x2 y2 in pixels of the detector's input.
        scores: (A, C) float32 in [0, 1].
        names: C class names.
        seen: Width and height of the detector's input.
        picture: Width and height of the picture.
        threshold: Lowest score that counts.

    Returns:
        Boxes in pixels of the picture, cut at its edges; what lies outside as a whole is left out.
    """
    scale = np.array(scale_to(picture, seen) * 2, np.float32)
    # Cut before they are compared: of two boxes that reach over an edge only what is shown can differ.
    cut = np.clip(boxes * scale, 0, np.array([*picture] * 2, np.float32))
    outside = (cut[:, 2:] <= cut[:, :2]).any(axis=1)  # not of NaN, which is for suppress() to refuse
    if outside.any():
        cut, scores = cut[~outside], scores[~outside]
    return suppress(cut, scores, names, threshold=threshold)


def scale_to(picture: tuple[int, int], seen: tuple[int, int]) -> tuple[float, float]:
    """What x and y of a detector's boxes are multiplied with, rounded to float32 where that is done.

    Args:
        picture: Width and height of the picture.
        seen: Those of the detector's input.
    """
    return picture[0] / seen[0], picture[1] / seen[1]


def suppress(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    names: tuple[str, ...],
    *,
    threshold: float = 0.25,
    overlap: float = OVERLAP,
    most: int = MOST,
) -> Detections:
    """Non-maximum suppression, class by class: what a detector proposes becomes what it found.

    Args:
        boxes: (A, 4) float32, x1 y1 x2 y2.
        scores: (A, C) float32 in [0, 1], one column a class.
        names: C class names.
        threshold: Lowest score that counts.
        overlap: IoU above which of two boxes of one class the better one stays.
        most: Keep so many at most, by score.
    """
    anchors, classes = np.nonzero(scores > threshold)
    best = scores[anchors, classes]
    if len(best) > PROPOSALS:
        top = np.argsort(-best, kind="stable")[:PROPOSALS]
        anchors, classes, best = anchors[top], classes[top], best[top]
    proposed = Proposals(boxes[anchors], best, classes)
    return best_of(proposed, names, threshold=threshold, overlap=overlap, most=most)


class Proposals(NamedTuple):
    """What a detector proposes with scores that count, at most :data:`PROPOSALS` of them."""

    boxes: npt.NDArray[np.float32]
    """(N, 4), x1 y1 x2 y2."""
    scores: npt.NDArray[np.float32]
    """(N,)"""
    classes: npt.NDArray[np.int64]
    """(N,), columns of the detector's scores."""


def best_of(
    proposed: Proposals,
    names: tuple[str, ...],
    *,
    threshold: float = 0.25,
    overlap: float = OVERLAP,
    most: int = MOST,
) -> Detections:
    """The second half of :func:`suppress`: of proposals that overlap the best stays.

    Args:
        proposed: In the detector's order, or the best first where there were too many.
        names: C class names.
        threshold: Lowest score that counts.
        overlap: IoU above which of two boxes of one class the better one stays.
        most: Keep so many at most, by score.

    Raises:
        ValueError: a box that is kept is not finite.
    """
    import cv2

    corners, best, classes = proposed
    if not len(best):
        return Detections.empty(names)
    sides = np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1)
    compare: Any = cv2.dnn.NMSBoxesBatched  # OpenCV's stubs ask for lists where arrays do
    kept = np.asarray(compare(sides, best, classes.astype(np.int32), threshold, overlap), np.int64)
    kept = kept[np.argsort(-best[kept], kind="stable")][:most]
    return Detections(
        np.ascontiguousarray(corners[kept], np.float32), best[kept], classes[kept].astype(np.int64), names
    )


def _check(name: str, array: npt.NDArray[Any], shape: tuple[int, ...], dtype: type) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name} must be {np.dtype(dtype).name} {shape}, got {array.dtype} {array.shape}")
