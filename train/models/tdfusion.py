"""The paper's fusion network F: two transformer encoders, a cross-attention merge, a decoder.

Source: TDFusion, CVPR 2025 (arXiv 2412.03240), section 3.3 and figure 2; the layer sizes are those
of the authors' released network (class ReFusion), 59,856 parameters. No down-sampling anywhere:
every layer runs at full resolution, so any size works.

Ours differs from the released code in the FP16-safe channel attention (see ``restormer.py``), and
in that the network has no second set of tensors for its virtual step (``torch.func`` needs none).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdfusion_edge.train.models.base import FusionNetwork, FusionOutput, check_inputs
from tdfusion_edge.train.models.restormer import (
    HEADS,
    TransformerBlock,
    at_least_float32,
    channel_attention,
    conv1x1,
    conv3x3,
    split_heads,
)

WIDTH = 16
GATE_EXPANSION = 4


class CrossAttentionMerge(nn.Module):
    """AFM: each stream's values are mixed by a map whose query comes from the other stream."""

    full_precision = True  # the temperatures; the convolutions are modules of their own

    def __init__(self, channels: int = WIDTH, heads: int = HEADS) -> None:
        super().__init__()
        self.heads = heads
        hidden = GATE_EXPANSION * channels
        self.temperature_infrared = nn.Parameter(torch.ones(heads, 1, 1))
        self.temperature_visible = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv_infrared = nn.Sequential(
            conv1x1(channels, 3 * channels), conv3x3(3 * channels, 3 * channels, groups=3 * channels)
        )
        self.qkv_visible = nn.Sequential(
            conv1x1(channels, 3 * channels), conv3x3(3 * channels, 3 * channels, groups=3 * channels)
        )
        self.project_infrared = conv1x1(channels, channels)
        self.project_visible = conv1x1(channels, channels)
        self.gates = nn.Sequential(
            conv1x1(2 * channels, 2 * hidden), conv3x3(2 * hidden, 2 * hidden, groups=2 * hidden)
        )
        self.value_infrared = nn.Sequential(conv1x1(channels, hidden), conv3x3(hidden, hidden, groups=hidden))
        self.value_visible = nn.Sequential(conv1x1(channels, hidden), conv3x3(hidden, hidden, groups=hidden))
        self.out_infrared = conv1x1(hidden, 2 * channels)
        self.out_visible = conv1x1(hidden, 2 * channels)

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Two (B, C, H, W) to (B, 2C, H, W)."""
        q1, k1, v1 = (split_heads(t, self.heads) for t in self.qkv_infrared(infrared).chunk(3, dim=1))
        q2, k2, v2 = (split_heads(t, self.heads) for t in self.qkv_visible(visible).chunk(3, dim=1))
        mixed1 = channel_attention(q2, k1, v1, self.temperature_infrared).reshape(infrared.shape)
        mixed2 = channel_attention(q1, k2, v2, self.temperature_visible).reshape(visible.shape)
        x1 = infrared + self.project_infrared(mixed1)
        x2 = visible + self.project_visible(mixed2)
        both = torch.cat((x1, x2), dim=1)
        gate1, gate2 = self.gates(both).chunk(2, dim=1)
        y1 = F.gelu(gate1) * self.value_infrared(x1)
        y2 = F.gelu(gate2) * self.value_visible(x2)
        merged: Tensor = both + self.out_infrared(y1) + self.out_visible(y2)
        return merged


class TDFusion(FusionNetwork):
    """F of the paper."""

    minimum_size = 1
    feature_kind = "activations"

    def __init__(self) -> None:
        super().__init__()
        self.stem_infrared = conv3x3(1, WIDTH)
        self.stem_visible = conv3x3(1, WIDTH)
        self.encoder_infrared = nn.Sequential(TransformerBlock(WIDTH), TransformerBlock(WIDTH))
        self.encoder_visible = nn.Sequential(TransformerBlock(WIDTH), TransformerBlock(WIDTH))
        self.merge = CrossAttentionMerge(WIDTH)
        self.decoder = nn.Sequential(TransformerBlock(2 * WIDTH), TransformerBlock(2 * WIDTH))
        self.head1 = conv3x3(2 * WIDTH, WIDTH)
        self.head2 = conv3x3(WIDTH, 1)

    def forward(self, infrared: Tensor, visible: Tensor) -> FusionOutput:
        """Fuse two lumas.

        Args:
            infrared: (B, 1, H, W) float in [0, 1].
            visible: (B, 1, H, W) float luma in [0, 1].

        Raises:
            RequestError: the shapes differ.
        """
        check_inputs(infrared, visible, self.minimum_size)
        return self.join(self.features(infrared, visible), infrared, visible)

    def features(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """What the last convolution sees, (B, 16, H, W)."""
        x1 = self.encoder_infrared(self.stem_infrared(infrared))
        x2 = self.encoder_visible(self.stem_visible(visible))
        x = self.decoder(self.merge(x1, x2))
        return F.leaky_relu(self.head1(x), 0.01)

    def join(self, features: Tensor, infrared: Tensor, visible: Tensor) -> FusionOutput:
        """The last convolution."""
        del infrared, visible
        # In float32 in a half-precision network too, so that the picture itself is not rounded to 11 bits.
        return FusionOutput(torch.sigmoid(at_least_float32(self.head2(features))))
