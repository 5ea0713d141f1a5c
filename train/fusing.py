"""Networks from checkpoints; a fusion network on whole pairs as it is deployed: 8 bits, no stretch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias, cast

import torch
from torch import nn

from tdfusion_edge import checkpoint, plain
from tdfusion_edge.color import U8
from tdfusion_edge.errors import RequestError
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.text import CLASSES, few
from tdfusion_edge.train.data.tensors import to_tensor
from tdfusion_edge.train.models.base import FusionNetwork
from tdfusion_edge.train.models.tables import (
    FUSION_NETWORKS,
    LOSS_NETWORKS,
    TASK_NETWORKS,
    build,
    build_loss,
    build_task,
)
from tdfusion_edge.train.models.task import TaskNetwork
from tdfusion_edge.train.recipe import Task

Fuser: TypeAlias = Callable[[LabelledPair], U8]
"""A pair to its fused luma, uint8 (H, W)."""


def fuse(network: nn.Module, sample: LabelledPair) -> U8:
    """One pair through the network, which should be in evaluation mode."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        fused = network(to_tensor(sample.infrared).to(device), to_tensor(sample.visible).to(device)).fused
        # A user's network may leave [0, 1]; uint8 would wrap white to black.
        return cast(U8, fused[0, 0].clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy())


def unfused(sample: LabelledPair) -> U8:
    """What a task network that has no fusion network beside it sees: the mean of both sensors."""
    return plain.mean(sample.infrared, sample.visible)


def load_fusion(path: Path) -> Fuser:
    """The fusion network of a checkpoint, on whole pairs.

    Raises:
        InputMissing: there is no checkpoint.
        RequestError: it holds no fusion network, or one that is none of this package's.
    """
    network = fusion_network(path)
    return lambda sample: fuse(network, sample)


def fusion_network(path: Path) -> FusionNetwork:
    """The fusion network of a checkpoint, in evaluation mode.

    Raises:
        InputMissing: there is no checkpoint.
        RequestError: it holds no fusion network, or one that is none of this package's.
    """
    named = _named(path, "fusion", FUSION_NETWORKS)
    if named is None:
        held = checkpoint.read(path)[0].networks
        raise RequestError(f"{path} holds no fusion network", got=", ".join(held))
    network = build(named.name, named.options).eval()
    load_weights(network, path, "fusion")
    return network


def loss_network(path: Path) -> nn.Module | None:
    """The loss network G of a checkpoint, in evaluation mode; None where it holds none.

    Raises:
        InputMissing: there is no checkpoint.
        RequestError: its loss network is none of this package's.
    """
    named = _named(path, "loss", LOSS_NETWORKS)
    if named is None:
        return None
    network = build_loss(named.name, named.options).eval()
    load_weights(network, path, "loss")
    return network


def task_network(path: Path) -> tuple[TaskNetwork, checkpoint.TaskView]:
    """The task network T of a checkpoint, in evaluation mode, and what it was trained to see.

    Raises:
        InputMissing: there is no checkpoint.
        RequestError: it holds no task network, or one that is none of this package's.
    """
    named, view = _named(path, "task", TASK_NETWORKS), checkpoint.read(path)[0].task
    if named is None or view is None:
        held = checkpoint.read(path)[0].networks
        raise RequestError(f"{path} holds no task network", got=", ".join(held))
    # Their weights are in the checkpoint; the file that they once began with may be gone.
    options = {key: value for key, value in named.options.items() if key != "pretrained"}
    network = build_task(named.name, options, len(view.classes)).eval()
    load_weights(network, path, "task")
    return network, view


def _named(path: Path, role: str, table: Mapping[str, str]) -> checkpoint.Network | None:
    """How the network of one role is built; None where the checkpoint has none."""
    named = checkpoint.read(path)[0].networks.get(role)
    if named is not None and named.name not in table:
        # Importing a class by the name in a file would run code of that file's choice.
        raise RequestError(f"{path} names the network {named.name!r}", expected=f"one of {', '.join(table)}")
    return named


def load_weights(network: nn.Module, path: Path, role: str) -> None:
    """Give ``network`` the weights that a checkpoint has for ``role``.

    Raises:
        InputMissing: there is no checkpoint.
        RequestError: it has no such network, or one of another shape.
    """
    header, all_weights = checkpoint.read(path)
    if role not in header.networks:
        raise RequestError(f"{path} holds no {role} network", got=", ".join(header.networks))
    weights = checkpoint.of_role(all_weights, role)
    try:
        network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    except RuntimeError as error:
        first = str(error).splitlines()[:2]  # of what may be hundreds of keys
        raise RequestError(f"{path} does not fit the {role} network: {' '.join(first)[:300]}") from error


def start_task(task: Task) -> TaskNetwork:
    """The recipe's task network, with fresh weights or those of the checkpoint it is to start from.

    Raises:
        InputMissing: there is no checkpoint.
        RequestError: its task network is another, or tells other classes apart.
    """
    network = build_task(task.network, task.network_options, len(task.classes))
    if task.start is not None:
        view = checkpoint.read(Path(task.start))[0].task
        if view is not None and view.classes != task.classes:
            raise RequestError(
                f"{task.start} has other classes than the recipe's [task]",
                expected=few(task.classes, CLASSES),
                got=few(view.classes, CLASSES),
            )
        load_weights(network, Path(task.start), "task")
    return network
