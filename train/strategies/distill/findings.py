"""What a small task network is told of what a large one finds.

Sources: soft targets, Hinton et al., arXiv 1503.02531; the weight of a score by how far it is off, quality
focal loss, arXiv 2006.04388, equation 5. Both detectors give one prediction an anchor, and their anchors are
the same; boxes count as much as the teacher is sure that there is something.

Every term is a mean over samples, so that several processes may average theirs, and 0 for the teacher's own
findings.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from tdfusion_edge.train.models.task import BoxPrediction, MaskPrediction
from tdfusion_edge.train.models.yolo_loss import iou

EPS = 1e-6


def box_terms(found: BoxPrediction, taught: BoxPrediction) -> Mapping[str, Tensor]:
    """``scores`` and ``boxes``, scalars: sums over anchors for every object that the teacher sees.

    Args:
        found: The student's, with the anchors and classes of the teacher's.
        taught: The teacher's.
    """
    # Anchors that see one object are several: their scores add up to how much there is to be found.
    sure = taught.scores.amax(dim=-1)
    objects = sure.sum(dim=1).clamp(min=1)
    p, t = found.scores.clamp(EPS, 1 - EPS), taught.scores
    surprise = -(t * p.log() + (1 - t) * (1 - p).log())
    scores = ((t - found.scores).square() * surprise).sum(dim=(1, 2))
    boxes = (sure * (1 - iou(found.boxes, taught.boxes))).sum(dim=1)
    return {"scores": (scores / objects).mean(), "boxes": (boxes / objects).mean()}


def mask_terms(found: MaskPrediction, taught: MaskPrediction) -> Mapping[str, Tensor]:
    """``classes``, a scalar: the Kullback-Leibler divergence of the classes of a pixel from the teacher's."""
    logs = [one.logits.float().log_softmax(dim=1) for one in (found, taught)]
    apart = F.kl_div(logs[0], logs[1], reduction="none", log_target=True)
    return {"classes": apart.sum(dim=1).mean()}
