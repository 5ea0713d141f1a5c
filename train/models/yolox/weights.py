"""Weights for YOLOX from an ONNX file: a description of a graph, which runs no code when it is read.

The published files (YOLOX 0.1.1) and those that its exporter writes have their batch norm folded, and their
convolutions in the order in which they run, which is the order of this network's modules as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tdfusion_edge.coco import NAMES
from tdfusion_edge.errors import ConfigError, InputMissing
from tdfusion_edge.install import imported


class Convolution(NamedTuple):
    """Weights of one convolution, float32."""

    weight: Tensor
    """(outputs, inputs / groups, height, width)."""
    bias: Tensor
    """(outputs,)."""


def load_onnx(network: nn.Module, path: Path, size: str, rows: Sequence[Sequence[int | None]] | None) -> None:
    """Give a YOLOX without batch norm the weights of a file.

    Args:
        network: Its ``heads`` hold the convolutions ``classes``, of whose rows some may start afresh.
        path: The file.
        size: Of the network, for messages.
        rows: For each class the rows of the file that it is made of, None for one that starts afresh; None
            for all: the file has the task's classes in the task's order.

    Raises:
        InputMissing: there is no file.
        ConfigError: it is no ONNX file of a YOLOX of this size with folded batch norm, has other classes, or
            the library onnx is not installed.
    """
    given = read_convolutions(path)
    wanted = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    if len(given) != len(wanted):
        raise ConfigError(
            f"{path} holds no YOLOX {size}",
            expected=f"{len(wanted)} convolutions",
            got=str(len(given)),
            hint="Its size is network_options.size.",
        )
    heads = {head.classes for head in network.heads}  # type: ignore[union-attr]
    ready = []
    for number, (module, one) in enumerate(zip(wanted, given, strict=True), 1):
        fresh = Convolution(module.weight.detach(), module.bias.detach())  # type: ignore[union-attr]
        fitting = _of_classes(path, one, fresh, rows) if module in heads else one
        if fitting.weight.shape != fresh.weight.shape:
            raise ConfigError(
                f"{path} holds no YOLOX {size}: convolution {number} of {len(wanted)}",
                expected=f"a weight of {tuple(fresh.weight.shape)}",
                got=str(tuple(fitting.weight.shape)),
            )
        ready.append((fresh, fitting))
    for fresh, fitting in ready:  # only now: what does not fit leaves the network as it was
        fresh.weight.copy_(fitting.weight)
        fresh.bias.copy_(fitting.bias)


def read_convolutions(path: Path) -> list[Convolution]:
    """All convolutions of an ONNX file, in its order.

    Raises:
        InputMissing: there is no file.
        ConfigError: it is none of ONNX, keeps weights in other files, has a convolution without bias or with
            numbers that are not finite, or the library onnx is not installed.
    """
    if not path.is_file():
        raise InputMissing(
            f"there is no file {path} of YOLOX weights",
            hint="Name one: --set task.network_options.pretrained=FILE.onnx",
        )
    onnx = _onnx()
    try:
        model = onnx.load(path, load_external_data=False)  # it names no other file to read
        stored = {tensor.name: tensor for tensor in model.graph.initializer}
        nodes = [node for node in model.graph.node if node.op_type == "Conv"]
        found = [[onnx.numpy_helper.to_array(stored[name]) for name in node.input[1:]] for node in nodes]
    except Exception as error:  # protobuf's own errors have no common class
        raise ConfigError(f"{path} holds no ONNX graph with its weights: {error}") from error
    if not all(len(parts) == 2 for parts in found):
        raise ConfigError(
            f"{path} has convolutions without bias", expected="batch norm folded into convolutions"
        )
    made = [Convolution(*(torch.tensor(part, dtype=torch.float32) for part in parts)) for parts in found]
    if not all(part.isfinite().all() for one in made for part in one):
        raise ConfigError(f"{path} has weights that are not finite")
    return made


def _of_classes(
    path: Path, one: Convolution, fresh: Convolution, rows: Sequence[Sequence[int | None]] | None
) -> Convolution:
    """The rows of a convolution of classes that the task is made of."""
    count = len(one.weight)
    if rows is None:
        if count != len(fresh.weight):
            raise ConfigError(
                f"{path} tells {count} classes apart",
                expected=str(len(fresh.weight)),
                hint="For COCO's, network_options.coco says which of them each class is made of."
                if count == len(NAMES)
                else None,
            )
        return one
    if count != len(NAMES):
        raise ConfigError(
            f"{path} does not tell COCO's classes apart",
            expected=str(len(NAMES)),
            got=str(count),
            hint="Without network_options.coco its classes are taken as they stand.",
        )
    picked = Convolution(fresh.weight.clone(), fresh.bias.clone())
    for row, source in enumerate(source for group in rows for source in group):
        if source is not None:
            picked.weight[row], picked.bias[row] = one.weight[source], one.bias[source]
    return picked


def _onnx() -> Any:
    return imported("onnx", "export", "YOLOX weights need the library onnx", ConfigError)
