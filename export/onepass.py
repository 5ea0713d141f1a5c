"""Fusion, detector and everything between and around them as one network: pictures in, picture and boxes out.

What the runtime does with NumPy and OpenCV around two graphs stands inside this one: luma from colour,
scaling, the way from the fused picture to the detector's size, the decoding of boxes, stretch and colour. So
a GPU gets 8-bit pictures once and gives an 8-bit picture back. Registration and thermal range stay outside:
they are the rig's. So does suppression: its number of boxes is not known beforehand.

The stretch of a stream remembers: its limits move slowly. The graph remembers nothing; it takes the limits
that this picture is to be shown with, and gives those that this picture alone would have, for the next ones.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdfusion_edge.checkpoint import TaskView
from tdfusion_edge.errors import ExportError
from tdfusion_edge.runtime.picture.range import sample_step
from tdfusion_edge.runtime.picture.stretch import PERCENTILES

LUMA_BGR = (1868.0, 9617.0, 4899.0)
"""BT.601 in 1/16384, as OpenCV rounds it: training and runtime see that luma, to the last bit."""
LUMA_ONE = 16384.0
CR_OF_RED, CB_OF_BLUE = 11682.0, 9241.0
"""Of their differences from luma, likewise 0.713 and 0.564. OpenCV has another luma here than elsewhere for one
colour in 380, and so its chroma is a level from this one's for 2 colours in 1000."""
CUT = round(100 / PERCENTILES[0])
"""One pixel in so many lies below the lower limit of the stretch, and one above the upper."""
LEAST = 32
"""Smallest side of a graph, pixels."""


class OnePassOutput(NamedTuple):
    """Output with a detector; the field names become the ONNX output names."""

    fused: Tensor
    """(H, W, 3) uint8 BGR: the stretched fused luma in the visible picture's colours."""
    measured: Tensor
    """(2,) float32, the stretch limits of this picture alone, in fused luma [0, 1]."""
    boxes: Tensor
    """(1, A, 4) float32, x1 y1 x2 y2 in pixels of the picture, not suppressed."""
    scores: Tensor
    """(1, A, C) float32 in [0, 1]."""


class FusedOutput(NamedTuple):
    """Output of a one-pass network without a detector."""

    fused: Tensor
    measured: Tensor


