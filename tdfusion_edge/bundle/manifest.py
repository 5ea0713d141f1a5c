"""``manifest.json``: what a bundle holds, as typed tables."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, TypeAlias

import msgspec

from tdfusion_edge.config import Table

FUSION = "fusion"
"""Name of the graph of the fusion network, which every bundle has."""
ONE_PASS = "onepass"  # noqa: S105 (no password)
"""Name of the graph that holds fusion network and boxes head in one."""
CHROMA = "chroma"
"""Name of the input of a head's graph that sees colours."""
INFRARED = "infrared"
"""Name of the input of a head's graph that sees infrared beside the fused luma."""
PLANES: Mapping[str, int] = MappingProxyType({"luma": 1, CHROMA: 2, INFRARED: 1})
"""Channels of everything that a head's graph may take, by the inputs' names and in their order."""

SCORE_THRESHOLD = 0.25
"""What counts as found where a bundle does not say."""

Precision: TypeAlias = Literal["fp32", "fp16", "int8"]


class TensorInfo(Table, frozen=True, kw_only=True):
    """One input or output of a graph."""

    name: str
    dtype: str
    """NumPy's name: ``float32``, ``uint8`` …"""
    shape: tuple[int | str, ...]
    """A string names a dynamic axis."""
    content: str
    """What the numbers mean: colour, range, coordinates."""


class Sides(Table, frozen=True, kw_only=True):
    """Lengths of a picture's side that a graph takes, in pixels."""

    smallest: Annotated[int, msgspec.Meta(ge=1)]
    largest: Annotated[int, msgspec.Meta(ge=1)]
    multiple_of: Annotated[int, msgspec.Meta(ge=1)] = 1

    def takes(self, side: int) -> bool:
        """Whether ``side`` is one of them."""
        return self.smallest <= side <= self.largest and side % self.multiple_of == 0

    def __str__(self) -> str:
        step = "" if self.multiple_of == 1 else f" in steps of {self.multiple_of}"
        return f"{self.smallest} to {self.largest}{step}"


class Graph(Table, frozen=True, kw_only=True):
    """One network as ONNX, in one precision or several: they take and give the same."""

    files: dict[Precision, str]
    """Name of the ONNX file of each precision; ``fp32`` is among them."""
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    minimum_size: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]
    """Smallest height and width in pixels; of a graph of fixed size its smaller side."""
    sizes: tuple[Sides, Sides] | None = None
    """Heights and widths that it takes, where those are not all from ``minimum_size`` on."""
    opset: int
    parameters: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Weights of the network as it was trained; None where its export did not count them."""
    multiply_adds: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Of one picture of 640x480, or of the graph's own size where that is fixed; None likewise, or where
    it has operators whose products are not counted."""

    def serves(self, height: int, width: int) -> bool:
        """Whether pictures of this size are among :attr:`sizes`; all are where there are none."""
        if self.sizes is None:
            return True
        rows, columns = self.sizes
        return rows.takes(height) and columns.takes(width)

    @property
    def takes_chroma(self) -> bool:
        """Whether it sees the visible picture's colours beside a luma, as a head may."""
        return any(tensor.name == CHROMA for tensor in self.inputs)

    @property
    def takes_infrared(self) -> bool:
        """Whether it sees infrared beside a fused luma, as a head may."""
        return any(tensor.name == INFRARED for tensor in self.inputs)

    @property
    def sizes_in_words(self) -> str:
        """Widths and heights that it serves, for messages."""
        return "all sizes" if self.sizes is None else f"{self.sizes[1]} by {self.sizes[0]}"


class HeadInfo(Table, frozen=True, kw_only=True):
    """A head: a task network that looks at the fused picture. Its graph has the head's name."""

    kind: str
    """What it gives: ``boxes`` or ``mask``, a key of ``tdfusion_edge.runtime.heads.HEADS``."""
    network: str
    """Name of the task network."""
    classes: tuple[str, ...]
    """What it tells apart, in the order of its scores or of the values of its mask."""
    score_threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    """Only what gets a higher score counts; None where the head gives no scores, and for boxes 0.25."""


class Parity(Table, frozen=True, kw_only=True):
    """How far one graph was from its reference when it was exported."""

    graph: str
    """Name of the graph; ``fusion`` speaks of the fusion network and all heads behind it."""
    precision: Precision
    against: Literal["pytorch", "fp32"]
    """The network that it was exported from, or float32: of the same graph, and of a one-pass graph that of
    the networks one by one; all on the CPU."""
    pictures: str
    """On what: how many pairs of which data, or that they were simulated."""
    max_error: float
    """Largest difference of the fused luma in [0, 1]; of a detector, of a score; of a segmentation, of a
    class score by the largest one, where that passes 1."""
    figures: dict[str, float] = msgspec.field(default_factory=dict)
    """What else was measured, by name: of the fused luma ``mean_error``, ``psnr_db``, ``qabf_change`` and
    ``ssim_change``; of pictures in colour ``colour_levels`` and ``colour_psnr_db``; of a head what
    ``compare.py`` of its kind calls its figures."""


class TrainingData(Table, frozen=True, kw_only=True):
    """One data set that the weights were trained on."""

    name: str
    terms: str
    """Licence or terms of use, as far as they bind the weights."""
    pairs: int


class Manifest(Table, frozen=True, kw_only=True):
    """``manifest.json``."""

    format: int
    name: str
    """Name of the bundle, for people."""
    network: str
    """Name of the fusion network."""
    strategy: str
    """How it was trained."""
    created: str
    """Date, ISO 8601."""
    graphs: dict[str, Graph]
    """``fusion``, one of each head's name, and ``onepass`` where there is one."""
    heads: dict[str, HeadInfo] = msgspec.field(default_factory=dict)
    """What looks at the fused picture, by name: ``detector``, ``segmentation``."""
    training_data: tuple[TrainingData, ...] = ()
    metrics: dict[str, float] = msgspec.field(default_factory=dict)
    """Metrics of fusion and heads on the validation pairs of their trainings."""
    parity: tuple[Parity, ...] = ()
    """What the gate of the export measured."""
    commands: dict[str, str] = msgspec.field(default_factory=dict)
    """Command lines that made it: of each training by the graph's name, and ``export``. Those of a training
    that did not note its own are missing."""
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    sha256: dict[str, str]
    """Hex digest of every file but the manifest."""

    def __post_init__(self) -> None:
        # A ValueError here reaches the reader of a bundle as a ConfigError that names the manifest.
        known = {FUSION, ONE_PASS, *self.heads}
        if unknown := sorted(set(self.graphs) - known):
            raise ValueError(f"graphs: '{unknown[0]}' is none of {', '.join(sorted(known))}")
        if lacking := sorted(set(self.heads) - set(self.graphs)):
            raise ValueError(f"heads: there is no graph of '{lacking[0]}'")

    def head(self, kind: str) -> HeadInfo | None:
        """The head of a kind, None where there is none of it."""
        return next((head for head in self.heads.values() if head.kind == kind), None)

    def sees_colours(self, kind: str) -> bool:
        """Whether the head of a kind takes chroma; not where there is none of it."""
        return any(head.kind == kind and self.graphs[name].takes_chroma for name, head in self.heads.items())

    def classes(self, kind: str) -> tuple[str, ...]:
        """What the head of a kind tells apart; nothing where there is none of it."""
        head = self.head(kind)
        return () if head is None else head.classes

    @property
    def score_threshold(self) -> float:
        """Above which a box counts; 0 where nothing gives boxes."""
        head = self.head("boxes")
        if head is None:
            return 0.0
        return SCORE_THRESHOLD if head.score_threshold is None else head.score_threshold
