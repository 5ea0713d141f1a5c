"""A recipe: everything that decides what a training yields, in one TOML file."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, field

from tdfusion_edge.config import Table
from tdfusion_edge.train.losses import Intensity

Count: TypeAlias = Annotated[int, Meta(ge=1)]
Positive: TypeAlias = Annotated[float, Meta(gt=0)]
Fraction: TypeAlias = Annotated[float, Meta(ge=0, le=1)]


class DataSource(Table, frozen=True, kw_only=True):
    """One ``[[data]]`` table: pairs below the data folder, ``ir/NAME`` beside ``vi/NAME``."""

    folder: str
    """Relative to ``--data``; its ``ir`` and ``vi`` hold images or videos with matching stems."""
    part: Literal["train", "validation"] = "train"
    names: str | None = None
    """Text file in ``folder`` with one stem a line; None takes every pair."""
    every: Count = 1
    """Take every n-th frame of a video, or every n-th pair of pictures."""
    terms: str
    """Licence or terms of use, copied into the model card."""


class Loss(Table, frozen=True, kw_only=True):
    """``[loss]``: L = L_int + alpha * L_grad (TDFusion, section 3.2)."""

    intensity: Intensity = "linear"
    """``linear``: the paper; ``squared``: its released code; ``max``: the brighter source."""
    weight_infrared: Fraction = 0.5
    """w_ir of L_int; w_vis = 1 - w_ir. 1/2 is the ablation "fixed" of the paper. Not used by ``max``."""
    alpha: Annotated[float, Meta(ge=0)] = 1.0
    """Weight of L_grad; 0 is the ablation without gradient term."""


class Augmentation(Table, frozen=True, kw_only=True):
    """``[augmentation]``: applied to both sensors alike, or to one where it says so."""

    crop: Annotated[int, Meta(ge=32)] = 128
    """Side of the random square crop, pixels."""
    flip: bool = True
    """Mirror left to right, half of the time."""
    gain: Fraction = 0.0
    """Each sensor's contrast is scaled by 1 +- gain and its brightness shifted by +- gain / 2."""


class Optimiser(Table, frozen=True, kw_only=True):
    """``[optimiser]``: Adam with a warm-up over 5 % of the steps and a cosine to zero."""

    steps: Count
    batch: Count = 8
    learning_rate: Positive = 1e-3


class Recipe(Table, frozen=True, kw_only=True):
    """A whole recipe file."""

    name: str
    network: str
    """A fusion network by name, or "module:Class"."""
    network_options: dict[str, Any] = {}
    strategy: str = "fixed"
    seed: Annotated[int, Meta(ge=0)] = 0
    validate_every: Count = 500
    """Steps between validations; each also writes a checkpoint."""
    data: tuple[DataSource, ...]
    limits: tuple[str, ...] = ()
    """What the weights must not be relied on for, a sentence each, for the model card."""
    loss: Loss = field(default_factory=Loss)
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimiser: Optimiser
