"""Which networks of which checkpoints go into a bundle, and loading them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tdfusion_edge import checkpoint
from tdfusion_edge.errors import RequestError
from tdfusion_edge.train.models.tables import FUSION_NETWORKS, TASK_NETWORKS, build, build_task

Weights: TypeAlias = dict[str, npt.NDArray[Any]]


class Loaded(NamedTuple):
    """A network with its weights, in evaluation mode, and what its checkpoint says."""

    header: checkpoint.Header
    network: nn.Module


class Detector(NamedTuple):
    """The same of a task network that gives boxes."""

    header: checkpoint.Header
    network: nn.Module
    view: checkpoint.TaskView


class Chosen(NamedTuple):
    """What a bundle is made of."""

    fusion: Loaded
    detector: Detector | None
    notes: tuple[str, ...]
    """What was left out and why, a line each."""


def choose(paths: Sequence[Path], allowed: Collection[str] = ()) -> Chosen:
    """The fusion network of the first checkpoint that has one, the detector of the last.

    So a detector that was trained again on pictures of a finished fusion network comes behind it. A task
    network that gives masks is noted and left out, and a loss network is of no use after the training.

    Args:
        paths: Checkpoints.
        allowed: "module:Class" that they may name beside the networks of this package.

    Raises:
        RequestError: no fusion network or two different ones, a checkpoint that does not fit its
            network, or one that names a class that is not allowed.
    """
    read = [(path, *checkpoint.read(path)) for path in paths]
    path, header, weights = _only_fusion(read)
    fusion = Loaded(header, load_network(path, header, weights, "fusion", allowed))
    notes: list[str] = []
    for path, header, weights in reversed(read):
        if "task" not in header.networks:
            continue
        network = load_network(path, header, weights, "task", allowed)
        if getattr(network, "labels", None) == "boxes":
            return Chosen(fusion, Detector(header, network, _view(path, header, network)), tuple(notes))
        notes.append(f"left out: '{header.networks['task'].name}' of {path} gives no boxes")
    return Chosen(fusion, None, tuple(notes))


def load_network(
    path: Path,
    header: checkpoint.Header,
    weights: checkpoint.Weights,
    role: str = "fusion",
    allowed: Collection[str] = (),
) -> nn.Module:
    """The network of one role of a checkpoint with its weights, in evaluation mode.

    A checkpoint may come from anywhere, and importing a class by the name in a file would run code
    of that file's choice: only this package's networks load without the user naming the class.
    """
    name, options = header.networks[role].name, header.networks[role].options
    table = TASK_NETWORKS if role == "task" else FUSION_NETWORKS
    if name not in table and name not in allowed:
        raise RequestError(
            f"{path} names the network {name!r}, which is none of this package's",
            expected=f"one of {', '.join(table)}",
            hint="If it is a class of yours, name it with --network MODULE:CLASS.",
        )
    if role == "task":
        network = build_task(name, options, len(_classes(path, header)))
    else:
        network = build(name, options)
    of_role = checkpoint.of_role(weights, role)
    try:
        network.load_state_dict({key: torch.from_numpy(array) for key, array in of_role.items()})
    except RuntimeError as error:
        raise RequestError(f"{path} does not fit the network '{name}': {error}") from error
    return network.eval()


def _only_fusion(
    read: Sequence[tuple[Path, checkpoint.Header, Weights]],
) -> tuple[Path, checkpoint.Header, Weights]:
    """The checkpoint of the fusion network; all others that have one have the same."""
    having = [row for row in read if "fusion" in row[1].networks]
    if not having:
        roles = "; ".join(f"{path}: {', '.join(header.networks)}" for path, header, _ in read)
        raise RequestError(
            "a bundle needs a fusion network",
            expected="a checkpoint with one",
            got=roles,
            hint="Name its checkpoint too: tdfusion-edge export FUSION DETECTOR -o BUNDLE",
        )
    first, header, weights = having[0]
    for path, other, others in having[1:]:
        if other.networks["fusion"] != header.networks["fusion"] or not _equal(
            checkpoint.of_role(weights, "fusion"), checkpoint.of_role(others, "fusion")
        ):
            raise RequestError(
                "the checkpoints hold different fusion networks",
                expected="one",
                got=f"{first} and {path}",
                hint="Export them as two bundles.",
            )
    return first, header, weights


def _equal(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def _classes(path: Path, header: checkpoint.Header) -> tuple[str, ...]:
    if header.task is None or not header.task.classes:
        raise RequestError(f"{path} has a task network and does not say what it tells apart")
    return header.task.classes


def _view(path: Path, header: checkpoint.Header, network: nn.Module) -> checkpoint.TaskView:
    """The size that the detector sees, which its graph is made for."""
    view, stride = header.task, int(getattr(network, "stride", 1))
    assert view is not None  # it was loaded with the classes
    if min(view.height, view.width) < 1 or view.height % stride or view.width % stride:
        raise RequestError(
            f"{path}: size of the detector's input",
            expected=f"multiples of {stride}",
            got=f"{view.width}x{view.height}",
        )
    return view
