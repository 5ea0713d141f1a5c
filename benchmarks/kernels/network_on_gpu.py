"""The paper's F timed on a GPU: our launches over a few sets of lumas, and the same network in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.kernels.in_torch import TorchCase
from benchmarks.kernels.on_gpu import Launches
from benchmarks.kernels.restormer import random_network, weights_of
from tdfusion_edge.runtime.engines.cuda.device import Device
from tdfusion_edge.runtime.engines.cuda.restormer.network import Network
from tdfusion_edge.runtime.engines.cuda.restormer.path import PIXEL_BYTES, packed, program
from tdfusion_edge.runtime.engines.cuda.restormer.plan import THREADS

OURS, EAGER, COMPILED = "F by our kernels", "F in PyTorch FP32", "F by torch.compile FP16"
SETS = 4
"""Few: what one picture's features move is more than most caches hold."""
PASSES = 5 * 3
"""Times that features go between kernels and memory: five blocks read them twice and write them once."""


class NetworkLaunches(Launches):
    """F from two lumas of 8 bits to the fused luma.

    Args:
        device: The GPU.
        image: The compiled kernels.
        network: The weights.
        size: Width and height of both pictures, pixels.
    """

    def __init__(self, device: Device, image: bytes, network: Network, size: tuple[int, int]) -> None:
        super().__init__(device)
        width, height = size
        made = program(packed(network), size, device.gpu.limits)
        self._steps = len(made.steps)
        kernels = [device.kernel(image, step.kernel, step.shared_bytes) for step in made.steps]
        shared = {name: self.put(np.zeros(count, np.uint8)) for name, count in made.scratch.items()}
        shared |= {name: self.put(array) for name, array in made.constants.items()}
        self._like = np.zeros((height, width), np.float32)
        self._lumas: list[int] = []
        self.given: list[dict[str, Any]] = []
        for number in range(SETS):
            pictures = np.random.default_rng(number).integers(0, 256, (2, height, width), np.uint8)
            self.given.append({"infrared": pictures[0], "visible": pictures[1]})
            at = {name: self.put(picture) for name, picture in self.given[number].items()}
            at["luma"] = self.put(self._like)
            self._lumas.append(at["luma"])
            for step, kernel in zip(made.steps, kernels, strict=True):
                p = type(step.parameters).from_buffer_copy(step.parameters)
                for field, name in step.at.items():
                    setattr(p, field, {**shared, **at}[name])
                self.add(kernel, step.blocks, THREADS, step.shared_bytes, p)

    def milliseconds(self) -> float:
        """Do all of them, and how long one picture took."""
        return super().milliseconds() * self._steps

    def luma(self, number: int) -> Any:
        """The fused luma of one set, float32 (H, W), once they were launched."""
        return self.get(self._lumas[number], self._like)


class LumasToLuma(nn.Module):
    """8-bit lumas through F in PyTorch.

    Args:
        fusion: The network; its type decides in what it computes.
    """

    def __init__(self, fusion: Any) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Fuse one pair.

        Args:
            infrared: uint8 (H, W).
            visible: uint8 (H, W).

        Returns:
            The fused luma (H, W).
        """
        kind = self.fusion.head2.weight.dtype
        given = (one.to(kind)[None, None] / 255 for one in (infrared, visible))
        fused: Tensor = self.fusion(*given).fused[0, 0]
        return fused


def opened(
    device: Device, image: bytes, size: tuple[int, int], stack: ExitStack, *, compiled: bool
) -> tuple[Mapping[str, Callable[[], float]], Callable[[], Any], Callable[[], Any]]:
    """All ways through F for one size, closed by ``stack``; our luma of the first set, and float64's."""
    net = random_network()
    ours = NetworkLaunches(device, image, weights_of(net), size)
    stack.callback(ours.close)
    eager = TorchCase(LumasToLuma(random_network()).cuda(), ours.given)
    cases = {OURS: ours.milliseconds, EAGER: eager.milliseconds}
    if compiled:
        half: Any = torch.compile(LumasToLuma(random_network().half()).cuda())
        cases[COMPILED] = TorchCase(half, ours.given).milliseconds

    def by_kernels() -> Any:
        ours.milliseconds()
        return ours.luma(0)

    def exact() -> Any:
        with torch.inference_mode():
            way = LumasToLuma(random_network().double()).cuda()
            return way(*(torch.from_numpy(one).cuda() for one in ours.given[0].values())).cpu().numpy()

    return cases, by_kernels, exact


def least_bytes(size: tuple[int, int]) -> int:
    """What the launches move at least: lumas, stems' features, the blocks', the end's."""
    return size[0] * size[1] * (2 + (1 + PASSES + 1) * PIXEL_BYTES + 4)
