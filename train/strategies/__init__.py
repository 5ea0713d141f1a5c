"""What the trainer does in one step.

The loop owns data, schedule, validation, checkpoints and logs; a strategy owns networks, losses and
optimisers, takes the batches that a step needs and steps. What a strategy remembers between steps is
in its networks, its optimisers and the step's number, so that the loop can save and restore all of it.

========== ======================== =========================================== ======================
strategy   networks                 a step takes                                order of derivatives
========== ======================== =========================================== ======================
fixed      fusion                   one batch                                   first
task       task                     one batch                                   first
joint      fusion, task             one batch                                   first
distill    fusion, memory, teacher, one batch                                   first
           teacher_loss
distill-   task, teacher            one batch                                   first
task
tdfusion   fusion, loss, task       two disjoint batches (meta phase) or one    second, or first
                                    (fusion phase), by the step's number
bdlfusion  fusion, discriminator,   one batch; every tenth step a disjoint      first
           task, aggregation        second one for the upper level
========== ======================== =========================================== ======================
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tdfusion_edge.train.models.tables import subclass
from tdfusion_edge.train.recipe import Recipe
from tdfusion_edge.train.strategies.base import Strategy

STRATEGIES: Mapping[str, str] = MappingProxyType(
    {
        "bdlfusion": "tdfusion_edge.train.strategies.bdlfusion.strategy:BDLFusionStrategy",
        "distill": "tdfusion_edge.train.strategies.distill.strategy:Distill",
        "distill-task": "tdfusion_edge.train.strategies.distill.task:TaskDistill",
        "fixed": "tdfusion_edge.train.strategies.fixed:Fixed",
        "joint": "tdfusion_edge.train.strategies.joint:Joint",
        "task": "tdfusion_edge.train.strategies.task:TaskOnly",
        "tdfusion": "tdfusion_edge.train.strategies.tdfusion:TDFusionStrategy",
    }
)
"""Name to "module:Class"; the class is called with the recipe."""


def build_strategy(recipe: Recipe) -> Strategy:
    """The recipe's strategy, with networks that are fresh or start from what the recipe names.

    Raises:
        ConfigError: it is unknown, is no :class:`~tdfusion_edge.train.strategies.base.Strategy`, or does not
            take the recipe.
    """
    strategy: Strategy = subclass(recipe.strategy, STRATEGIES, "strategy", Strategy)(recipe)
    return strategy
