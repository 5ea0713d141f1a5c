"""How near a graph of lower precision stays to its float32 graph on real pictures, and the gates for it.

ONNX Runtime runs both on a CPU. It computes much of an FP16 graph in float32, so what is measured is
the rounding of weights and tensors; that the numbers fit at all is :mod:`~tdfusion_edge.export.ranges`'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from tdfusion_edge.errors import ExportError

Feeds: TypeAlias = Mapping[str, npt.NDArray[np.float32]]
Array: TypeAlias = npt.NDArray[np.float32]

LEAST_PSNR = 40.0
"""Decibels: a fused picture whose error is 1 % of the range, 2.6 of 255 levels, root mean square."""
LEAST_IOU, LEAST_KEPT = 0.95, 0.95
"""Of a detector: mean overlap of a box with what it was in float32, and share of the boxes still found."""


class Agreement(NamedTuple):
    """What became of the boxes whose score passed the threshold in float32, before suppression."""

    boxes: int
    """How many there were."""
    iou: float
    """Mean overlap with the same anchor's box in the other graph."""
    kept: float
    """Share with the same class and still above the threshold; a box nobody needs is lost like any other."""
    added: float
    """Boxes that pass it in the other graph alone, as a share of all in float32."""
    score: float
    """Mean absolute difference of the scores."""


def psnr(
    reference: onnx.ModelProto, other: onnx.ModelProto, pictures: Mapping[str, Feeds]
) -> dict[str, float]:
    """Peak signal-to-noise ratio of the first output, which spans [0, 1], by picture; dB.

    Equal pictures have infinity.
    """
    found = {}
    for (picture, (want, *_)), (_, (got, *_)) in zip(
        _outputs(reference, pictures), _outputs(other, pictures), strict=True
    ):
        error = float(np.mean(np.square(want.astype(np.float64) - got)))
        found[picture] = float("inf") if error == 0 else float(-10 * np.log10(error))
    return found


def require_psnr(found: Mapping[str, float], what: str, least: float = LEAST_PSNR) -> None:
    """Refuse a graph whose worst picture is too far off.

    Raises:
        ExportError: it names that picture.
    """
    # NaN is below all: it comes of an output that is no number.
    picture, worst = min(found.items(), key=lambda item: -np.inf if np.isnan(item[1]) else item[1])
    if not worst >= least:
        raise ExportError(
            f"the {what} graph is too far from float32 on the picture '{picture}'",
            expected=f"{least:g} dB or more",
            got=f"{worst:.1f} dB",
        )


def agreement(
    reference: onnx.ModelProto, other: onnx.ModelProto, pictures: Mapping[str, Feeds], threshold: float
) -> Agreement:
    """Compare two detector graphs anchor by anchor.

    Args:
        reference: Gives boxes (1, A, 4) and scores (1, A, C), in this order.
        other: Likewise, with the same anchors.
        pictures: Inputs by the name of the picture.
        threshold: Score from which a box counts.
    """
    overlaps, differences, kept, added = [np.zeros(0)], [np.zeros(0)], [np.zeros(0)], 0
    for (_, (boxes, scores)), (_, (boxes2, scores2)) in zip(
        _outputs(reference, pictures), _outputs(other, pictures), strict=True
    ):
        found, found2 = scores[0].max(-1) > threshold, scores2[0].max(-1) > threshold
        same = scores[0].argmax(-1) == scores2[0].argmax(-1)
        overlaps.append(_iou(boxes[0, found], boxes2[0, found]))
        differences.append(np.abs(scores[0, found].max(-1) - scores2[0, found].max(-1)))
        kept.append((found2 & same)[found].astype(np.float64))
        added += int((found2 & ~found).sum())
    count = sum(map(len, kept))
    if count == 0:
        return Agreement(0, 1.0, 1.0, float(added), 0.0)
    means = [float(np.concatenate(parts).mean()) for parts in (overlaps, kept, differences)]
    return Agreement(count, means[0], means[1], added / count, means[2])


def require_agreement(found: Agreement, what: str) -> None:
    """Refuse a detector graph that finds something else.

    Raises:
        ExportError: boxes moved, were lost, or came up; or there were none to compare.
    """
    if found.boxes == 0:
        raise ExportError(
            f"nothing to compare the {what} detector by",
            expected="pictures on which the float32 detector finds something",
            hint="Give more pictures of the detector's own data.",
        )
    good = found.iou >= LEAST_IOU and found.kept >= LEAST_KEPT and found.added <= 1 - LEAST_KEPT
    if not good:
        raise ExportError(
            f"the {what} detector finds something else than in float32",
            expected=f"a mean overlap of {LEAST_IOU}, {LEAST_KEPT:.0%} of the boxes kept, "
            f"{1 - LEAST_KEPT:.0%} added at most",
            got=f"{found.iou:.3f}, {found.kept:.1%} and {found.added:.1%} of {found.boxes} boxes",
        )


def _outputs(model: onnx.ModelProto, pictures: Mapping[str, Feeds]) -> Iterator[tuple[str, list[Array]]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    for picture, feeds in pictures.items():
        yield picture, session.run(None, dict(feeds))


def _iou(one: Array, other: Array) -> npt.NDArray[np.float64]:
    """(N, 4) and (N, 4) x1 y1 x2 y2 to (N,), row by row."""
    low, high = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    both = np.clip(high - low, 0, None).prod(-1, dtype=np.float64)
    return np.asarray(both / np.maximum(_area(one) + _area(other) - both, 1e-9))


def _area(boxes: Array) -> npt.NDArray[np.float64]:
    return np.asarray(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(-1, dtype=np.float64))
