"""setup -> fit -> validate: one recipe in, checkpoints and a log out."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import msgspec
import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from tdfusion_edge import __version__, checkpoint
from tdfusion_edge.bundle import TrainingData
from tdfusion_edge.errors import RequestError, TrainingError
from tdfusion_edge.metrics import VIF_MIN_SIDE, Scores, evaluate, mean
from tdfusion_edge.train.data import LumaPair, load_pairs, random_batches, to_tensor
from tdfusion_edge.train.models.tables import build, resolve
from tdfusion_edge.train.recipe import Recipe
from tdfusion_edge.train.strategies import STRATEGIES, Strategy

logger = logging.getLogger(__name__)

LAST, BEST = "last.safetensors", "best.safetensors"
WARM_UP = 0.05
"""Share of the steps over which the learning rate rises from 0."""


@dataclass(frozen=True)
class Training:
    """Everything that :func:`fit` needs."""

    recipe: Recipe
    output: Path
    strategy: Strategy
    train: list[LumaPair]
    validation: list[LumaPair]
    training_data: tuple[TrainingData, ...]


def train(recipe: Recipe, data: Path, output: Path, *, steps: int | None = None) -> Path:
    """Train what ``recipe`` says and return the path of the best checkpoint.

    Args:
        recipe: What to train, on what, for how long.
        data: Folder that the recipe's data sources are relative to.
        output: Folder for ``last.safetensors``, ``best.safetensors`` and ``log.jsonl``.
        steps: Train this many steps instead of the recipe's.

    Raises:
        RequestError: the recipe has no training or no validation pairs, or they do not fit it.
        TrainingError: the loss became NaN or infinite; the last checkpoint is from before.
    """
    training = setup(recipe, data, output)
    return fit(training, steps or recipe.optimiser.steps)


def setup(recipe: Recipe, data: Path, output: Path) -> Training:
    """Arguments to objects: data in memory, seeded network, strategy."""
    if output.is_file() or any((output / name).exists() for name in ("log.jsonl", LAST, BEST)):
        raise RequestError(f"{output} holds a training already", hint="Name another folder with -o.")
    torch.manual_seed(recipe.seed)
    network = build(recipe.network, recipe.network_options)
    strategy_class = resolve(recipe.strategy, STRATEGIES, "strategy")
    parts: dict[str, list[LumaPair]] = {"train": [], "validation": []}
    training_data = []
    for source in recipe.data:
        pairs = load_pairs(data, source)
        parts[source.part] += pairs
        if source.part == "train":
            training_data.append(TrainingData(name=source.folder, terms=source.terms, pairs=len(pairs)))
    for part, pairs in parts.items():
        if not pairs:
            raise RequestError(
                f"recipe '{recipe.name}' names no {part} data", expected=f'a [[data]] with part = "{part}"'
            )
    for pair in parts["validation"]:
        if min(pair.visible.shape) < VIF_MIN_SIDE:
            raise RequestError(
                f"validation pair '{pair.name}' is too small to score",
                expected=f"{VIF_MIN_SIDE} pixels or more a side",
            )
    strategy: Strategy = strategy_class(network, recipe)
    return Training(recipe, output, strategy, parts["train"], parts["validation"], tuple(training_data))


def fit(training: Training, steps: int) -> Path:
    """Take ``steps`` steps; validate and write a checkpoint every ``validate_every`` and at the end."""
    recipe, strategy = training.recipe, training.strategy
    batches = random_batches(training.train, recipe.augmentation, recipe.optimiser.batch, recipe.seed)
    training.output.mkdir(parents=True, exist_ok=True)
    best_score, best = -math.inf, training.output / BEST
    with (
        (training.output / "log.jsonl").open("w", encoding="utf-8") as log,
        # disable=None: a bar on a terminal only.
        tqdm(total=steps, unit="step", desc=recipe.name, disable=None) as progress,
    ):
        for step in range(1, steps + 1):
            strategy.set_rate(learning_rate_factor(step, steps))
            losses = strategy.step(next(batches))
            if not all(math.isfinite(value) for value in losses.values()):
                raise TrainingError(
                    f"the loss became {losses} at step {step}",
                    hint="Lower [optimiser] learning_rate; the last checkpoint is from before.",
                )
            progress.update()
            if step % recipe.validate_every and step != steps:
                continue
            weights = state(strategy.fusion)
            if not all(np.isfinite(array).all() for array in weights.values()):
                raise TrainingError(
                    f"the weights became NaN or infinite by step {step}",
                    hint="The last checkpoint is from before.",
                )
            scores = validate(strategy.fusion, training.validation)
            figures = {"loss": losses["loss"], **selected(scores)}
            progress.set_postfix({name: f"{value:.4f}" for name, value in figures.items()})
            logger.info(
                "step %d of %d: %s", step, steps, ", ".join(f"{k} {v:.4f}" for k, v in figures.items())
            )
            _log(log, {"step": step, **losses, **scores._asdict()})
            targets = [training.output / LAST]
            if selection_score(scores) > best_score:
                best_score = selection_score(scores)
                targets.append(best)
            for target in targets:
                checkpoint.write(target, weights, _header(training, step, steps, scores))
    return best


def learning_rate_factor(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine to zero, in [0, 1].

    >>> [round(learning_rate_factor(step, 100), 2) for step in (1, 5, 52, 100)]
    [0.2, 1.0, 0.51, 0.0]
    """
    warm_up = max(1, round(WARM_UP * steps))
    if step <= warm_up:
        return step / warm_up
    return (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))) / 2


def validate(fusion: nn.Module, pairs: list[LumaPair]) -> Scores:
    """Mean fusion metrics over whole pictures, without any stretch of the output."""
    was_training = fusion.training
    fusion.eval()
    scores = []
    with torch.inference_mode():
        for pair in pairs:
            fused = fusion(to_tensor(pair.infrared), to_tensor(pair.visible)).fused
            picture = fused[0, 0].mul(255).round().to(torch.uint8).numpy()
            scores.append(evaluate(picture, pair.infrared, pair.visible))
    fusion.train(was_training)
    return mean(scores)


def selected(scores: Scores) -> dict[str, float]:
    """The metrics that choose the best checkpoint: those that need both sources."""
    return {name: getattr(scores, name) for name in ("scd", "vif", "qabf", "ssim")}


def selection_score(scores: Scores) -> float:
    """Sum of the four, SCD halved so that it weighs about as much as the others."""
    return scores.scd / 2 + scores.vif + scores.qabf + scores.ssim


def state(network: nn.Module) -> dict[str, Any]:
    """Weights as NumPy arrays, by name."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}


def _header(training: Training, step: int, steps: int, scores: Scores) -> checkpoint.Header:
    recipe = training.recipe
    return checkpoint.Header(
        format=checkpoint.FORMAT,
        recipe=recipe.name,
        network=recipe.network,
        network_options=recipe.network_options,
        strategy=recipe.strategy,
        seed=recipe.seed,
        step=step,
        steps=steps,
        settings=msgspec.to_builtins(recipe),
        limits=recipe.limits,
        training_data=training.training_data,
        metrics={name: round(value, 5) for name, value in scores._asdict().items()},
        versions={
            "tdfusion-edge": __version__,
            "torch": str(torch.__version__),
            "torch threads": str(torch.get_num_threads()),
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "av": av.__version__,
        },
    )


def _log(stream: Any, row: Mapping[str, float]) -> None:
    stream.write(json.dumps({key: round(value, 6) for key, value in row.items()}) + "\n")
    stream.flush()
