"""``yolox``: an anchor-free detector that can start from weights that were trained on COCO's colour pictures.

Source: YOLOX (Ge et al., arXiv 2107.08430), section 2: CSPDarknet and a pyramid of features that goes up
and down again (PANet, arXiv 1803.01534, section 3.1), a decoupled head (figure 2), no anchors (one prediction
a cell), and the sizes ``tiny`` and ``nano``, whose convolutions are depthwise. Channels and blocks are those
of the published weights: 0.91 M parameters (nano) and 5.06 M (tiny) with 80 classes, as the paper has them.

Differences from released code: the luma is given thrice, as blue, green and red in 0 to 255, which the
published weights were trained on; a class may be the largest of several rows of logits; batch norm can be
left out, as in files that have it folded. Assignment and losses: ``loss.py``; weights: ``weights.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdfusion_edge.errors import ConfigError
from tdfusion_edge.train.data.types import BoxTargets
from tdfusion_edge.train.models.detector_blocks import require_luma
from tdfusion_edge.train.models.task import BoxNetwork, BoxPrediction
from tdfusion_edge.train.models.yolox.blocks import Blocks, Focus
from tdfusion_edge.train.models.yolox.coco import rows_of
from tdfusion_edge.train.models.yolox.head import Head, cells
from tdfusion_edge.train.models.yolox.loss import RawBoxes, box_losses, decoded
from tdfusion_edge.train.models.yolox.picture import picture, share_of
from tdfusion_edge.train.models.yolox.weights import load_onnx


class Size(NamedTuple):
    """What makes one size of the family."""

    width: int
    """Channels at stride 2; they double with every stride."""
    repeats: int
    """Bottlenecks of a cross-stage block; three times as many at strides 8 and 16 of the backbone."""
    depthwise: bool
    """Whether 3x3 convolutions are depthwise."""


SIZES: Mapping[str, Size] = MappingProxyType(
    {"pico": Size(8, 1, True), "nano": Size(16, 1, True), "tiny": Size(24, 1, False)}
)
"""``pico`` is ours, half as wide as ``nano``: no published weights fit it."""


class Features(NamedTuple):
    """Four levels of features, before the way down; N is the size's width."""

    x2: Tensor
    """(B, 2 N, H / 4, W / 4) of the backbone."""
    y3: Tensor
    """(B, 4 N, H / 8, W / 8), the end of the way up."""
    n4: Tensor
    """(B, 4 N, H / 16, W / 16)."""
    n5: Tensor
    """(B, 8 N, H / 32, W / 32)."""


