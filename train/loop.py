"""The training loop: steps, validations, checkpoints and logs."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import distributed
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from tdfusion_edge.train import sheets
from tdfusion_edge.train.data.feed import Feed
from tdfusion_edge.train.faults import clear_out_of_memory, refuse_infinite, refuse_infinite_weights
from tdfusion_edge.train.keeping import conditions, keep, keep_state, resumed
from tdfusion_edge.train.log import Log
from tdfusion_edge.train.schedule import rate_factor
from tdfusion_edge.train.setup import Training
from tdfusion_edge.train.state import BEST
from tdfusion_edge.train.strategies.steps import average, average_buffers
from tdfusion_edge.train.validation import selection_score, validate

logger = logging.getLogger(__name__)

SHEETS = "sheets"


def fit(training: Training) -> Path:
    """Take the steps; validate and write every ``validate_every`` of them and at the end.

    Args:
        training: What :func:`~tdfusion_edge.train.setup.setup` made of a recipe.

    Returns:
        The path of the best checkpoint.

    Raises:
        RequestError: the training that is to be resumed had other pairs or processes.
        SourceError: too many of the pairs cannot be read.
        TrainingError: the loss became NaN or infinite, or the memory does not suffice.
        OSError: the output folder cannot be written.
    """
    with clear_out_of_memory(training.output, str(training.feed.device)):
        return _fit(training)


def _fit(training: Training) -> Path:
    recipe, strategy, steps = training.recipe, training.strategy, training.steps
    begun, best_score = resumed(training) if training.resume else (0, -math.inf)
    if training.leads:
        training.output.mkdir(parents=True, exist_ok=True)
    log = Log(training.output, begun, enabled=training.leads, tensorboard=training.tensorboard)
    # disable=None: a bar on a terminal only. With -q not even warnings are heard.
    hidden = None if training.leads and logger.isEnabledFor(logging.WARNING) else True
    with (
        training.feed.prefetching(),
        log,
        logging_redirect_tqdm(),
        tqdm(total=steps, initial=begun, unit="step", desc=recipe.name, disable=hidden) as progress,
    ):
        log.note({"step": begun, "begun": conditions(training)})
        for step in range(begun + 1, steps + 1):
            _seed(recipe.seed, step, training.share.rank)
            strategy.set_rate(rate_factor(step, steps, recipe.optimiser))
            losses = _averaged(strategy.step(step - 1, training.feed))
            refuse_infinite(training.output, step, losses)
            average_buffers(strategy.networks)
            log.losses(step, losses)
            progress.update()
            if step % recipe.validate_every == 0 or step == steps:
                best_score = _evaluate(training, step, best_score, log)
    return training.output / BEST


def _evaluate(training: Training, step: int, best_score: float, log: Log) -> float:
    """Validate, write checkpoints, state and a sheet; returns the best selection score so far."""
    # By all processes alike, so that none of them waits for one that has given up.
    refuse_infinite_weights(training.output, step, training.strategy.networks)
    damaged = _damaged(training.feed)
    if training.leads:
        networks = {role: training.strategy.networks[role] for role in training.strategy.named}
        picture = training.strategy.picture
        figures = validate(networks, training.validation, training.recipe.task, picture)
        text = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
        logger.info("step %d of %d: %s", step, training.steps, text)
        if damaged:
            logger.warning("%d pairs could not be read and are left out", len(damaged))
        log.figures(step, figures | ({"damaged": len(damaged)} if damaged else {}))
        score = selection_score(figures, training.choose_by)
        keep(training, step, figures, is_best=score > best_score)
        best_score = max(score, best_score)
        keep_state(training, step, damaged, best_score)
        sheet = sheets.draw_sheet(networks, training.validation, training.recipe.task, picture)
        sheets.write_sheet(training.output / SHEETS / f"step_{step:06d}.png", sheet)
    if distributed.is_initialized():
        distributed.barrier()
    return best_score


def _seed(seed: int, step: int, rank: int) -> None:
    """Random numbers of a step depend on nothing before it, so that a resumed training has the same ones."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0]))


def _averaged(losses: Mapping[str, float]) -> Mapping[str, float]:
    """Mean over all processes: what is logged is the whole batch's, and a NaN in one ends them all."""
    if not distributed.is_initialized():
        return losses
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    found = average({n: torch.tensor(v, dtype=torch.float64, device=device) for n, v in losses.items()})
    return {name: value.item() for name, value in found.items()}


def _damaged(feed: Feed) -> set[int]:
    """Pairs that could not be read, by any process."""
    if not distributed.is_initialized():
        return feed.damaged
    everyone: list[set[int]] = [set() for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(everyone, feed.damaged)
    return set().union(*everyone)
