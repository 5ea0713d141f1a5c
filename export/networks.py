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
from tdfusion_edge.export.heads import KINDS, Kind
from tdfusion_edge.train.models.tables import FUSION_NETWORKS, TASK_NETWORKS, build, build_task, resolve
from tdfusion_edge.train.models.task import TaskNetwork

Weights: TypeAlias = dict[str, npt.NDArray[Any]]


class Loaded(NamedTuple):
    """The fusion network with its weights, in evaluation mode, and what its checkpoint says."""

    header: checkpoint.Header
    network: nn.Module
    sha256: str
    """Of its weights."""


class Task(NamedTuple):
    """A task network with its weights, in evaluation mode, which becomes a head of the bundle."""

    header: checkpoint.Header
    network: TaskNetwork
    view: checkpoint.TaskView
    """What it sees and tells apart."""
    matched: bool | None = None
    """Whether it was trained on the pictures of the bundle's fusion network; None where that is unknown."""

    @property
    def kind(self) -> Kind:
        """What the export knows of its kind."""
        return KINDS[self.network.labels]


class Chosen(NamedTuple):
    """What a bundle is made of."""

    fusion: Loaded
    heads: dict[str, Task]
    """By the heads' names, at most one of each kind."""
    notes: tuple[str, ...]
    """What was left out and why, and what does not belong together, a line each."""

    def of_kind(self, kind: str) -> Task | None:
        """The head of a kind, such as ``boxes``; None where there is none."""
        return self.heads.get(KINDS[kind].head)

    @property
    def fit_one_pass(self) -> bool:
        """Whether the one-pass graph can hold the heads."""
        return all(task.kind.in_one_pass for task in self.heads.values())


def choose(paths: Sequence[Path], allowed: Collection[str] = (), *, heads: bool = True) -> Chosen:
    """The fusion network of the first checkpoint that has one, and the last task network of each kind.

    So a detector that was trained again on pictures of a finished fusion network comes behind it. A task
    network of a class that is not allowed is noted and left out, and a loss network is of no use after the
    training.

    Args:
        paths: Checkpoints.
        allowed: "module:Class" that they may name beside the networks of this package.
        heads: Whether task networks are looked for at all.

    Raises:
        RequestError: no fusion network or two different ones, one of a class that is not allowed, or a
            checkpoint that does not fit its network.
    """
    read = [(path, *checkpoint.read(path)) for path in paths]
    path, header, weights = _only_fusion(read)
    digest = checkpoint.weights_sha256(checkpoint.of_role(weights, "fusion"))
    fusion = Loaded(header, load_network(path, header, weights, "fusion", allowed), digest)
    notes: list[str] = []
    tasks: dict[str, Task] = {}
    for path, header, weights in reversed(read) if heads else ():
        if "task" not in header.networks:
            continue
        name = header.networks["task"].name
        if name not in TASK_NETWORKS and name not in allowed:
            notes.append(
                f"left out: '{name}' of {path} is none of this package's networks; if it is a task network "
                f"of yours: --network {name}"
            )
            continue
        # A network that a later checkpoint's stands in for needs neither its libraries nor its files.
        if getattr(resolve(name, TASK_NETWORKS, "task network"), "labels", None) in tasks:
            continue
        network = load_network(path, header, weights, "task", allowed)
        assert isinstance(network, TaskNetwork)
        labels = network.labels
        if labels not in KINDS:
            notes.append(f"left out: '{name}' of {path} gives '{labels}', none of {', '.join(KINDS)}")
        elif labels not in tasks:
            task = Task(header, network, _view(path, header, network, KINDS[labels].title))
            tasks[labels] = _matched(fusion, path, task, notes)
    found = {kind.head: tasks[labels] for labels, kind in KINDS.items() if labels in tasks}
    return Chosen(fusion, found, tuple(notes))


def _matched(fusion: Loaded, path: Path, task: Task, notes: list[str]) -> Task:
    """The task network with a word on whether it belongs to the fusion network."""
    trained_on = task.header.fusion_sha256
    if trained_on is None:
        return task
    if trained_on != fusion.sha256:
        notes.append(
            f"the {task.kind.title} of {path} was trained on the pictures of another fusion network: "
            f"expected {fusion.sha256[:12]}, got {trained_on[:12]}; it may find less in this one's"
        )
    return task._replace(matched=trained_on == fusion.sha256)


def load_network(
    path: Path,
    header: checkpoint.Header,
    weights: checkpoint.Weights,
    role: str = "fusion",
    allowed: Collection[str] = (),
) -> nn.Module:
    """The network of one role of a checkpoint with its weights, in evaluation mode.

    A checkpoint may come from anywhere, and importing a class by the name in a file would run code
    of that file's choice: only this package's networks load without the user naming the class. Nor
    does it choose a folder to read: the weights are in it, and ``pretrained`` says where others came from.
    """
    name = header.networks[role].name
    options = {key: value for key, value in header.networks[role].options.items() if key != "pretrained"}
    table = TASK_NETWORKS if role == "task" else FUSION_NETWORKS
    if name not in table and name not in allowed:
        raise RequestError(
            f"{path} names the network {name!r}, which is none of this package's",
            expected=f"one of {', '.join(table)}",
            hint="If it is a class of yours, name it with --network MODULE:CLASS.",
        )
    network: nn.Module
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


def _view(path: Path, header: checkpoint.Header, network: TaskNetwork, title: str) -> checkpoint.TaskView:
    """The size that a task network sees, which its graph is made for."""
    view, stride = header.task, network.stride
    assert view is not None  # it was loaded with the classes
    if min(view.height, view.width) < 1 or view.height % stride or view.width % stride:
        raise RequestError(
            f"{path}: size of the {title}'s input",
            expected=f"multiples of {stride}",
            got=f"{view.width}x{view.height}",
        )
    return view