class YOLOX(BoxNetwork):
    """Detector on fused luma, or the colour picture that luma and chroma make, with infrared added or not.

    Args:
        classes: Number of classes.
        size: ``pico``, ``nano`` or ``tiny``.
        pretrained: ONNX file of a YOLOX of this size whose batch norm is folded; nothing else is read, and
            nothing is fetched. None starts afresh.
        coco: For each class, the names of COCO's classes that it is made of. Its logit is the largest of
            theirs, before and while it is trained; one without a name starts afresh. None: a row a class.
        norm: Whether convolutions have a batch norm. Folded weights have none left, so ``pretrained`` needs
            false: put back as one that changes nothing, it would in training normalise by each batch, which
            is another network than the one that was learned.
        l1: Whether the loss has the L1 term of the paper's last epochs.
        colour: Whether it sees the luma in the visible picture's colours, as COCO's pictures have them.
        infrared: Share s of infrared in the luma that it looks at, (1 - s) fused + s infrared, from 0 (the
            fused luma alone) to below 1. A picture for eyes has less infrared than a detector wants.

    Raises:
        InputMissing: there is no file of weights.
        ConfigError: there is no such size, or weights, classes or ``norm`` do not fit.
    """

    stride = 32

    def __init__(
        self,
        classes: int,
        size: str = "nano",
        pretrained: str | None = None,
        coco: Sequence[Sequence[str]] | None = None,
        norm: bool = True,
        l1: bool = False,
        colour: bool = False,
        infrared: float = 0.0,
    ) -> None:
        share = share_of(infrared, "yolox")
        if size not in SIZES:
            raise ConfigError("size of the network yolox", expected=f"one of {', '.join(SIZES)}", got=size)
        if pretrained is not None and norm:
            raise ConfigError(
                "norm of the network yolox", expected="norm = false, for weights whose batch norm is folded"
            )
        super().__init__()
        rows = None if coco is None else rows_of(coco, classes)
        self.groups = [1] * classes if rows is None else [len(group) for group in rows]
        self.l1, self.colour = l1, colour
        self.share, self.infrared = share, share > 0
        width, n, depthwise = SIZES[size]
        blocks = Blocks(depthwise=depthwise, norm=norm)
        w2, w3, w4, w5 = (width * 2**step for step in range(1, 5))
        # In the order in which they run, by which weights are read.
        self.stem = Focus(width, norm=norm)
        self.stage2 = nn.Sequential(blocks.wide(width, w2, 2), blocks.cross_stage(w2, w2, n, skip=True))
        self.stage3 = nn.Sequential(blocks.wide(w2, w3, 2), blocks.cross_stage(w3, w3, 3 * n, skip=True))
        self.stage4 = nn.Sequential(blocks.wide(w3, w4, 2), blocks.cross_stage(w4, w4, 3 * n, skip=True))
        end = blocks.cross_stage(w5, w5, n, skip=False)
        self.stage5 = nn.Sequential(blocks.wide(w4, w5, 2), blocks.pyramid(w5), end)
        self.narrow5 = blocks.point(w5, w4)
        self.up4 = blocks.cross_stage(2 * w4, w4, n, skip=False)
        self.narrow4 = blocks.point(w4, w3)
        self.up3 = blocks.cross_stage(2 * w3, w3, n, skip=False)
        self.shrink3 = blocks.wide(w3, w3, 2)
        self.down4 = blocks.cross_stage(2 * w3, w4, n, skip=False)
        self.shrink4 = blocks.wide(w4, w4, 2)
        self.down5 = blocks.cross_stage(2 * w4, w5, n, skip=False)
        self.heads = nn.ModuleList(Head(blocks, w, 4 * width, sum(self.groups)) for w in (w3, w4, w5))
        if pretrained is not None:
            load_onnx(self, Path(pretrained), size, rows)

    def forward(self, luma: Tensor, chroma: Tensor | None = None, infrared: Tensor | None = None) -> RawBoxes:
        """Detect.

        Args:
            luma: (B, 1, H, W) float in [0, 1]; H and W multiples of 32.
            chroma: (B, 2, H, W) float in [0, 1], Cr and Cb around 128 / 255; None for a grey picture.
            infrared: (B, 1, H, W) float in [0, 1], where it is added; None: the luma as it is.

        Raises:
            RequestError: another shape.
        """
        _, y3, n4, n5 = self.features(luma, chroma, infrared)
        y4 = self.down4(torch.cat((self.shrink3(y3), n4), dim=1))
        y5 = self.down5(torch.cat((self.shrink4(y4), n5), dim=1))
        levels = (y3, y4, y5)
        found = zip(*(head(x) for head, x in zip(self.heads, levels, strict=True)), strict=True)
        boxes, objectness, rows = (torch.cat(parts, dim=1) for parts in found)
        return RawBoxes(boxes, objectness[..., 0], self._merged(rows), *cells(levels))

    def features(
        self, luma: Tensor, chroma: Tensor | None = None, infrared: Tensor | None = None
    ) -> Features:
        """What backbone and the way up the pyramid see; the arguments are those of :meth:`forward`.

        Raises:
            RequestError: another shape.
        """
        require_luma(luma, "yolox")
        if infrared is not None:
            require_luma(infrared, "yolox")
            luma = (1 - self.share) * luma + self.share * infrared
        x2 = self.stage2(self.stem(picture(luma, chroma)))
        x3 = self.stage3(x2)
        x4 = self.stage4(x3)
        n5 = self.narrow5(self.stage5(x4))
        n4 = self.narrow4(self.up4(torch.cat((F.interpolate(n5, scale_factor=2.0), x4), dim=1)))
        y3 = self.up3(torch.cat((F.interpolate(n4, scale_factor=2.0), x3), dim=1))
        return Features(x2, y3, n4, n5)

    def decode(self, output: RawBoxes) -> BoxPrediction:
        """Boxes in pixels of the input, and objectness times class score, both in float32."""
        present = output.objectness.float().sigmoid()[..., None]
        return BoxPrediction(decoded(output), present * output.classes.float().sigmoid())

    def loss(self, output: RawBoxes, targets: BoxTargets) -> Mapping[str, Tensor]:
        """Box, objectness and class losses and their weighted sum (see ``loss.py``)."""
        return box_losses(output, decoded(output), targets, l1=self.l1)

    def _merged(self, rows: Tensor) -> Tensor:
        """(B, A, rows) logits to (B, A, C): of each class the largest."""
        if max(self.groups) == 1:
            return rows
        groups = torch.split(rows, self.groups, dim=-1)
        return torch.cat([group.amax(-1, keepdim=True) for group in groups], dim=-1)
