"""How near one set of engines comes to another on the same pairs: pictures, boxes, and what limits both.

The reference is the float32 graphs on ONNX Runtime's CPU. ``export`` measures every precision that it writes
against it, and ``verify`` whatever a device runs: the same numbers, the same limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge.bundle import Precision
from tdfusion_edge.color import U8
from tdfusion_edge.detections import Detections
from tdfusion_edge.mask_scores import IGNORE, Confusion, confusion
from tdfusion_edge.metrics import evaluate
from tdfusion_edge.runtime.stretch import Stretch

F32: TypeAlias = npt.NDArray[np.float32]
Fuse: TypeAlias = Callable[[U8, U8], F32]
"""Infrared and visible luma, uint8 (H, W), to fused luma, float32 (H, W)."""
Detect: TypeAlias = Callable[[F32], Detections]
Segment: TypeAlias = Callable[[F32], U8]
"""Fused luma, float32 (H, W), to the class of each pixel, uint8 (h, w)."""

SAME_IOU = 0.9
"""Two boxes that overlap so far are one."""
LEEWAY = 0.1
"""A box counts as kept although its score fell below the threshold, by no more than this: just above it in
one graph and just below it in the other is no difference that matters."""
RARE = 1e-3
"""A class with a smaller share of the reference's pixels has no part in the mean overlap: a few pixels more
or fewer would be all of it."""


class Views(NamedTuple):
    """One pair as both sides see it."""

    name: str
    infrared: U8
    visible: U8


class Chain(NamedTuple):
    """Engines at work."""

    fuse: Fuse
    detect: Detect | None
    """Finds everything with a score of the threshold less :data:`LEEWAY` or more; None: no detector."""
    segment: Segment | None = None
    """None: no segmentation network."""


class Gap(NamedTuple):
    """How far one chain is from the reference."""

    pairs: int
    max_error: float
    """Largest difference of the fused luma, of 1."""
    mean_error: float
    psnr_db: float
    """Of the fused luma over all pairs; infinite where there is no difference."""
    qabf_change: float
    ssim_change: float
    """Of the means over all pairs, of the 8-bit pictures; below 0 is worse."""
    boxes: int = 0
    """What the reference found above its threshold."""
    boxes_kept: float = 1.0
    """Share of them with a box of the same class in the same place."""
    boxes_added: float = 0.0
    """Boxes above the threshold in the other chain alone, as a share of the reference's."""
    score_error: float = 0.0
    """Largest difference between the scores of two that are the same."""
    pixels: int = 0
    """Of all masks."""
    pixels_equal: float = 1.0
    """Share of them that have the same class in both."""
    mask_iou: float = 1.0
    """Mean overlap of the same class's pixels, over the classes that are not :data:`RARE`."""


class Limits(NamedTuple):
    """What a precision may cost."""

    max_error: float
    psnr_db: float
    metric_change: float
    """Of Qabf and SSIM, either way."""
    boxes: float
    """Share of the boxes that may be lost, and that may be added."""
    score_error: float
    pixels: float
    """Share of a mask's pixels that may get another class."""
    mask_iou: float
    """Least mean overlap of classes."""


LIMITS: Mapping[Precision, Limits] = MappingProxyType(
    {
        "fp32": Limits(1e-4, 90.0, 1e-3, 0.01, 0.01, 0.002, 0.99),
        "fp16": Limits(0.02, 60.0, 2e-3, 0.03, 0.05, 0.01, 0.97),
        "int8": Limits(0.25, 35.0, 0.02, 0.10, 0.20, 0.05, 0.85),
    }
)


