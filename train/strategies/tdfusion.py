"""Strategy ``tdfusion``: a loss network learns which fusion loss makes the task network better.

Source: TDFusion, CVPR 2025 (arXiv 2412.03240), algorithm 1 and sections 3.4 to 3.7. A round is

1. the meta phase, ``meta_steps`` times: F and T each take a virtual step on meta-train pairs, F on the loss
   that G defines; the task loss of the virtual F and T on other pairs, meta-test, moves G (``meta.py``);
2. the fusion phase, ``fusion_steps`` times: F steps on the loss that G, now fixed, defines, and T on the
   fused pictures, from which no gradient goes back into F.

Where paper and released code differ, ``Options`` and ``[loss]`` have both, and the shipped presets
``paper`` and ``released-code`` set them together. Not reproduced, because they are faults of the code:
boxes divided by the wrong side, the task network's Adam moments that leak out of the virtual step, its
weights kept on disk meanwhile, and the batch statistics of two pictures in the outer step (which
``statistics = "batch"`` gives back for comparison).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from msgspec import Meta
from torch import Tensor
from torch.func import functional_call

from tdfusion_edge.checkpoint import Network
from tdfusion_edge.config import Table, convert
from tdfusion_edge.errors import ConfigError
from tdfusion_edge.train.data.feed import Feed
from tdfusion_edge.train.data.tensors import seen_by, shown
from tdfusion_edge.train.data.types import Batch, BoxTargets, Sources, TaskView
from tdfusion_edge.train.fusing import start_task
from tdfusion_edge.train.losses import fusion_loss
from tdfusion_edge.train.meta import HyperGradient, Inner, Method, Parameters, hyper_gradient, trainable
from tdfusion_edge.train.models.tables import build, build_loss
from tdfusion_edge.train.modes import in_mode
from tdfusion_edge.train.recipe import Count, Positive, Recipe
from tdfusion_edge.train.strategies.base import Strategy
from tdfusion_edge.train.strategies.steps import Stepper, average
from tdfusion_edge.train.strategies.virtual import virtual_task

OUTER_EPS = 1e-15


class Options(Table, frozen=True, kw_only=True):
    """``[strategy_options]`` of the strategy ``tdfusion``."""

    loss_network: str = "lpn"
    """G by name, or "module:Class"."""
    loss_network_options: dict[str, Any] = {}
    meta_steps: Count = 200
    """M of the algorithm."""
    fusion_steps: Count | None = None
    """N of the algorithm; None is one pass over the pairs, begun anew."""
    task_every: Count = 1
    """In the fusion phase T steps in every n-th step only; 1: paper and code."""
    warm_up: Annotated[int, Meta(ge=0)] = 0
    """Fusion steps before the first round: a T that has learned nothing has nothing to say to G."""
    hyper_gradient: Method = "forward"
    """``exact`` is the paper's and the code's double backward; ``forward`` gives the same numbers from
    first-order memory; ``finite-difference`` is near them, for networks that forward mode cannot do;
    ``rank-one`` is a guess whose sign is often wrong (see ``train/meta.py``)."""
    epsilon: Positive = 0.01
    """Step of the finite difference along the outer gradient."""
    inner_rate: Positive | None = None
    """eta of F's virtual step; None: the fusion network's rate of now (paper and code). T's has T's rate."""
    outer: Literal["adam", "normalised"] = "adam"
    """How G steps; ``adam``: the paper; ``normalised``: the gradient over its largest element (the code)."""
    outer_rate: Positive | None = None
    """G's learning rate; None: that of ``[optimiser]``."""
    task_step: Literal["sgd", "adam", "none"] = "sgd"
    """The virtual step of T; ``sgd``: the paper; ``adam``: the code."""
    statistics: Literal["frozen", "batch"] = "frozen"
    """Batch norm, dropout and the like of T in the outer step: as in evaluation, or as in training."""
    switch: bool = False
    """Every pair also with its sensors swapped (the code; it makes F and G symmetric, at twice the cost)."""


