"""What the trainer does in one step.

The loop owns data, schedule, validation, checkpoints and logs; a strategy owns networks, losses and
optimisers, takes the batches that a step needs and steps. What a strategy remembers between steps is
in its networks, its optimisers and the step's number, so that the loop can save and restore all of it.

========== ======================== =========================================== ======================
strategy   networks                 a step takes                                order of derivatives
========== ======================== =========================================== ======================
fixed      fusion                   one batch                                   first
task       task                     one batch                                   first
tdfusion   fusion, loss, task       two disjoint batches (meta phase) or one    second, or first
                                    (fusion phase), by the step's number
bdlfusion  fusion, discriminator,   one batch; every tenth step a disjoint      first
(planned)  task                     second one for the upper level
========== ======================== =========================================== ======================
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from torch import nn
from torch.optim import Optimizer

from tdfusion_edge.checkpoint import Network
from tdfusion_edge.train.data.feed import Feed

STRATEGIES: Mapping[str, str] = MappingProxyType(
    {
        "fixed": "tdfusion_edge.train.strategies.fixed:Fixed",
        "task": "tdfusion_edge.train.strategies.task:TaskOnly",
        "tdfusion": "tdfusion_edge.train.strategies.tdfusion:TDFusionStrategy",
    }
)
"""Name to "module:Class"; the class is called with the recipe.

A strategy may have more than the protocol asks for: ``prepare(samples)``, if its networks see other pictures
than the pairs; ``batches``, the disjoint batches that a step takes at most; ``based_on``, a checkpoint whose
terms bind its weights; ``trained_on``, the digest of the fusion network whose pictures its task network saw.
"""


class Strategy(Protocol):
    """One way of training."""

    networks: Mapping[str, nn.Module]
    """All networks with state by role: ``fusion`` is the one that is deployed, ``loss`` G, ``task`` T."""
    named: Mapping[str, Network]
    """How those of them that a checkpoint keeps are built again, by role."""
    optimisers: Mapping[str, Optimizer]
    """All optimisers by the role of what they step."""

    def step(self, number: int, feed: Feed) -> Mapping[str, float]:
        """Take step ``number``, counted from 0, on batches of ``feed``; returns what to log, by name."""

    def set_rate(self, factor: float) -> None:
        """Scale every learning rate to ``factor`` times the recipe's."""
