"""Checkpoints of networks that were never trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tdfusion_edge import bundle, checkpoint

MADE_UP = bundle.TrainingData(name="made up", terms="public domain", pairs=1)


def save(path: Path, networks: dict[str, tuple[torch.nn.Module, str, dict[str, Any]]], **header: Any) -> Path:
    """A checkpoint of networks by role, each with its name and options; ``header`` overrides its fields."""
    fields: dict[str, Any] = {
        "recipe": "test",
        "strategy": "fixed",
        "seed": 0,
        "step": 1,
        "steps": 2,
        "settings": {
            "loss": {"alpha": 1.5},
            "task": {"network_options": {"pretrained": "/home/someone/nano.onnx"}},
        },
        "limits": ("Only a | test.",),
        "training_data": (MADE_UP,),
        "metrics": {"qabf": 0.5},
    }
    described = {
        role: checkpoint.Network(name=name, options=options) for role, (_, name, options) in networks.items()
    }
    weights = {
        f"{role}.{key}": value.numpy()
        for role, (network, _, _) in networks.items()
        for key, value in network.state_dict().items()
    }
    whole = checkpoint.Header(format=checkpoint.FORMAT, networks=described, **(fields | header))
    checkpoint.write(path, weights, whole)
    return path


def save_fusion(path: Path, network: torch.nn.Module, name: str = "edge", **options: Any) -> Path:
    """A checkpoint of a fusion network alone."""
    return save(path, {"fusion": (network, name, options)})
