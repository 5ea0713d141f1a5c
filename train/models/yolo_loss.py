"""Task-aligned assignment and the three losses of the detector.

Sources: the assignment is that of TOOD (Feng et al., ICCV 2021, arXiv 2108.07755, section 3.2), with the
constants of YOLOv8 as method and code of TDFusion use them: top 10, alpha 0.5, beta 6, and complete IoU for
the overlap, as YOLOv8's code takes it. Box loss: complete IoU (Zheng et al., AAAI 2020, arXiv 1911.08287,
equations 7 to 11). Distance loss: distribution focal loss (Li et al., NeurIPS 2020, arXiv 2006.04388,
equation 6). Weights: box 7.5, class 0.5, distance 1.5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tdfusion_edge.train.data.types import BoxTargets

if TYPE_CHECKING:
    from tdfusion_edge.train.models.yolo import RawBoxes

TOP = 10
ALPHA, BETA = 0.5, 6.0
BOX_WEIGHT, CLASS_WEIGHT, DISTANCE_WEIGHT = 7.5, 0.5, 1.5
EPS = 1e-9


class Matched(NamedTuple):
    """Which anchor answers for which object."""

    image: Tensor
    """(P,) int64, index into the batch."""
    anchor: Tensor
    """(P,) int64."""
    corners: Tensor
    """(P, 4) of the object, pixels."""
    scores: Tensor
    """(B, A, C) target of the class scores: how well the anchor is aligned, 0 elsewhere."""


def assign(predicted: Tensor, scores: Tensor, centres: Tensor, targets: BoxTargets) -> Matched:
    """Task-aligned assignment.

    Args:
        predicted: (B, A, 4) corners, pixels.
        scores: (B, A, C) in [0, 1].
        centres: (A, 2) pixels.
        targets: Objects of the batch.
    """
    wanted = torch.zeros_like(scores)
    rows = []
    for image in range(len(scores)):
        mine = targets.image == image
        if not mine.any():
            continue
        anchor, truth, weight = _assign_one(
            predicted[image], scores[image], centres, targets.corners[mine], targets.classes[mine]
        )
        wanted[image, anchor, targets.classes[mine][truth]] = weight.to(wanted.dtype)
        rows.append((torch.full_like(anchor, image), anchor, targets.corners[mine][truth]))
    if not rows:
        nothing = torch.zeros(0, dtype=torch.int64, device=scores.device)
        return Matched(nothing, nothing, predicted.new_zeros(0, 4), wanted)
    images, anchors, boxes = (torch.cat(column) for column in zip(*rows, strict=True))
    return Matched(images, anchors, boxes, wanted)


def _assign_one(
    predicted: Tensor, scores: Tensor, centres: Tensor, truths: Tensor, classes: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Anchors, their objects and their target scores, in one picture."""
    x, y = centres[:, 0], centres[:, 1]
    x1, y1, x2, y2 = truths[:, :, None].unbind(dim=1)
    inside = torch.stack((x - x1, y - y1, x2 - x, y2 - y)).amin(dim=0) > EPS  # (N, A)
    # Complete, as in YOLOv8's code: of two boxes with one overlap the better placed one answers.
    overlap = complete_iou(truths[:, None], predicted[None]).clamp(min=0) * inside
    metric = scores[:, classes].T.pow(ALPHA) * overlap.pow(BETA) * inside
    top = metric.topk(min(TOP, metric.shape[1]), dim=1)
    candidate = torch.zeros_like(inside).scatter_(1, top.indices, top.values > EPS)
    # An anchor that several objects claim answers for the one that it overlaps most.
    owner = torch.where(candidate, overlap, -1.0).argmax(dim=0)
    (anchor,) = candidate.any(dim=0).nonzero(as_tuple=True)
    truth = owner[anchor]
    kept = torch.zeros_like(candidate)
    kept[truth, anchor] = True
    metric, overlap = metric * kept, overlap * kept
    # The best anchor of an object gets its overlap as target, the others in proportion.
    scale = overlap.amax(dim=1) / metric.amax(dim=1).clamp(min=EPS)
    return anchor, truth, metric[truth, anchor] * scale[truth]


def box_losses(
    output: RawBoxes, predicted: Tensor, matched: Matched, class_weights: Tensor
) -> Mapping[str, Tensor]:
    """The weighted sum as ``loss``, and its parts ``box``, ``class`` and ``distance``.

    Args:
        output: Of the network.
        predicted: (B, A, 4) corners, pixels.
        matched: Which anchors answer for which objects.
        class_weights: (C,), what an object of each class counts in all three.
    """
    wanted = matched.scores * class_weights
    total = wanted.sum().clamp(min=1)
    classes = F.binary_cross_entropy_with_logits(
        output.classes.float(), matched.scores, class_weights.expand_as(matched.scores), reduction="sum"
    )
    classes = CLASS_WEIGHT * classes / total
    if not len(matched.anchor):
        # Nothing to find: the boxes have no target, but the loss keeps its graph to them.
        nothing = output.distances.float().sum() * 0
        return {"loss": classes + nothing, "box": nothing, "class": classes, "distance": nothing}
    image, anchor = matched.image, matched.anchor
    weight = wanted[image, anchor].sum(dim=-1)
    overlap = complete_iou(predicted[image, anchor], matched.corners)
    box = BOX_WEIGHT * ((1 - overlap) * weight).sum() / total
    distances = _distances(output, matched)
    distance = (_distance_loss(output.distances[image, anchor].float(), distances) * weight).sum() / total
    distance = DISTANCE_WEIGHT * distance
    return {"loss": classes + box + distance, "box": box, "class": classes, "distance": distance}


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of corners, over the last axis; the other axes broadcast."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    common = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(dim=-1) for box in (a, b)]
    return common / (areas[0] + areas[1] - common + EPS)


def complete_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU less the distance of the centres and the difference of aspect ratios; axes as in :func:`iou`."""
    overlap = iou(a, b)
    sides = [box[..., 2:] - box[..., :2] for box in (a, b)]
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    centres = [(box[..., 2:] + box[..., :2]) / 2 for box in (a, b)]
    distance = (centres[0] - centres[1]).square().sum(dim=-1) / (hull.square().sum(dim=-1) + EPS)
    angles = [torch.atan(side[..., 0] / (side[..., 1] + EPS)) for side in sides]
    aspect = 4 / math.pi**2 * (angles[0] - angles[1]).square()
    with torch.no_grad():
        trade_off = aspect / (1 - overlap + aspect + EPS)
    return overlap - distance - trade_off * aspect


def _distances(output: RawBoxes, matched: Matched) -> Tensor:
    """(P, 4) true distances from the anchors to the sides, in strides, within the bins."""
    centre, stride = output.centres[matched.anchor], output.strides[matched.anchor, None]
    sides = torch.cat((centre - matched.corners[:, :2], matched.corners[:, 2:] - centre), dim=1) / stride
    return sides.clamp(0, output.distances.shape[-1] - 1 - 0.01)


def _distance_loss(logits: Tensor, distances: Tensor) -> Tensor:
    """Cross entropy with the two bins around the true distance, (P,)."""
    left = distances.floor()
    share = distances - left
    log = logits.log_softmax(dim=-1)
    below = log.gather(-1, left.long().unsqueeze(-1)).squeeze(-1)
    above = log.gather(-1, left.long().unsqueeze(-1) + 1).squeeze(-1)
    return -(below * (1 - share) + above * share).mean(dim=-1)
