"""How good found boxes are: COCO's average precision, overall and class by class.

AP50 counts a box as found from an IoU of 0.5, AP50:95 is the mean over the thresholds 0.5, 0.55 ...
0.95; precision is interpolated at 101 recalls, and 100 boxes a picture and class count at most. A
class of which the pictures show no object has no AP and is left out of the mean.

The faster-coco-eval library does the matching and is imported at use (extra ``metrics``).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tdfusion_edge.detections import Detections
from tdfusion_edge.errors import RequestError
from tdfusion_edge.install import imported
from tdfusion_edge.text import CLASSES, few

THRESHOLD = 0.001
"""Lowest score of the detections to hand in: the curve goes down to where nearly everything is found."""
MOST = 100
"""Boxes of one picture and class that count at most, by score."""


class Truth(NamedTuple):
    """Labelled objects of one picture."""

    corners: npt.NDArray[np.float32]
    """(N, 4) float32, x1 y1 x2 y2 in the pixels that the detections are in."""
    classes: npt.NDArray[np.int64]
    """(N,) int64, index into the class names."""


class ClassScores(NamedTuple):
    """One class, or the mean over the classes, over all pictures."""

    map50: float | None
    """AP at IoU 0.5, 0 to 1; None where no object of the class is labelled."""
    map50_95: float | None
    """Mean AP over the IoU thresholds 0.5 to 0.95; None where there is no object."""
    boxes: int
    """Labelled objects."""


class DetectionScores(NamedTuple):
    """All classes over all pictures."""

    map50: float | None
    """Mean over the classes that have objects; None where none has."""
    map50_95: float | None
    """Mean over these classes of the mean AP over the IoU thresholds; None where no class has objects."""
    per_class: dict[str, ClassScores]


def score(
    predictions: Sequence[Detections], truths: Sequence[Truth], names: Sequence[str]
) -> DetectionScores:
    """Score the detections of several pictures against their labels.

    Args:
        predictions: One a picture, down to a score of :data:`THRESHOLD`.
        truths: One a picture, in the same order.
        names: Class names, to which the class ids of both refer.

    Raises:
        RequestError: the numbers of pictures differ, a class has no name, the detections have other
            class names, or faster-coco-eval is not installed.
    """
    _check(predictions, truths, names)
    counts = [0] * len(names)
    for truth in truths:
        for class_id in truth.classes.tolist():
            counts[class_id] += 1
    precision = _precision(predictions, truths, len(names))
    rows = {
        name: ClassScores(_mean(precision[0, :, k]), _mean(precision[:, :, k]), counts[k])
        if counts[k]
        else ClassScores(None, None, 0)
        for k, name in enumerate(names)
    }
    known = [row for row in rows.values() if row.boxes]
    return DetectionScores(
        map50=_mean([row.map50 for row in known]) if known else None,
        map50_95=_mean([row.map50_95 for row in known]) if known else None,
        per_class=rows,
    )


def _check(predictions: Sequence[Detections], truths: Sequence[Truth], names: Sequence[str]) -> None:
    if len(predictions) != len(truths):
        raise RequestError(
            "detections and labels of unequal numbers of pictures",
            expected=str(len(truths)),
            got=str(len(predictions)),
        )
    if len(set(names)) != len(names):
        raise RequestError("two classes of one name", got=few(names, CLASSES))
    for found in predictions:
        if len(found) and tuple(found.names) != tuple(names):
            raise RequestError(
                "detections of other classes than the labels",
                expected=few(names, CLASSES),
                got=few(found.names, CLASSES),
            )
    for truth in truths:
        if len(truth.classes) and not 0 <= truth.classes.min() <= truth.classes.max() < len(names):
            raise RequestError(
                "a labelled object has a class without a name",
                expected=f"0 to {len(names) - 1}",
                got=f"{truth.classes.min()} to {truth.classes.max()}",
            )


def _precision(
    predictions: Sequence[Detections], truths: Sequence[Truth], classes: int
) -> npt.NDArray[np.float64]:
    """Interpolated precision (10 thresholds, 101 recalls, classes), -1 for classes without objects."""
    library = _library()
    objects = [
        {**_row(picture, corners, class_id), "iscrowd": 0}
        for picture, truth in enumerate(truths)
        for corners, class_id in zip(truth.corners.tolist(), truth.classes.tolist(), strict=True)
    ]
    found = [
        {**_row(picture, corners, class_id), "score": value}
        for picture, boxes in enumerate(predictions)
        for corners, class_id, value in zip(
            boxes.boxes.tolist(), boxes.class_ids.tolist(), boxes.scores.tolist(), strict=True
        )
    ]
    labelled = library.COCO(
        {
            "images": [{"id": picture + 1} for picture in range(len(truths))],
            "categories": [{"id": k + 1, "name": str(k)} for k in range(classes)],
            "annotations": [{**row, "id": number} for number, row in enumerate(objects, 1)],
        }
    )
    evaluation = library.COCOeval_faster(labelled, labelled.loadRes(found), "bbox")
    evaluation.params.maxDets = [MOST]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.evaluate()
    evaluation.accumulate()
    precision: npt.NDArray[np.float64] = np.asarray(evaluation.eval["precision"])[..., 0, 0]
    return precision


def _row(picture: int, corners: Sequence[float], class_id: int) -> dict[str, Any]:
    x1, y1, x2, y2 = corners
    # Numbers start at 1: an id of 0 counts as "no match" in COCO's evaluation.
    return {
        "image_id": picture + 1,
        "category_id": class_id + 1,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
    }


def _library() -> Any:
    # It reports every step of its work as information.
    logging.getLogger("faster_coco_eval").setLevel(logging.WARNING)
    return imported("faster_coco_eval", "metrics", "scoring boxes needs faster-coco-eval", RequestError)


def _mean(values: Any) -> float:
    return float(np.mean(values))
