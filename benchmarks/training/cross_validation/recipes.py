"""A recipe's data for one fold, as one ``--set``, and what a checkpoint has seen."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tdfusion_edge import checkpoint
from tdfusion_edge.config import convert
from tdfusion_edge.errors import ConfigError, RequestError
from tdfusion_edge.pairs.reader import pair_names
from tdfusion_edge.train.recipe import DataSource, Recipe

FOLDER = "msrs"
"""Folder of the pairs that are divided, below the data folder."""


def within(recipe: Recipe, data: Path, training: Collection[str]) -> str:
    """The recipe's sources with those of their pairs alone that may be learned from; a ``--set`` argument.

    ``every`` and ``without_every`` then select among these, so that a part for the ``meta-test`` is still
    what the part for the training leaves out. Sources in other folders stay as they are.

    Args:
        recipe: Of any training.
        data: Folder that its sources are relative to.
        training: Stems of a fold.

    Raises:
        InputMissing: a list or a pair is not there.
    """
    return _change(
        msgspec.structs.replace(source, names=_kept(source, data, training)) if is_divided(source) else source
        for source in recipe.data
    )


def on_fold(recipe: Recipe, training: Sequence[str], tested: Sequence[str]) -> str:
    """All pairs of a fold's training for T, which is validated on the fold; a ``--set`` argument.

    Args:
        recipe: Of T; its first source for the training says what the labels are.
        training: Stems.
        tested: Stems.

    Raises:
        ConfigError: the recipe does not train on these pairs.
    """
    own = [source for source in recipe.data if is_divided(source) and source.part == "train"]
    if not own:
        raise ConfigError(f"recipe '{recipe.name}'", expected=f"a [[data]] of {FOLDER} to train on")
    whole = msgspec.structs.replace(own[0], names=tuple(training), every=1, without_every=0)
    others = [source for source in recipe.data if not is_divided(source) and source.part == "train"]
    return _change([whole, *others, msgspec.structs.replace(whole, part="validation", names=tuple(tested))])


def is_divided(source: DataSource) -> bool:
    """Whether a source takes pairs of those that are divided."""
    return Path(source.folder) == Path(FOLDER)


def require_unseen(path: Path, data: Path, unseen: Collection[str]) -> None:
    """Refuse a checkpoint that has seen a pair, by itself or through one that it began from.

    What it was validated on counts as well, for its best checkpoint is chosen on that.

    Args:
        path: The checkpoint; those that it began from must be where its recipe says.
        data: Folder that its data were relative to.
        unseen: Stems.

    Raises:
        InputMissing: a checkpoint or a list is not there.
        RequestError: it has seen one.
    """
    header, _ = checkpoint.read(path)
    recipe = convert(header.settings, Recipe, name=f"{path} (settings)")
    seen = {name for source in recipe.data if is_divided(source) for name in _listed(source, data)}
    if known := sorted(seen & set(unseen)):
        raise RequestError(
            f"{path} has seen pairs that it is to be scored on",
            expected="a network of this fold",
            got=f"{len(known)} of them, {known[0]} for one",
            hint="Train it with: python -m benchmarks.training.cross_validation.networks",
        )
    for before in begun_from(recipe):
        require_unseen(before, data, unseen)


def inputs_of(recipe: Recipe, data: Path, unseen: Collection[str]) -> dict[str, Path]:
    """The files that a training begins with, by what they are.

    Raises:
        InputMissing: a checkpoint or a list is not there.
        RequestError: one of our own has seen a pair that it must not have.
    """
    inputs = {}
    for number, start in enumerate(begun_from(recipe)):
        require_unseen(start, data, unseen)
        inputs[f"start {number}"] = start
    pretrained = None if recipe.task is None else recipe.task.network_options.get("pretrained")
    if pretrained is not None:
        inputs["pretrained"] = Path(str(pretrained))
    return inputs


def begun_from(recipe: Recipe) -> list[Path]:
    """Checkpoints of our own that a training starts from or sees the pictures of."""
    start = None if recipe.task is None else recipe.task.start
    named = (start, recipe.strategy_options.get("checkpoint"))
    return [Path(str(path)) for path in named if path is not None]


def _kept(source: DataSource, data: Path, training: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name in _listed(source, data) if name in training)


def _listed(source: DataSource, data: Path) -> list[str]:
    return pair_names(data / source.folder, source, videos=False)


def _change(sources: Iterator[DataSource] | Sequence[DataSource]) -> str:
    return f"data={toml([msgspec.to_builtins(source) for source in sources])}"


def toml(value: Any) -> str:
    """Tables, lists and scalars as one line of TOML, without what is None.

    >>> toml({"names": ["a"], "labels": None, "every": 3})
    '{names = ["a"], every = 3}'
    """
    if isinstance(value, dict):
        known = (f"{key} = {toml(one)}" for key, one in value.items() if one is not None)
        return f"{{{', '.join(known)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    # JSON's strings, numbers, true and false are TOML's as well.
    return json.dumps(value, ensure_ascii=False)
