"""Strategy ``task``: the task network alone, on pictures that do not change.

For the stream's detector: the paper trains a fresh task network on the final fused pictures for its
scores (TDFusion, CVPR 2025, arXiv 2412.03240, section 4.1), and any input is trained alike, which is what
the comparisons rest on.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tdfusion_edge import checkpoint
from tdfusion_edge.checkpoint import Network
from tdfusion_edge.color import U8
from tdfusion_edge.config import Table, convert
from tdfusion_edge.errors import ConfigError, InputMissing, RequestError
from tdfusion_edge.images import by_stem, read_luma8
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.pairs.lazy import mapped
from tdfusion_edge.plain import GREY, OF_ONE, PLAIN
from tdfusion_edge.train.data.feed import Feed
from tdfusion_edge.train.data.tensors import seen_by, shown
from tdfusion_edge.train.data.types import TaskView
from tdfusion_edge.train.fusing import Fuser, load_fusion, start_task
from tdfusion_edge.train.recipe import Fraction, Recipe
from tdfusion_edge.train.strategies.base import Strategy
from tdfusion_edge.train.strategies.steps import Stepper


class Options(Table, frozen=True, kw_only=True):
    """``[strategy_options]`` of the strategy ``task``."""

    picture: Literal["fused", "infrared", "visible", "mean", "additive", "maximum", "blend", "folder"] = (
        "fused"
    )
    """What T sees: the pictures of ``checkpoint``'s fusion network, a plain one
    (:data:`tdfusion_edge.plain.PLAIN`), a blend of both sensors by chance (validated on the mean), or the
    pictures of ``folder`` with the pairs' stems."""
    checkpoint: str | None = None
    """Checkpoint with a fusion network, for ``fused``."""
    folder: str | None = None
    """Folder of fused pictures, for ``folder``."""
    average: Fraction = 0.0
    """Decay of a running mean of the weights, which is then what is validated and kept; 0: none."""
    weight_decay: Fraction = 0.0
    """Decoupled weight decay of T's optimiser."""


class TaskOnly(Strategy):
    """T on fixed pictures; ``trained_on`` is known once :meth:`prepare` was called."""

    options_type: ClassVar[type[Options]] = Options

    def __init__(self, recipe: Recipe) -> None:
        if recipe.task is None:
            raise ConfigError(f"recipe '{recipe.name}' has no [task]")
        self.options = convert(recipe.strategy_options, self.options_type, name="[strategy_options]")
        for wanted, given in (("fused", "checkpoint"), ("folder", "folder")):
            if self.options.picture == wanted and getattr(self.options, given) is None:
                raise ConfigError(f"[strategy_options] picture = '{wanted}' needs '{given}'")
        if recipe.augmentation.degraded and self.options.picture == "folder":
            raise ConfigError(
                "[augmentation] degraded with picture = 'folder'",
                expected="pictures that are made in the training",
                got="pictures that were fused from whole pairs",
            )
        task = recipe.task
        self._live = live = start_task(task)
        kept = copy.deepcopy(live).requires_grad_(False) if self.options.average else live
        self.networks = {"task": kept, **({"live": live} if self.options.average else {})}
        self.named = {"task": Network(name=task.network, options=task.network_options)}
        rate = task.learning_rate or recipe.optimiser.learning_rate
        self.based_on = self.options.checkpoint if self.options.picture == "fused" else None
        self._stepper = Stepper(live, rate, amp=recipe.optimiser.amp, decay=self.options.weight_decay)
        self.optimisers = {"task": self._stepper.optimiser}
        self._picked: Fuser | None = None

    def prepare(self, samples: Sequence[LabelledPair]) -> Sequence[LabelledPair]:
        """The same labels with the one picture that T sees in the place of both sensors.

        Of infrared too, unless T sees that beside the picture.
        """
        if self.options.picture == "blend":
            return samples
        return mapped(samples, self.seen)

    def seen(self, pair: LabelledPair, *, alone: bool = False) -> LabelledPair:
        """A pair with the one picture that T sees, as :meth:`prepare` has it."""
        if alone or self.options.picture == "blend":
            return pair
        if self._picked is None:
            self._picked = self._picture()
        picked = self._picked(pair)
        if picked.shape != pair.visible.shape:
            raise RequestError(
                f"the picture '{pair.name}' has another size than its pair, and so than the labels",
                expected="{1}x{0}".format(*pair.visible.shape),
                got="{1}x{0}".format(*picked.shape),
            )
        grey = self.options.picture in GREY
        colour = None if grey else pair.colour
        if self._live.infrared and self.options.picture not in OF_ONE:
            return pair._replace(visible=picked, colour=colour)
        return pair._replace(infrared=picked, visible=picked, colour=colour)

    def picture(self, pair: LabelledPair) -> U8:
        """The one that T sees; of a blend the mean."""
        return super().picture(pair) if self.options.picture == "blend" else pair.visible

    def step(self, number: int, feed: Feed) -> dict[str, float]:
        """One Adam step; returns the task network's losses."""
        (batch,) = feed.take()
        assert batch.task is not None  # the recipe has a [task]
        luma = batch.task.visible
        if self.options.picture == "blend":
            share = torch.rand(len(luma), 1, 1, 1).to(luma.device)
            luma = torch.lerp(luma, batch.task.infrared, share)
        luma = shown(luma, batch.task)
        with self._stepper.autocast(luma):
            losses = self.losses(luma, batch.task)
        self._stepper.step(losses["loss"])
        if self.options.average:
            self._follow(number)
        return {name: value.item() for name, value in losses.items()}

    def losses(self, luma: Tensor, view: TaskView) -> Mapping[str, Tensor]:
        """What T is told about pictures (B, 1, h, w) of a view; ``loss`` is minimised."""
        return self._live.loss(self._live(*seen_by(self._live, luma, view)), view.targets)

    def _follow(self, number: int) -> None:
        """Move the kept weights towards the live ones; faster in the beginning, when those are far off."""
        decay = min(self.options.average, (1 + number) / (10 + number))
        kept = self.networks["task"]
        with torch.no_grad():
            for mean, new in zip(kept.state_dict().values(), self._live.state_dict().values(), strict=True):
                if mean.is_floating_point():
                    mean.lerp_(new, 1 - decay)
                else:
                    mean.copy_(new)

    def _picture(self) -> Fuser:
        options = self.options
        if options.picture == "folder":
            pictures = by_stem(Path(str(options.folder)))

            def from_folder(sample: LabelledPair) -> U8:
                if sample.name not in pictures:
                    raise InputMissing(f"{options.folder} has no picture '{sample.name}'")
                return read_luma8(pictures[sample.name])

            return from_folder
        if options.picture == "fused":
            path = Path(str(options.checkpoint))
            fuser = load_fusion(path)
            self.trained_on = checkpoint.weights_sha256(
                checkpoint.of_role(checkpoint.read(path)[1], "fusion")
            )
            return fuser
        made = PLAIN["average" if options.picture == "mean" else options.picture]
        return lambda sample: made(sample.infrared, sample.visible)
