"""Discriminators: networks that tell fused pictures from the pictures that they are to look like.

Source of ``pixel``: BDLFusion, IJCAI 2023 (arXiv 2305.06720), the discriminator of its visual constraint;
sizes are facts of the released code: a PatchGAN (Isola et al., arXiv 1611.07004) of 1x1 convolutions, 8,704
parameters. It sees one pixel at a time: it can compare histograms, and never texture.

``patch`` is ours, 8,785 parameters: two strided 4x4 convolutions and a 3x3 one see patches of 18x18 pixels,
and so edges and noise. It has no normalisation, so that what it says of a picture does not depend on
the others of the batch; a gradient penalty, which is defined for single pictures, needs that (Gulrajani et
al., arXiv 1704.00028, section 4).

Both give a map of scores without bounds, (B, 1, h, w): high where a place looks like the target.
"""

from __future__ import annotations

from torch import Tensor, nn

SLOPE = 0.2


class PixelDiscriminator(nn.Module):
    """The published discriminator; in training mode its batch norm takes the statistics of the batch."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, 2 * width, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(2 * width, 1, 1, bias=False),
        )

    def forward(self, luma: Tensor) -> Tensor:
        """Lumas (B, 1, H, W) in [0, 1] to scores (B, 1, H, W)."""
        scores: Tensor = self.body(luma)
        return scores


class PatchDiscriminator(nn.Module):
    """Our discriminator, which sees texture."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(2 * width, 1, 3, padding=1),
        )

    def forward(self, luma: Tensor) -> Tensor:
        """Lumas (B, 1, H, W) in [0, 1] to scores (B, 1, H / 4, W / 4)."""
        scores: Tensor = self.body(luma)
        return scores
