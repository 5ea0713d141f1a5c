"""What ``[strategy_options]`` of the strategy ``distill`` may say."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from tdfusion_edge.config import Table, convert
from tdfusion_edge.errors import ConfigError
from tdfusion_edge.train.recipe import Recipe

Weight: TypeAlias = Annotated[float, Meta(ge=0, le=1e6)]


class Options(Table, frozen=True, kw_only=True):
    """``[strategy_options]`` of the strategy ``distill``. Weights are of terms in the student's loss."""

    teacher: str | None = None
    """Checkpoint with the fusion network that teaches, and with the G, if there is one, that weighs L_f."""
    output_weight: Weight = 1.0
    """Of the mean absolute difference between the student's picture and the teacher's."""
    structure_weight: Weight = 0.2
    """Of 1 - SSIM between them."""
    feature_weight: Weight = 0.0
    """Of the distance between what both pictures are made of. It needs two networks whose features are of one
    kind: gains, or activations."""
    fusion_weight: Weight = 1.0
    """Of the fusion loss L_f of ``[loss]``. Its w is what the teacher's G says; ``weight_infrared`` where the
    teacher has none."""
    source_weight: Weight = 0.0
    """Of 1 - SSIM with the sources, their mean."""
    memory_weight: Weight = 10.0
    """Of what a picture has lost against that of the best student so far; 0: nothing is remembered."""


def options_of(recipe: Recipe) -> Options:
    """The recipe's options of this strategy.

    Raises:
        ConfigError: an unknown key, a wrong value, no teacher, or nothing to learn.
    """
    options = convert(recipe.strategy_options, Options, name="[strategy_options] of the strategy 'distill'")
    if options.teacher is None:
        raise ConfigError(
            f"recipe '{recipe.name}' names no teacher",
            expected="a checkpoint",
            hint="Name one: --set strategy_options.teacher=runs/edge_tdfusion/last.safetensors",
        )
    terms = ("output", "structure", "feature", "fusion", "source")
    if not any(getattr(options, f"{term}_weight") for term in terms):
        raise ConfigError(
            "every weight in [strategy_options] is 0", expected="a term that the student learns from"
        )
    return options
