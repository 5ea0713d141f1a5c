"""``[strategy_options]`` of the strategy ``bdlfusion``."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from tdfusion_edge.config import Table
from tdfusion_edge.train.recipe import Count, Positive
from tdfusion_edge.train.strategies.bdlfusion.aggregation import Rule
from tdfusion_edge.train.strategies.bdlfusion.visual import Adversarial, Lipschitz

Weight: TypeAlias = Annotated[float, Meta(ge=0, le=1e6)]
NONE = "none"


class Options(Table, frozen=True, kw_only=True):
    """``[strategy_options]`` of the strategy ``bdlfusion``."""

    upper_every: Count = 10
    """F steps in every n-th step; 10: the released code."""
    warm_up: Annotated[int, Meta(ge=0)] = 0
    """Steps before, in which F learns from L_c alone. (The released code starts from a trained F.)"""
    implicit: Weight = 1.0
    """Share of the implicit term in the hyper-gradient; 1: as derived; 0: without it, an ablation."""
    limit: Positive = 10.0
    """Largest coefficient of the implicit term."""
    aggregation: Rule = "gradient-norm"
    """How the hyper-gradients of both constraints become one (``aggregation.py``); ``random``: the paper."""
    decay: Annotated[float, Meta(ge=0, lt=1)] = 0.9
    """Of the running mean of norms, for ``gradient-norm``."""
    semantic_weight: Positive = 1.0
    """Times the semantic constraint's weight after the aggregation."""
    discriminator: str = "patch"
    """``pixel``: the published one; ``patch``; "module:Class"; or ``none``: an ablation."""
    discriminator_weight: Weight = 0.5
    """Of mean D(M) - mean D(F) in the visual constraint's upper loss."""
    discriminator_rate: Positive | None = None
    """Its learning rate; None: that of ``[optimiser]``."""
    adversarial: Adversarial = "wasserstein"
    """Its loss; ``wasserstein``: the released code."""
    lipschitz: Lipschitz = "penalty"
    """What bounds it; ``none``: the released code. ``penalty`` is not for ``pixel``, whose batch norm mixes
    pictures."""
    penalty: Positive = 10.0
    """Weight of the penalty."""
    clip: Positive = 0.05
    """Largest weight in it, for ``clip``."""
    task_discriminator_weight: Weight = 0.0
    """Of -mean D(F) in the semantic constraint's upper loss; 0.01: the released code."""
    structure: Weight = 1.1
    """Of 1 - SSIM in L_c."""
    saliency_folder: str | None = None
    """Folder of grey pictures with the pairs' stems, white where the target follows infrared; None: computed
    (``train/saliency.py``)."""
    optimiser: Literal["adam", "sgd"] = "adam"
    """Of all networks; ``sgd``: the released code, with momentum .9 for the constraints and none for F."""
    weight_decay: Weight = 0.0
    """Of the constraints' weights; 1e-4: the released code."""
    fusion_weight_decay: Weight = 0.0
    """Of F's weights; 1e-3: the released code."""
