"""How near one set of engines comes to another on the same pairs: pictures, boxes, and what limits both.

The reference is the float32 graphs on ONNX Runtime's CPU. ``export`` measures every precision that it writes
against it, and ``verify`` whatever a device runs: the same numbers, the same limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from tdfusion_edge.bundle import Precision
from tdfusion_edge.color import U8
from tdfusion_edge.detections import Detections
from tdfusion_edge.mask_scores import IGNORE, confusion
from tdfusion_edge.masks import Mask
from tdfusion_edge.metrics import evaluate
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.runtime.evaluation.labels import Measured, measured, score_boxes, score_masks
from tdfusion_edge.runtime.evaluation.parity_boxes import Match, match, summed
from tdfusion_edge.runtime.evaluation.parity_masks import overlap
from tdfusion_edge.runtime.picture.stretch import Stretch

F32: TypeAlias = npt.NDArray[np.float32]
Fuse: TypeAlias = Callable[[U8, U8], F32]
"""Infrared and visible luma, uint8 (H, W), to fused luma, float32 (H, W)."""
Detect: TypeAlias = Callable[[F32], Detections]
Key = TypeVar("Key")
Segment: TypeAlias = Callable[[F32], Mask]
"""Fused luma, float32 (H, W), to the class of each pixel."""


class Chain(NamedTuple):
    """Engines at work."""

    fuse: Fuse
    detect: Detect | None
    """Finds everything with a score of the threshold less
    :data:`~.parity_boxes.LEEWAY` or more, and where there are labels all that an
    average precision counts; None: no detector."""
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
    """Mean overlap of the same class's pixels, over the classes that are not
    :data:`~tdfusion_edge.runtime.evaluation.parity_masks.RARE`."""
    map50: float | None = None
    """Of the reference against labels, 0 to 1; None without labels or detector."""
    map50_change: float | None = None
    """Below 0 is worse; None likewise."""
    miou: float | None = None
    """Of the reference's masks against labelled ones, 0 to 1; None without those or such a head."""
    miou_change: float | None = None
    """Below 0 is worse; None likewise."""


class Limits(NamedTuple):
    """What a precision may cost."""

    max_error: float
    psnr_db: float
    metric_change: float
    """Of Qabf and SSIM, either way."""
    boxes: float
    """Share of the boxes that may be lost, and that may be added."""
    score_error: float
    map50_change: float
    """Either way: what gains on these pairs gives other boxes as well, and may lose on the next ones."""
    pixels: float
    """Share of a mask's pixels that may get another class."""
    mask_iou: float
    """Least mean overlap of classes."""
    miou_change: float
    """Of the mean IoU with labelled masks, either way, for the same reason."""


LIMITS: Mapping[Precision, Limits] = MappingProxyType(
    {
        "fp32": Limits(1e-4, 90.0, 1e-3, 0.01, 0.01, 0.001, 0.002, 0.99, 0.001),
        "fp16": Limits(0.02, 60.0, 2e-3, 0.03, 0.05, 0.005, 0.01, 0.97, 0.005),
        "int8": Limits(0.25, 35.0, 0.02, 0.10, 0.20, 0.02, 0.05, 0.85, 0.02),
    }
)
"""INT8 may move mAP50 by two points: it was up to 0.7 points on 60 pairs of MSRS, by which pairs it was
calibrated on, and fewer pairs or rarer classes scatter more.

mIoU may move as far as mAP50: both are means over the classes of what is right of 1, so that a point of one
is worth a point of the other. It scatters less: pixels on an edge that change class for the better and for
the worse cancel out."""


LEVEL = 1 / 255 + 1e-6
PSNR_8_BITS = 60.0
"""In decibels; what six pixels in a hundred make that are rounded the other way."""


def in_8_bits(limits: Limits) -> Limits:
    """The same for a pipeline, whose fused luma is rounded: a level more at most, and on the edges only."""
    return limits._replace(max_error=limits.max_error + LEVEL, psnr_db=min(limits.psnr_db, PSNR_8_BITS))


def measure(
    pairs: Iterable[LabelledPair],
    reference: Chain,
    other: Chain,
    threshold: float = 0.25,
) -> Gap:
    """Run both chains over all pairs; arguments and errors are those of :func:`measure_each`."""
    return measure_each(pairs, reference, {None: other}, threshold)[None]


