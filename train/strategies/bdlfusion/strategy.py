"""Strategy ``bdlfusion``: F is moved by two constraints that learn, one for eyes and one for a task.

Source: BDLFusion, IJCAI 2023 (arXiv 2305.06720). In every step the discriminator D learns to tell fused
pictures from targets, and the task network T to find things in them; F gets no gradient from either. In every
``upper_every``-th step F moves: by both constraints' upper losses on a second, disjoint batch, each with its
implicit term (``hyper_gradient.py``), weighed against each other (``aggregation.py``).

    vision     l = mean D(F) - mean D(M)    U = L_c + w (mean D(M) - mean D(F))    on crops, at their own size
    semantics  l = L_t                      U = L_t                                on whole pictures, as T's

Where paper and released code differ, ``Options`` and ``[loss]`` have both, and the shipped presets
``bdlfusion-paper`` and ``bdlfusion-released-code`` set them together. Not reproduced, because they are faults
of the code: both hyper-gradients in the same tensors, so that their weights cancel; gradients of the last
training step in the next hyper-gradient; an implicit term that is scaled by the learning rate, and has the
wrong sign; a discriminator that drives F away from the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tdfusion_edge.checkpoint import Network
from tdfusion_edge.config import convert
from tdfusion_edge.errors import ConfigError
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.pairs.lazy import mapped
from tdfusion_edge.train.data.feed import Feed
from tdfusion_edge.train.data.tensors import seen_by, shown
from tdfusion_edge.train.data.types import Batch, TaskView
from tdfusion_edge.train.fusing import start_task
from tdfusion_edge.train.meta import Parameters, trainable
from tdfusion_edge.train.models.tables import build, build_discriminator
from tdfusion_edge.train.modes import in_mode
from tdfusion_edge.train.recipe import Recipe
from tdfusion_edge.train.saliency import from_folder, saliency
from tdfusion_edge.train.strategies.base import Strategy
from tdfusion_edge.train.strategies.bdlfusion.aggregation import Aggregation
from tdfusion_edge.train.strategies.bdlfusion.hyper_gradient import (
    Constraint,
    HyperGradient,
    dot,
    hyper_gradient,
)
from tdfusion_edge.train.strategies.bdlfusion.options import NONE, Options
from tdfusion_edge.train.strategies.bdlfusion.visual import (
    content_loss,
    distance,
    slope_penalty,
    target,
    told_apart,
)
from tdfusion_edge.train.strategies.steps import Stepper, average

MOMENTUM = 0.9


class BDLFusionStrategy(Strategy):
    """F, D and T, trained together."""

    batches = 2

    def __init__(self, recipe: Recipe) -> None:
        self.options = options = convert(recipe.strategy_options, Options, name="[strategy_options]")
        _refuse(recipe, options)
        task = recipe.task
        assert task is not None  # or it was refused
        self.fusion, self.task = build(recipe.network, recipe.network_options), start_task(task)
        self.discriminator = (
            None if options.discriminator == NONE else build_discriminator(options.discriminator)
        )
        self.aggregation = Aggregation(options.aggregation, decay=options.decay, seed=recipe.seed)
        learned: dict[str, nn.Module] = {"fusion": self.fusion, "task": self.task}
        if self.discriminator is not None:
            learned["discriminator"] = self.discriminator
        self.networks = {**learned, "aggregation": self.aggregation}
        self.named = {
            "fusion": Network(name=recipe.network, options=recipe.network_options),
            "task": Network(name=task.network, options=task.network_options),
        }
        self._loss, rate = recipe.loss, recipe.optimiser.learning_rate
        rates = {
            "fusion": rate,
            "task": task.learning_rate or rate,
            "discriminator": options.discriminator_rate or rate,
        }
        self._steppers = {
            role: Stepper(
                network,
                rates[role],
                amp=recipe.optimiser.amp,
                decay=options.fusion_weight_decay if role == "fusion" else options.weight_decay,
                kind=options.optimiser,
                momentum=0.0 if role == "fusion" else MOMENTUM,
            )
            for role, network in learned.items()
        }
        self.optimisers = {role: stepper.optimiser for role, stepper in self._steppers.items()}

    def prepare(self, samples: Sequence[LabelledPair]) -> Sequence[LabelledPair]:
        """The pairs with their saliency: the whole picture's, of which every crop has its part."""
        folder = self.options.saliency_folder
        find = (
            (lambda pair: saliency(pair.infrared, pair.visible))
            if folder is None
            else from_folder(Path(folder))
        )
        return mapped(samples, lambda pair: pair._replace(saliency=find(pair)))

    def step(self, number: int, feed: Feed) -> Mapping[str, float]:
        """One step of D and T, and of F where ``number`` is one of its own; returns what to log."""
        options = self.options
        passed = number + 1 - options.warm_up
        due = passed > 0 and passed % options.upper_every == 0
        batches = feed.take(2 if due else 1)
        train, upper = batches[0], batches[-1]
        figures = {**self.discriminator_step(train), **self.task_step(_view(train))}
        if due:
            return {**figures, **self.upper_step(train, upper, number)}
        return figures if passed > 0 else {**figures, **self.warm_up_step(train)}

    def discriminator_step(self, batch: Batch) -> Mapping[str, float]:
        """Step D on what tells fused pictures from targets; F stays as it is. Nothing without D."""
        network, options = self.discriminator, self.options
        if network is None:
            return {}
        wanted = self._target(batch)
        with torch.no_grad():
            fused = self.fusion(batch.infrared, batch.visible).fused
        # In one batch: normalised each by its own statistics, two histograms would differ in shape alone.
        of_fused, of_target = network(torch.cat((fused, wanted))).chunk(2)
        apart = told_apart(of_fused, of_target, options.adversarial)
        loss = apart
        if options.lipschitz == "penalty":
            loss = loss + options.penalty * slope_penalty(network, fused, wanted)
        self._steppers["discriminator"].step(loss)
        if options.lipschitz == "clip":
            with torch.no_grad():
                for part in network.parameters():
                    part.clamp_(-options.clip, options.clip)
        return {"discriminator loss": apart.item()}

    def task_step(self, view: TaskView) -> Mapping[str, float]:
        """Step T on the pictures as F fuses them now; F stays as it is."""
        with torch.no_grad():
            seen = shown(self.fusion(view.infrared, view.visible).fused, view)
        with self._steppers["task"].autocast(seen):
            losses = self.task.loss(self.task(*seen_by(self.task, seen, view)), view.targets)
        self._steppers["task"].step(losses["loss"])
        return {f"task {name}": value.item() for name, value in losses.items()}

    def warm_up_step(self, batch: Batch) -> Mapping[str, float]:
        """Step F on L_c."""
        with self._steppers["fusion"].autocast(batch.infrared):
            fused = self.fusion(batch.infrared, batch.visible).fused
        losses = self._content(batch, fused.float())
        self._steppers["fusion"].step(losses["loss"])
        return {name: value.item() for name, value in losses.items()}

    def upper_step(self, train: Batch, upper: Batch, number: int) -> Mapping[str, float]:
        """Step F by the hyper-gradients of both constraints; D and T stay as they are, to the last bit."""
        vision, semantics = self.hyper_gradients(train, upper)
        weights = self.aggregation([vision.gradient, semantics.gradient], number)
        of_vision, of_semantics = weights[0], self.options.semantic_weight * weights[1]
        self._steppers["fusion"].apply(
            {
                name: of_vision * part + of_semantics * semantics.gradient[name]
                for name, part in vision.gradient.items()
            }
        )
        figures = {"weight vision": weights[0].item()}
        for name, found in (("vision", vision), ("semantics", semantics)):
            figures[f"upper {name}"] = found.upper.item()
            figures[f"coefficient {name}"] = found.coefficient.item()
            figures[f"norm {name}"] = dot(found.gradient, found.gradient).sqrt().item()
        return figures

    def hyper_gradients(self, train: Batch, upper: Batch) -> tuple[HyperGradient, HyperGradient]:
        """What vision and what semantics want of F, without changing anything.

        Args:
            train: The pairs of the lower level.
            upper: Those of the upper level.
        """
        with in_mode(list(self.networks.values()), training=False):
            vision, semantics = (
                hyper_gradient(
                    constraint,
                    trainable(self.fusion),
                    implicit=self.options.implicit,
                    limit=self.options.limit,
                    average=average,
                )
                for constraint in (self.vision(train, upper), self.semantics(_view(train), _view(upper)))
            )
        return vision, semantics

    def vision(self, train: Batch, upper: Batch) -> Constraint:
        """On crops: l = mean D(F) - mean D(M), and U = L_c less w times it."""
        network = self.discriminator

        def above(at: Parameters, learned: Parameters) -> Tensor:
            fused = functional_call(self.fusion, at, (upper.infrared, upper.visible)).fused
            loss = self._content(upper, fused)["loss"]
            if network is None:
                return loss
            both = torch.cat((fused, self._target(upper)))
            of_fused, of_target = functional_call(network, learned, (both,)).chunk(2)
            return loss + self.options.discriminator_weight * distance(of_fused, of_target)

        def below(at: Parameters, learned: Parameters) -> Tensor:
            assert network is not None  # nothing is learned without it
            fused = functional_call(self.fusion, at, (train.infrared, train.visible)).fused
            both = torch.cat((fused, self._target(train)))
            of_fused, of_target = functional_call(network, learned, (both,)).chunk(2)
            return told_apart(of_fused, of_target, self.options.adversarial)

        return Constraint(above, below, {} if network is None else trainable(network))

    def semantics(self, train: TaskView, upper: TaskView) -> Constraint:
        """On whole pictures: l = L_t, and U = L_t on the other batch."""

        def task_loss(view: TaskView, fused: Tensor, learned: Parameters) -> Tensor:
            seen = seen_by(self.task, shown(fused, view), view)
            return self.task.loss(functional_call(self.task, learned, seen), view.targets)["loss"]

        def above(at: Parameters, learned: Parameters) -> Tensor:
            fused = functional_call(self.fusion, at, (upper.infrared, upper.visible)).fused
            loss, weight = task_loss(upper, fused, learned), self.options.task_discriminator_weight
            if self.discriminator is None or not weight:
                return loss
            return loss + weight * distance(self.discriminator(fused))

        def below(at: Parameters, learned: Parameters) -> Tensor:
            fused = functional_call(self.fusion, at, (train.infrared, train.visible)).fused
            return task_loss(train, fused, learned)

        return Constraint(above, below, trainable(self.task))

    def _content(self, batch: Batch, fused: Tensor) -> Mapping[str, Tensor]:
        pair = batch.sources.pair
        return content_loss(fused, self._target(batch), *pair, self._loss, self.options.structure)

    def _target(self, batch: Batch) -> Tensor:
        assert batch.saliency is not None  # from prepare()
        infrared, visible, alone = batch.sources
        return target(infrared, visible, batch.saliency, self._loss, alone)


def _view(batch: Batch) -> TaskView:
    assert batch.task is not None  # the recipe has a [task]
    return batch.task


def _refuse(recipe: Recipe, options: Options) -> None:
    """Refuse what does not go together.

    Raises:
        ConfigError: there is no task, the target has no weights, or the discriminator cannot be guarded so.
    """
    if recipe.task is None:
        raise ConfigError(f"recipe '{recipe.name}' has no [task]", hint="bdlfusion trains for one.")
    if recipe.loss.intensity not in ("linear", "additive"):
        raise ConfigError(
            "[loss] intensity of the strategy 'bdlfusion'",
            expected="linear or additive: saliency weighs two pictures",
            got=recipe.loss.intensity,
        )
    if options.discriminator == "pixel" and options.lipschitz == "penalty":
        raise ConfigError(
            "[strategy_options] lipschitz = 'penalty' with discriminator = 'pixel': its batch norm mixes",
            expected="lipschitz = 'clip' or 'none', or the discriminator 'patch'",
        )
