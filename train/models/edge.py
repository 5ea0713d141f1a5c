"""``edge``: our real-time fusion network, two per-pixel gains computed at half resolution.

Source: our own. The shape follows from measurements on two CPU cores at 640x480: convolutions at
full resolution cost the most and give the least (few channels leave vector units empty), while the
same arithmetic at half resolution with 16 channels fills them. So the features live at half
resolution, and a pixel shuffle turns eight of their channels into two gains for *every* pixel.

    a, b  = sigmoid(pixel_shuffle(features(infrared, visible)))
    fused = min(1, a * infrared + b * visible)

The pictures themselves never leave full resolution, so fine visible detail is kept, and a source
that is dark at a pixel takes no light from the other. One weight w with gains w and 1 - w would be a
little cheaper. Trained alike on MSRS it either averaged (SCD 1.5) or selected (SSIM .70), while the
two gains reached SCD 1.7 and SSIM .71 together.

Only convolution, ReLU, sigmoid, pixel shuffle (DepthToSpace), slice and element-wise arithmetic:
everything that TensorRT has, and nothing that FP16 harms.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdfusion_edge.errors import RequestError
from tdfusion_edge.train.models.base import FusionNetwork, FusionOutput, check_inputs

STRIDE = 2
MOST_WIDTH, MOST_DEPTH = 256, 16


class Edge(FusionNetwork):
    """Real-time fusion network.

    Args:
        width: Channels of the features; 16 fills one vector register of AVX-512, or four of NEON.
        depth: 3x3 convolutions between stem and head.
    """

    def __init__(self, width: int = 16, depth: int = 2) -> None:
        if not (1 <= width <= MOST_WIDTH and 1 <= depth <= MOST_DEPTH):
            raise RequestError(
                "options of the network edge",
                expected=f"width in 1..{MOST_WIDTH} and depth in 1..{MOST_DEPTH}",
                got=f"{width} and {depth}",
            )
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
