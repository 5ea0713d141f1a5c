"""SimOTA, the assignment of YOLOX, and its losses.

Sources: YOLOX (Ge et al., arXiv 2107.08430), section 2.1, "SimOTA": an object takes the predictions of least
cost (equation 1: class loss + 3 times box loss) in a region around its centre, and as many of them as its ten
best predictions have IoU together; both are of OTA (Ge et al., CVPR 2021, arXiv 2103.14259, sections 3.2 and
3.3), whose region of 5x5 cells is taken. "Decoupled head": binary cross entropy for class and objectness,
IoU loss for the box. "Strong data augmentation": an additional L1 loss in the last epochs.

Where the paper is silent, constants are facts of its released code: a class's target is the IoU of the
prediction that answers for it, the box loss is 1 - IoU^2 with weight 5, the box cost is -log IoU, and the
class cost is that of the geometric mean of class score and objectness. Difference: there is one region; its
cells that lie outside of the object come behind all that lie inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tdfusion_edge.train.data.types import BoxTargets
from tdfusion_edge.train.models.yolo_loss import iou

RADIUS = 2.5
"""Half a side of the region around an object's centre, in strides."""
TOP = 10
BOX_COST, BOX_WEIGHT = 3.0, 5.0
OUTSIDE, NEVER = 1e3, 1e9
"""Added to the cost of a cell outside of the object, and outside of its region; no other part comes near."""
EPS = 1e-8


class RawBoxes(NamedTuple):
    """What the head gives: one row a cell, cells of all three strides behind one another."""

    boxes: Tensor
    """(B, A, 4): the centre's way from the cell's corner, and the logarithms of the sides, in strides."""
    objectness: Tensor
    """(B, A) logits."""
    classes: Tensor
    """(B, A, C) logits."""
    origins: Tensor
    """(A, 2) x and y of the upper left corner of the cells, pixels of the input."""
    strides: Tensor
    """(A,) pixels."""


class Matched(NamedTuple):
    """Which prediction answers for which object of one picture."""

    cell: Tensor
    """(P,) int64."""
    truth: Tensor
    """(P,) int64, index into the picture's objects."""
    overlap: Tensor
    """(P,) IoU of the two."""


def simota(predicted: Tensor, scores: Tensor, output: RawBoxes, truths: Tensor, classes: Tensor) -> Matched:
    """The assignment in one picture with at least one object.

    Args:
        predicted: (A, 4) corners, pixels.
        scores: (A, C) geometric means of class score and objectness, in [0, 1].
        output: Of the network, for its cells.
        truths: (N, 4) corners, pixels.
        classes: (N,) int64.
    """
    strides = output.strides
    centres = output.origins + strides[:, None] / 2
    way = (centres[None] - (truths[:, None, :2] + truths[:, None, 2:]) / 2).abs().amax(dim=-1)
    region = way < RADIUS * strides
    inside = (
        torch.cat((centres - truths[:, None, :2], truths[:, None, 2:] - centres), dim=-1).amin(dim=-1) > 0
    )
    overlap = iou(truths[:, None], predicted[None]).clamp(min=0) * region
    # Binary cross entropy with the object's class: that of no class, and what this one changes.
    sure = scores.clamp(EPS, 1 - 1e-6)
    none = -torch.log1p(-sure)
    mistake = none.sum(dim=1) - (none + sure.log())[:, classes].T
    cost = mistake - BOX_COST * (overlap + EPS).log() + OUTSIDE * ~inside + NEVER * ~region
    most = min(TOP, len(scores))
    counts = overlap.topk(most, dim=1).values.sum(dim=1).int().clamp(min=1)
    best = cost.topk(most, dim=1, largest=False)
    chosen = (torch.arange(most, device=cost.device) < counts[:, None]) & (best.values < NEVER)
    candidate = torch.zeros_like(region).scatter_(1, best.indices, chosen)
    # A prediction that several objects claim answers for the one that it costs least.
    owner = torch.where(candidate, cost, torch.inf).argmin(dim=0)
    (cell,) = candidate.any(dim=0).nonzero(as_tuple=True)
    truth = owner[cell]
    return Matched(cell, truth, overlap[truth, cell])


def box_losses(
    output: RawBoxes, predicted: Tensor, targets: BoxTargets, *, l1: bool = False
) -> Mapping[str, Tensor]:
    """The weighted sum as ``loss``, and its parts ``box``, ``objectness``, ``class`` and maybe ``l1``.

    Each is a sum over the batch, divided by the number of predictions that answer for an object.

    Args:
        output: Of the network.
        predicted: (B, A, 4) corners, pixels.
        targets: Objects of the batch.
        l1: Add the L1 distance of what the head gives from what it should give.
    """
    classes, objectness = output.classes.float(), output.objectness.float()
    with torch.no_grad():
        scores = (classes.sigmoid() * objectness.sigmoid()[..., None]).sqrt()
        present = torch.zeros_like(objectness)
        rows = []
        for image in range(len(predicted)):
            mine = targets.image == image
            if not mine.any():
                continue
            truths, kinds = targets.corners[mine], targets.classes[mine]
            matched = simota(predicted[image], scores[image], output, truths, kinds)
            present[image, matched.cell] = 1
            kind = F.one_hot(kinds[matched.truth], classes.shape[-1]) * matched.overlap[:, None]
            rows.append((torch.full_like(matched.cell, image), matched.cell, truths[matched.truth], kind))
    total = present.sum().clamp(min=1)
    losses = {"objectness": F.binary_cross_entropy_with_logits(objectness, present, reduction="sum") / total}
    if not rows:
        # Nothing to find: boxes and classes have no target, but the loss keeps its graph to them.
        nothing = (output.boxes.float().sum() + classes.sum()) * 0
        losses |= {"box": nothing, "class": nothing} | ({"l1": nothing} if l1 else {})
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}
    image_, cell, corners, kind = (torch.cat(column) for column in zip(*rows, strict=True))
    overlap = iou(predicted[image_, cell], corners)
    losses["box"] = BOX_WEIGHT * (1 - overlap.square()).sum() / total
    losses["class"] = F.binary_cross_entropy_with_logits(classes[image_, cell], kind, reduction="sum") / total
    if l1:
        wanted = encoded(corners, output.origins[cell], output.strides[cell])
        losses["l1"] = (output.boxes[image_, cell].float() - wanted).abs().sum() / total
    return {"loss": torch.stack(list(losses.values())).sum(), **losses}


def decoded(output: RawBoxes) -> Tensor:
    """(B, A, 4) x1 y1 x2 y2 in pixels, float32: cells' corners + way, exponentials of the sides."""
    raw, strides = output.boxes.float(), output.strides[:, None]
    centres = output.origins + raw[..., :2] * strides
    # No side is longer than e^10 strides; without an end, one wild number is infinite, and NaN in the loss.
    half = raw[..., 2:].clamp(max=10).exp() * strides / 2
    return torch.cat((centres - half, centres + half), dim=-1)


def encoded(corners: Tensor, origins: Tensor, strides: Tensor) -> Tensor:
    """What the head should give for boxes (P, 4) in cells of these corners (P, 2) and strides (P,)."""
    low, high = corners[:, :2], corners[:, 2:]
    way = ((low + high) / 2 - origins) / strides[:, None]
    return torch.cat((way, ((high - low) / strides[:, None]).clamp(min=EPS).log()), dim=-1)
