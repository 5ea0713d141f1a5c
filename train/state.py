"""What a training needs to go on exactly where it stood, in one safetensors file.

Weights and optimiser moments are in it, and the counters from which everything else follows: the feed's
batches and each step's random numbers depend on the seed and the step alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from tdfusion_edge.config import Table, parse, to_json
from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.files import write_aside
from tdfusion_edge.train.recipe import Recipe

LAST, BEST, STATE = "last.safetensors", "best.safetensors", "state.safetensors"
"""Names of the files in a training's folder: the last checkpoint, the best one, what ``--resume`` reads."""
FORMAT = 1
KEY = "tdfusion_edge_state"


class Position(Table, frozen=True, kw_only=True):
    """Where a training stands."""

    format: int = FORMAT
    settings: dict[str, Any]
    """The whole recipe, as JSON has it."""
    step: int
    """Steps that were taken."""
    steps: int
    epoch: int
    """Passes over the pairs that had begun before the current one."""
    drawn: int
    """Batches drawn of the current pass."""
    processes: int = 1
    """Processes that shared the batches."""
    pairs: str = ""
    """Digest of the pairs' names in their order, on which every batch depends."""
    damaged: tuple[int, ...] = ()
    """Pairs that could not be read."""
    best: float | None = None
    """Best selection score so far; None: there is none yet, which JSON cannot write as -inf."""

    @property
    def best_score(self) -> float:
        """The best selection score so far, -inf where there is none."""
        return -math.inf if self.best is None else self.best


def settings(recipe: Recipe) -> dict[str, Any]:
    """A recipe as it comes back from JSON, where a tuple is a list."""
    plain: dict[str, Any] = json.loads(to_json(recipe))
    return plain


def write(
    path: Path, position: Position, networks: Mapping[str, nn.Module], optimisers: Mapping[str, Optimizer]
) -> None:
    """Write aside and rename, so that ``path`` is always whole.

    Raises:
        OSError: the disk is full or not writable; an older state at ``path`` stays.
    """
    tensors: dict[str, Tensor] = {}
    for role, network in networks.items():
        tensors |= {f"network.{role}.{name}": part for name, part in network.state_dict().items()}
    for role, optimiser in optimisers.items():
        for index, moments in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{role}.{index}.{name}": part for name, part in moments.items()}
    # A copy each: safetensors refuses tensors that share memory.
    copies = {name: part.detach().cpu().clone().contiguous() for name, part in tensors.items()}
    write_aside(path, save(copies, metadata={KEY: to_json(position).decode()}))


def read_position(path: Path) -> Position:
    """Where the training at ``path`` stands.

    Raises:
        InputMissing: there is none.
        RequestError: the file is no state of a training, or another version's.
        ConfigError: its header has an unknown key or a wrong type.
    """
    if not path.is_file():
        raise InputMissing(
            f"{path.parent} holds no training that could be resumed",
            expected=path.name,
            hint="Start it without --resume; a first state is written at the first validation.",
        )
    try:
        with safe_open(str(path), framework="pt") as file:
            header = (file.metadata() or {}).get(KEY)
    except SafetensorError as error:
        raise RequestError(f"{path} is no state of a training: {error}") from error
    if header is None or json.loads(header).get("format") != FORMAT:
        raise RequestError(f"{path} is no state of a training, or another version's")
    return parse(header.encode(), Position, name=f"{path} (header)")


def require_same(path: Path, recipe: Recipe, steps: int) -> None:
    """Refuse to go on with another training than the one at ``path``.

    Raises:
        InputMissing: there is none.
        RequestError: its recipe or its number of steps differ, or the file is no state of a training.
        ConfigError: its header has an unknown key or a wrong type.
    """
    position = read_position(path)
    changes = differences(position.settings, settings(recipe))
    if position.steps != steps:
        changes.append(f"steps (was {position.steps}, is {steps})")
    if changes:
        raise RequestError(
            f"{path.parent} holds another training",
            expected="the same recipe and number of steps",
            got=f"changes in {', '.join(changes)}",
            hint="Name another folder with -o, or take the changes back.",
        )


def require_same_data(path: Path, position: Position, processes: int, pairs: str) -> None:
    """Refuse to go on with other batches than the training at ``path`` would have had.

    Raises:
        RequestError: the pairs or the number of processes changed.
    """
    if position.processes != processes:
        raise RequestError(
            f"{path.parent} was trained by another number of processes",
            expected=str(position.processes),
            got=str(processes),
        )
    if position.pairs != pairs:
        raise RequestError(
            f"{path.parent} was trained on other pairs",
            expected="the same names in the same order",
            hint="Put the pairs back as they were, or name another folder with -o.",
        )


def differences(before: Any, now: Any, key: str = "") -> list[str]:
    """What differs between two recipes, as "table.key (was 1, is 2)"."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            change
            for name in {**before, **now}
            for change in differences(before.get(name), now.get(name), f"{key}.{name}" if key else name)
        ]
    if before == now:
        return []
    is_long = max(len(str(before)), len(str(now))) > 60
    return [key if is_long else f"{key} (was {before}, is {now})"]


def restore(path: Path, networks: Mapping[str, nn.Module], optimisers: Mapping[str, Optimizer]) -> None:
    """Put weights and moments back.

    Raises:
        RequestError: they do not fit the recipe's networks, or the file is damaged.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise RequestError(f"{path} is no state of a training: {error}") from error
    try:
        for role, network in networks.items():
            network.load_state_dict(_below(tensors, f"network.{role}."))
    except RuntimeError as error:
        raise RequestError(f"{path} does not fit the recipe's networks: {error}") from error
    for role, optimiser in optimisers.items():
        moments: dict[int, dict[str, Tensor]] = {}
        for name, part in _below(tensors, f"optimiser.{role}.").items():
            index, _, key = name.partition(".")
            moments.setdefault(int(index), {})[key] = part
        optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: part for name, part in tensors.items() if name.startswith(prefix)}
