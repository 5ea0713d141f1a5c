"""Two detectors' boxes in one picture: which are the same, which are lost and which are new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge.detections import Detections

F32: TypeAlias = npt.NDArray[np.float32]

SAME_IOU = 0.9
"""Two boxes that overlap so far are one."""
LEEWAY = 0.1
"""A box counts as kept although its score fell below the threshold, by no more than this: just above it in
one graph and just below it in the other is no difference that matters."""


class Match(NamedTuple):
    """What became of the boxes of one picture."""

    boxes: int
    kept: int
    added: int
    score_error: float


def match(want: Detections, got: Detections, threshold: float) -> Match:
    """Find the reference's boxes among the other chain's, the surest first, each once.

    Args:
        want: The reference's, down to a score of the threshold less :data:`LEEWAY`, or lower; those below
            ``threshold`` are what a box of ``got`` may be as well.
        got: The other's, likewise.
        threshold: From which a box counts.
    """
    kept, difference = _found_again(want, got, threshold)
    again, _ = _found_again(got, want, threshold)
    boxes, others = (int((found.scores > threshold).sum()) for found in (want, got))
    return Match(boxes, kept, others - again, difference)


def summed(matches: Sequence[Match]) -> tuple[int, float, float, float]:
    """Boxes of the reference, shares of them that were kept and added, and the largest error of a score."""
    boxes, kept, added = (sum(getattr(one, name) for one in matches) for name in ("boxes", "kept", "added"))
    worst = max((one.score_error for one in matches), default=0.0)
    share = max(1, boxes)
    return boxes, kept / share if boxes else 1.0, added / share, worst


def _found_again(of: Detections, among: Detections, threshold: float) -> tuple[int, float]:
    """How many boxes above the threshold have one in the same place, and the largest difference in score."""
    free = among.scores > threshold - LEEWAY
    count, worst = 0, 0.0
    for index in np.argsort(-of.scores, kind="stable"):
        if of.scores[index] <= threshold:
            break
        same = free & (among.class_ids == of.class_ids[index])
        overlap = np.where(same, _iou(of.boxes[index], among.boxes), 0.0)
        if not overlap.size or overlap.max() < SAME_IOU:
            continue
        partner = int(overlap.argmax())
        free[partner] = False
        count += 1
        worst = max(worst, abs(float(of.scores[index]) - float(among.scores[partner])))
    return count, worst


def _iou(box: F32, boxes: F32) -> npt.NDArray[np.float64]:
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.clip(high - low, 0, None).prod(axis=1, dtype=np.float64)
    areas = [
        np.clip(some[..., 2:] - some[..., :2], 0, None).prod(axis=-1, dtype=np.float64)
        for some in (box, boxes)
    ]
    return np.asarray(common / np.maximum(areas[0] + areas[1] - common, 1e-9))
