"""YOLOX's decoupled head (arXiv 2107.08430, section 2.1 and figure 2), and the cells that it predicts for."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tdfusion_edge.train.models.yolox.blocks import Blocks

STRIDES = (8, 16, 32)
RARE = math.log(0.01 / 0.99)
"""First logit of objectness and classes: focal loss's prior of 0.01 (arXiv 1708.02002, section 4.1)."""


class Head(nn.Module):
    """The decoupled head of one stride; modules stand in the order in which they run."""

    def __init__(self, blocks: Blocks, inputs: int, hidden: int, rows: int) -> None:
        super().__init__()
        self.stem = blocks.point(inputs, hidden)
        self.class_body = nn.Sequential(blocks.wide(hidden, hidden), blocks.wide(hidden, hidden))
        self.classes = nn.Conv2d(hidden, rows, 1)
        self.box_body = nn.Sequential(blocks.wide(hidden, hidden), blocks.wide(hidden, hidden))
        self.boxes = nn.Conv2d(hidden, 4, 1)
        self.objectness = nn.Conv2d(hidden, 1, 1)
        for layer in (self.classes, self.objectness):
            nn.init.constant_(layer.bias, RARE)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) to (B, H * W, n) each: boxes (4), objectness (1), rows of classes."""
        x = self.stem(x)
        classes = self.classes(self.class_body(x))
        x = self.box_body(x)
        boxes, objectness = self.boxes(x), self.objectness(x)
        return _rows(boxes), _rows(objectness), _rows(classes)


def cells(levels: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Upper left corners (A, 2) and strides (A,) of all cells, pixels."""
    origins, strides = [], []
    for level, stride in zip(levels, STRIDES, strict=True):
        height, width = level.shape[-2:]
        y, x = (torch.arange(n, device=level.device, dtype=torch.float32) * stride for n in (height, width))
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        origins.append(torch.stack((grid_x.flatten(), grid_y.flatten()), dim=1))
        strides.append(torch.full((height * width,), float(stride), device=level.device))
    return torch.cat(origins), torch.cat(strides)


def _rows(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H * W, C)."""
    return x.flatten(2).transpose(1, 2)
