"""What a training keeps: checkpoints for the export, and a state from which it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import av
import cv2
import numpy as np
import torch
from torch import nn

from tdfusion_edge import __version__, checkpoint
from tdfusion_edge.train import state
from tdfusion_edge.train.setup import Training
from tdfusion_edge.train.state import BEST, LAST, STATE


def keep(training: Training, step: int, figures: Mapping[str, float], *, is_best: bool) -> None:
    """Write the last checkpoint, and the best one where it is that."""
    weights = {
        f"{role}.{name}": part
        for role in training.strategy.named
        for name, part in arrays(training.strategy.networks[role]).items()
    }
    header = header_of(training, step, figures)
    for name in (LAST, BEST) if is_best else (LAST,):
        checkpoint.write(training.output / name, weights, header)


def keep_state(training: Training, step: int, damaged: set[int], best_score: float) -> None:
    """Write what a resumed training needs. Last: until then, the older state goes with older files."""
    position = state.Position(
        settings=state.settings(training.recipe),
        step=step,
        steps=training.steps,
        epoch=training.feed.epoch,
        drawn=training.feed.drawn,
        processes=training.share.world,
        pairs=training.feed.identity(),
        damaged=tuple(sorted(damaged)),
        best=best_score,
    )
    state.write(training.output / STATE, position, training.strategy.networks, training.strategy.optimisers)


def resumed(training: Training) -> tuple[int, float]:
    """Put everything back as it stood; returns the steps taken and the best score."""
    path = training.output / STATE
    position = state.read_position(path)
    state.require_same_data(path, position, training.share.world, training.feed.identity())
    state.restore(path, training.strategy.networks, training.strategy.optimisers)
    training.feed.epoch, training.feed.drawn = position.epoch, position.drawn
    training.feed.damaged |= set(position.damaged)
    return position.step, position.best_score


def arrays(network: nn.Module) -> dict[str, Any]:
    """A network's weights and running statistics as NumPy arrays, by name."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}


def conditions(training: Training) -> dict[str, Any]:
    """What a training ran on; the same recipe may give other last bits elsewhere."""
    return {"device": str(training.feed.device), "processes": training.share.world, **versions()}


def versions() -> dict[str, str]:
    """Versions of the libraries that compute, by name, and PyTorch's threads."""
    return {
        "tdfusion-edge": __version__,
        "torch": str(torch.__version__),
        "torch threads": str(torch.get_num_threads()),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "av": av.__version__,
    }


def header_of(training: Training, step: int, figures: Mapping[str, float]) -> checkpoint.Header:
    """What a checkpoint says about its networks and how they were trained."""
    recipe, named = training.recipe, training.strategy.named
    view = None
    if recipe.task is not None and "task" in named:
        task = recipe.task
        view = checkpoint.TaskView(classes=task.classes, height=task.height, width=task.width)
    return checkpoint.Header(
        format=checkpoint.FORMAT,
        recipe=recipe.name,
        networks=dict(named),
        task=view,
        strategy=recipe.strategy,
        seed=recipe.seed,
        step=step,
        steps=training.steps,
        settings=state.settings(recipe),
        changes=training.changes,
        limits=recipe.limits,
        training_data=training.training_data,
        metrics={name: round(value, 5) for name, value in figures.items()},
        fusion_sha256=training.strategy.trained_on,
        versions=versions(),
    )
