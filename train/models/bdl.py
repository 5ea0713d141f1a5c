"""``bdl``: the fusion network of BDLFusion, two dense blocks of dilated convolutions at full resolution.

Source: Liu et al., "Bi-level Dynamic Learning for Jointly Multi-modality Image Fusion and Beyond", IJCAI
2023 (arXiv 2305.06720); layer sizes and activations are facts of the authors' released network, 417,730
parameters:

    3x3 2 -> 64, PReLU, block, block, 3x3 64 -> 32, PReLU, 3x3 32 -> 1

with one PReLU scalar for all its places. A block has five 3x3 convolutions of dilation 2, each of 32
channels on all that is before it, then 1x1 224 -> 64, ReLU, and its own input added. 128 GMAC at 640x480:
it wants a GPU.

Ours differs at the end. The released network ends in the PReLU, so that its output has no bounds and every
batch is stretched by its own extremes afterwards: a picture then depends on its neighbours. Here the last
activation is a sigmoid, as in ``tdfusion``: in [0, 1] by itself, and with a gradient everywhere, which a
cut at 0 and 1 has not. Only convolutions, ReLU, PReLU, concatenation and a sigmoid: what every back end
has.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tdfusion_edge.train.models.base import FusionNetwork, FusionOutput, check_inputs
from tdfusion_edge.train.models.restormer import at_least_float32

WIDTH = 64
GROWTH = 32
LAYERS = 5


class DenseBlock(nn.Module):
    """A residual dense block of dilated convolutions, (B, 64, H, W) to the same."""

    def __init__(self, width: int = WIDTH, growth: int = GROWTH, layers: int = LAYERS) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(width + number * growth, growth, 3, padding=2, dilation=2) for number in range(layers)
        )
        self.join = nn.Conv2d(width + layers * growth, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Every layer sees the block's input and all layers before it."""
        known = x
        for layer in self.layers:
            known = torch.cat((known, torch.relu(layer(known))), dim=1)
        return x + torch.relu(self.join(known))


class BDL(FusionNetwork):
    """F of BDLFusion."""

    minimum_size = 1

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, WIDTH, 3, padding=1)
        self.blocks = nn.Sequential(DenseBlock(), DenseBlock())
        self.head1 = nn.Conv2d(WIDTH, WIDTH // 2, 3, padding=1)
        self.head2 = nn.Conv2d(WIDTH // 2, 1, 3, padding=1)
        self.act = nn.PReLU()

    def forward(self, infrared: Tensor, visible: Tensor) -> FusionOutput:
        """Fuse two lumas.

        Args:
            infrared: (B, 1, H, W) float in [0, 1].
            visible: (B, 1, H, W) float luma in [0, 1].

        Raises:
            RequestError: the shapes differ.
        """
        check_inputs(infrared, visible, self.minimum_size)
        x = self.blocks(self.act(self.stem(torch.cat((infrared, visible), dim=1))))
        x = self.head2(self.act(self.head1(x)))
        # In float32 in a half-precision network too, so that the picture itself is not rounded to 11 bits.
        return FusionOutput(torch.sigmoid(at_least_float32(x)))
