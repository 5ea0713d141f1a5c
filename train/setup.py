"""From a recipe to everything that a training needs; whatever does not fit is refused here, before a step."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import msgspec
import torch

from tdfusion_edge import checkpoint
from tdfusion_edge.bundle import TrainingData
from tdfusion_edge.clashes import refuse_clashes
from tdfusion_edge.errors import ConfigError, RequestError, SourceError
from tdfusion_edge.metrics import VIF_MIN_SIDE
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.pairs.lazy import joined
from tdfusion_edge.pairs.reader import find_files, load_pairs
from tdfusion_edge.train import state
from tdfusion_edge.train.data.degradation.chance import Degrader
from tdfusion_edge.train.data.degradation.kinds import SENSORS
from tdfusion_edge.train.data.degradation.labels import SensorLabels, sensor_labels
from tdfusion_edge.train.data.feed import Feed, Share
from tdfusion_edge.train.faults import clear_out_of_memory
from tdfusion_edge.train.log import board_class
from tdfusion_edge.train.models.task import task_of
from tdfusion_edge.train.recipe import Recipe
from tdfusion_edge.train.state import BEST, LAST, STATE
from tdfusion_edge.train.strategies import build_strategy
from tdfusion_edge.train.strategies.base import Strategy

logger = logging.getLogger(__name__)

Parts: TypeAlias = Mapping[str, Sequence[LabelledPair]]
"""``train``, ``validation`` and ``meta-test``, which may be empty."""


@dataclass(frozen=True)
class Training:
    """Everything that :func:`~tdfusion_edge.train.loop.fit` needs."""

    recipe: Recipe
    steps: int
    output: Path
    strategy: Strategy
    feed: Feed
    validation: Sequence[LabelledPair]
    training_data: tuple[TrainingData, ...]
    share: Share
    resume: bool
    tensorboard: bool
    changes: tuple[str, ...] | None = None
    """By which the recipe differs from the file of its name; None: not known."""

    @property
    def leads(self) -> bool:
        """Whether this process validates, logs and writes."""
        return self.share.rank == 0

    @property
    def choose_by(self) -> str:
        """What makes a checkpoint the best: ``fusion``, or ``task`` where that alone is trained."""
        return self.recipe.choose_by if "fusion" in self.strategy.named else "task"


def setup(
    recipe: Recipe,
    data: Path,
    output: Path,
    *,
    steps: int | None = None,
    resume: bool = False,
    device: str = "cpu",
    share: Share = Share(),  # noqa: B008 (immutable)
    tensorboard: bool = False,
    changes: Sequence[str] | None = None,
) -> Training:
    """Arguments to objects: seeded networks, strategy, data. Nothing is written.

    Args:
        recipe: What to train, on what, for how long.
        data: Folder that the recipe's data sources are relative to.
        output: Folder for checkpoints, state, logs and pictures.
        steps: Train this many steps instead of the recipe's.
        resume: Go on with the training that is in ``output``.
        device: A name of PyTorch's.
        share: This process among those of a distributed training.
        tensorboard: Write event files for TensorBoard as well.
        changes: What was changed in the recipe's file, for the model card: "table.key=VALUE" each.

    Raises:
        RequestError: the recipe has no training or no validation pairs, or they do not fit it, or
            ``output`` holds another training, or none where one is to be resumed, or lies where pairs are.
        SourceError: a pair cannot be read.
        TrainingError: the memory does not suffice.
    """
    steps = steps or recipe.optimiser.steps
    if resume:
        state.require_same(output / STATE, recipe, steps)
    else:
        _refuse_another(output)
    if tensorboard:
        board_class()
    with clear_out_of_memory(output, device):
        torch.manual_seed(recipe.seed)
        strategy = build_strategy(recipe)
        for network in strategy.networks.values():
            network.to(device)
        _refuse_view(recipe, strategy)
        parts, training_data = _load(recipe, data, strategy, output)
        degrader = _degrader(recipe, data, parts, strategy)
        parts = {part: strategy.prepare(samples) for part, samples in parts.items()}
    _refuse_unscorable(parts["validation"], strategy)
    _warn_of_repeats(parts)
    feed = Feed(
        parts["train"],
        recipe.augmentation,
        recipe.optimiser.batch,
        recipe.seed,
        task=recipe.task,
        share=share,
        held_out=parts["meta-test"],
        device=device,
        degrader=degrader,
    )
    feed.require(strategy.batches)
    return Training(
        recipe,
        steps,
        output,
        strategy,
        feed,
        parts["validation"],
        training_data,
        share=share,
        resume=resume,
        tensorboard=tensorboard,
        changes=None if changes is None else tuple(changes),
    )


def _load(
    recipe: Recipe, data: Path, strategy: Strategy, output: Path
) -> tuple[Parts, tuple[TrainingData, ...]]:
    """Samples by part, and what the model card says about those that are trained on."""
    sources: dict[str, list[Sequence[LabelledPair]]] = {"train": [], "validation": [], "meta-test": []}
    training_data: list[TrainingData] = []
    task = task_of(strategy.networks)
    colour = task is not None and task.colour
    for source in recipe.data:
        classes = None if recipe.task is None else recipe.task.classes
        refuse_clashes([("--output", output)], find_files(data / source.folder, source).folders)
        samples = load_pairs(data, source, classes, colour=colour)
        if recipe.task is not None:
            _refuse_unlabelled(source.folder, samples, strategy)
        sources[source.part].append(samples)
        if source.part == "meta-test" and strategy.batches < 2:
            raise ConfigError(
                f"[[data]] '{source.folder}' is for a meta-test",
                expected="a strategy with one",
                got=f"strategy '{recipe.strategy}'",
            )
        if source.part != "validation":
            _note(training_data, TrainingData(name=source.folder, terms=source.terms, pairs=len(samples)))
    for part, found in sources.items():
        if not found and part != "meta-test":
            raise RequestError(
                f"recipe '{recipe.name}' names no {part} data", expected=f'a [[data]] with part = "{part}"'
            )
    known = {(one.name, one.terms) for one in training_data}
    training_data += [one for one in _inherited(recipe, strategy) if (one.name, one.terms) not in known]
    return {part: joined(found) for part, found in sources.items()}, tuple(training_data)


def _degrader(recipe: Recipe, data: Path, parts: Parts, strategy: Strategy) -> Degrader | None:
    """What degrades the pairs of the training as they were read, in the feed's order."""
    if not recipe.augmentation.degraded:
        return None
    ordered = ("train", "meta-test")
    sources = [source for part in ordered for source in recipe.data if source.part == part]
    samples = joined([parts[part] for part in ordered])
    if recipe.task is None:
        labels: SensorLabels = {sensor: [None] * len(samples) for sensor in SENSORS}
    else:
        labels = sensor_labels(data, sources, recipe.task.classes)
    return Degrader(samples, recipe.augmentation, strategy.seen, labels)


