"""Networks by name, as data: ``name -> "module:Class"``, imported at use.

A user's own class is named the same way ("mypackage.nets:MyFusion") and needs no registration.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

from tdfusion_edge.errors import ConfigError

FUSION_NETWORKS: Mapping[str, str] = MappingProxyType(
    {
        "tdfusion": "tdfusion_edge.train.models.tdfusion:TDFusion",
        "edge": "tdfusion_edge.train.models.edge:Edge",
    }
)

LOSS_NETWORKS: Mapping[str, str] = MappingProxyType(
    {
        "lpn": "tdfusion_edge.train.models.loss_network:PaperLossNetwork",
        "light": "tdfusion_edge.train.models.loss_network:LightLossNetwork",
    }
)

TASK_NETWORKS: Mapping[str, str] = MappingProxyType(
    {
        "yolo": "tdfusion_edge.train.models.yolo:YOLO",
        "segformer": "tdfusion_edge.train.models.segformer:SegFormer",
    }
)


def resolve(name: str, table: Mapping[str, str], kind: str) -> Any:
    """The class that ``name`` stands for.

    Args:
        name: A key of ``table`` or "module:Class".
        table: Known names.
        kind: What is looked up, for the message.

    Raises:
        ConfigError: an unknown name, or a module or class that cannot be imported.
    """
    target = table.get(name, name)
    if ":" not in target:
        near = difflib.get_close_matches(name, table, n=1)
        raise ConfigError(
            f"unknown {kind} '{name}'",
            expected=f"one of {', '.join(table)} or 'module:Class'",
            hint=f"Did you mean '{near[0]}'?" if near else None,
        )
    module_name, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError, TypeError, SyntaxError) as error:
        raise ConfigError(
            f"{kind} '{name}' cannot be imported: {error}",
            hint="Its module must be installed, or on PYTHONPATH.",
        ) from error


def build(name: str, options: Mapping[str, Any]) -> nn.Module:
    """A fusion network with fresh weights.

    Raises:
        ConfigError: it is unknown, is no ``nn.Module``, or does not take these options.
    """
    return _build(name, FUSION_NETWORKS, "fusion network", options)


def build_loss(name: str, options: Mapping[str, Any]) -> nn.Module:
    """A loss network G with fresh weights; raises like :func:`build`."""
    return _build(name, LOSS_NETWORKS, "loss network", options)


def build_task(name: str, options: Mapping[str, Any], classes: int) -> nn.Module:
    """A task network T with fresh weights for so many classes.

    Raises:
        ConfigError: as :func:`build`, or it lacks a member of the protocol (``models/task.py``).
    """
    network = _build(name, TASK_NETWORKS, "task network", {"classes": classes, **options})
    lacking = [member for member in ("labels", "stride", "loss", "decode") if not hasattr(network, member)]
    if lacking:
        raise ConfigError(
            f"'{name}' is no task network", expected="labels, stride, loss, decode", got=f"no {lacking[0]}"
        )
    return network


def _build(name: str, table: Mapping[str, str], kind: str, options: Mapping[str, Any]) -> nn.Module:
    network = resolve(name, table, kind)
    # Before it is called: "module:attribute" may name any function.
    if not (isinstance(network, type) and issubclass(network, nn.Module)):
        raise ConfigError(f"'{name}' is no {kind}", expected="a class of torch.nn.Module")
    try:
        return network(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{kind} '{name}' does not take these options: {error}") from error
