"""What the heads found in fused pictures, scored against the labels of their pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import cv2
import numpy as np

from tdfusion_edge import detection_scores, mask_scores
from tdfusion_edge.color import U8
from tdfusion_edge.detection_scores import DetectionScores, Truth
from tdfusion_edge.detections import Detections
from tdfusion_edge.mask_scores import Confusion, MaskScores
from tdfusion_edge.masks import Mask
from tdfusion_edge.metrics import Scores
from tdfusion_edge.pairs import Boxes, LabelledPair


class Pixels(NamedTuple):
    """Pixels of one picture whose class is known, by that and by the class that was found."""

    counts: Confusion
    names: tuple[str, ...]


class Measured(NamedTuple):
    """One pair of a row."""

    name: str
    scores: Scores
    found: Detections | None = None
    """None where there is no detector."""
    boxes: Boxes | None = None
    """Labelled ones; None where there are no such labels."""
    pixels: Pixels | None = None
    """None where there is no segmentation network, or no labelled mask."""


def measured(
    pair: LabelledPair, scores: Scores, found: Detections | None = None, mask: Mask | None = None
) -> Measured:
    """What was measured of one fused picture, beside the labels of its pair."""
    pixels = None
    if mask is not None and pair.mask is not None:
        counts = mask_scores.confusion(pair.mask, enlarged(mask.classes, pair.mask), len(mask.names))
        pixels = Pixels(counts, mask.names)
    return Measured(pair.name, scores, found, pair.boxes, pixels)


def enlarged(mask: U8, labelled: U8) -> U8:
    """A found mask at the size of the labelled one, where it is scored: each pixel gets the nearest class.

    Args:
        mask: uint8 (h, w), at the network's size.
        labelled: uint8 (H, W), at the pictures' own.
    """
    height, width = labelled.shape
    return cast(U8, cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))


def score_boxes(pairs: Sequence[Measured]) -> DetectionScores | None:
    """Scores of the boxes that were found in these pairs; None where not all are labelled and looked at."""
    rows = [(pair.found, pair.boxes) for pair in pairs if pair.found is not None and pair.boxes is not None]
    if not pairs or len(rows) < len(pairs):
        return None
    found = [some for some, _ in rows]
    return detection_scores.score(found, [Truth(*boxes) for _, boxes in rows], found[0].names)


def score_masks(pairs: Sequence[Measured]) -> MaskScores | None:
    """Scores of the masks that were found in these pairs; None where not all are labelled and looked at."""
    pixels = [pair.pixels for pair in pairs if pair.pixels is not None]
    if not pairs or len(pixels) < len(pairs):
        return None
    return mask_scores.score(np.sum([one.counts for one in pixels], axis=0), pixels[0].names)
