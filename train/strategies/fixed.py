"""Strategy ``fixed``: the fusion network alone, on a fusion loss whose weights do not change.

Source: TDFusion, CVPR 2025 (arXiv 2412.03240), table 3, variant I: w = 1/2 everywhere, alpha = 1. It
is the ablation that the learned loss is measured against. ``[loss]`` of the recipe holds variants.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from tdfusion_edge.train.data import Batch
from tdfusion_edge.train.losses import gradient_loss, intensity_loss
from tdfusion_edge.train.recipe import Recipe


class Fixed:
    """Adam on L_int + alpha * L_grad."""

    def __init__(self, fusion: nn.Module, recipe: Recipe) -> None:
        self.fusion = fusion
        self._loss = recipe.loss
        self._rate = recipe.optimiser.learning_rate
        self._adam = torch.optim.Adam(fusion.parameters(), self._rate)

    def step(self, batch: Batch) -> Mapping[str, float]:
        """One Adam step; returns ``intensity``, ``gradient`` and their weighted sum ``loss``."""
        options = self._loss
        fused = self.fusion(*batch).fused
        intensity = intensity_loss(fused, *batch, options.weight_infrared, options.intensity)
        gradient = gradient_loss(fused, *batch)
        loss = intensity + options.alpha * gradient
        self._adam.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._adam.step()
        return {"loss": loss.item(), "intensity": intensity.item(), "gradient": gradient.item()}

    def set_rate(self, factor: float) -> None:
        """Scale the learning rate to ``factor`` times the recipe's."""
        for group in self._adam.param_groups:
            group["lr"] = self._rate * factor
