"""What two segmentation networks have in common."""

from __future__ import annotations

import numpy as np

from tdfusion_edge.mask_scores import Confusion

RARE = 1e-3
"""A class with a smaller share of the reference's pixels has no part in the mean overlap: a few pixels more
or fewer would be all of it."""


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
