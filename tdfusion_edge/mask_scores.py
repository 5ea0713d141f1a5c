"""How good predicted masks are: IoU, accuracy and their means over the classes.

Pixels are counted over all pictures before anything is divided, as is customary for segmentation: a
large picture weighs more than a small one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tdfusion_edge.errors import RequestError
from tdfusion_edge.text import CLASSES, few

IGNORE = 255
"""Value of the pixels of a true mask that do not count."""

Confusion = npt.NDArray[np.int64]
"""(C, C): pixels of true class [row] that were predicted as class [column]."""


class ClassScores(NamedTuple):
    """One class over all pictures."""

    iou: float | None
    """True positives by what is truly or allegedly of this class; None where neither holds a pixel."""
    accuracy: float | None
    """Share of its pixels that were found; None where it has none."""
    pixels: int
    """Of the true masks."""


class MaskScores(NamedTuple):
    """All classes over all pictures."""

    miou: float | None
    """Mean IoU over the classes that have one; None where no pixel counts."""
    macc: float | None
    """Mean accuracy over the classes that have one."""
    accuracy: float | None
    """Share of all pixels that were predicted rightly."""
    per_class: dict[str, ClassScores]


def confusion(truth: npt.NDArray[Any], predicted: npt.NDArray[Any], classes: int) -> Confusion:
    """Count the pixels of one picture, or of several in one array; the matrices of pictures add up.

    Args:
        truth: Integers of any shape, 0 to ``classes`` - 1, 255 for a pixel that does not count.
        predicted: Integers of the same shape, 0 to ``classes`` - 1 where a pixel counts.
        classes: How many there are, 1 to 255.

    Returns:
        (classes, classes) int64.

    Raises:
        RequestError: the shapes differ, or a value is no class.
    """
    if truth.shape != predicted.shape:
        raise RequestError(
            "a predicted mask has another shape than the true one",
            expected=str(truth.shape),
            got=str(predicted.shape),
        )
    counts = truth != IGNORE
    rows, columns = truth[counts].astype(np.int64), predicted[counts].astype(np.int64)
    for name, values in (("true", rows), ("predicted", columns)):
        if values.size and not 0 <= int(values.min()) <= int(values.max()) < classes:
            raise RequestError(
                f"a {name} mask holds a value that is no class",
                expected=f"0 to {classes - 1}",
                got=f"{values.min()} to {values.max()}",
            )
    return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)


def score(matrix: Confusion, names: Sequence[str]) -> MaskScores:
    """Scores of a confusion matrix.

    Args:
        matrix: (C, C) sum of what :func:`confusion` gave.
        names: C class names.

    Raises:
        RequestError: there is not one name a class.
    """
    if matrix.shape != (len(names), len(names)) or len(set(names)) != len(names):
        raise RequestError(
            "names of a confusion matrix", expected=f"{len(matrix)} different ones", got=few(names, CLASSES)
        )
    right, true, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    rows = {
        name: ClassScores(
            iou=_ratio(right[k], true[k] + predicted[k] - right[k]),
            accuracy=_ratio(right[k], true[k]),
            pixels=int(true[k]),
        )
        for k, name in enumerate(names)
    }
    return MaskScores(
        miou=_mean([row.iou for row in rows.values()]),
        macc=_mean([row.accuracy for row in rows.values()]),
        accuracy=_ratio(right.sum(), true.sum()),
        per_class=rows,
    )


def _ratio(part: Any, whole: Any) -> float | None:
    return int(part) / int(whole) if whole else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
