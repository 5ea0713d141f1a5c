"""The same way in PyTorch: what our kernel is compared with, in pictures and in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tdfusion_edge.runtime.engines.cuda.weights import LAYERS, EdgeWeights, edge_of
from tdfusion_edge.train.models.edge import Edge

BLUE, GREEN, RED = 3735, 19235, 9798
"""BT.601, full range, in 1/32768, as OpenCV rounds it."""


def network(onnx: bytes) -> Edge:
    """`edge` with the weights of a bundle's fusion graph, float32, ready to fuse."""
    weights: EdgeWeights = edge_of(onnx)
    built = Edge(width=weights.stem.shape[0], depth=LAYERS, most=weights.most)
    state = {"stem.weight": weights.stem, "stem.bias": weights.stem_bias}
    for number, (kernel, bias) in enumerate(zip(weights.layers, weights.biases, strict=True)):
        state |= {f"body.{number}.weight": kernel, f"body.{number}.bias": bias}
    state |= {"head.weight": weights.head, "head.bias": weights.head_bias}
    built.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
    return built.eval()


class CameraToPicture(nn.Module):
    """BGR and 8-bit infrared to the fused BGR: luma, network, stretch, colour.

    Args:
        fusion: The network; its type decides in what it computes.
        limits: Fused lumas that are shown as 0 and as 255.
    """

    def __init__(self, fusion: Edge, limits: tuple[float, float] = (0.0, 1.0)) -> None:
        super().__init__()
        self.fusion, self.limits = fusion, limits

    def forward(self, infrared: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse one pair.

        Args:
            infrared: uint8 (H, W).
            visible: uint8 (H, W, 3), BGR.

        Returns:
            uint8 (H, W, 3), and the fused luma (H, W) in the network's type.
        """
        kind = self.fusion.stem.weight.dtype
        whole = visible.int()
        y = ((BLUE * whole[..., 0] + GREEN * whole[..., 1] + RED * whole[..., 2] + (1 << 14)) >> 15).to(kind)
        fused = self.fusion(infrared.to(kind)[None, None] / 255, y[None, None] / 255).fused[0, 0]
        low, high = self.limits
        shown = ((fused - low) * (255 / (high - low))).round().clamp(0, 255)
        return (shown[..., None] + (visible.to(kind) - y[..., None])).clamp(0, 255).to(torch.uint8), fused


class TorchCase:
    """One way through PyTorch on many sets of pictures, between two events.

    Args:
        way: What fuses a pair.
        given: The pictures of each set.
    """

    def __init__(self, way: Callable[[Tensor, Tensor], Any], given: Sequence[dict[str, Any]]) -> None:
        self._way = way
        self._given = [
            (torch.from_numpy(one["infrared"]).cuda(), torch.from_numpy(one["visible"]).cuda())
            for one in given
        ]
        self._events = [_event() for _ in range(2)]

    @torch.inference_mode()
    def milliseconds(self) -> float:
        """Do all of them, and how long one took."""
        before, after = self._events
        before.record()
        for infrared, visible in self._given:
            self._way(infrared, visible)
        after.record()
        after.synchronize()
        return float(before.elapsed_time(after)) / len(self._given)


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def copy_milliseconds(size: int = 1 << 30, times: int = 8) -> float:
    """How long a copy of so many bytes within the GPU takes; it moves twice as many."""
    source = torch.zeros(size, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    before, after = _event(), _event()
    target.copy_(source)
    before.record()
    for _ in range(times):
        target.copy_(source)
    after.record()
    after.synchronize()
    return float(before.elapsed_time(after)) / times
