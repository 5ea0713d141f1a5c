"""``yolox_masks``: every pixel gets a class, by a network that can start from what COCO taught YOLOX.

Source: backbone and pyramid are YOLOX's (``network.py``). That levels of a pyramid become equally wide, grow
to stride 4 and are added is the semantic branch of Panoptic FPN (Kirillov et al., arXiv 1901.02446, section
3.1). Differences from it: each level grows in one step and without convolutions between, which costs less; a
depthwise convolution and one over all channels follow the sum; there is no group norm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from tdfusion_edge.coco import NAMES
from tdfusion_edge.errors import ConfigError
from tdfusion_edge.train.models.mask_logits import MaskLogits, enlarged, mask_loss, require_classes
from tdfusion_edge.train.models.task import MaskNetwork, MaskPrediction
from tdfusion_edge.train.models.yolox.network import SIZES, YOLOX

WIDTH = 48
"""Channels of the decoder."""
GROWTH = (1, 2, 4, 8)
"""How many times as high and wide each level becomes: strides 4, 8, 16 and 32 to stride 4."""
FIRST = 0.01
"""Standard deviation of the last layer's first weights: it takes all classes for almost equally likely."""
DETECTION = ("heads", "shrink3", "down4", "shrink4", "down5")
"""What of YOLOX only its boxes are made by."""


class YOLOXMasks(MaskNetwork):
    """T for masks, on fused luma or the colour picture that luma and chroma make, with infrared added or not.

    Args:
        classes: How many classes a pixel may have, the background among them; 2 to 255.
        size: ``pico``, ``nano`` or ``tiny``.
        pretrained: ONNX file of a YOLOX of this size for COCO's 80 classes, whose batch norm is folded;
            nothing else is read, and nothing is fetched. Of it the backbone and the way up are taken. None
            starts afresh.
        norm: Whether YOLOX's convolutions have a batch norm; ``pretrained`` needs false.
        colour: Whether it sees the luma in the visible picture's colours, as COCO's pictures have them.
        infrared: How much of infrared is in the luma that it looks at, as YOLOX has it.
        class_weights: How much a pixel of each class counts in the loss, above 0; None: all alike.
        frozen: Whether YOLOX's part stays as it was read: the decoder, which always starts afresh, needs a
            rate at which what COCO taught is lost. Gradients still pass through it to the picture.

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
        norm: bool = True,
        colour: bool = False,
        infrared: float = 0.0,
        class_weights: Sequence[float] | None = None,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        require_classes(classes, "the network yolox_masks")
        self.class_weights = _weights(class_weights, classes)
        self.trunk = YOLOX(len(NAMES), size, pretrained, norm=norm, colour=colour, infrared=infrared)
        self.colour, self.infrared = colour, self.trunk.infrared
        # Nothing would train them, and they would be in every checkpoint.
        for name in DETECTION:
            delattr(self.trunk, name)
        self.trunk.requires_grad_(not frozen)
        stride2 = SIZES[size].width
        widths = (2 * stride2, 4 * stride2, 4 * stride2, 8 * stride2)
        self.levels = nn.ModuleList(nn.Conv2d(width, WIDTH, 1) for width in widths)
        self.classify = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH),
            nn.Conv2d(WIDTH, WIDTH, 1),
            nn.SiLU(),
        )
        self.last = nn.Conv2d(WIDTH, classes, 1)
        nn.init.normal_(self.last.weight, std=FIRST)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(
        self, luma: Tensor, chroma: Tensor | None = None, infrared: Tensor | None = None
    ) -> MaskLogits:
        """Score the classes of every 4x4 pixels.

        Args:
            luma: (B, 1, H, W) float in [0, 1]; H and W multiples of 32.
            chroma: (B, 2, H, W) float in [0, 1], Cr and Cb around 128 / 255; None for a grey picture.
            infrared: (B, 1, H, W) float in [0, 1], where it is added; None: the luma as it is.

        Raises:
            RequestError: another shape.
        """
        seen = self.trunk.features(luma, chroma, infrared)
        finest, *coarser = (level(x) for level, x in zip(self.levels, seen, strict=True))
        for x, growth in zip(coarser, GROWTH[1:], strict=True):
            finest = finest + F.interpolate(
                x, scale_factor=float(growth), mode="bilinear", align_corners=False
            )
        return MaskLogits(self.last(self.classify(finest)))

    def loss(self, output: MaskLogits, targets: Tensor) -> Mapping[str, Tensor]:
        """Mean cross entropy over the pixels that count, by the weights of their classes; 0 where none does.

        Args:
            output: What :meth:`forward` gave.
            targets: (B, H, W) int64 classes, 255 for a pixel that does not count.
        """
        return {"loss": mask_loss(output, targets, self.class_weights)}

    def decode(self, output: MaskLogits) -> MaskPrediction:
        """Logits at the size of the input."""
        return enlarged(output)


def _weights(given: Sequence[float] | None, classes: int) -> tuple[float, ...] | None:
    """As they were given, one a class; None where none were."""
    if given is None:
        return None
    weights = tuple(map(float, given))
    if len(weights) != classes or not all(0 < weight < math.inf for weight in weights):
        raise ConfigError(
            "class_weights of the network yolox_masks",
            expected=f"{classes} numbers above 0, one a class",
            got=str(list(weights)),
        )
    return weights
