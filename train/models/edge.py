"""``edge``: our real-time fusion network, two per-pixel gains computed at a fraction of the resolution.

Source: our own. The shape follows from measurements on two CPU cores at 640x480: convolutions at
full resolution cost the most and give the least (few channels leave vector units empty), while the
same arithmetic at half resolution with 16 channels fills them. So features and gains live at half
resolution or below (``stride``), and only their bilinear interpolation meets the pictures:

    a, b  = most * sigmoid(features(infrared, visible))
    fused = min(1, a * infrared + b * visible)

The pictures themselves never leave full resolution, so fine visible detail is kept. A gain may pass 1:
by day infrared's median is a quarter of visible's, and with gains of at most 1 a picture that follows
infrared is a dark one. It starts as a sum of both sensors, the same everywhere; a start on one of them would
saturate the sigmoid and stay there. A pixel shuffle of gains instead of the interpolation would be as
fast, and leaves a pattern of the stride's size in the picture.

One convolution goes down all the way, with a kernel one wider than the stride, so that it sees every pixel:
at stride 4 two of stride 2 take a third longer, because the first of them works at half resolution. What is
left at stride 8 is the blend itself, half of the time.

Only convolution, ReLU, sigmoid, padding, pixel shuffle (DepthToSpace), slice and element-wise arithmetic:
everything that TensorRT has, and nothing that FP16 harms.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdfusion_edge.errors import RequestError
from tdfusion_edge.plain import ADDITIVE
from tdfusion_edge.train.models.base import FusionNetwork, FusionOutput, check_inputs

STRIDES = (2, 4, 8)
MOST_WIDTH, MOST_DEPTH = 256, 16


class Edge(FusionNetwork):
    """Real-time fusion network.

    Its features are the gains.

    Args:
        width: Channels of the features; 16 fills one vector register of AVX-512, or four of NEON.
        depth: 3x3 convolutions between stem and head.
        most: Largest gain.
        start: Gains of infrared and visible before any training, the same at every pixel. Those of the
            additive picture: good to look at, and a detector reads both sensors.
        stride: Pixels between the centres of two gains, 2, 4 or 8. With every doubling the convolutions cost
            a quarter, and the gains are smoother.
    """

    feature_kind = "gains"

    def __init__(
        self,
        width: int = 16,
        depth: int = 2,
        most: float = 2.5,
        start: tuple[float, float] = ADDITIVE,
        stride: int = 2,
    ) -> None:
        if not (1 <= width <= MOST_WIDTH and 1 <= depth <= MOST_DEPTH):
            raise RequestError(
                "options of the network edge",
                expected=f"width in 1..{MOST_WIDTH} and depth in 1..{MOST_DEPTH}",
                got=f"{width} and {depth}",
            )
        if len(start) != 2 or not all(0 < gain < most for gain in start):
            raise RequestError(
                "start of the network edge", expected=f"two gains between 0 and {most:g}", got=str(start)
            )
        if stride not in STRIDES:
            raise RequestError(
                "stride of the network edge",
                expected=f"one of {', '.join(map(str, STRIDES))}",
                got=str(stride),
            )
        super().__init__()
        self.most, self.stride = most, stride
        # An odd kernel with padding k // 2 gives ceil(size / stride) features, so that the gains cover every
        # size and are cut, never padded.
        self.stem = nn.Conv2d(2, width, stride + 1, stride=stride, padding=stride // 2)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.head = nn.Conv2d(width, 2, 1)
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            cast(Tensor, self.head.bias).copy_(torch.tensor([math.log(g / (most - g)) for g in start]))
        # The largest gain rides in the kernels: one operation fewer for every pixel.
        self.register_buffer("interpolation", most * _interpolation(stride), persistent=False)

    def forward(self, infrared: Tensor, visible: Tensor) -> FusionOutput:
        """Fuse two lumas.

        Args:
            infrared: (B, 1, H, W) float in [0, 1], H and W at least 32.
            visible: (B, 1, H, W) float luma in [0, 1].

        Raises:
            RequestError: the shapes differ or are too small.
        """
        check_inputs(infrared, visible, self.minimum_size)
        return self.join(self.gains(infrared, visible), infrared, visible)

    def join(self, features: Tensor, infrared: Tensor, visible: Tensor) -> FusionOutput:
        """Blend by the gains (B, 2, H, W)."""
        gain_infrared, gain_visible = features.chunk(2, dim=1)
        return FusionOutput((gain_infrared * infrared + gain_visible * visible).clamp(max=1))

    def features(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """The gains."""
        return self.gains(infrared, visible)

    def gains(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Gains of infrared and visible at every pixel, (B, 2, H, W) in [0, most]."""
        height, width = infrared.shape[-2:]
        x = F.relu(self.stem(torch.cat((infrared, visible), dim=1)))
        for convolution in self.body:
            x = F.relu(convolution(x))
        shares = F.pad(torch.sigmoid(self.head(x)), (1, 1, 1, 1), mode="replicate")
        # Bilinear, as a convolution and a shuffle: ONNX Runtime takes a fifth longer for its Resize.
        phases = F.conv2d(shares, cast(Tensor, self.interpolation).to(shares.dtype))
        return F.pixel_shuffle(phases, self.stride)[..., :height, :width]


def _interpolation(stride: int) -> Tensor:
    """Kernels (2 * stride^2, 2, 3, 3): for either gain its pixels between the centres of 3x3 cells."""
    places = (torch.arange(stride) + 0.5) / stride - 0.5  # of a cell's pixels, in cells from its centre
    sides = (1 - (places[:, None] - torch.arange(-1, 2)).abs()).clamp(min=0)
    phases = torch.einsum("iy,jx->ijyx", sides, sides).reshape(stride**2, 3, 3)
    kernels = torch.zeros(2, stride**2, 2, 3, 3)
    for gain in range(2):
        kernels[gain, :, gain] = phases
    return kernels.reshape(2 * stride**2, 2, 3, 3)
