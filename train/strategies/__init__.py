"""What the trainer does in one step.

The loop owns data, schedule, validation and checkpoints; a strategy owns networks, losses and
optimisers and turns one batch into one step. ``fixed`` needs the fusion network alone; ``tdfusion``
will add a loss network and a task network, ``bdlfusion`` a discriminator and a task network: all of
them fit behind the same four members.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from torch import nn

from tdfusion_edge.train.data import Batch

STRATEGIES: Mapping[str, str] = MappingProxyType({"fixed": "tdfusion_edge.train.strategies.fixed:Fixed"})
"""Name to "module:Class"; the class is called with the fusion network and the recipe."""


class Strategy(Protocol):
    """One way of training a fusion network."""

    @property
    def fusion(self) -> nn.Module:
        """The fusion network that is deployed."""

    def step(self, batch: Batch) -> Mapping[str, float]:
        """Take one optimisation step and return the losses to log, by name."""

    def set_rate(self, factor: float) -> None:
        """Scale every learning rate to ``factor`` times the recipe's."""
