"""Networks by name, as data: ``name -> "module:Class"``, imported at use.

A user's own class is named the same way ("mypackage.nets:MyFusion") and needs no registration. It is below
its role's base class.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

from tdfusion_edge.errors import ConfigError
from tdfusion_edge.train.models.base import FusionNetwork
from tdfusion_edge.train.models.task import TASK_BASES, TaskNetwork

FUSION_NETWORKS: Mapping[str, str] = MappingProxyType(
    {
        "tdfusion": "tdfusion_edge.train.models.tdfusion:TDFusion",
        "edge": "tdfusion_edge.train.models.edge:Edge",
        "bdl": "tdfusion_edge.train.models.bdl:BDL",
        "mini": "tdfusion_edge.train.models.mini:Mini",
    }
)

LOSS_NETWORKS: Mapping[str, str] = MappingProxyType(
    {
        "lpn": "tdfusion_edge.train.models.loss_network:PaperLossNetwork",
        "light": "tdfusion_edge.train.models.loss_network:LightLossNetwork",
    }
)

DISCRIMINATORS: Mapping[str, str] = MappingProxyType(
    {
        "pixel": "tdfusion_edge.train.models.discriminator:PixelDiscriminator",
        "patch": "tdfusion_edge.train.models.discriminator:PatchDiscriminator",
    }
)

TASK_NETWORKS: Mapping[str, str] = MappingProxyType(
    {
        "yolo": "tdfusion_edge.train.models.yolo:YOLO",
        "yolox": "tdfusion_edge.train.models.yolox.network:YOLOX",
        "yolox_masks": "tdfusion_edge.train.models.yolox.masks:YOLOXMasks",
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


def subclass(name: str, table: Mapping[str, str], kind: str, base: type, wanted: str = "") -> Any:
    """The class that ``name`` stands for, which is a whole subclass of ``base``.

    Args:
        name: A key of ``table`` or "module:Class".
        table: Known names.
        kind: What is looked up, for the message.
        base: The class that it must be below.
        wanted: What the message asks for; by default ``base``.

    Raises:
        ConfigError: an unknown name, what cannot be imported, no such class, or one that lacks methods.
    """
    wanted = wanted or f"{base.__module__}.{base.__name__}"
    found = resolve(name, table, kind)
    # Before it is called: "module:attribute" may name any function.
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigError(f"'{name}' is no {kind}", expected=f"a subclass of {wanted}")
    # Looked for here: Python's own error would come when it is called, and seem to be about the options.
    if lacking := ", ".join(sorted(getattr(found, "__abstractmethods__", ()))):
        raise ConfigError(
            f"'{name}' is no whole {kind}", expected=f"every method of {wanted}", got=f"no {lacking}"
        )
    return found


def build(name: str, options: Mapping[str, Any]) -> FusionNetwork:
    """A fusion network with fresh weights.

    Raises:
        ConfigError: it is unknown, is no :class:`FusionNetwork`, or does not take these options.
    """
    network: FusionNetwork = _built(name, FUSION_NETWORKS, "fusion network", FusionNetwork, options)
    return network


def build_loss(name: str, options: Mapping[str, Any]) -> nn.Module:
    """A loss network G with fresh weights.

    Raises:
        ConfigError: it is unknown, is no ``nn.Module``, or does not take these options.
    """
    network: nn.Module = _built(name, LOSS_NETWORKS, "loss network", nn.Module, options, "torch.nn.Module")
    return network


def build_discriminator(name: str) -> nn.Module:
    """A discriminator with fresh weights.

    Raises:
        ConfigError: it is unknown, or is no ``nn.Module``.
    """
    network: nn.Module = _built(name, DISCRIMINATORS, "discriminator", nn.Module, {}, "torch.nn.Module")
    return network


def build_task(name: str, options: Mapping[str, Any], classes: int) -> TaskNetwork:
    """A task network T with fresh weights for so many classes.

    Raises:
        ConfigError: it is unknown, is no :class:`TaskNetwork`, or does not take these options.
    """
    options = {"classes": classes, **options}
    network: TaskNetwork = _built(name, TASK_NETWORKS, "task network", TaskNetwork, options, TASK_BASES)
    return network


def _built(
    name: str,
    table: Mapping[str, str],
    kind: str,
    base: type,
    options: Mapping[str, Any],
    wanted: str = "",
) -> Any:
    network = subclass(name, table, kind, base, wanted)
    try:
        return network(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{kind} '{name}' does not take these options: {error}") from error
