"""How good a segmentation network's masks are, against labelled ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import cv2
import numpy as np

from tdfusion_edge import mask_scores
from tdfusion_edge.color import U8
from tdfusion_edge.mask_scores import Confusion, MaskScores
from tdfusion_edge.runtime.heads.base import Seen


class Tally(NamedTuple):
    """Pixels of one picture whose class is labelled: by that and by the class that was found."""

    counts: Confusion
    names: tuple[str, ...]


def tally(seen: Seen) -> Tally | None:
    """Count the pixels of one picture at its own size; None where it is not labelled with a mask."""
    labelled = seen.pair.mask
    if labelled is None:
        return None
    found, names = seen.found.classes, seen.found.names
    return Tally(mask_scores.confusion(labelled, enlarged(found, labelled.shape), len(names)), names)


def score(tallies: Sequence[Tally | None]) -> MaskScores | None:
    """IoU and accuracy over several pictures; None where not all are labelled, or there is none."""
    known = [one for one in tallies if one is not None]
    if not known or len(known) < len(tallies):
        return None
    return mask_scores.score(np.sum([one.counts for one in known], axis=0), known[0].names)


def enlarged(mask: U8, size: tuple[int, ...]) -> U8:
    """A mask uint8 (h, w) at another height and width: each pixel gets the nearest one's class."""
    height, width = size
    return cast(U8, cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))
