"""What every task network T takes and gives.

A task network sees the fused luma alone. Its class is called with ``classes=N`` and the recipe's
options, and has three methods beside ``nn.Module``'s: ``forward`` gives what the loss is made of,
``loss`` compares that with labels, ``decode`` turns it into predictions and is exported to ONNX.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

from torch import Tensor


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


class TaskNetwork(Protocol):
    """The small protocol that a user's own T meets; it is an ``nn.Module`` as well."""

    labels: Literal["boxes", "mask"]
    """Which labels ``loss`` wants: :class:`~tdfusion_edge.train.data.types.BoxTargets`, or a mask."""
    stride: int
    """Height and width of the input must be multiples of this."""

    def forward(self, luma: Tensor) -> Any:
        """(B, 1, H, W) float in [0, 1] to whatever ``loss`` and ``decode`` take."""

    def loss(self, output: Any, targets: Any) -> Mapping[str, Tensor]:
        """Scalars by name; ``loss`` is what is minimised. Must not read parameters or buffers that train."""

    def decode(self, output: Any) -> BoxPrediction | MaskPrediction:
        """Predictions, by operations that ONNX has."""