class TDFusionStrategy(Strategy):
    """F, G and T, trained together."""

    batches = 2

    def __init__(self, recipe: Recipe) -> None:
        if recipe.task is None:
            raise ConfigError(f"recipe '{recipe.name}' has no [task]", hint="tdfusion trains for one.")
        if recipe.loss.intensity == "max":
            raise ConfigError("[loss] intensity 'max' has no weights that G could learn")
        self.options = convert(recipe.strategy_options, Options, name="[strategy_options]")
        self.fusion = build(recipe.network, recipe.network_options)
        self.loss_network = build_loss(self.options.loss_network, self.options.loss_network_options)
        task = recipe.task
        self.task = start_task(task)
        self.networks = {
            "fusion": self.fusion,
            "loss": self.loss_network,
            "task": self.task,
        }
        self.named = {
            "fusion": Network(name=recipe.network, options=recipe.network_options),
            "loss": Network(name=self.options.loss_network, options=self.options.loss_network_options),
            "task": Network(name=task.network, options=task.network_options),
        }
        rate, amp = recipe.optimiser.learning_rate, recipe.optimiser.amp
        self._loss = recipe.loss
        self._f = Stepper(self.fusion, rate, amp=amp)
        # A hyper-gradient carries the factor eta and is as small as 1e-9: Adam's usual eps would drown it.
        self._g = Stepper(self.loss_network, self.options.outer_rate or rate, eps=OUTER_EPS)
        self._t = Stepper(self.task, task.learning_rate or rate, amp=amp)
        self.optimisers = {
            "fusion": self._f.optimiser,
            "loss": self._g.optimiser,
            "task": self._t.optimiser,
        }

    def step(self, number: int, feed: Feed) -> Mapping[str, float]:
        """One meta-step or one fusion step, by where ``number`` stands in its round."""
        options = self.options
        meta, fusion = options.meta_steps, options.fusion_steps or feed.batches_per_epoch
        rounds, place = divmod(number - options.warm_up, meta + fusion)
        if number >= options.warm_up:
            if place < meta:
                return self.meta_step(*feed.take(2))
            if place == meta and options.fusion_steps is None:
                feed.begin_epoch()
            number = options.warm_up + rounds * fusion + place - meta
        # Of the fusion steps alone: multiples of all steps may never fall into a fusion phase.
        return self.fusion_step(*feed.take(1), task=number % options.task_every == 0)

    def meta_step(self, train: Batch, test: Batch) -> Mapping[str, float]:
        """Move G by the hyper-gradient; F and T stay as they are, to the last bit."""
        found = self.hyper_gradient(train, test)
        if self.options.outer == "adam":
            # Without its factor eta, which falls with the schedule: Adam's moments remember larger ones, and
            # G's steps would shrink twice.
            eta = self._eta or 1.0
            self._g.apply({name: part / eta for name, part in found.gradient.items()})
        else:
            self._step_normalised(found.gradient)
        return {
            "meta inner": found.inner.item(),
            "meta outer": found.outer.item(),
            "meta norm": found.outer_norm.item(),
        }

    def hyper_gradient(self, train: Batch, test: Batch) -> HyperGradient:
        """dL_t(meta-test; F', T')/dthG, without changing anything."""
        train, test = self._prepared(train), self._prepared(test)
        task = self._virtual_task(_view(train))
        view = _view(test)

        def outer(virtual: Parameters) -> Tensor:
            fused = functional_call(self.fusion, virtual, (view.infrared, view.visible)).fused
            seen = seen_by(self.task, shown(fused, view), view)
            return self.task.loss(functional_call(self.task, task, seen), view.targets)["loss"]

        with (
            in_mode([self.fusion, self.loss_network], training=False),
            in_mode([self.task], training=self.options.statistics == "batch"),
        ):
            return hyper_gradient(
                self.inner(train),
                outer,
                trainable(self.fusion),
                trainable(self.loss_network),
                self._eta,
                method=self.options.hyper_gradient,
                epsilon=self.options.epsilon,
                average=average,
            )

    @property
    def _eta(self) -> float:
        return self.options.inner_rate or self._f.current_rate

    def inner(self, train: Batch) -> Inner:
        """L_f of the meta-train crops as a function of thF and thG."""
        pair = train.infrared, train.visible
        # G says what is right, and sees the pair as it would be without degradation.
        clean, alone = train.sources.pair, train.sources.alone

        return Inner(
            fuse=lambda at: functional_call(self.fusion, at, pair).fused,
            weigh=lambda weights: functional_call(self.loss_network, weights, clean).infrared,
            loss=lambda weight, fused: fusion_loss(fused, *clean, weight, self._loss, alone)["loss"],
        )

    def fusion_step(self, batch: Batch, *, task: bool = True) -> Mapping[str, float]:
        """Step F on L_f with G fixed, then T on the fused pictures if ``task`` says so."""
        batch = self._prepared(batch)
        clean, alone = batch.sources.pair, batch.sources.alone
        with torch.no_grad(), in_mode([self.loss_network], training=False):
            weight = self.loss_network(*clean).infrared
        with self._f.autocast(batch.infrared):
            fused = self.fusion(batch.infrared, batch.visible).fused
        losses = fusion_loss(fused.float(), *clean, weight, self._loss, alone)
        self._f.step(losses["loss"])
        figures = {name: value.item() for name, value in losses.items()}
        figures["weight infrared"] = weight.mean().item()
        return {**figures, **self._task_step(_view(batch))} if task else figures

    def _task_step(self, view: TaskView) -> Mapping[str, float]:
        """Step T on the pictures as F fuses them now; no gradient goes back into F."""
        seen = self._seen(view)
        with self._t.autocast(seen):
            losses = self.task.loss(self.task(*seen_by(self.task, seen, view)), view.targets)
        self._t.step(losses["loss"])
        return {f"task {name}": value.item() for name, value in losses.items()}

    def _virtual_task(self, view: TaskView) -> Parameters:
        """T', a step of T on the meta-train pictures as F fuses them now."""
        return virtual_task(
            self.task,
            self._t.optimiser,
            seen_by(self.task, self._seen(view), view),
            view.targets,
            step=self.options.task_step,
            average=average,
        )

    def _seen(self, view: TaskView) -> Tensor:
        """What T sees of a view, with no gradient to F."""
        with torch.no_grad():
            return shown(self.fusion(view.infrared, view.visible).fused, view)

    def _step_normalised(self, gradient: Parameters) -> None:
        largest = max(float(part.abs().max()) for part in gradient.values())
        if largest > 0:
            rate = self._g.current_rate
            with torch.no_grad():
                for name, parameter in trainable(self.loss_network).items():
                    parameter.sub_(rate / largest * gradient[name])

    def _prepared(self, batch: Batch) -> Batch:
        return switched(batch) if self.options.switch else batch