def measure_each(
    pairs: Iterable[LabelledPair],
    reference: Chain,
    others: Mapping[Key, Chain],
    threshold: float = 0.25,
) -> dict[Key, Gap]:
    """Run the reference once over all pairs, and every other chain.

    Args:
        pairs: At least one; where all are labelled, what the heads find is scored against that.
        reference: The float32 graphs.
        others: What is measured, by any key.
        threshold: Score from which a box of the reference counts.

    Raises:
        ValueError: there is no pair.
        RequestError: the boxes cannot be scored.
    """
    wanted: list[Measured] = []
    sums = {key: _Sums(threshold) for key in others}
    for pair in pairs:
        want = _run(reference, pair)
        wanted.append(want.measured)
        for key, chain in others.items():
            sums[key].add(want, _run(chain, pair))
    if not wanted:
        raise ValueError("there is no pair to compare")
    before = _scores(wanted)
    return {key: one.gap(before, _scores(one.measured)) for key, one in sums.items()}


class _Seen(NamedTuple):
    """One pair by one chain."""

    fused: F32
    measured: Measured
    mask: Mask | None


def _run(chain: Chain, pair: LabelledPair) -> _Seen:
    fused = chain.fuse(pair.infrared, pair.visible)
    scores = evaluate(Stretch("none").apply(fused, 0), pair.infrared, pair.visible)
    found = None if chain.detect is None else chain.detect(fused)
    mask = None if chain.segment is None else chain.segment(fused)
    return _Seen(fused, measured(pair, scores, found, mask), mask)


class _Sums:
    """What one chain has shown up to now beside the reference."""

    def __init__(self, threshold: float) -> None:
        self.measured: list[Measured] = []
        self._threshold = threshold
        self._largest, self._absolute, self._squared, self._pixels = 0.0, 0.0, 0.0, 0
        self._changes: list[tuple[float, float]] = []
        self._matches: list[Match] = []
        self._masks = np.zeros((IGNORE, IGNORE), np.int64)

    def add(self, want: _Seen, got: _Seen) -> None:
        """Count one more pair."""
        error = np.abs(want.fused.astype(np.float64) - got.fused)
        # NaN has to win: max() of Python would let it pass or not by its place.
        self._largest = float(np.maximum(self._largest, error.max()))
        self._absolute += float(error.sum())
        self._squared += float(np.square(error).sum())
        self._pixels += error.size
        before, after = want.measured.scores, got.measured.scores
        self._changes.append((after.qabf - before.qabf, after.ssim - before.ssim))
        if want.measured.found is not None and got.measured.found is not None:
            self._matches.append(match(want.measured.found, got.measured.found, self._threshold))
        if want.mask is not None and got.mask is not None:
            self._masks += confusion(want.mask.classes, got.mask.classes, IGNORE)
        self.measured.append(got.measured)

    def gap(self, before: _Scores, after: _Scores) -> Gap:
        """All of it, beside the scores of both against labels."""
        qabf, ssim = (float(part) for part in np.mean(self._changes, axis=0))
        mean_square = self._squared / self._pixels
        return Gap(
            len(self.measured),
            self._largest,
            self._absolute / self._pixels,
            float("inf") if mean_square == 0 else float(-10 * np.log10(mean_square)),
            qabf,
            ssim,
            *summed(self._matches),
            *overlap(self._masks),
            map50=before.map50,
            map50_change=_change(before.map50, after.map50),
            miou=before.miou,
            miou_change=_change(before.miou, after.miou),
        )


class _Scores(NamedTuple):
    """Against labels; None where there are none, or no head for them."""

    map50: float | None
    miou: float | None


def _scores(pairs: Sequence[Measured]) -> _Scores:
    boxes, masks = score_boxes(pairs), score_masks(pairs)
    return _Scores(None if boxes is None else boxes.map50, None if masks is None else masks.miou)


def _change(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def offences(gap: Gap, limits: Limits) -> list[str]:
    """Every limit that is passed, as "what: expected ..., got ..."; NaN passes them all."""
    change = max(abs(gap.qabf_change), abs(gap.ssim_change))
    rows = [
        ("largest error of the fused luma", gap.max_error, limits.max_error),
        ("PSNR of the fused luma in dB", -gap.psnr_db, -limits.psnr_db),
        ("change of Qabf or SSIM", change, limits.metric_change),
        ("share of boxes lost", 1 - gap.boxes_kept, limits.boxes),
        ("share of boxes added", gap.boxes_added, limits.boxes),
        ("largest error of a score", gap.score_error, limits.score_error),
        ("share of the mask's pixels of another class", 1 - gap.pixels_equal, limits.pixels),
        ("mean overlap of the mask's classes", -gap.mask_iou, -limits.mask_iou),
    ]
    if gap.map50_change is not None:
        rows.append(("change of mAP50", abs(gap.map50_change), limits.map50_change))
    if gap.miou_change is not None:
        rows.append(("change of mIoU", abs(gap.miou_change), limits.miou_change))
    return [
        f"{what}: expected {'at least' if limit < 0 else 'at most'} {abs(limit):g}, got {abs(value):.3g}"
        for what, value, limit in rows
        if not value <= limit
    ]
