"""How two segmentation networks compare: which pixels get the same class."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from tdfusion_edge.bundle import Precision
from tdfusion_edge.mask_scores import IGNORE, Confusion, confusion
from tdfusion_edge.runtime.heads.base import Seen, beyond

RARE = 1e-3
"""A class with a smaller share of the reference's pixels has no part in the mean overlap: a few pixels more
or fewer would be all of it."""


class Limits(NamedTuple):
    """What a precision may cost a segmentation network."""

    pixels: float
    """Share of a mask's pixels that may get another class."""
    mask_iou: float
    """Least mean overlap of classes."""


LIMITS: Mapping[Precision, Limits] = MappingProxyType(
    {"fp32": Limits(0.002, 0.99), "fp16": Limits(0.01, 0.97), "int8": Limits(0.05, 0.85)}
)


class MaskGap(NamedTuple):
    """How far a segmentation network's masks are from those of the reference."""

    pixels: int = 0
    """Of all masks."""
    pixels_equal: float = 1.0
    """Share of them that have the same class in both."""
    mask_iou: float = 1.0
    """Mean overlap of the same class's pixels, over the classes that are not :data:`RARE`."""

    def figures(self) -> dict[str, float]:
        """Everything measured, by name."""
        return dict(self._asdict())

    def offences(self, precision: Precision) -> list[str]:
        """Every limit that is passed, as "what: expected ..., got ..."; NaN passes them all."""
        limits = LIMITS[precision]
        return beyond(
            [
                ("share of the mask's pixels of another class", 1 - self.pixels_equal, limits.pixels),
                ("mean overlap of the mask's classes", -self.mask_iou, -limits.mask_iou),
            ]
        )

    def __str__(self) -> str:
        return f"masks: {self.pixels_equal:.2%} of the pixels equal, mIoU {self.mask_iou:.3f}"


class MaskComparison:
    """Gathers what two segmentation networks gave for the same pictures."""

    def __init__(self) -> None:
        self._masks = np.zeros((IGNORE, IGNORE), np.int64)

    def add(self, want: Seen, got: Seen) -> None:
        """Count one more pair: by the reference, and by what is compared with it."""
        self._masks += confusion(want.found.classes, got.found.classes, IGNORE)

    def gap(self, labels: Any = None) -> MaskGap:
        """All of it."""
        del labels
        return MaskGap(*overlap(self._masks))


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
