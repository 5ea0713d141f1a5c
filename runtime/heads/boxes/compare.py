"""How two detectors compare: which boxes are the same, which are lost and which are new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge.bundle import Precision
from tdfusion_edge.detections import Detections
from tdfusion_edge.runtime.heads.base import Seen, beyond
from tdfusion_edge.runtime.heads.boxes.score import Tally, score, tally

F32: TypeAlias = npt.NDArray[np.float32]

SAME_IOU = 0.9
"""Two boxes that overlap so far are one."""
LEEWAY = 0.1
"""A box counts as kept although its score fell below the threshold, by no more than this: just above it in
one graph and just below it in the other is no difference that matters."""


class Limits(NamedTuple):
    """What a precision may cost a detector."""

    boxes: float
    """Share of the boxes that may be lost, and that may be added."""
    score_error: float
    map50_change: float
    """Either way: what gains on these pairs gives other boxes as well, and may lose on the next ones."""


LIMITS: Mapping[Precision, Limits] = MappingProxyType(
    {"fp32": Limits(0.01, 0.01, 0.001), "fp16": Limits(0.03, 0.05, 0.005), "int8": Limits(0.10, 0.20, 0.02)}
)
"""INT8 may move mAP50 by two points: it was up to 0.7 points on 60 pairs of MSRS, by which pairs it was
calibrated on, and fewer pairs or rarer classes scatter more."""

ACROSS = Limits(0.05, 0.04, 0.005)
"""What one pass may cost on top: a detector in colour sees chroma that is not rounded to 8 bits when it gets
smaller. On 60 pairs of MSRS that moved scores by up to .011 in float32, mAP50 by .001, in float16 by .003;
on 8 simulated ones scores by up to .020. Cr and Cb in each other's place lost a third of the boxes."""
FEW = 2
"""So many boxes may always be others there: with few boxes each of them is a large share."""


class BoxesGap(NamedTuple):
    """How far a detector's boxes are from those of the reference."""

    boxes: int = 0
    """What the reference found above its threshold."""
    boxes_kept: float = 1.0
    """Share of them with a box of the same class in the same place."""
    boxes_added: float = 0.0
    """Boxes above the threshold in the other alone, as a share of the reference's."""
    score_error: float = 0.0
    """Largest difference between the scores of two that are the same."""
    map50: float | None = None
    """Of the reference against labels, 0 to 1; None without labels, or objects in them."""
    map50_change: float | None = None
    """Of the other against it, below 0 is worse; None likewise."""

    def figures(self) -> dict[str, float]:
        """Everything measured, by name."""
        known = {name: value for name, value in self._asdict().items() if value is not None}
        if not self.boxes:  # nothing was there to keep
            del known["boxes_kept"], known["score_error"]
        return known

    def offences(self, precision: Precision, *, across: bool = False) -> list[str]:
        """Every limit that is passed, as "what: expected ..., got ..."; NaN passes them all."""
        limits = LIMITS[precision]
        if across:
            share = max(ACROSS.boxes, FEW / max(1, self.boxes))
            limits = Limits(
                limits.boxes + share,
                limits.score_error + ACROSS.score_error,
                limits.map50_change + ACROSS.map50_change,
            )
        rows = [
            ("share of boxes lost", 1 - self.boxes_kept, limits.boxes),
            ("share of boxes added", self.boxes_added, limits.boxes),
            ("largest error of a score", self.score_error, limits.score_error),
        ]
        if self.map50_change is not None:
            rows.append(("change of mAP50", abs(self.map50_change), limits.map50_change))
        return beyond(rows)

    def __str__(self) -> str:
        said = (
            f"boxes: {self.boxes}, {self.boxes_kept:.1%} kept, {self.boxes_added:.1%} added, "
            f"scores by at most {self.score_error:.3f}"
        )
        if self.map50 is None or self.map50_change is None:
            return said
        return f"{said}\nmAP50: {self.map50:.4f}, {self.map50_change:+.4f}"


class BoxesComparison:
    """Gathers what two detectors found in the same pictures.

    Args:
        threshold: Score above which a box of the reference counts.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._matches: list[Match] = []
        self._tallies: tuple[list[Tally | None], list[Tally | None]] = [], []

    def add(self, want: Seen, got: Seen) -> None:
        """Count one more pair: by the reference, and by what is compared with it."""
        self._matches.append(match(want.found, got.found, self._threshold))
        for tallies, one in zip(self._tallies, (want, got), strict=True):
            tallies.append(tally(one))

    def gap(self) -> BoxesGap:
        """What was gathered over all pairs; where all are labelled also how good both runs are."""
        scores = [score(tallies) for tallies in self._tallies]
        before, after = (None if one is None else one.map50 for one in scores)
        change = None if before is None or after is None else after - before
        return BoxesGap(*summed(self._matches), map50=before, map50_change=change)


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
