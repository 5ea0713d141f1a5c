"""How two segmentation networks compare: which pixels get the same class."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from tdfusion_edge.bundle import Precision
from tdfusion_edge.mask_scores import IGNORE, Confusion, confusion
from tdfusion_edge.runtime.heads.base import Seen, beyond
from tdfusion_edge.runtime.heads.mask.score import Tally, score, tally

RARE = 1e-3
"""A class with a smaller share of the reference's pixels has no part in the mean overlap: a few pixels more
or fewer would be all of it."""


class Limits(NamedTuple):
    """What a precision may cost a segmentation network."""

    pixels: float
    """Share of a mask's pixels that may get another class."""
    mask_iou: float
    """Least mean overlap of classes."""
    miou_change: float
    """Of the mIoU with labelled masks, either way: what gains on these pairs gives other masks as well."""


LIMITS: Mapping[Precision, Limits] = MappingProxyType(
    {
        "fp32": Limits(0.002, 0.99, 0.001),
        "fp16": Limits(0.01, 0.97, 0.005),
        "int8": Limits(0.05, 0.85, 0.02),
    }
)
"""mIoU may move as far as a detector's mAP50: both are means over the classes of what is right of 1, so that
a point of one is worth a point of the other. It scatters less: pixels on an edge that change class for the
better and for the worse cancel out."""


class MaskGap(NamedTuple):
    """How far a segmentation network's masks are from those of the reference."""

    pixels: int = 0
    """Of all masks."""
    pixels_equal: float = 1.0
    """Share of them that have the same class in both."""
    mask_iou: float = 1.0
    """Mean overlap of the same class's pixels, over the classes that are not :data:`RARE`."""
    miou: float | None = None
    """Of the reference against labelled masks, 0 to 1; None without labels, or pixels that count."""
    miou_change: float | None = None
    """Of the other against it, below 0 is worse; None likewise."""

    def figures(self) -> dict[str, float]:
        """Everything measured, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    def offences(self, precision: Precision, *, across: bool = False) -> list[str]:
        """Every limit that is passed, as "what: expected ..., got ..."; NaN passes them all."""
        del across  # no one-pass graph has a mask
        limits = LIMITS[precision]
        rows = [
            ("share of the mask's pixels of another class", 1 - self.pixels_equal, limits.pixels),
            ("mean overlap of the mask's classes", -self.mask_iou, -limits.mask_iou),
        ]
        if self.miou_change is not None:
            rows.append(("change of mIoU", abs(self.miou_change), limits.miou_change))
        return beyond(rows)

    def __str__(self) -> str:
        said = f"masks: {self.pixels_equal:.2%} of the pixels equal, mIoU {self.mask_iou:.3f}"
        if self.miou is None or self.miou_change is None:
            return said
        return f"{said}\nmIoU with the labels: {self.miou:.4f}, {self.miou_change:+.4f}"


class MaskComparison:
    """Gathers what two segmentation networks gave for the same pictures."""

    def __init__(self) -> None:
        self._masks = np.zeros((IGNORE, IGNORE), np.int64)
        self._tallies: tuple[list[Tally | None], list[Tally | None]] = [], []

    def add(self, want: Seen, got: Seen) -> None:
        """Count one more pair: by the reference, and by what is compared with it."""
        self._masks += confusion(want.found.classes, got.found.classes, IGNORE)
        for tallies, one in zip(self._tallies, (want, got), strict=True):
            tallies.append(tally(one))

    def gap(self) -> MaskGap:
        """What was gathered over all pairs; where all are labelled also how good both runs are."""
        scores = [score(tallies) for tallies in self._tallies]
        before, after = (None if one is None else one.miou for one in scores)
        change = None if before is None or after is None else after - before
        return MaskGap(*overlap(self._masks), miou=before, miou_change=change)


def overlap(masks: Confusion) -> tuple[int, float, float]:
    """Pixels, the share of equal ones, and the mean overlap of classes that are not :data:`RARE`.

    Args:
        masks: Pixels of the reference's class [row] that have class [column] in the other mask.
    """
    pixels, equal = int(masks.sum()), np.diag(masks)
    if not pixels:
        return 0, 1.0, 1.0
    want, got = masks.sum(1), masks.sum(0)
    known = want >= RARE * pixels
    shares = equal[known] / (want + got - equal)[known]
    return pixels, float(equal.sum() / pixels), float(shares.mean())
