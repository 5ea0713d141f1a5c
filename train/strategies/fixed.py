"""Strategy ``fixed``: the fusion network alone, on a fusion loss whose weights do not change.

Source: TDFusion, CVPR 2025 (arXiv 2412.03240), table 3, variant I: w = 1/2 everywhere, alpha = 1. It
is the ablation that the learned loss is measured against. ``[loss]`` of the recipe holds variants.
"""

from __future__ import annotations

from collections.abc import Mapping

from tdfusion_edge.checkpoint import Network
from tdfusion_edge.config import Table, convert
from tdfusion_edge.train.data.feed import Feed
from tdfusion_edge.train.losses import fusion_loss
from tdfusion_edge.train.models.tables import build
from tdfusion_edge.train.recipe import Recipe
from tdfusion_edge.train.strategies.base import Strategy
from tdfusion_edge.train.strategies.steps import Stepper


class Options(Table, frozen=True, kw_only=True):
    """``[strategy_options]``: there are none, ``[loss]`` has all settings of this strategy."""


class Fixed(Strategy):
    """Adam on L_int + alpha * L_grad."""

    def __init__(self, recipe: Recipe) -> None:
        convert(recipe.strategy_options, Options, name="[strategy_options] of the strategy 'fixed'")
        self.fusion = build(recipe.network, recipe.network_options)
        self.networks = {"fusion": self.fusion}
        self.named = {"fusion": Network(name=recipe.network, options=recipe.network_options)}
        self._loss = recipe.loss
        self._stepper = Stepper(self.fusion, recipe.optimiser.learning_rate, amp=recipe.optimiser.amp)
        self.optimisers = {"fusion": self._stepper.optimiser}

    def step(self, number: int, feed: Feed) -> Mapping[str, float]:
        """One Adam step; returns ``intensity``, ``gradient`` and their weighted sum ``loss``."""
        del number
        (batch,) = feed.take()
        with self._stepper.autocast(batch.infrared):
            fused = self.fusion(batch.infrared, batch.visible).fused
        clean, alone = batch.sources.pair, batch.sources.alone
        losses = fusion_loss(fused.float(), *clean, self._loss.weight_infrared, self._loss, alone)
        self._stepper.step(losses["loss"])
        return {name: value.item() for name, value in losses.items()}
