"""What every task network T takes and gives.

A task network sees the fused luma, and visible's chroma and infrared where it says so. It subclasses
:class:`BoxNetwork` or :class:`MaskNetwork` by what it gives; a kind of its own subclasses
:class:`TaskNetwork`. Its class is called with ``classes=N`` and the recipe's options.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from tdfusion_edge.bundle import CHROMA, INFRARED
from tdfusion_edge.errors import ConfigError


class BoxPrediction(NamedTuple):
    """Decoded boxes before non-maximum suppression; the field names become the ONNX output names."""

    boxes: Tensor
    """(B, A, 4) float32, x1 y1 x2 y2 in pixels of the network's input."""
    scores: Tensor
    """(B, A, C) float32 in [0, 1]."""


class MaskPrediction(NamedTuple):
    """Class scores of every pixel."""

    logits: Tensor
    """(B, C, H, W) float32 at the size of the input."""


class MaskOutput(NamedTuple):
    """The class of every pixel; the field name becomes the ONNX output name."""

    mask: Tensor
    """(B, H, W) uint8."""


class Output(NamedTuple):
    """One output of a task network's exported graph."""

    dtype: str
    """``float32`` or ``uint8``, as NumPy calls it."""
    axes: tuple[str, ...]
    """What each axis counts: ``batch``, ``classes``, ``height``, ``width``, a number, or a name."""
    content: str
    """What the numbers mean, for the manifest."""


class TaskNetwork(nn.Module, ABC):
    """The base class of every task network T."""

    labels: ClassVar[str] = ""
    """What it gives and is trained with, which is its kind: ``boxes``, ``mask``, or a kind of its own."""
    stride: int = 1
    """Height and width of the input must be multiples of this."""
    colour: bool = False
    """Whether it sees the fused luma in the visible picture's colours; :meth:`forward` and
    :meth:`graph_output` then take the chroma as a second argument."""
    infrared: bool = False
    """Whether it sees infrared beside the fused luma; :meth:`forward` and :meth:`graph_output` then take it
    as a third argument."""
    outputs: ClassVar[Mapping[str, Output]] = {}
    """What :meth:`graph_output` gives, by the names and in the order of its fields."""

    @abstractmethod
    def forward(self, luma: Tensor, chroma: Tensor | None = None, infrared: Tensor | None = None) -> Any:
        """A picture to whatever :meth:`loss` and :meth:`decode` take.

        Args:
            luma: (B, 1, H, W) float in [0, 1].
            chroma: (B, 2, H, W) float in [0, 1], Cr then Cb around 128 / 255; None for a grey picture. It is
                given to networks alone that say :attr:`colour`.
            infrared: (B, 1, H, W) float in [0, 1], hot is bright, aligned; None where the luma is not of both
                sensors. It is given to networks alone that say :attr:`infrared`.
        """

    @property
    def planes(self) -> tuple[str, ...]:
        """Names of what it sees, keys of :data:`tdfusion_edge.bundle.PLANES` in their order."""
        return ("luma", *((CHROMA,) if self.colour else ()), *((INFRARED,) if self.infrared else ()))

    def look(self, luma: Tensor, chroma: Tensor | None = None, infrared: Tensor | None = None) -> Any:
        """:meth:`forward`, given no more than what the network sees."""
        return self(*self.arguments(luma, chroma, infrared))

    def arguments(
        self, luma: Tensor, chroma: Tensor | None = None, infrared: Tensor | None = None
    ) -> tuple[Tensor | None, ...]:
        """Of :meth:`forward`: without what the network does not see.

        Where it sees infrared and there is none, the luma stands in its place, as in the runtime.
        """
        if self.infrared:
            return luma, chroma if self.colour else None, luma if infrared is None else infrared
        return (luma, chroma) if self.colour else (luma,)

    @abstractmethod
    def loss(self, output: Any, targets: Any) -> Mapping[str, Tensor]:
        """Scalars by name; ``loss`` is what is minimised. Must not read parameters or buffers that train.

        Args:
            output: What :meth:`forward` gave.
            targets: :class:`~tdfusion_edge.train.data.types.BoxTargets` where the pairs have boxes, else a
                mask, (B, H, W) int64 with 255 for a pixel that does not count.
        """

    @abstractmethod
    def decode(self, output: Any) -> Any:
        """Predictions from what :meth:`forward` gave, by operations that ONNX has."""

    @abstractmethod
    def graph_output(
        self, luma: Tensor, chroma: Tensor | None = None, infrared: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """What :meth:`forward` takes to the outputs of the exported graph, a named tuple."""


class BoxNetwork(TaskNetwork):
    """A task network that gives boxes: a detector."""

    labels = "boxes"
    outputs: ClassVar[Mapping[str, Output]] = {
        "boxes": Output(
            "float32", ("batch", "anchors", "4"), "x1 y1 x2 y2 in pixels of the input, not suppressed"
        ),
        "scores": Output(
            "float32",
            ("batch", "anchors", "classes"),
            "0 to 1, a column a class in the order of the head's classes",
        ),
    }

    @abstractmethod
    def decode(self, output: Any) -> BoxPrediction:
        """Boxes and scores from what :meth:`forward` gave, by operations that ONNX has."""

    def graph_output(
        self, luma: Tensor, chroma: Tensor | None = None, infrared: Tensor | None = None
    ) -> BoxPrediction:
        """What :meth:`forward` takes to boxes and scores."""
        return self.decode(self.look(luma, chroma, infrared))


class MaskNetwork(TaskNetwork):
    """A task network that gives the class of every pixel: a segmentation network."""

    labels = "mask"
    outputs: ClassVar[Mapping[str, Output]] = {
        "mask": Output(
            "uint8",
            ("batch", "height", "width"),
            "class of each pixel of the input, by its place in the head's classes",
        )
    }

    @abstractmethod
    def decode(self, output: Any) -> MaskPrediction:
        """Class scores of every pixel from what :meth:`forward` gave, by operations that ONNX has."""

    def graph_output(
        self, luma: Tensor, chroma: Tensor | None = None, infrared: Tensor | None = None
    ) -> MaskOutput:
        """What :meth:`forward` takes to the class with the largest score at every pixel."""
        # By way of float: TensorRT makes uint8 of floating-point numbers alone.
        return MaskOutput(
            self.decode(self.look(luma, chroma, infrared)).logits.argmax(1).float().to(torch.uint8)
        )


TASK_BASES = f"{__name__}.{BoxNetwork.__name__} or {MaskNetwork.__name__}"
"""What a message tells somebody to subclass."""


def task_of(networks: Mapping[str, nn.Module]) -> TaskNetwork | None:
    """The task network among networks by role; None where there is none.

    Raises:
        ConfigError: what stands there is no subclass of :class:`TaskNetwork`.
    """
    task = networks.get("task")
    if task is None or isinstance(task, TaskNetwork):
        return task
    raise ConfigError(
        "the task network of a strategy",
        expected=f"a subclass of {TASK_BASES}",
        got=f"{type(task).__module__}.{type(task).__qualname__}",
    )
