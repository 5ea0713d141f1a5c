"""What every fusion network takes and gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from tdfusion_edge.errors import RequestError


class FusionOutput(NamedTuple):
    """Output of a fusion network; the field names become the ONNX output names."""

    fused: Tensor
    """(B, 1, H, W) luma in [0, 1]."""


class FusionNetwork(nn.Module, ABC):
    """The base class of every fusion network F."""

    minimum_size: int = 32
    """Smallest height and width that it takes, pixels."""

    @abstractmethod
    def forward(self, infrared: Tensor, visible: Tensor) -> FusionOutput:
        """Two lumas, (B, 1, H, W) float in [0, 1], to the fused one."""


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
