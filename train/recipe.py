"""A recipe: everything that decides what a training yields, in one TOML file."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, field

from tdfusion_edge.config import Table
from tdfusion_edge.pairs.source import Labels, PairSource
from tdfusion_edge.train.data.degradation.kinds import KINDS, Kind
from tdfusion_edge.train.losses import Border, Gains, Gradient, Intensity

MOST = 10**9
"""Above any number of steps that is meant, and below what overflows in a library."""
Count: TypeAlias = Annotated[int, Meta(ge=1, le=MOST)]
Positive: TypeAlias = Annotated[float, Meta(gt=0, le=1e6)]
Fraction: TypeAlias = Annotated[float, Meta(ge=0, le=1)]


class DataSource(PairSource, frozen=True, kw_only=True):
    """One ``[[data]]`` table: pairs below the data folder, ``ir/NAME`` beside ``vi/NAME``."""

    folder: str
    """Relative to ``--data``; its ``ir`` and ``vi`` hold images or videos with matching stems."""
    part: Literal["train", "validation", "meta-test"] = "train"
    """``meta-test``: pairs on which a strategy's upper level alone is measured, so that it learns from what
    the networks have not been fitted to; without any, its batches are taken from ``train``."""
    labels_infrared: Labels | None = None
    """Labels of what infrared alone shows: what T is to find where visible is missing, dead or frozen
    (``[augmentation] degraded``). None: what it is to find in both."""
    labels_visible: Labels | None = None
    """Those of what visible alone shows, likewise."""
    terms: str
    """Licence or terms of use, copied into the model card."""

    def __post_init__(self) -> None:
        for own in (self.labels_infrared, self.labels_visible):
            if own is not None and self.labels is not None and own.kind != self.labels.kind:
                raise ValueError(f"labels of one sensor: expected {self.labels.kind}, got {own.kind}")


class Loss(Table, frozen=True, kw_only=True):
    """``[loss]``: L = L_int + alpha * L_grad (TDFusion, section 3.2)."""

    intensity: Intensity = "linear"
    """``linear``: the paper; ``squared``: its released code; ``max``: the brighter source; ``additive``: as
    ``linear`` with a sum of both sensors in the place of each (ours)."""
    towards_infrared: Gains = (1.0, 0.5)
    """Gains of infrared and visible in the sum that w_ir weighs; ``additive`` alone."""
    towards_visible: Gains = (0.5, 0.9)
    """Those in the sum that w_vis weighs."""
    weight_infrared: Fraction = 0.5
    """w_ir of L_int; w_vis = 1 - w_ir. 1/2 is the ablation "fixed" of the paper. Not used by ``max``, nor
    by the strategy ``tdfusion``, whose weights come from G."""
    gradient: Gradient = "signed"
    """Target of L_grad; ``signed``: the released code; ``magnitude``: the paper, read literally."""
    border: Border = "replicate"
    """How Sobel goes beyond the border; ``zero``: the released code, which draws an edge there."""
    alpha: Annotated[float, Meta(ge=0, le=1e6)] = 1.0
    """Weight of L_grad; 0 is the ablation without gradient term."""


class Task(Table, frozen=True, kw_only=True):
    """``[task]``: the task network T, and what it sees."""

    network: str
    """A task network by name, or "module:Class"."""
    network_options: dict[str, Any] = {}
    classes: tuple[str, ...]
    """What T tells apart; a mask's background is a class as well."""
    height: Annotated[int, Meta(ge=32)]
    """Size of the whole pictures that T is trained on, pixels."""
    width: Annotated[int, Meta(ge=32)]
    fused_height: Annotated[int, Meta(ge=32)] | None = None
    """Size at which F fuses what T sees, pixels; the fused picture is then resized to T's, as the runtime
    does it. What is fine detail in a small picture is none in a large one, so an F that is trained through T
    should see pictures of the size that it will be used at. None: T's own."""
    fused_width: Annotated[int, Meta(ge=32)] | None = None
    learning_rate: Positive | None = None
    """None: that of ``[optimiser]``."""
    start: str | None = None
    """Checkpoint whose task network T starts from; None: fresh weights."""

    @property
    def fused_size(self) -> tuple[int, int]:
        """Height and width at which F fuses for T, pixels."""
        return self.fused_height or self.height, self.fused_width or self.width


class Augmentation(Table, frozen=True, kw_only=True):
    """``[augmentation]``: applied to both sensors alike, or to one where it says so."""

    crop: Annotated[int, Meta(ge=0)] = 128
    """Side of the random square crop that the fusion loss sees, pixels; 0 takes whole pictures, which must
    then be of one size."""
    flip: bool = True
    """Mirror left to right, half of the time."""
    gain: Fraction = 0.0
    """Each sensor's contrast is scaled by 1 +- gain and its brightness shifted by +- gain / 2."""
    zoom: Annotated[float, Meta(ge=1)] = 1.0
    """Whole pictures for T are zoomed by a random factor in 1/zoom..zoom and shifted; 1 leaves them whole."""
    mosaic: Fraction = 0.0
    """Share of T's pictures that are put together from four."""
    degraded: Fraction = 0.0
    """Share of the pairs of which one sensor is degraded. F is to make of such a pair what it would make of
    the clean one; where the sensor is missing, dead or frozen, the other one alone. It is in no mosaic."""
    degradations: Annotated[tuple[Kind, ...], Meta(min_length=1)] = KINDS
    """What may happen to it, each as likely: ``missing`` (T then sees the other sensor as it is, like the
    runtime shows it), ``dead``, ``frozen``, ``noise``, ``blur``, ``gain``, ``shift`` of infrared."""


class Optimiser(Table, frozen=True, kw_only=True):
    """``[optimiser]``: Adam for all networks."""

    steps: Count
    batch: Annotated[int, Meta(ge=1, le=1 << 16)] = 8
    learning_rate: Positive = 1e-3
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """``cosine``: a warm-up, then a cosine to zero; ``step``: times 0.1 after each quarter of the steps
    (the released code); ``constant``: the paper, which states none."""
    warm_up: Fraction = 0.05
    """Share of the steps over which the rate rises from zero (``cosine``)."""
    amp: Literal["none", "bfloat16"] = "none"
    """Mixed precision of the first-order steps. The meta-gradient stays in float32 (on a GPU with whatever
    PyTorch makes of that, TF32 included)."""


class Recipe(Table, frozen=True, kw_only=True):
    """A whole recipe file."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    """Also the folder below ``runs/`` that the training goes to."""
    network: str = "edge"
    """A fusion network by name, or "module:Class". Not used by the strategy ``task``."""
    network_options: dict[str, Any] = {}
    strategy: str = "fixed"
    """A strategy by name, or "module:Class"."""
    strategy_options: dict[str, Any] = {}
    """What the strategy's own ``Options`` take."""
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    validate_every: Count = 500
    """Steps between validations; each also writes a checkpoint."""
    choose_by: Literal["fusion", "task"] = "fusion"
    """What makes a checkpoint the best: the fusion metrics, or mAP50:95 or mIoU of the task network."""
    data: tuple[DataSource, ...]
    limits: tuple[str, ...] = ()
    """What the weights must not be relied on for, a sentence each, for the model card."""
    task: Task | None = None
    loss: Loss = field(default_factory=Loss)
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimiser: Optimiser
