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
from tdfusion_edge.color import NEUTRAL
from tdfusion_edge.errors import ExportError
from tdfusion_edge.runtime.picture.range import sample_step
from tdfusion_edge.runtime.picture.stretch import PERCENTILES
from tdfusion_edge.train.models.task import TaskNetwork

LUMA_BGR, LUMA_ONE = (3735.0, 19235.0, 9798.0), 32768.0
"""BT.601 in 1/32768, as OpenCV rounds it: training and runtime see that luma, to the last bit."""
COARSE_BGR, CHROMA_ONE = (1868.0, 9617.0, 4899.0), 16384.0
"""The same in 1/16384: what OpenCV takes chroma from, for one colour in 380 a level from that luma."""
CR_OF_RED, CB_OF_BLUE = 11682.0, 9241.0
"""0.713 and 0.564 in 1/16384: Cr of red's difference from that luma, Cb of blue's."""
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
        detector: A task network that gives boxes, whatever it sees; None leaves boxes out.
        view: The detector's size and classes; needed with one.
        size: Width and height in pixels. The graph serves all sizes that the detector's picture is made of by
            as many halvings; :func:`size_range` says which.
    """

    def __init__(
        self, fusion: nn.Module, detector: TaskNetwork | None, view: TaskView | None, size: tuple[int, int]
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
        self.register_buffer("coarse_bgr", torch.tensor(COARSE_BGR), persistent=False)

    def forward(self, infrared: Tensor, visible: Tensor, limits: Tensor) -> OnePassOutput | FusedOutput:
        """Fuse one pair, and detect.

        Args:
            infrared: (H, W) uint8, hot is bright, aligned with visible.
            visible: (H, W, 3) uint8 BGR.
            limits: (2,) float32, the fused luma that is shown as 0 and as 255; the second above the first.
        """
        colour = visible.float()
        luma = levels((colour * cast(Tensor, self.luma_bgr)).sum(-1), LUMA_ONE)
        fused = self.fusion(infrared.float()[None, None] / 255, luma[None, None] / 255).fused
        low, high = limits[0], limits[1]
        shown = torch.round((fused[0, 0] - low) * (255 / (high - low))).clamp(0, 255)
        # Visible's own difference between a channel and luma is its chroma: no other transform is needed.
        picture = (shown[..., None] + (colour - luma[..., None])).clamp(0, 255).to(torch.uint8)
        measured = percentiles(fused[0, 0, :: self.step, :: self.step].flatten(), self.extremes)
        if self.detector is None:
            return FusedOutput(picture, measured)
        chroma = self.resized(self.chroma(colour)) if self.detector.colour else None
        warm = self.resized(infrared.float()[None, None] / 255) if self.detector.infrared else None
        found = self.detector.decode(self.detector.look(self.resized(fused), chroma, warm))
        # Two numbers instead of a tensor of them: the exporter would keep the example's size in it for ever.
        rows, columns = visible.shape[0] / self.seen[0], visible.shape[1] / self.seen[1]
        boxes = found.boxes.float()
        boxes = torch.stack((boxes[..., 0::2] * columns, boxes[..., 1::2] * rows), dim=-1).flatten(-2)
        return OnePassOutput(picture, measured, boxes, found.scores.float())

    def chroma(self, colour: Tensor) -> Tensor:
        """Chroma as ``tdfusion_edge.color`` splits it off, to the last bit.

        Args:
            colour: (H, W, 3) float32 BGR, whole numbers of 0 to 255.

        Returns:
            (1, 2, H, W) float32 in [0, 1], Cr then Cb around 128 / 255, in levels of 8 bits.
        """
        luma = levels((colour * cast(Tensor, self.coarse_bgr)).sum(-1), CHROMA_ONE)
        apart = (colour[..., 2] - luma) * CR_OF_RED, (colour[..., 0] - luma) * CB_OF_BLUE
        return levels(torch.stack(apart)[None] + NEUTRAL * CHROMA_ONE, CHROMA_ONE).clamp(0, 255) / 255

    def resized(self, planes: Tensor) -> Tensor:
        """Fused luma or chroma, (1, C, H, W), at the detector's size, as ``tdfusion_edge.resize`` makes it.

        Outside of the graph chroma has 8 bits at every step. Here it is not rounded: halves would fall one
        way in one back end and the other way in the next, and a detector sees the level between.
        """
        for kernel in self.halvings:
            planes = F.avg_pool2d(planes, kernel)
        return F.interpolate(planes, self.seen, mode="bilinear", align_corners=False)


def levels(sums: Tensor, one: float) -> Tensor:
    """The nearest whole numbers of sums in 1 / ``one``, whole themselves and below 2^24; halves go up."""
    return torch.floor((sums + one / 2) / one)


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