class OnePass(nn.Module):
    """Everything between two aligned 8-bit pictures and the fused one.

    Args:
        fusion: Takes and gives float32 (1, 1, H, W) in [0, 1].
        detector: Takes float32 (1, 1, h, w) and, if it has ``colour``, (1, 2, h, w); its output is what
            ``decode`` takes. None leaves boxes out.
        view: The detector's size and classes; needed with one.
        size: Width and height in pixels. The graph serves all sizes that the detector's picture is made of by
            as many halvings; :func:`size_range` says which.
    """

    def __init__(
        self, fusion: nn.Module, detector: nn.Module | None, view: TaskView | None, size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.fusion, self.detector = fusion, detector
        self.step = sample_step(size[0] * size[1])
        self.seen = (0, 0) if view is None else (view.height, view.width)
        self.halvings = () if view is None else halvings(size, (view.width, view.height))
        ranges = [size_range(side, seen, LEAST) for side, seen in zip(size[::-1], self.seen, strict=True)]
        rows, columns = (-(-largest // self.step) for _, largest, _ in ranges)
        self.extremes = 1 + rank(rows * columns)
        self.register_buffer("luma_bgr", torch.tensor(LUMA_BGR), persistent=False)

    def forward(self, infrared: Tensor, visible: Tensor, limits: Tensor) -> OnePassOutput | FusedOutput:
        """Fuse one pair, and detect.

        Args:
            infrared: (H, W) uint8, hot is bright, aligned with visible.
            visible: (H, W, 3) uint8 BGR.
            limits: (2,) float32, the fused luma that is shown as 0 and as 255; the second above the first.
        """
        colour = visible.float()
        luma = torch.floor(((colour * cast(Tensor, self.luma_bgr)).sum(-1) + LUMA_ONE / 2) / LUMA_ONE)
        fused = self.fusion(infrared.float()[None, None] / 255, luma[None, None] / 255).fused
        low, high = limits[0], limits[1]
        shown = torch.round((fused[0, 0] - low) * (255 / (high - low))).clamp(0, 255)
        # Visible's own difference between a channel and luma is its chroma: no other transform is needed.
        picture = (shown[..., None] + (colour - luma[..., None])).clamp(0, 255).to(torch.uint8)
        measured = percentiles(fused[0, 0, :: self.step, :: self.step].flatten(), self.extremes)
        if self.detector is None:
            return FusedOutput(picture, measured)
        seen = [self.resized(fused)]
        if getattr(self.detector, "colour", False):
            seen.append(self.resized(self.chroma(colour, luma)))
        found = self.detector.decode(self.detector(*seen))  # type: ignore[operator]
        # Two numbers instead of a tensor of them: the exporter would keep the example's size in it for ever.
        rows, columns = visible.shape[0] / self.seen[0], visible.shape[1] / self.seen[1]
        boxes = found.boxes.float()
        boxes = torch.stack((boxes[..., 0::2] * columns, boxes[..., 1::2] * rows), dim=-1).flatten(-2)
        return OnePassOutput(picture, measured, boxes, found.scores.float())

    def chroma(self, colour: Tensor, luma: Tensor) -> Tensor:
        """(1, 2, H, W) in [0, 1], Cr then Cb in levels of 8 bits, of BGR (H, W, 3) and its luma (H, W)."""
        apart = ((colour[..., 2] - luma) * CR_OF_RED, (colour[..., 0] - luma) * CB_OF_BLUE)
        levels = torch.floor((torch.stack(apart)[None] + (128 + 0.5) * LUMA_ONE) / LUMA_ONE)
        return levels.clamp(0, 255) / 255

    def resized(self, planes: Tensor) -> Tensor:
        """Fused luma or chroma, (1, C, H, W), at the detector's size, as ``tdfusion_edge.resize`` makes it."""
        for kernel in self.halvings:
            planes = F.avg_pool2d(planes, kernel)
        return F.interpolate(planes, self.seen, mode="bilinear", align_corners=False)


def halvings(size: tuple[int, int], seen: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Kernels (rows, columns) that bring a picture to at most twice the detector's size, one behind another.

    Args:
        size: Width and height of the picture, pixels.
        seen: Those of the detector's.

    Raises:
        ExportError: a side that is to be halved is odd.
    """
    width, height = size
    kernels = []
    while width > 2 * seen[0] or height > 2 * seen[1]:
        kernel = (1 + (height > 2 * seen[1]), 1 + (width > 2 * seen[0]))
        if height % kernel[0] or width % kernel[1]:
            raise ExportError(
                f"{size[0]}x{size[1]} cannot be halved until the detector takes it",
                expected=f"sides that are even as long as they are above {2 * seen[0]}x{2 * seen[1]}",
                got=f"{width}x{height}",
            )
        height, width = height // kernel[0], width // kernel[1]
        kernels.append(kernel)
    return tuple(kernels)


def size_range(side: int, seen: int, least: int) -> tuple[int, int, int]:
    """Sides that one graph serves: the smallest, the largest, and the number that all are multiples of.

    Args:
        side: One that it serves, pixels.
        seen: The detector's side; 0 where there is none. Where nothing is halved the stretch sets limits as
            well, whose grid of samples is made for this side: half of it and twice.
        least: Smallest side that the fusion network takes.

    >>> size_range(640, 256, 32), size_range(200, 256, 32)
    ((514, 1024, 2), (100, 400, 1))
    >>> size_range(640, 0, 32)
    (320, 1280, 1)
    """
    times = 0
    if not seen:
        return max(least, side // 2), 2 * side, 1
    while side > 2 * seen << times:
        times += 1
    if not times:
        return max(least, side // 2), min(2 * seen, 2 * side), 1
    unit = 1 << times
    smallest = (seen << times) + unit
    return max(smallest, -(-least // unit) * unit), 2 * seen << times, unit


def percentiles(sample: Tensor, extremes: int) -> Tensor:
    """The stretch's two percentiles of a flat sample, each the value of a pixel (nearest rank).

    Args:
        sample: (N,).
        extremes: So many of the smallest and of the largest are sorted, more than :func:`rank` of N. Sorting
            all of them is beyond TensorRT, and the number has to be known when the graph is built.
    """
    place = rank(sample.shape[0])
    smallest = torch.topk(sample, extremes, largest=False).values[place]
    largest = torch.topk(sample, extremes).values[place]
    return torch.stack((smallest, largest))


def rank(count: int) -> int:
    """How many of ``count`` pixels lie beyond either limit of the stretch, in whole numbers.

    >>> rank(16_384)
    16
    """
    return (count - 1 + CUT // 2) // CUT
