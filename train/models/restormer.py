"""Restormer blocks: LayerNorm over channels, channel attention, gated feed-forward.

Source: TDFusion, CVPR 2025 (arXiv 2412.03240), section 3.3, whose fusion and loss-generation
networks are built from the blocks of Restormer (arXiv 2111.09881, section 3.1 and 3.2).

Ours differs from the released code in one place: the channel attention. The released form divides
q and k by their L2 norm over all H*W pixels before it multiplies them. In FP16 the sum of squares
passes 65,504 at feature standard deviations of 0.46 (640x480), the quotient becomes 0 and the
attention uniform, without a NaN; and the products of normalised elements (rms 1/sqrt(H*W)) are
subnormal. Here the Gram matrix and the norms are *means* over H*W of un-normalised elements, in
FP32 in half-precision networks and under autocast too: the same attention from numbers of order one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEADS = 8
EXPANSION = 2
NORM_EPS = 1e-6
"""Least root mean square; the released code clamps the norm at 1e-12. Inside the root, because the
root's own slope at 0, a black picture's, is infinite."""


def conv1x1(channels_in: int, channels_out: int) -> nn.Conv2d:
    """Point-wise convolution without bias."""
    return nn.Conv2d(channels_in, channels_out, 1, bias=False)


def conv3x3(channels_in: int, channels_out: int, groups: int = 1) -> nn.Conv2d:
    """3x3 convolution without bias, zero padding 1."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, groups=groups, bias=False)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, C, H, W) to (B, heads, C / heads, H * W)."""
    b, c, h, w = x.shape
    return x.reshape(b, heads, c // heads, h * w)


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision goes up to float32; float64, in which gradients are checked, stays."""
    return x if x.dtype == torch.float64 else x.float()


def channel_attention(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
    """softmax(t * cos(q, k)) v over channels, in the form that survives FP16.

    Args:
        q: (B, heads, C, N).
        k: (B, heads, C, N).
        v: (B, heads, C, N).
        temperature: (heads, 1, 1).

    Returns:
        (B, heads, C, N) in v's dtype.
    """
    scale = q.shape[-1] ** -0.5  # on both sides, so that neither factor becomes subnormal
    with torch.autocast(q.device.type, enabled=False):
        qf, kf = at_least_float32(q), at_least_float32(k)
        gram = (qf * scale) @ (kf * scale).transpose(-2, -1)
        # A clamp: the ONNX exporter drops an addition of 1e-12 as one of 0, and a black picture gives NaN.
        q_norm = qf.square().mean(-1, keepdim=True).clamp(min=NORM_EPS**2).sqrt()
        k_norm = kf.square().mean(-1, keepdim=True).clamp(min=NORM_EPS**2).sqrt()
        cosine = gram / (q_norm * k_norm.transpose(-2, -1))
        weights = torch.softmax(temperature.to(cosine.dtype) * cosine, dim=-1)
    return weights.to(v.dtype) @ v


class ChannelLayerNorm(nn.Module):
    """LayerNorm over the channels of each pixel: (B, C, H, W) to the same."""

    full_precision = True
    """Its own parameters stay float32 in a half-precision copy (``export/precision.py``)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise with biased variance, eps 1e-5; one LayerNormalization node in ONNX, in float32."""
        weight, bias = at_least_float32(self.weight), at_least_float32(self.bias)
        channels_last = F.layer_norm(
            at_least_float32(x).permute(0, 2, 3, 1), self.weight.shape, weight, bias, 1e-5
        )
        return channels_last.permute(0, 3, 1, 2).to(x.dtype)


class ChannelAttention(nn.Module):
    """MDTA (Restormer, section 3.1): attention among channels instead of pixels."""

    full_precision = True  # the temperature; the convolutions are modules of their own

    def __init__(self, channels: int, heads: int = HEADS) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = conv1x1(channels, 3 * channels)
        self.qkv_depthwise = conv3x3(3 * channels, 3 * channels, groups=3 * channels)
        self.project = conv1x1(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        q, k, v = self.qkv_depthwise(self.qkv(x)).chunk(3, dim=1)
        heads = self.heads
        mixed = channel_attention(
            split_heads(q, heads), split_heads(k, heads), split_heads(v, heads), self.temperature
        )
        projected: Tensor = self.project(mixed.reshape(x.shape))
        return projected


class GatedFeedForward(nn.Module):
    """GDFN (Restormer, section 3.2)."""

    def __init__(self, channels: int, expansion: int = EXPANSION) -> None:
        super().__init__()
        hidden = expansion * channels
        self.expand = conv1x1(channels, 2 * hidden)
        self.depthwise = conv3x3(2 * hidden, 2 * hidden, groups=2 * hidden)
        self.project = conv1x1(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        gate, value = self.depthwise(self.expand(x)).chunk(2, dim=1)
        projected: Tensor = self.project(F.gelu(gate) * value)
        return projected


class TransformerBlock(nn.Module):
    """RTB: x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = ChannelLayerNorm(channels)
        self.attention = ChannelAttention(channels)
        self.norm2 = ChannelLayerNorm(channels)
        self.feed_forward = GatedFeedForward(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        attended: Tensor = x + self.attention(self.norm1(x))
        fed: Tensor = self.feed_forward(self.norm2(attended))
        return attended + fed
