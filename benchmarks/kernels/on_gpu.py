"""Our kernels timed on a GPU: launches over many sets of pictures in one graph, between two events."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from benchmarks.kernels.__main__ import CASES, Prepared, prepared_edge
from tdfusion_edge.runtime.engines.cuda import thermal
from tdfusion_edge.runtime.engines.cuda.device import Device, Handle, HostMemory
from tdfusion_edge.runtime.engines.cuda.parameters import THERMAL_STATE, EdgeParameters
from tdfusion_edge.runtime.engines.cuda.tiles import THREADS, plan

ROTATED = 128_000_000
"""Bytes of all sets together: more than any cache holds, so that every launch finds its own in memory."""
PICTURES = ("infrared", "visible", "fused")
"""What every set has of its own."""


class Launches:
    """So many launches as one graph; where the library has none, they are queued one by one."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._stream = device.open_stream()
        self._before, self._after = device.open_event(), device.open_event()
        self._addresses: list[int] = []
        self._hosts: list[HostMemory] = []
        self._launches: list[tuple[Handle, int, int, int, ctypes.Structure]] = []
        self._graph: Handle = None

    def put(self, array: Any) -> int:
        """Address of a copy on the GPU."""
        host = self._device.allocate_host(array.nbytes)
        self._hosts.append(host)
        host.array[:] = array.reshape(-1).view(np.uint8)
        self._addresses.append(self._device.allocate(array.nbytes))
        self._device.copy_in(self._addresses[-1], host.array, self._stream)
        return self._addresses[-1]

    def get(self, address: int, like: Any) -> Any:
        """What lies there now."""
        host = self._device.allocate_host(like.nbytes)
        try:
            self._device.copy_out(host.array, address, self._stream)
            self._device.record(self._after, self._stream)
            self._device.await_event(self._after)
            return host.array.copy().view(like.dtype).reshape(like.shape)
        finally:
            self._device.free_host(host)

    def add(self, kernel: Handle, blocks: int, threads: int, shared: int, parameters: Any) -> None:
        """One more launch."""
        self._launches.append((kernel, blocks, threads, shared, parameters))

    def milliseconds(self) -> float:
        """Do all of them, and how long one took."""
        device = self._device
        if device.captures and self._graph is None:
            device.begin_capture(self._stream)
            self._queue()
            self._graph = device.end_capture(self._stream)
        device.record(self._before, self._stream)
        if self._graph is None:
            self._queue()
        else:
            device.launch_graph(self._graph, self._stream)
        device.record(self._after, self._stream)
        device.await_event(self._after)
        return device.elapsed_ms(self._before, self._after) / len(self._launches)

    def _queue(self) -> None:
        for kernel, blocks, threads, shared, parameters in self._launches:
            self._device.launch(kernel, blocks, threads, shared, parameters, self._stream)

    def close(self) -> None:
        """Give memory back."""
        while self._addresses:
            self._device.free(self._addresses.pop())
        while self._hosts:
            self._device.free_host(self._hosts.pop())


class EdgeLaunches(Launches):
    """`edge` from the cameras' BGR and 8-bit infrared to the fused BGR.

    Args:
        device: The GPU.
        image: The compiled kernels.
        onnx: The fusion graph.
        size: Width and height of both pictures, pixels.
        rotated: Bytes of all sets together.
    """

    def __init__(
        self, device: Device, image: bytes, onnx: bytes, size: tuple[int, int], rotated: int = ROTATED
    ) -> None:
        super().__init__(device)
        limits = device.gpu.limits
        first = prepared_edge(CASES["bgr to bgr"], size, onnx, limits.multiprocessors)
        self.plan = plan(*size, limits)
        kernel = device.kernel(image, self.plan.tile.kernel, self.plan.tile.shared_bytes)
        self.sets = max(2, -(-rotated // sum(first.arrays[name].nbytes for name in PICTURES)))
        self.given = [_pictures(first, number) for number in range(self.sets)]
        shared = {name: self.put(array) for name, array in first.arrays.items() if name not in PICTURES}
        self._kernel = kernel
        self._fused: list[int] = []
        self._parameters: list[EdgeParameters] = []
        self._like = first.arrays["fused"]
        for number in range(self.sets):
            at = {name: self.put(array) for name, array in self.given[number].items()}
            at["fused"] = self.put(self._like)
            self._fused.append(at["fused"])
            p = EdgeParameters.from_buffer_copy(first.parameters)
            for name, address in {**shared, **at}.items():
                setattr(p, name, address)
            self._parameters.append(p)
            self.add(kernel, self.plan.blocks, THREADS, self.plan.tile.shared_bytes, p)

    def luma(self, number: int) -> Any:
        """The fused luma of one set, float32 (H, W), by a launch of its own."""
        like = np.zeros(self.given[number]["infrared"].shape, np.float32)
        p = EdgeParameters.from_buffer_copy(self._parameters[number])
        p.luma = self.put(like)
        size = self.plan.blocks, THREADS, self.plan.tile.shared_bytes
        self._device.launch(self._kernel, *size, p, self._stream)
        return self.get(p.luma, like)

    def fused(self, number: int) -> Any:
        """The picture of one set, uint8 (H, W, 3) BGR, once they were launched."""
        got = self.get(self._fused[number], self._like)
        return got.reshape(len(got), -1, 3)


class ThermalLaunches(Launches):
    """`thermal` on 16-bit infrared.

    Args:
        device: The GPU.
        image: The compiled kernels.
        size: Width and height of the infrared picture, pixels.
        rotated: Bytes of all sets together.
    """

    def __init__(self, device: Device, image: bytes, size: tuple[int, int], rotated: int = ROTATED) -> None:
        super().__init__(device)
        width, height = size
        kernel = device.kernel(image, thermal.KERNEL, thermal.SHARED_BYTES)
        random = np.random.default_rng(1)
        state, limits = self.put(np.zeros(THERMAL_STATE, np.float32)), self.put(np.zeros(2, np.float32))
        share = self.put(np.full(1, 0.1, np.float32))
        for _ in range(max(2, -(-rotated // (2 * width * height)))):
            counts = random.integers(7000, 9000, (height, width)).astype(np.uint16)
            p = thermal.thermal_parameters(size, 2, counts.strides[0], (1, 99))
            p.infrared, p.state, p.thermal, p.elapsed_share = self.put(counts), state, limits, share
            self.add(kernel, 1, thermal.THREADS, thermal.SHARED_BYTES, p)


def _pictures(first: Prepared, number: int) -> dict[str, Any]:
    """The random pictures of one set: those of the first, shifted."""
    infrared, visible = (np.roll(first.arrays[name], 7 * number) for name in ("infrared", "visible"))
    return {"infrared": infrared, "visible": visible.reshape(len(visible), -1, 3)}
