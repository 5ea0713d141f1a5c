"""The kernel `edge_unit`: the fusion network on tensors that another library owns, on a stream of its own."""

from __future__ import annotations

from collections.abc import Callable

from tdfusion_edge.runtime.engines.cuda.binaries import image_for
from tdfusion_edge.runtime.engines.cuda.device import Device, open_device
from tdfusion_edge.runtime.engines.cuda.parameters import UnitParameters
from tdfusion_edge.runtime.engines.cuda.tiles import THREADS, Tile

KERNEL, PLAIN = "edge_unit", "edge_unit_plain"
"""With its parameters as one block, and side by side: infrared, visible, weights, height, width, fused."""
TILE = Tile(16, 16)
PIXELS = 2 * TILE.height, 2 * TILE.width
"""Rows and columns of pixels of a tile."""
ALIGNED = 16
"""The weights' address is a multiple of this many bytes."""


class UnitKernel:
    """Launches the kernel; from any thread.

    Args:
        device: Opens the GPU.
        image: Gives the compiled kernels for a driver and a GPU.

    Raises:
        EngineError: GPU, library or compiled kernels are missing.
    """

    def __init__(
        self,
        device: Callable[[], Device] = open_device,
        image: Callable[[tuple[int, int], int], bytes] = image_for,
    ) -> None:
        self.device = device()
        try:
            gpu = self.device.gpu
            self._kernel = self.device.kernel(image(gpu.driver, gpu.capability), KERNEL, TILE.shared_bytes)
        except BaseException:
            self.device.close()
            raise

    def fuse(
        self, infrared: int, visible: int, weights: int, fused: int, size: tuple[int, int], stream: int
    ) -> None:
        """Queue one launch.

        Args:
            infrared: Address of float32 (height, width), whole levels of 8 bits divided by 255.
            visible: Likewise.
            weights: Address of what :func:`~tdfusion_edge.runtime.engines.cuda.weights.pack` gives, at a
                multiple of :data:`ALIGNED`.
            fused: Address of float32 (height, width), which is written.
            size: Height and width, pixels.
            stream: Number of the stream.

        Raises:
            EngineError: the GPU failed.
        """
        height, width = size
        p = UnitParameters(infrared, visible, weights, fused, height, width)
        blocks = TILE.tiles_of(width, height)
        sizes = blocks, THREADS, TILE.shared_bytes
        self.device.launch(self._kernel, *sizes, p, self.device.stream_of(stream))
