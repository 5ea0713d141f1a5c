"""Which of a detector's boxes are right, picture by picture: all that the AP50 of any pictures needs.

A match is made within one picture and one class, by COCO's rule: boxes by falling score, each takes the free
labelled one that it overlaps most, from an IoU of .5. So it does not depend on which other pictures count.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdfusion_edge.detection_scores import MOST
from tdfusion_edge.detections import Detections
from tdfusion_edge.files import write_aside
from tdfusion_edge.pairs import Boxes

IOU = 0.5 - 1e-10
"""As COCO's evaluation rounds it."""

F64 = npt.NDArray[np.float64]


class Matches(NamedTuple):
    """What was found in some pictures, and whether it is there."""

    pictures: npt.NDArray[np.int64]
    """(D,) place of the picture that each box was found in."""
    classes: npt.NDArray[np.int64]
    """(D,)"""
    scores: npt.NDArray[np.float32]
    """(D,)"""
    hits: npt.NDArray[np.bool_]
    """(D,) whether the box matches a labelled one."""
    objects: npt.NDArray[np.int64]
    """(P, C) labelled objects of each picture and class."""


def match(found: Detections, truth: Boxes, classes: int) -> Matches:
    """The matches of one picture.

    Args:
        found: Boxes in pixels of the picture.
        truth: Labelled boxes in the same pixels.
        classes: How many there are.
    """
    numbers, scores, hits = [], [], []
    for number in range(classes):
        chosen = np.flatnonzero(found.class_ids == number)
        chosen = chosen[np.argsort(-found.scores[chosen], kind="stable")][:MOST]
        overlaps = ious(found.boxes[chosen], truth.corners[truth.classes == number])
        numbers += [number] * len(chosen)
        scores += found.scores[chosen].tolist()
        hits += _greedy(overlaps)
    return Matches(
        np.zeros(len(numbers), np.int64),
        np.array(numbers, np.int64),
        np.array(scores, np.float32),
        np.array(hits, bool),
        np.bincount(truth.classes, minlength=classes)[None],
    )


def ious(boxes: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> F64:
    """Intersection over union of every box (N, 4) with every other (M, 4), (N, M)."""
    a, b = boxes.astype(np.float64)[:, None], others.astype(np.float64)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.clip(sides, 0, None).prod(axis=-1)
    areas = [(one[..., 2:] - one[..., :2]).prod(axis=-1) for one in (a, b)]
    union = areas[0] + areas[1] - shared
    found: F64 = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found


def joined(parts: Sequence[Matches]) -> Matches:
    """The matches of several sets of pictures as those of one, in their order."""
    starts = np.cumsum([0, *(len(part.objects) for part in parts)])
    moved = [part.pictures + start for part, start in zip(parts, starts, strict=False)]
    rest = [np.concatenate(fields) for fields in zip(*(part[1:] for part in parts), strict=True)]
    return Matches(np.concatenate(moved), *rest)


def save(path: Path, matches: Matches) -> None:
    """Write them as an npz file, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **matches._asdict())
    write_aside(path, buffer.getvalue())


def load(path: Path) -> Matches:
    """What :func:`save` wrote."""
    with np.load(path, allow_pickle=False) as file:
        return Matches(*(file[name] for name in Matches._fields))


def _greedy(overlaps: F64) -> list[bool]:
    """Whether each row (a box, the best first) gets a column (a labelled box) of its own."""
    free = np.ones(overlaps.shape[1], bool)
    hits = []
    for row in overlaps:
        open_ones = np.where(free, row, -1.0)
        # Of equal overlaps COCO takes the last.
        best = len(open_ones) - 1 - int(open_ones[::-1].argmax()) if len(open_ones) else -1
        hit = best >= 0 and bool(open_ones[best] >= IOU)
        if hit:
            free[best] = False
        hits.append(hit)
    return hits
