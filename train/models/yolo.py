"""``yolo``: the anchor-free detector T of the paper, on one channel of fused luma.

Source: TDFusion, CVPR 2025 (arXiv 2412.03240), section 4.1 trains a YOLOv8 on fused pictures; the
layer sizes of ``n`` are the public ones of YOLOv8-n (depth 0.33, width 0.25, 16 distance bins) with a
1-channel first convolution, as in the authors' code: 3,011,714 trained parameters with 6 classes (the
16 constants of the distance expectation, which others count as well, are no parameters here).
``p`` is ours, for CPUs and small boards: half the width and half the bins.

Differences: weights are initialised by PyTorch's rule with the class bias set for rare objects, not
N(0, 0.02); the assignment and the losses are in ``yolo_loss.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdfusion_edge.errors import ConfigError
from tdfusion_edge.train.data.types import BoxTargets
from tdfusion_edge.train.models.detector_blocks import Bottleneck, Conv, Pyramid, require_luma
from tdfusion_edge.train.models.task import BoxNetwork, BoxPrediction
from tdfusion_edge.train.models.yolo_loss import assign, box_losses

STRIDES = (8, 16, 32)


class Size(NamedTuple):
    """What makes one size of the family."""

    widths: tuple[int, int, int, int, int]
    """Channels at strides 2, 4, 8, 16, 32."""
    repeats: tuple[int, int, int, int]
    """Bottlenecks of the C2f at strides 4, 8, 16, 32."""
    bins: int
    """Bins of the distance distribution, a side."""


SIZES: Mapping[str, Size] = MappingProxyType(
    {
        "n": Size((16, 32, 64, 128, 256), (1, 2, 2, 1), 16),
        "p": Size((8, 16, 32, 64, 128), (1, 2, 2, 1), 8),
    }
)


class C2f(nn.Module):
    """Cross-stage block: every bottleneck's output goes to the last convolution."""

    def __init__(self, inputs: int, outputs: int, repeats: int, *, skip: bool) -> None:
        super().__init__()
        hidden = outputs // 2
        self.enter = Conv(inputs, 2 * hidden)
        self.blocks = nn.ModuleList(
            Bottleneck(Conv(hidden, hidden, 3), Conv(hidden, hidden, 3), skip=skip) for _ in range(repeats)
        )
        self.leave = Conv((2 + repeats) * hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        parts = list(self.enter(x).chunk(2, dim=1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        out: Tensor = self.leave(torch.cat(parts, dim=1))
        return out


class RawBoxes(NamedTuple):
    """What the head gives: one row an anchor, anchors of all three strides behind one another."""

    distances: Tensor
    """(B, A, 4, bins) logits of the distances to left, top, right, bottom, in strides."""
    classes: Tensor
    """(B, A, C) logits."""
    centres: Tensor
    """(A, 2) x and y of the anchors, pixels of the input."""
    strides: Tensor
    """(A,) pixels."""


class YOLO(BoxNetwork):
    """Detector on fused luma.

    Args:
        classes: Number of classes.
        size: ``n`` or ``p``.
        class_weights: What an object of each class counts in the loss; None counts all alike, so that the
            loss is mostly about the class that is met most, while mAP counts every class alike.

    Raises:
        ConfigError: there is no such size, or the weights are not one above 0 for each class.
    """

    stride = 32
    class_weights: Tensor

    def __init__(self, classes: int, size: str = "n", class_weights: Sequence[float] | None = None) -> None:
        if size not in SIZES:
            raise ConfigError("size of the network yolo", expected=" or ".join(SIZES), got=size)
        weights = [1.0] * classes if class_weights is None else list(class_weights)
        if len(weights) != classes or not all(0 < weight < math.inf for weight in weights):
            raise ConfigError(
                "class_weights of the network yolo",
                expected=f"{classes} numbers above 0, one a class",
                got=", ".join(f"{weight:g}" for weight in weights) or "none",
            )
        super().__init__()
        # Not among the weights: a checkpoint serves whatever its losses weighed.
        self.register_buffer("class_weights", torch.tensor(weights), persistent=False)
        w1, w2, w3, w4, w5 = SIZES[size].widths
        r2, r3, r4, r5 = SIZES[size].repeats
        self.classes, self.bins = classes, SIZES[size].bins
        self.stage2 = nn.Sequential(Conv(1, w1, 3, 2), Conv(w1, w2, 3, 2), C2f(w2, w2, r2, skip=True))
        self.stage3 = nn.Sequential(Conv(w2, w3, 3, 2), C2f(w3, w3, r3, skip=True))
        self.stage4 = nn.Sequential(Conv(w3, w4, 3, 2), C2f(w4, w4, r4, skip=True))
        self.stage5 = nn.Sequential(
            Conv(w4, w5, 3, 2),
            C2f(w5, w5, r5, skip=True),
            Pyramid(Conv(w5, w5 // 2), Conv(2 * w5, w5)),  # SPPF
        )
        self.up4 = C2f(w5 + w4, w4, r2, skip=False)
        self.up3 = C2f(w4 + w3, w3, r2, skip=False)
        self.shrink3 = Conv(w3, w3, 3, 2)
        self.down4 = C2f(w3 + w4, w4, r2, skip=False)
        self.shrink4 = Conv(w4, w4, 3, 2)
        self.down5 = C2f(w4 + w5, w5, r2, skip=False)
        box = max(16, w3 // 4, 4 * self.bins)
        score = max(w3, min(classes, 100))
        self.box_heads = nn.ModuleList(_head(w, box, 4 * self.bins) for w in (w3, w4, w5))
        self.class_heads = nn.ModuleList(_head(w, score, classes) for w in (w3, w4, w5))
        for head, stride in zip(self.class_heads, STRIDES, strict=True):
            # About five objects in a picture of 640x640, so that no flood of false alarms has to go first.
            rare = math.log(5 / classes / (640 / stride) ** 2)
            nn.init.constant_(head[-1].bias, rare)  # type: ignore[index]
        for head in self.box_heads:
            nn.init.constant_(head[-1].bias, 1.0)  # type: ignore[index]

    def forward(self, luma: Tensor, chroma: Tensor | None = None, infrared: Tensor | None = None) -> RawBoxes:
        """Detect.

        Args:
            luma: (B, 1, H, W) float in [0, 1]; H and W multiples of 32.
            chroma: Of no effect: it sees luma alone.
            infrared: Likewise.

        Raises:
            RequestError: another shape.
        """
        del chroma, infrared
        require_luma(luma, "yolo")
        x3 = self.stage3(self.stage2(luma))
        x4 = self.stage4(x3)
        x5 = self.stage5(x4)
        y4 = self.up4(torch.cat((F.interpolate(x5, scale_factor=2.0), x4), dim=1))
        y3 = self.up3(torch.cat((F.interpolate(y4, scale_factor=2.0), x3), dim=1))
        z4 = self.down4(torch.cat((self.shrink3(y3), y4), dim=1))
        z5 = self.down5(torch.cat((self.shrink4(z4), x5), dim=1))
        levels = (y3, z4, z5)
        distances = [_rows(head(x)) for head, x in zip(self.box_heads, levels, strict=True)]
        classes = [_rows(head(x)) for head, x in zip(self.class_heads, levels, strict=True)]
        centres, strides = _anchors(levels)
        joined = torch.cat(distances, dim=1)
        return RawBoxes(
            joined.reshape(joined.shape[0], joined.shape[1], 4, self.bins),
            torch.cat(classes, dim=1),
            centres,
            strides,
        )

    def decode(self, output: RawBoxes) -> BoxPrediction:
        """Boxes in pixels of the input, and scores; in float32, whatever the precision of the network."""
        return BoxPrediction(corners(output), output.classes.float().sigmoid())

    def loss(self, output: RawBoxes, targets: BoxTargets) -> Mapping[str, Tensor]:
        """Class, box and distance losses and their weighted sum (see ``yolo_loss.py``)."""
        predicted = corners(output)
        with torch.no_grad():
            matched = assign(predicted, output.classes.float().sigmoid(), output.centres, targets)
        return box_losses(output, predicted, matched, self.class_weights)


def corners(output: RawBoxes) -> Tensor:
    """(B, A, 4) x1 y1 x2 y2: the expectation of every side's distance, from the anchor's centre."""
    bins = torch.arange(output.distances.shape[-1], device=output.distances.device, dtype=torch.float32)
    # Softmax over the bins in float32: the expectation feeds coordinates of hundreds of pixels.
    sides = (output.distances.float().softmax(dim=-1) * bins).sum(dim=-1) * output.strides[:, None]
    return torch.cat((output.centres - sides[..., :2], output.centres + sides[..., 2:]), dim=-1)


def _head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(Conv(inputs, hidden, 3), Conv(hidden, hidden, 3), nn.Conv2d(hidden, outputs, 1))


def _rows(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H * W, C)."""
    return x.flatten(2).transpose(1, 2)


def _anchors(levels: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Centres (A, 2) and strides (A,) of all cells, pixels."""
    centres, strides = [], []
    for level, stride in zip(levels, STRIDES, strict=True):
        height, width = level.shape[-2:]
        y = (torch.arange(height, device=level.device, dtype=torch.float32) + 0.5) * stride
        x = (torch.arange(width, device=level.device, dtype=torch.float32) + 0.5) * stride
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        centres.append(torch.stack((grid_x.flatten(), grid_y.flatten()), dim=1))
        strides.append(torch.full((height * width,), float(stride), device=level.device))
    return torch.cat(centres), torch.cat(strides)
