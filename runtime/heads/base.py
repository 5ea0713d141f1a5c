"""The seam behind which every task that looks at the fused picture stands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from tdfusion_edge.bundle import Graph, HeadInfo, Precision
from tdfusion_edge.color import U8
from tdfusion_edge.frames import Image
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.runtime.engines import Engine

F32: TypeAlias = npt.NDArray[np.float32]


class Head(Protocol):
    """A task network at work; its input buffer is made once, so one picture at a time."""

    names: tuple[str, ...]
    """What it tells apart."""

    def find(self, luma: U8 | F32, chroma: U8 | None = None, infrared: U8 | F32 | None = None) -> Any:
        """What a picture shows.

        Args:
            luma: uint8 (H, W), or float32 (H, W) in [0, 1]: the fused luma as the network gives it, without
                the stretch, as in the training. Of a single sensor, its own luma.
            chroma: uint8 (2, H, W), Cr then Cb around 128: the visible picture's colours; None where it
                is grey or not there. A head that was trained on luma alone ignores it.
            infrared: (H, W) as ``luma``, aligned with it; None where that is of one sensor. A head that was
                trained without it ignores it.

        Raises:
            EngineError: the graph fails, or gives what cannot be used.
        """

    def close(self) -> None:
        """Release the engine; safe to call twice."""


@runtime_checkable
class Scored(Protocol):
    """A head that leaves out what has a low score."""

    threshold: float
    """Only what has a higher score is found, 0 to 1; may be set between two pictures."""


class Seen(NamedTuple):
    """What one head found in one picture."""

    pair: LabelledPair
    """What was fused, with its labels if there are any."""
    found: Any


class HeadGap(Protocol):
    """How far one head's findings are from those of the reference, over all pairs."""

    def figures(self) -> dict[str, float]:
        """Everything measured, by name."""

    def offences(self, precision: Precision, *, across: bool = False) -> list[str]:
        """Every limit of this precision that is passed, as "what: expected ..., got ...".

        Args:
            precision: What was compared with float32.
            across: The reference ran network by network and the other in one pass, where what the head sees
                is not rounded to 8 bits on its way.
        """

    def __str__(self) -> str:
        """A line for people."""


class Comparison(Protocol):
    """Gathers what two runs of one head found in the same pictures."""

    def add(self, want: Seen, got: Seen) -> None:
        """Count one more pair: by the reference, and by what is compared with it."""

    def gap(self) -> HeadGap:
        """What was gathered over all pairs; where all are labelled also how good both runs are.

        Raises:
            RequestError: the scoring library is not installed.
        """


class Kind(ABC):
    """What the program needs to know of one kind of head: how it runs, is drawn, scored and compared.

    A new kind is a folder beside ``boxes`` and ``mask``, and a row in
    :data:`tdfusion_edge.runtime.heads.HEADS`.
    """

    stage: ClassVar[str]
    """Under which name the loop times it: ``detect``."""
    title: ClassVar[str]
    """What people call such a network: ``detector``."""
    verb: ClassVar[str]
    """What a head of this kind does to its classes, for people: ``detects``."""

    @abstractmethod
    def open(self, graph: Graph, engine: Engine, info: HeadInfo, threshold: float | None = None) -> Head:
        """A head at work.

        Args:
            graph: What the manifest says about its graph.
            engine: The graph, loaded; closed by the head.
            info: What the manifest says about the head.
            threshold: Only scores above it count; None takes the manifest's. Kinds without scores ignore it.

        Raises:
            RequestError: the threshold is none.
            BundleError: the graph is not what the manifest says, or none of this kind.
        """

    @abstractmethod
    def draw(self, picture: Image, found: Any) -> Image:
        """A copy of ``picture``, uint8 (H, W) or (H, W, 3) BGR, that shows ``found``; itself for nothing."""

    @abstractmethod
    def record(self, found: Any) -> Mapping[str, Any]:
        """Fields of a line of JSONL."""

    def counts(self, found: Any) -> Iterable[str]:
        """A name for everything that the table at the end of a run counts; none by default."""
        del found
        return ()

    @abstractmethod
    def tally(self, seen: Seen) -> Any:
        """What a score needs of one picture; None where it has no labels of this kind."""

    @abstractmethod
    def score(self, tallies: Sequence[Any]) -> Any:
        """How good the findings of several pictures are, from what :meth:`tally` gave.

        None where not all are labelled, or there is no picture.

        Raises:
            RequestError: the scoring library is not installed.
        """

    @abstractmethod
    def comparison(self, threshold: float) -> Comparison:
        """A fresh comparison; only boxes with a score above ``threshold`` are of account."""


def beyond(rows: Iterable[tuple[str, float, float]]) -> list[str]:
    """The rows whose value passes its limit, as "what: expected ..., got ..."; NaN passes every limit.

    Args:
        rows: What, value, and the most that it may be; both negative where the value may not fall below.
    """
    return [
        f"{what}: expected {'at least' if limit < 0 else 'at most'} {abs(limit):g}, got {abs(value):.3g}"
        for what, value, limit in rows
        if not value <= limit
    ]
