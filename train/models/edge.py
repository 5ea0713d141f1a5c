"""``edge``: our real-time fusion network, two per-pixel gains computed at half resolution.

Source: our own. The shape follows from measurements on two CPU cores at 640x480: convolutions at
full resolution cost the most and give the least (few channels leave vector units empty), while the
same arithmetic at half resolution with 16 channels fills them. So the features live at half
resolution, and a pixel shuffle turns eight of their channels into two gains for *every* pixel.

    a, b  = sigmoid(pixel_shuffle(features(infrared, visible)))
    fused = min(1, a * infrared + b * visible)

The pictures themselves never leave full resolution, so fine visible detail is kept, and a source
that is dark at a pixel takes no light from the other. One weight w with gains w and 1 - w is
cheaper by a tenth, but trained on the same loss it either averages or selects, with nothing
between: the two gains reach a higher SCD and SSIM at once.

Only convolution, ReLU, sigmoid, pixel shuffle (DepthToSpace), slice and element-wise arithmetic:
everything that TensorRT has, and nothing that FP16 harms.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdfusion_edge.train.models.base import FusionOutput, check_inputs

STRIDE = 2


class Edge(nn.Module):
    """Real-time fusion network.

    Args:
        width: Channels of the features; 16 fills a vector register of AVX-512, and two of NEON.
        depth: 3x3 convolutions between stem and head.
    """

    minimum_size = 32

    def __init__(self, width: int = 16, depth: int = 2) -> None:
        super().__init__()
        # An odd kernel with padding k // 2 gives ceil(size / 2) features, so that the shuffled map
        # covers odd sizes and is cut, never padded.
        self.stem = nn.Conv2d(2, width, 3, stride=STRIDE, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.head = nn.Conv2d(width, 2 * STRIDE * STRIDE, 1)

    def forward(self, infrared: Tensor, visible: Tensor) -> FusionOutput:
        """Fuse two lumas.

        Args:
            infrared: (B, 1, H, W) float in [0, 1], H and W at least 32.
            visible: (B, 1, H, W) float luma in [0, 1].

        Raises:
            RequestError: the shapes differ or are too small.
        """
        check_inputs(infrared, visible, self.minimum_size)
        gain_infrared, gain_visible = self.gains(infrared, visible).chunk(2, dim=1)
        return FusionOutput((gain_infrared * infrared + gain_visible * visible).clamp(max=1))

    def gains(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Gains of infrared and visible at every pixel, (B, 2, H, W) in [0, 1]."""
        height, width = infrared.shape[-2:]
        x = F.relu(self.stem(torch.cat((infrared, visible), dim=1)))
        for convolution in self.body:
            x = F.relu(convolution(x))
        gains: Tensor = torch.sigmoid(self.head(x))
        return F.pixel_shuffle(gains, STRIDE)[..., :height, :width]
