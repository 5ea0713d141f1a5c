"""setup -> fit: one recipe in, checkpoints, a log and pictures out."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
import torch
from torch import distributed, nn
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from tdfusion_edge import __version__, checkpoint
from tdfusion_edge.errors import TrainingError
from tdfusion_edge.train import sheets, state
from tdfusion_edge.train.data.feed import Feed, Share
from tdfusion_edge.train.data.types import Batch
from tdfusion_edge.train.log import Log
from tdfusion_edge.train.recipe import Recipe
from tdfusion_edge.train.schedule import rate_factor
from tdfusion_edge.train.setup import BEST, LAST, STATE, Training, setup
from tdfusion_edge.train.strategies.steps import average, average_buffers
from tdfusion_edge.train.validation import selection_score, validate

logger = logging.getLogger(__name__)

SHEETS = "sheets"


def train(
    recipe: Recipe,
    data: Path,
    output: Path,
    *,
    steps: int | None = None,
    resume: bool = False,
    device: str = "cpu",
    share: Share = Share(),  # noqa: B008 (immutable)
    tensorboard: bool = False,
) -> Path:
    """Train what ``recipe`` says and return the path of the best checkpoint.

    Args:
        recipe: What to train, on what, for how long.
        data: Folder that the recipe's data sources are relative to.
        output: Folder for checkpoints, state, logs and pictures.
        steps: Train this many steps instead of the recipe's.
        resume: Go on with the training that is in ``output``.
        device: A name of PyTorch's.
        share: This process among those of a distributed training.
        tensorboard: Write event files for TensorBoard as well.

    Raises:
        RequestError: the recipe has no training or no validation pairs, or they do not fit it, or
            ``output`` holds another training, or none where one is to be resumed.
        SourceError: too many of the pairs cannot be read.
        TrainingError: the loss became NaN or infinite, or the memory does not suffice.
        OSError: ``output`` cannot be written.
    """
    with _clear_out_of_memory(output, device):
        training = setup(
            recipe,
            data,
            output,
            steps=steps,
            resume=resume,
            device=device,
            share=share,
            tensorboard=tensorboard,
        )
        return fit(training, resume=resume)


def fit(training: Training, *, resume: bool = False) -> Path:
    """Take the steps; validate and write every ``validate_every`` of them and at the end."""
    recipe, strategy, steps = training.recipe, training.strategy, training.steps
    begun, best_score = _resumed(training) if resume else (0, -math.inf)
    if training.leads:
        training.output.mkdir(parents=True, exist_ok=True)
    feed = cast(Feed, OnDevice(training.feed, training.device))
    log = Log(training.output, begun, enabled=training.leads, tensorboard=training.tensorboard)
    # disable=None: a bar on a terminal only. With -q not even warnings are heard.
    hidden = None if training.leads and logger.isEnabledFor(logging.WARNING) else True
    with (
        log,
        logging_redirect_tqdm(),
        tqdm(total=steps, initial=begun, unit="step", desc=recipe.name, disable=hidden) as progress,
    ):
        log.note({"step": begun, "begun": _conditions(training)})
        for step in range(begun + 1, steps + 1):
            _seed(recipe.seed, step, training.share.rank)
            strategy.set_rate(rate_factor(step, steps, recipe.optimiser))
            losses = _averaged(strategy.step(step - 1, feed))
            _refuse_infinite(training, step, losses)
            average_buffers(strategy.networks)
            log.losses(step, losses)
            progress.update()
            if step % recipe.validate_every == 0 or step == steps:
                best_score = _evaluate(training, step, best_score, log)
    return training.output / BEST


class OnDevice:
    """A feed whose batches are moved to a device."""

    def __init__(self, feed: Feed, device: torch.device) -> None:
        self._feed, self._device = feed, device

    @property
    def batches_per_epoch(self) -> int:
        """That of the feed."""
        return self._feed.batches_per_epoch

    def begin_epoch(self) -> None:
        """Begin another pass over the pairs."""
        self._feed.begin_epoch()

    def take(self, count: int = 1) -> tuple[Batch, ...]:
        """The feed's next batches."""
        batches = self._feed.take(count)
        return batches if self._device.type == "cpu" else tuple(b.to(self._device) for b in batches)


