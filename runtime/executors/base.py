"""What the two ways through a bundle's networks have in common."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge.color import U8
from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.result import Findings
from tdfusion_edge.runtime.engines.base import Engine
from tdfusion_edge.runtime.picture.alignment import Aligned, Present
from tdfusion_edge.runtime.picture.stretch import Stretch

F32: TypeAlias = npt.NDArray[np.float32]
Timed: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""Times what is done under it, as a stage of this name."""


def untimed(stage: str) -> AbstractContextManager[None]:
    """Times no stage."""
    del stage
    return nullcontext()


class Fused(NamedTuple):
    """What became of one aligned pair."""

    picture: Image
    """uint8 (H, W, 3) BGR, or (H, W) where visible is grey."""
    findings: Findings
    """What the heads found, by their kind."""
    luma: F32 | None
    """float32 (H, W), the fused luma before the stretch; None where it is not known."""


class Looked(NamedTuple):
    """What the networks make of an aligned pair, without anything around them."""

    fused: F32
    """float32 (H, W), the fused luma in [0, 1]; of the one-pass graph in 8 bits."""
    findings: Findings
    """What the heads found, by their kind."""
    picture: Image | None = None
    """uint8 (H, W, 3) BGR, or (H, W) where visible is grey: what is shown without a stretch. None of what
    makes a fused luma alone."""


class Executor(Protocol):
    """One way through a bundle's networks; one picture at a time."""

    def fuse(self, aligned: Aligned, stretch: Stretch, timed: Timed) -> Fused:
        """A pair as it is shown, and what is found in it.

        Args:
            aligned: Both sensors, or one alone.
            stretch: Of the stream; it learns from the picture.
            timed: Times ``network``, ``compose``, and the stage of each head.

        Raises:
            EngineError: a network failed.
            RequestError: the one-pass graph was demanded and does not take the pair.
        """

    def look(self, infrared: U8, visible: Image) -> Looked:
        """What the networks alone make of a pair.

        Args:
            infrared: uint8 (H, W), aligned with visible.
            visible: uint8 (H, W) or (H, W, 3) BGR.

        Raises:
            EngineError: a network failed.
            RequestError: the size is none that the graph serves.
        """


class FromCameras(Protocol):
    """A way of a back end's own from the cameras' pictures to the fused one, for pairs that it takes."""

    @staticmethod
    def serves(engine: Engine) -> bool:
        """Whether there is such a way for the fusion network that an engine has loaded."""

    def takes(self, present: Present) -> bool:
        """Whether a pair can go this way; the others go as :class:`Executor` says."""

    def fuse(
        self, present: Present, stretch: Stretch, timed: Timed, ahead: Callable[[], None] = lambda: None
    ) -> Fused:
        """A pair as it is shown, and what is found in it; the stretch is a picture behind.

        Args:
            present: Both sensors' pictures as they came.
            stretch: ``temporal`` or ``none``.
            timed: Times ``network``, which all of it is, and the stage of each head.
            ahead: Called while the GPU computes; it may call :meth:`expect`, and must not raise.

        Raises:
            EngineError: the GPU failed.
            RequestError: the range does not fit the frames.
        """

    def expect(self, infrared: Frame, visible: Frame) -> None:
        """Bring the next pair to the GPU already, if it can be; another one may come instead.

        It does not raise: what is wrong is told when the pair is fused.
        """

    def forget(self) -> None:
        """Begin a new stream."""

    def close(self) -> None:
        """Give memory back; safe to call twice."""