def measure(pairs: Iterable[Views], reference: Chain, other: Chain, threshold: float = 0.25) -> Gap:
    """Run both chains over all pairs.

    Args:
        pairs: At least one.
        reference: The float32 graphs.
        other: What is measured.
        threshold: Score from which a box of the reference counts.

    Raises:
        ValueError: there is no pair.
    """
    largest, absolute, squared, pixels, count = 0.0, 0.0, 0.0, 0, 0
    changes: list[tuple[float, float]] = []
    matches: list[Match] = []
    masks = np.zeros((IGNORE, IGNORE), np.int64)
    for pair in pairs:
        count += 1
        want, got = (chain.fuse(pair.infrared, pair.visible) for chain in (reference, other))
        error = np.abs(want.astype(np.float64) - got)
        # NaN has to win: max() of Python would let it pass or not by its place.
        largest = float(np.maximum(largest, error.max()))
        absolute, squared, pixels = (
            absolute + error.sum(),
            squared + np.square(error).sum(),
            pixels + error.size,
        )
        scores = [
            evaluate(Stretch("none").apply(fused, 0), pair.infrared, pair.visible) for fused in (want, got)
        ]
        changes.append((scores[1].qabf - scores[0].qabf, scores[1].ssim - scores[0].ssim))
        if reference.detect is not None and other.detect is not None:
            matches.append(match(reference.detect(want), other.detect(got), threshold))
        if reference.segment is not None and other.segment is not None:
            masks += confusion(reference.segment(want), other.segment(got), IGNORE)
    if not count:
        raise ValueError("there is no pair to compare")
    qabf, ssim = (float(part) for part in np.mean(changes, axis=0))
    mean_square = float(squared) / pixels
    psnr = float("inf") if mean_square == 0 else float(-10 * np.log10(mean_square))
    return Gap(count, largest, float(absolute) / pixels, psnr, qabf, ssim, *_boxes(matches), *overlap(masks))


class Match(NamedTuple):
    """What became of the boxes of one picture."""

    boxes: int
    kept: int
    added: int
    score_error: float


def match(want: Detections, got: Detections, threshold: float) -> Match:
    """Find the reference's boxes among the other chain's, the surest first, each once.

    Args:
        want: The reference's; those below ``threshold`` are what a box of ``got`` may be as well.
        got: The other's.
        threshold: From which a box counts.
    """
    kept, difference = _found_again(want, got, threshold)
    again, _ = _found_again(got, want, threshold)
    boxes, others = (int((found.scores > threshold).sum()) for found in (want, got))
    return Match(boxes, kept, others - again, difference)


def _found_again(of: Detections, among: Detections, threshold: float) -> tuple[int, float]:
    """How many boxes above the threshold have one in the same place, and the largest difference in score."""
    free = np.ones(len(among.scores), bool)
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


def _boxes(matches: Sequence[Match]) -> tuple[int, float, float, float]:
    boxes, kept, added = (sum(getattr(one, name) for one in matches) for name in ("boxes", "kept", "added"))
    worst = max((one.score_error for one in matches), default=0.0)
    share = max(1, boxes)
    return boxes, kept / share if boxes else 1.0, added / share, worst


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


def offences(gap: Gap, limits: Limits) -> list[str]:
    """Every limit that is passed, as "what: expected ..., got ..."; NaN passes them all."""
    change = max(abs(gap.qabf_change), abs(gap.ssim_change))
    rows = (
        ("largest error of the fused luma", gap.max_error, limits.max_error),
        ("PSNR of the fused luma in dB", -gap.psnr_db, -limits.psnr_db),
        ("change of Qabf or SSIM", change, limits.metric_change),
        ("share of boxes lost", 1 - gap.boxes_kept, limits.boxes),
        ("share of boxes added", gap.boxes_added, limits.boxes),
        ("largest error of a score", gap.score_error, limits.score_error),
        ("share of the mask's pixels of another class", 1 - gap.pixels_equal, limits.pixels),
        ("mean overlap of the mask's classes", -gap.mask_iou, -limits.mask_iou),
    )
    return [
        f"{what}: expected {'at least' if limit < 0 else 'at most'} {abs(limit):g}, got {abs(value):.3g}"
        for what, value, limit in rows
        if not value <= limit
    ]
