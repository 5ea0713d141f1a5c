"""What the box detectors share: convolutions with their activation, pyramid of maxima, check of the input.

Sources: SiLU and batch norm's constants as in YOLOX (Ge et al., arXiv 2107.08430) and YOLOv8; spatial pyramid
pooling, arXiv 1406.4729.

Difference: three 5x5 maxima in a row stand for the maxima over 5x5, 9x9 and 13x13, which they equal.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdfusion_edge.errors import RequestError

COARSEST = 32
"""Stride of the smallest feature maps: height and width are multiples of it."""


class Conv(nn.Sequential):
    """Convolution, batch norm, SiLU; without batch norm the convolution has a bias.

    Args:
        inputs: Channels.
        outputs: Channels.
        kernel: Side, odd.
        stride: 1 or 2.
        groups: As in ``nn.Conv2d``.
        norm: Whether there is a batch norm.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        *,
        norm: bool = True,
    ) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=not norm)
        between = [nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)] if norm else []
        super().__init__(convolution, *between, nn.SiLU())


class Bottleneck(nn.Module):
    """Two convolutions that keep the shape, with a skip where asked."""

    def __init__(self, first: nn.Module, second: nn.Module, *, skip: bool) -> None:
        super().__init__()
        self.first, self.second, self.skip = first, second, skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        y: Tensor = self.second(self.first(x))
        return x + y if self.skip else y


class Pyramid(nn.Module):
    """What is there and its maxima over three neighbourhoods, joined.

    Args:
        enter: C channels to half of them.
        leave: 2 C channels to C.
    """

    def __init__(self, enter: nn.Module, leave: nn.Module) -> None:
        super().__init__()
        self.enter, self.leave = enter, leave

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        out: Tensor = self.leave(torch.cat(parts, dim=1))
        return out


def require_luma(luma: Tensor, network: str) -> None:
    """Refuse an input that a detector cannot take.

    Args:
        luma: Should be (B, 1, H, W), H and W multiples of 32.
        network: Name of the detector, for people.

    Raises:
        RequestError: another shape.
    """
    if luma.ndim != 4 or luma.shape[1] != 1 or luma.shape[2] % COARSEST or luma.shape[3] % COARSEST:
        raise RequestError(
            f"input of {network}",
            expected=f"(B, 1, H, W) with H and W multiples of {COARSEST}",
            got=str(tuple(luma.shape)),
        )