def _note(rows: list[TrainingData], row: TrainingData) -> None:
    """Add a row, or its pairs to those of the same data: two parts of one folder are one data set."""
    for index, other in enumerate(rows):
        if (other.name, other.terms) == (row.name, row.terms):
            rows[index] = msgspec.structs.replace(other, pairs=other.pairs + row.pairs)
            return
    rows.append(row)


def _inherited(recipe: Recipe, strategy: Strategy) -> list[TrainingData]:
    """What the checkpoints were trained on that this training starts or learns from: their terms bind it."""
    start = None if recipe.task is None else recipe.task.start
    found: dict[tuple[str, str], TrainingData] = {}
    for path in (start, strategy.based_on, strategy.taught_by):
        if path is None:
            continue
        header, _ = checkpoint.read(Path(path))
        found |= {(one.name, one.terms): one for one in header.training_data}
    return list(found.values())


def _warn_of_repeats(parts: Parts) -> None:
    """Say what may be meant and may be a slip: a pair twice in the training, or in both parts."""
    train, validation = (
        [sample.name for sample in samples] if isinstance(samples, list) else []
        for samples in (parts["train"], parts["validation"])
    )
    if repeated := len(train) - len(set(train)):
        logger.warning("%d training pairs have the name of another one: are they the same?", repeated)
    if common := len(set(train) & set(validation)):
        logger.warning("%d validation pairs have the name of a training pair: they tell little", common)


def _refuse_another(output: Path) -> None:
    if output.is_file() or any((output / name).exists() for name in (LAST, BEST, STATE)):
        raise RequestError(
            f"{output} holds a training already", hint="Go on with it: --resume. Or name another folder: -o."
        )


def _refuse_view(recipe: Recipe, strategy: Strategy) -> None:
    """Refuse a size that T cannot take, and a choice by scores that there will not be."""
    if recipe.choose_by == "task" and "task" not in strategy.named:
        raise ConfigError(
            "choose_by = 'task' without a task network",
            expected="a strategy with one, or choose_by = 'fusion'",
            got=f"strategy '{recipe.strategy}'",
        )
    task = recipe.task
    network = task_of(strategy.networks)
    stride = 1 if network is None else network.stride
    if task is not None and (task.height % stride or task.width % stride):
        raise ConfigError(
            f"[task] size for the network '{task.network}'",
            expected=f"height and width in multiples of {stride}",
            got=f"{task.width}x{task.height}",
        )


def _refuse_unlabelled(folder: str, samples: Sequence[LabelledPair], strategy: Strategy) -> None:
    """Refuse a data source without the labels that T wants, by its first pair that can be read."""
    network = task_of(strategy.networks)
    labels = "" if network is None else network.labels
    for index in range(len(samples)):
        try:
            sample = samples[index]
        except SourceError:  # the feed counts it when it comes to it
            continue
        has = {"boxes": sample.boxes is not None, "mask": sample.mask is not None}
        if not (has[labels] if labels in has else any(has.values())):
            found = ", ".join(kind for kind, given in has.items() if given)
            raise RequestError(
                f"the recipe has a [task], and the pairs of '{folder}' are not labelled for it",
                expected=f"labels in every [[data]], {labels or 'boxes or masks'}",
                got=found or "none",
            )
        return


def _refuse_unscorable(samples: Sequence[LabelledPair], strategy: Strategy) -> None:
    """Refuse validation pairs that are too small for the metrics, or without anything to find."""
    labelled = "task" not in strategy.named
    for pair in samples:
        if min(pair.visible.shape) < VIF_MIN_SIDE:
            raise RequestError(
                f"validation pair '{pair.name}' is too small to score",
                expected=f"{VIF_MIN_SIDE} pixels or more a side",
                got=f"{pair.visible.shape[1]}x{pair.visible.shape[0]}",
            )
        labelled |= pair.boxes is not None and len(pair.boxes.classes) > 0
        labelled |= pair.mask is not None and bool((pair.mask != 255).any())
    if not labelled:
        raise RequestError(
            "no validation pair shows an object of the task's classes, so that T cannot be scored",
            hint="Look at the labels: tdfusion-edge dataset check",
        )
