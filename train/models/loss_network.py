"""G: which source every pixel of the fused picture is to follow, seen from the pair alone.

Source: TDFusion, CVPR 2025 (arXiv 2412.03240), section 3.4. G has no target of its own; it is trained by
the meta-gradient and thrown away after the training. Its two outputs weigh the intensity loss (section
3.2): w_ir + w_vis = 1 at every pixel.

``lpn`` has the layer sizes of the released code (class LPN, 44,529 parameters): the paper's figure shows
one 3x3 convolution and a softmax behind the blocks, the code two with a PReLU between; ``head`` chooses.
``light`` is ours, for training on a CPU: 5,472 parameters at a quarter of the resolution, whose weights are
interpolated. Its logits have mean zero in every picture unless ``centred`` is off: where one class decides
the task loss, a G that can name a sensor for whole pictures names that class's sensor and little else, and
the fused picture loses the other one; this G has to say where. Its last layer starts at zero: the training
starts from the fixed loss, w = 1/2.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdfusion_edge.errors import ConfigError
from tdfusion_edge.train.models.restormer import TransformerBlock, conv3x3

WIDTH = 16
HEADS: tuple[str, ...] = ("prelu", "plain")


class LossWeights(NamedTuple):
    """Output of a loss network."""

    infrared: Tensor
    """w_ir, (B, 1, H, W) in [0, 1]."""
    visible: Tensor
    """w_vis = 1 - w_ir."""


class PaperLossNetwork(nn.Module):
    """G of the paper.

    Args:
        head: ``prelu`` as in the released code, ``plain`` as in the paper's figure.
    """

    def __init__(self, head: Literal["prelu", "plain"] = "prelu") -> None:
        if head not in HEADS:
            raise ConfigError("head of the loss network lpn", expected=" or ".join(HEADS), got=head)
        super().__init__()
        self.stem_infrared = conv3x3(1, WIDTH)
        self.stem_visible = conv3x3(1, WIDTH)
        self.encoder_infrared = nn.Sequential(TransformerBlock(WIDTH), TransformerBlock(WIDTH))
        self.encoder_visible = nn.Sequential(TransformerBlock(WIDTH), TransformerBlock(WIDTH))
        self.decoder = nn.Sequential(TransformerBlock(2 * WIDTH), TransformerBlock(2 * WIDTH))
        self.head = (
            nn.Sequential(conv3x3(2 * WIDTH, WIDTH), nn.PReLU(), conv3x3(WIDTH, 2))
            if head == "prelu"
            else conv3x3(2 * WIDTH, 2)
        )

    def forward(self, infrared: Tensor, visible: Tensor) -> LossWeights:
        """Two (B, 1, H, W) in [0, 1] to the weights of each at every pixel."""
        x1 = self.encoder_infrared(self.stem_infrared(infrared))
        x2 = self.encoder_visible(self.stem_visible(visible))
        weights = self.head(self.decoder(torch.cat((x1, x2), dim=1))).softmax(dim=1)
        return LossWeights(weights[:, :1], weights[:, 1:])


class LightLossNetwork(nn.Module):
    """G for CPUs: convolutions at a quarter of the resolution, smooth weights.

    Args:
        width: Channels.
        centred: Take each picture's mean off its logits: G says where, and not which sensor as a whole.
            Otherwise it says both, with one parameter more.
    """

    def __init__(self, width: int = WIDTH, centred: bool = True) -> None:
        super().__init__()
        self.centred = centred
        self.body = nn.Sequential(
            nn.Conv2d(2, width, 5, stride=2, padding=2),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=2, dilation=2),
            nn.SiLU(),
        )
        self.head = nn.Conv2d(width, 1, 1, bias=not centred)
        for part in self.head.parameters():
            nn.init.zeros_(part)

    def forward(self, infrared: Tensor, visible: Tensor) -> LossWeights:
        """Two (B, 1, H, W) in [0, 1] to the weights of each at every pixel."""
        # One logit: a softmax over two channels has one degree of freedom.
        logit = self.head(self.body(torch.cat((infrared, visible), dim=1)))
        if self.centred:
            logit = logit - logit.mean(dim=(2, 3), keepdim=True)
        weight = F.interpolate(logit, size=infrared.shape[-2:], mode="bilinear").sigmoid()
        return LossWeights(weight, 1 - weight)