def _evaluate(training: Training, step: int, best_score: float, log: Log) -> float:
    """Validate, write checkpoints, state and a sheet; returns the best selection score so far."""
    # By all processes alike, so that none of them waits for one that has given up.
    _refuse_infinite_weights(training, step)
    damaged = _damaged(training.feed)
    if training.leads:
        networks = {role: training.strategy.networks[role] for role in training.strategy.named}
        figures = validate(networks, training.validation, training.recipe.task)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
        logger.info("step %d of %d: %s", step, training.steps, shown)
        if damaged:
            logger.warning("%d pairs could not be read and are left out", len(damaged))
        log.figures(step, figures | ({"damaged": len(damaged)} if damaged else {}))
        score = selection_score(figures, training.choose_by)
        _keep(training, step, figures, is_best=score > best_score)
        best_score = max(score, best_score)
        _keep_state(training, step, damaged, best_score)
        picture = sheets.draw_sheet(networks, training.validation, training.recipe.task)
        sheets.write_sheet(training.output / SHEETS / f"step_{step:06d}.png", picture)
    if distributed.is_initialized():
        distributed.barrier()
    return best_score


def _keep(training: Training, step: int, figures: Mapping[str, float], *, is_best: bool) -> None:
    """Write the last checkpoint, and the best one where it is that."""
    weights = {
        f"{role}.{name}": part
        for role in training.strategy.named
        for name, part in arrays(training.strategy.networks[role]).items()
    }
    header = _header(training, step, figures)
    for name in (LAST, BEST) if is_best else (LAST,):
        checkpoint.write(training.output / name, weights, header)


def _keep_state(training: Training, step: int, damaged: set[int], best_score: float) -> None:
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


def _resumed(training: Training) -> tuple[int, float]:
    """Put everything back as it stood; returns the steps taken and the best score."""
    path = training.output / STATE
    position = state.read_position(path)
    state.require_same_data(path, position, training.share.world, training.feed.identity())
    state.restore(path, training.strategy.networks, training.strategy.optimisers)
    training.feed.epoch, training.feed.drawn = position.epoch, position.drawn
    training.feed.damaged |= set(position.damaged)
    return position.step, position.best_score


def arrays(network: nn.Module) -> dict[str, Any]:
    """Weights as NumPy arrays, by name."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}


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


def _refuse_infinite(training: Training, step: int, losses: Mapping[str, float]) -> None:
    if not all(math.isfinite(value) for value in losses.values()):
        raise TrainingError(
            f"the loss became {dict(losses)} at step {step}",
            hint=f"Lower [optimiser] learning_rate; {_what_is_left(training.output)}",
        )


def _refuse_infinite_weights(training: Training, step: int) -> None:
    for role, network in training.strategy.networks.items():
        for name, part in network.state_dict().items():
            if part.is_floating_point() and not bool(part.isfinite().all()):
                raise TrainingError(
                    f"'{name}' of the {role} network became NaN or infinite by step {step}",
                    hint=f"Lower [optimiser] learning_rate; {_what_is_left(training.output)}",
                )


@contextmanager
def _clear_out_of_memory(output: Path, device: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        if not (known or "DefaultCPUAllocator" in str(error)):  # the CPU's allocator has no class of its own
            raise
        first = str(error).splitlines()[0] if str(error) else "no details"
        raise TrainingError(
            f"out of memory on {device}: {first}",
            hint="Lower [optimiser] batch, [augmentation] crop or the size in [task], or set "
            "[strategy_options] hyper_gradient = 'forward', in a new folder (-o). " + _what_is_left(output),
        ) from error


def _what_is_left(output: Path) -> str:
    if (output / STATE).exists():
        return f"what was reached before is in {output} and can be resumed."
    return "no checkpoint was written yet."


def _conditions(training: Training) -> dict[str, Any]:
    """What a training ran on; the same recipe may give other last bits elsewhere."""
    return {"device": str(training.device), "processes": training.share.world, **_versions()}


def _versions() -> dict[str, str]:
    return {
        "tdfusion-edge": __version__,
        "torch": str(torch.__version__),
        "torch threads": str(torch.get_num_threads()),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "av": av.__version__,
    }


def _header(training: Training, step: int, figures: Mapping[str, float]) -> checkpoint.Header:
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
        limits=recipe.limits,
        training_data=training.training_data,
        metrics={name: round(value, 5) for name, value in figures.items()},
        fusion_sha256=getattr(training.strategy, "trained_on", None),
        versions=_versions(),
    )
