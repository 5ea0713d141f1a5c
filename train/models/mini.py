"""``mini``: the smallest published fusion network, two 3x3 convolutions.

Source: MMDRFuse, ACM MM 2024 (arXiv 2408.15641), the student: reflected border, 3x3 convolution 2 -> 4 with
bias and ReLU, reflected border, 3x3 convolution 4 -> 1 with bias and tanh; 113 parameters, every pixel sees
5x5. The sizes are the released code's.

Where ours differs:

- The output is cut at 0. Theirs may be negative, and was saved by a function that stretches every picture to
  its own minimum and maximum; here a picture has the levels that the network gave it.
- It begins as a sum of both sensors, as ``edge`` does, with the tanh behind it, and two of its four channels
  at rest. Theirs begins with the last layer of the teacher that it is distilled from. A start at random puts
  much of the picture below 0, where it has no gradient.

Few channels at full resolution leave vector units empty: it takes longer than networks of ``edge`` with forty
times its parameters.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdfusion_edge.plain import ADDITIVE
from tdfusion_edge.train.models.base import FusionNetwork, FusionOutput, check_inputs

WIDTH = 4


class Mini(FusionNetwork):
    """The student of MMDRFuse; its features are the four channels between its layers.

    Args:
        start: Weights of infrared and visible in the sum that it begins with, before the tanh.
    """

    feature_kind = "activations"

    def __init__(self, start: tuple[float, float] = ADDITIVE) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, WIDTH, 3, padding=1, padding_mode="reflect")
        self.second = nn.Conv2d(WIDTH, 1, 3, padding=1, padding_mode="reflect")
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(cast(Tensor, self.second.bias))
        with torch.no_grad():
            for sensor, gain in enumerate(start):
                self.first.weight[sensor].zero_()
                self.first.weight[sensor, sensor, 1, 1] = 1
                cast(Tensor, self.first.bias)[sensor] = 0
                self.second.weight[0, sensor, 1, 1] = gain

    def forward(self, infrared: Tensor, visible: Tensor) -> FusionOutput:
        """Fuse two lumas.

        Args:
            infrared: (B, 1, H, W) float in [0, 1], H and W at least 32.
            visible: (B, 1, H, W) float luma in [0, 1].

        Raises:
            RequestError: the shapes differ or are too small.
        """
        check_inputs(infrared, visible, self.minimum_size)
        return self.join(self.features(infrared, visible), infrared, visible)

    def features(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """What the second convolution sees, (B, 4, H, W), at least 0."""
        return F.relu(self.first(torch.cat((infrared, visible), dim=1)))

    def join(self, features: Tensor, infrared: Tensor, visible: Tensor) -> FusionOutput:
        """The second convolution."""
        del infrared, visible
        return FusionOutput(torch.tanh(self.second(features)).clamp(min=0))
