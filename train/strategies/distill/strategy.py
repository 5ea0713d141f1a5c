"""The strategy itself: which networks take part, and one step."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from tdfusion_edge.checkpoint import Network
from tdfusion_edge.errors import ConfigError
from tdfusion_edge.train.data.feed import Feed
from tdfusion_edge.train.data.types import Batch
from tdfusion_edge.train.fusing import fusion_network, loss_network
from tdfusion_edge.train.losses import fusion_loss
from tdfusion_edge.train.models.base import FeatureKind, FusionNetwork
from tdfusion_edge.train.models.tables import build
from tdfusion_edge.train.recipe import Recipe
from tdfusion_edge.train.strategies.base import Strategy
from tdfusion_edge.train.strategies.distill import memory, terms
from tdfusion_edge.train.strategies.distill.options import options_of
from tdfusion_edge.train.strategies.steps import Stepper


class Distill(Strategy):
    """Adam on the student alone; teacher and G are frozen, the memory is a student of before."""

    def __init__(self, recipe: Recipe) -> None:
        self.options = options_of(recipe)
        path = Path(str(self.options.teacher))
        self.student = build(recipe.network, recipe.network_options)
        self.teacher = fusion_network(path)
        self.weigher = loss_network(path) if self.options.fusion_weight else None
        self.memory = copy.deepcopy(self.student) if self.options.memory_weight else None
        self._kind = _shared_kind(self.student, self.teacher) if self.options.feature_weight else None
        # All are restored by --resume: the file of the teacher may be another one by then.
        networks = {
            "fusion": self.student,
            "teacher": self.teacher,
            "teacher_loss": self.weigher,
            "memory": self.memory,
        }
        self.networks = {role: network for role, network in networks.items() if network is not None}
        for role, network in self.networks.items():
            network.requires_grad_(role == "fusion")
        self.named = {"fusion": Network(name=recipe.network, options=recipe.network_options)}
        self.taught_by = self.options.teacher
        self._loss = recipe.loss
        self._stepper = Stepper(self.student, recipe.optimiser.learning_rate, amp=recipe.optimiser.amp)
        self.optimisers = {"fusion": self._stepper.optimiser}

    def step(self, number: int, feed: Feed) -> Mapping[str, float]:
        """One Adam step of the student; returns the terms before they are weighed, and their weighted sum."""
        del number
        (batch,) = feed.take()
        # Where a sensor is degraded, the teacher sees the pair as it would be otherwise.
        pair, alone = batch.sources.pair, batch.sources.alone
        with self._stepper.autocast(batch.infrared):
            fused, features = _seen(self.student, batch.infrared, batch.visible, self._kind)
            with torch.no_grad():
                taught, taught_features = _seen(self.teacher, *pair, self._kind)
        fused, taught = fused.float(), taught.float()
        if alone is not None:
            taught = torch.where(alone, pair[1], taught)
        found = {
            "output": terms.output_term(fused, taught),
            "structure": terms.structure_term(fused, taught),
            "source": terms.source_term(fused, *pair),
        }
        if self._kind is not None:
            found["feature"] = terms.feature_term(
                features.float(), taught_features.float(), self._kind, alone
            )
        figures: dict[str, Tensor] = {}
        if self.options.fusion_weight:
            weight = self._weight(batch)
            found["fusion"] = fusion_loss(fused, *pair, weight, self._loss, alone)["loss"]
            figures["weight infrared"] = torch.as_tensor(weight).mean()
        if self.memory is not None:
            found["memory"], figures["refreshed"] = self._remember(self.memory, fused, batch)
        # A term without weight is logged, and no gradient is taken of it.
        weights = {name: getattr(self.options, f"{name}_weight") for name in found}
        loss = torch.stack([weights[name] * term for name, term in found.items() if weights[name]]).sum()
        self._stepper.step(loss)
        return {name: value.item() for name, value in ({"loss": loss} | found | figures).items()}

    def _weight(self, batch: Batch) -> Tensor | float:
        """w_ir of L_f, (B, 1, c, c): what the teacher's G says, or the recipe's number."""
        if self.weigher is None:
            return self._loss.weight_infrared
        with torch.no_grad():
            weight: Tensor = self.weigher(*batch.sources.pair).infrared
        return weight

    def _remember(self, remembering: nn.Module, fused: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the pictures have lost against the best student's; whether that is now this one, 0 or 1."""
        pair = batch.sources.pair
        with torch.no_grad():
            remembered = remembering(batch.infrared, batch.visible).fused
            gain = memory.score(fused, *pair) - memory.score(remembered, *pair)
        term = memory.memory_term(fused, remembered, -gain)
        better = memory.is_better(gain)
        if better:  # before the step: these are the weights that were better
            memory.refresh(remembering, self.student)
        return term, torch.tensor(float(better))


def _seen(
    network: FusionNetwork, infrared: Tensor, visible: Tensor, kind: FeatureKind | None
) -> tuple[Tensor, Tensor]:
    """The fused pictures and what they are made of; without a kind the pictures twice."""
    if kind is None:
        fused = network(infrared, visible).fused
        return fused, fused
    features = network.features(infrared, visible)
    return network.join(features, infrared, visible).fused, features


def _shared_kind(student: FusionNetwork, teacher: FusionNetwork) -> FeatureKind:
    """The kind of features that both networks have.

    Raises:
        ConfigError: one has none, or they have different ones.
    """
    kinds = [network.feature_kind for network in (student, teacher)]
    if kinds[0] is None or kinds[0] != kinds[1]:
        described = [
            f"{kind or 'none'} ({type(network).__name__})"
            for network, kind in zip((student, teacher), kinds, strict=True)
        ]
        raise ConfigError(
            "student and teacher have no features in common",
            expected="gains or activations of both",
            got=" and ".join(described),
            hint="Set [strategy_options] feature_weight to 0.",
        )
    return kinds[0]
