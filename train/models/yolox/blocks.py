"""What YOLOX is built of, in its sizes: wide and point convolutions, cross-stage blocks, focus.

Sources: YOLOX (arXiv 2107.08430), section 2.1, takes its backbone over from YOLOv4's CSPDarknet
(arXiv 2004.10934, section 3.4; CSPNet, arXiv 1911.11929, section 3.2; spatial pyramid pooling,
arXiv 1406.4729) with the activation SiLU. The paper gives no table of layers: their order, kernels and
channels are those of the published weights, read from the ONNX graphs that hold them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tdfusion_edge.train.models.detector_blocks import Bottleneck, Conv, Pyramid


class Blocks:
    """Makes the blocks of one size of the family.

    Args:
        depthwise: Whether a 3x3 convolution is one of each channel and then a 1x1 over all of them.
        norm: Whether convolutions have a batch norm.
    """

    def __init__(self, *, depthwise: bool, norm: bool) -> None:
        self.depthwise, self.norm = depthwise, norm

    def point(self, inputs: int, outputs: int) -> nn.Module:
        """A 1x1 convolution."""
        return Conv(inputs, outputs, norm=self.norm)

    def wide(self, inputs: int, outputs: int, stride: int = 1) -> nn.Module:
        """A 3x3 convolution, of one or of two layers."""
        if not self.depthwise:
            return Conv(inputs, outputs, 3, stride, norm=self.norm)
        return nn.Sequential(
            Conv(inputs, inputs, 3, stride, groups=inputs, norm=self.norm), self.point(inputs, outputs)
        )

    def bottleneck(self, channels: int, *, skip: bool) -> nn.Module:
        """A 1x1 and a 3x3 convolution, with a skip where asked."""
        return Bottleneck(self.point(channels, channels), self.wide(channels, channels), skip=skip)

    def pyramid(self, channels: int) -> nn.Module:
        """A :class:`Pyramid` of these blocks."""
        return Pyramid(self.point(channels, channels // 2), self.point(2 * channels, channels))

    def cross_stage(self, inputs: int, outputs: int, repeats: int, *, skip: bool) -> nn.Module:
        """A :class:`CrossStage` of these blocks."""
        return CrossStage(self, inputs, outputs, repeats, skip=skip)


class Focus(nn.Module):
    """Four pictures of half the size, of every second row and column, and a 3x3 convolution over them."""

    def __init__(self, outputs: int, *, norm: bool) -> None:
        super().__init__()
        self.convolution = Conv(12, outputs, 3, norm=norm)

    def forward(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, outputs, H / 2, W / 2)."""
        even, odd = picture[:, :, 0::2], picture[:, :, 1::2]
        parts = (even[..., 0::2], odd[..., 0::2], even[..., 1::2], odd[..., 1::2])
        out: Tensor = self.convolution(torch.cat(parts, dim=1))
        return out


class CrossStage(nn.Module):
    """Half of the channels go through bottlenecks, the other half past them."""

    def __init__(self, blocks: Blocks, inputs: int, outputs: int, repeats: int, *, skip: bool) -> None:
        super().__init__()
        hidden = outputs // 2
        self.enter, self.past = blocks.point(inputs, hidden), blocks.point(inputs, hidden)
        self.body = nn.Sequential(*(blocks.bottleneck(hidden, skip=skip) for _ in range(repeats)))
        self.leave = blocks.point(2 * hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        entered, past = self.enter(x), self.past(x)
        out: Tensor = self.leave(torch.cat((self.body(entered), past), dim=1))
        return out
