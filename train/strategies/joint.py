"""Strategy ``joint``: F and T on the sum of both losses, by plain back-propagation through T into F.

Source: our own; what TDFusion (CVPR 2025, arXiv 2412.03240) is to be compared with. There the task reaches F
through the loss that G defines, so that a fusion loss still decides how a picture looks; here it reaches F
itself, as a bound on what the task alone makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from tdfusion_edge.checkpoint import Network
from tdfusion_edge.config import Table, convert
from tdfusion_edge.errors import ConfigError
from tdfusion_edge.train.data.feed import Feed
from tdfusion_edge.train.data.tensors import seen_by, shown
from tdfusion_edge.train.fusing import start_task
from tdfusion_edge.train.losses import fusion_loss
from tdfusion_edge.train.meta import gradients, trainable
from tdfusion_edge.train.models.tables import build
from tdfusion_edge.train.recipe import Positive, Recipe
from tdfusion_edge.train.strategies.base import Strategy
from tdfusion_edge.train.strategies.steps import Stepper


class Options(Table, frozen=True, kw_only=True):
    """``[strategy_options]`` of the strategy ``joint``."""

    task_weight: Positive = 1.0
    """Of L_t in F's loss, beside L_f; T's own step has L_t alone."""


class Joint(Strategy):
    """Adam on L_f + task_weight * L_t for F, on L_t for T, with one forward pass."""

    def __init__(self, recipe: Recipe) -> None:
        if recipe.task is None:
            raise ConfigError(f"recipe '{recipe.name}' has no [task]", hint="joint trains for one.")
        self.options = convert(recipe.strategy_options, Options, name="[strategy_options]")
        task = recipe.task
        self.fusion, self.task = build(recipe.network, recipe.network_options), start_task(task)
        self.networks = {"fusion": self.fusion, "task": self.task}
        self.named = {
            "fusion": Network(name=recipe.network, options=recipe.network_options),
            "task": Network(name=task.network, options=task.network_options),
        }
        rate, amp = recipe.optimiser.learning_rate, recipe.optimiser.amp
        self._loss = recipe.loss
        self._f = Stepper(self.fusion, rate, amp=amp)
        self._t = Stepper(self.task, task.learning_rate or rate, amp=amp)
        self.optimisers = {"fusion": self._f.optimiser, "task": self._t.optimiser}

    def step(self, number: int, feed: Feed) -> Mapping[str, float]:
        """One step of both networks; returns the parts of both losses."""
        del number
        (batch,) = feed.take()
        view = batch.task
        assert view is not None  # the recipe has a [task]
        with self._f.autocast(batch.infrared):
            fused = self.fusion(batch.infrared, batch.visible).fused
            seen = shown(self.fusion(view.infrared, view.visible).fused, view)
            output = self.task(*seen_by(self.task, seen, view))
        clean, alone = batch.sources.pair, batch.sources.alone
        looks = fusion_loss(fused.float(), *clean, self._loss.weight_infrared, self._loss, alone)
        losses = self.task.loss(output, view.targets)
        learning = {"fusion": trainable(self.fusion), "task": trainable(self.task)}
        every = {f"{role}.{name}": part for role, parts in learning.items() for name, part in parts.items()}
        # Of T, L_f knows nothing: one backward pass gives both networks what is theirs.
        whole = gradients(looks["loss"] / self.options.task_weight + losses["loss"], every)
        for role, stepper, scale in (("fusion", self._f, self.options.task_weight), ("task", self._t, 1.0)):
            stepper.apply({name: scale * whole[f"{role}.{name}"] for name in learning[role]})
        figures = {name: value.item() for name, value in looks.items()}
        return figures | {f"task {name}": value.item() for name, value in losses.items()}
