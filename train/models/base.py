"""What every fusion network takes and gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple, TypeAlias

from torch import Tensor, nn

from tdfusion_edge.errors import RequestError


class FusionOutput(NamedTuple):
    """Output of a fusion network; the field names become the ONNX output names."""

    fused: Tensor
    """(B, 1, H, W) luma in [0, 1]."""


FeatureKind: TypeAlias = Literal["gains", "activations"]
"""What the features of a fusion network are: the gains of infrared and of visible, (B, 2, H, W), which mean
the same in every network; or the activations that its last layer sees, (B, C, H, W), which do not."""


class FusionNetwork(nn.Module, ABC):
    """The base class of every fusion network F.

    A network may show the features that its picture is made of, for another one to be taught by. It then
    names their kind, has :meth:`features` and :meth:`join`, and its ``forward`` is the second of the first.
    """

    minimum_size: int = 32
    """Smallest height and width that it takes, pixels."""
    feature_kind: ClassVar[FeatureKind | None] = None
    """None: it shows no features."""

    @abstractmethod
    def forward(self, infrared: Tensor, visible: Tensor) -> FusionOutput:
        """Two lumas, (B, 1, H, W) float in [0, 1], to the fused one."""

    def features(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Two lumas, (B, 1, H, W) float in [0, 1], to the features (B, C, H, W) of :attr:`feature_kind`."""
        raise NotImplementedError

    def join(self, features: Tensor, infrared: Tensor, visible: Tensor) -> FusionOutput:
        """The features of two lumas, and these, to the fused one."""
        raise NotImplementedError


def check_inputs(infrared: Tensor, visible: Tensor, minimum: int) -> None:
    """Refuse what a fusion network cannot take.

    Args:
        infrared: (B, 1, H, W) float in [0, 1].
        visible: (B, 1, H, W) float luma in [0, 1].
        minimum: Smallest height and width.

    Raises:
        RequestError: the shapes differ, have no single channel or are too small.
    """
    for name, tensor in (("infrared", infrared), ("visible", visible)):
        if tensor.ndim != 4 or tensor.shape[1] != 1:
            raise RequestError(f"{name} input", expected="(B, 1, H, W)", got=str(tuple(tensor.shape)))
    if infrared.shape != visible.shape:
        raise RequestError(
            "infrared and visible inputs differ",
            expected=str(tuple(visible.shape)),
            got=str(tuple(infrared.shape)),
        )
    if min(infrared.shape[-2:]) < minimum:
        height, width = infrared.shape[-2:]
        raise RequestError(
            "the picture is too small",
            expected=f"{minimum}x{minimum} pixels or more",
            got=f"{width}x{height}",
        )