def switched(batch: Batch) -> Batch:
    """Every pair behind itself once more with its sensors swapped, labels alike."""
    view = batch.task
    if view is not None:
        targets: BoxTargets | Tensor
        if isinstance(view.targets, BoxTargets):
            shifted = view.targets.image + len(view.infrared)
            image, classes, corners = view.targets
            targets = BoxTargets(
                torch.cat((image, shifted)), torch.cat((classes, classes)), torch.cat((corners, corners))
            )
        else:
            targets = torch.cat((view.targets, view.targets))
        chroma = None if view.chroma is None else torch.cat((view.chroma, view.chroma))
        alone = _twice(view.alone)
        view = TaskView(*_swapped(view.infrared, view.visible), targets, chroma, view.size, alone)
    right = batch.reference
    if right is not None:
        right = Sources(*_swapped(right.infrared, right.visible), _twice(right.alone))
    return Batch(*_swapped(batch.infrared, batch.visible), view, right)


def _twice(flags: Tensor | None) -> Tensor | None:
    return None if flags is None else torch.cat((flags, flags))


def _swapped(infrared: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cat((infrared, visible)), torch.cat((visible, infrared))


def _view(batch: Batch) -> TaskView:
    assert batch.task is not None  # the recipe has a [task]
    return batch.task
