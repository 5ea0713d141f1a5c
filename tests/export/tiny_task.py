"""Task networks that are small enough to export in a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tdfusion_edge.train.models.task import BoxNetwork, BoxPrediction, MaskNetwork, MaskPrediction

STRIDE = 8


class TinyDetector(BoxNetwork):
    """One box a cell of 8 pixels; convolution and batch norm, as real detectors have them."""

    stride = STRIDE

    def __init__(self, classes: int, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, STRIDE, STRIDE, bias=False), nn.BatchNorm2d(width), nn.SiLU()
        )
        self.head = nn.Conv2d(width, 4 + classes, 1)

    def forward(self, luma: Tensor) -> Tensor:
        """(B, 1, H, W) to (B, 4 + C, H / 8, W / 8)."""
        out: Tensor = self.head(self.body(luma))
        return out

    def loss(self, output: Any, targets: Any) -> Mapping[str, Tensor]:
        """Not needed for the export."""
        raise NotImplementedError

    def decode(self, output: Tensor) -> BoxPrediction:
        """The distances of the sides from the cell's centre are softplus of the first four channels."""
        height, width = output.shape[-2:]
        sides = (torch.arange(side, dtype=torch.float32) + 0.5 for side in (height, width))
        y, x = torch.meshgrid(*sides, indexing="ij")
        centre = torch.stack((x, y), dim=-1).reshape(1, -1, 2) * STRIDE
        rows = output.flatten(2).transpose(1, 2)
        reach = nn.functional.softplus(rows[..., :4]) * STRIDE
        boxes = torch.cat((centre - reach[..., :2], centre + reach[..., 2:]), dim=-1)
        return BoxPrediction(boxes, rows[..., 4:].sigmoid())


class TinyColour(TinyDetector):
    """It sees colours."""

    colour = True

    def __init__(self, classes: int, width: int = 4) -> None:
        super().__init__(classes, width)
        self.body[0] = nn.Conv2d(3, width, STRIDE, STRIDE, bias=False)

    def forward(self, luma: Tensor, chroma: Tensor | None = None) -> Tensor:
        """(B, 1, H, W) and (B, 2, H, W) to (B, 4 + C, H / 8, W / 8)."""
        assert chroma is not None
        return super().forward(torch.cat((luma, chroma), dim=1))


class TinyBlind(TinyColour):
    """It says that it sees colours, and does not look at them."""

    def forward(self, luma: Tensor, chroma: Tensor | None = None) -> Tensor:
        """(B, 1, H, W) to (B, 4 + C, H / 8, W / 8)."""
        return super().forward(luma, luma.expand(-1, 2, -1, -1))


class Swapped(TinyDetector):
    """Its rows are columns."""

    def decode(self, output: Tensor) -> BoxPrediction:
        """Boxes (1, 4, A)."""
        boxes, scores = super().decode(output)
        return BoxPrediction(boxes.transpose(1, 2), scores)


class TinyMask(MaskNetwork):
    """A task network that is no detector."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, classes, 1)

    def forward(self, luma: Tensor) -> Tensor:
        """(B, 1, H, W) to (B, C, H, W)."""
        out: Tensor = self.head(luma)
        return out

    def loss(self, output: Any, targets: Any) -> Mapping[str, Tensor]:
        """Not needed for the export."""
        raise NotImplementedError

    def decode(self, output: Tensor) -> MaskPrediction:
        """As it is."""
        return MaskPrediction(output)


class TinyNeither(TinyMask):
    """A task network of a kind that nothing here knows."""

    labels = "depth"
