"""What networks for masks share: logits at a quarter of the input's size, their loss, and how they grow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tdfusion_edge.errors import ConfigError
from tdfusion_edge.mask_scores import IGNORE
from tdfusion_edge.train.models.task import MaskPrediction

SCALE = 4
"""The input is so many times as high and wide as the logits."""


class MaskLogits(NamedTuple):
    """What the loss of a network for masks is made of."""

    logits: Tensor
    """(B, C, H / 4, W / 4) float32."""


def require_classes(classes: int, network: str) -> None:
    """Refuse a number of classes that no mask can hold.

    Args:
        classes: How many classes a pixel may have.
        network: Its name, for people.

    Raises:
        ConfigError: fewer than 2, or more than 255.
    """
    if not 2 <= classes <= IGNORE:
        raise ConfigError(f"classes of {network}", expected=f"2 to {IGNORE}", got=str(classes))


def mask_loss(output: MaskLogits, targets: Tensor, class_weights: Sequence[float] | None = None) -> Tensor:
    """Mean cross entropy over the pixels that count, a scalar; 0 where none does.

    Args:
        output: Of the network.
        targets: (B, H, W) int64 classes, 255 for a pixel that does not count.
        class_weights: How much a pixel of each class counts in the mean, above 0; None: all alike.
    """
    logits = F.interpolate(output.logits, targets.shape[-2:], mode="bilinear", align_corners=False)
    counts = targets != IGNORE
    if class_weights is None:
        total = F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum")
        # A mean over no pixel would be NaN, and one batch without labels would end a training.
        return total / counts.sum().clamp(min=1)
    weights = logits.new_tensor(class_weights)
    total = F.cross_entropy(logits, targets, weights, ignore_index=IGNORE, reduction="sum")
    weight = (weights[torch.where(counts, targets, 0)] * counts).sum()
    return total / torch.where(weight > 0, weight, 1)


def enlarged(output: MaskLogits) -> MaskPrediction:
    """Logits at the size of the input, between pixel centres."""
    logits = F.interpolate(output.logits, scale_factor=float(SCALE), mode="bilinear", align_corners=False)
    return MaskPrediction(logits)
