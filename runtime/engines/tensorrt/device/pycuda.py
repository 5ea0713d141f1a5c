"""A Device through PyCUDA, in the primary context, which TensorRT and PyTorch share."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.driver import Driver
from tdfusion_edge.runtime.engines.tensorrt.device import Buffer, Gpu
from tdfusion_edge.runtime.engines.tensorrt.device.memory import available

NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: work on the default stream of another library does not wait for ours."""


class PyCuda:
    """The first GPU.

    Args:
        cuda: ``pycuda.driver``.
        driver: What it runs on.

    Raises:
        EngineError: something of CUDA failed.
    """

    def __init__(self, cuda: Any, driver: Driver) -> None:
        self._cuda = cuda
        self._stream: Any = None
        # Not autoinit, which makes a second context that the memory of the others is not in.
        self._context = importlib.import_module("pycuda.autoprimaryctx").context
        with self._current():
            device, asked = cuda.Context.get_device(), cuda.device_attribute
            major, minor = device.compute_capability()
            self.gpu = Gpu(
                device.name(),
                f"sm_{major}{minor}",
                multiprocessors=device.get_attribute(asked.MULTIPROCESSOR_COUNT),
                memory=device.total_memory(),
                integrated=bool(device.get_attribute(asked.INTEGRATED)),
                driver=str(driver),
            )
            self._mapped = self.gpu.integrated and bool(device.get_attribute(asked.CAN_MAP_HOST_MEMORY))
            self._stream = cuda.Stream(NON_BLOCKING)
        self.provider = "pycuda {}.{}.{}".format(*importlib.import_module("pycuda").VERSION)

    @property
    def stream(self) -> int:
        """As :class:`~tdfusion_edge.runtime.engines.tensorrt.device.Device` says, and so below."""
        return int(self._stream.handle)

    def buffer(self, shape: tuple[int, ...], dtype: Any) -> Buffer:
        """Page-locked memory, and a block of the GPU's where that has its own."""
        with self._current() as cuda:
            flags = cuda.host_alloc_flags.DEVICEMAP if self._mapped else 0
            array = cuda.pagelocked_empty(shape, dtype, mem_flags=flags)
            if self._mapped:
                return Buffer(array, int(array.base.get_device_pointer()), None)
            memory = cuda.mem_alloc(max(1, array.nbytes))  # it ends with its object
            return Buffer(array, int(memory), memory)

    def release(self, buffer: Buffer) -> None:
        """The block of the GPU at once; page-locked memory ends with its array."""
        with self._current():
            if buffer.held is not None:
                buffer.held.free()
            buffer.array.base.free()  # type: ignore[union-attr]

    def upload(self, buffer: Buffer) -> None:
        """Nothing where the memory is the same."""
        with self._current() as cuda:
            if not self._mapped:
                cuda.memcpy_htod_async(buffer.address, buffer.array, self._stream)

    def download(self, buffer: Buffer) -> None:
        """Likewise."""
        with self._current() as cuda:
            if not self._mapped:
                cuda.memcpy_dtoh_async(buffer.array, buffer.address, self._stream)

    def free_memory(self) -> int:
        """The CPU's where it is shared."""
        with self._current() as cuda:
            free, _ = cuda.mem_get_info()
        return (available() if self.gpu.integrated else None) or int(free)

    def synchronise(self) -> None:
        """Wait for the stream."""
        with self._current():
            self._stream.synchronize()

    def close(self) -> None:
        """Release the stream."""
        with self._current():
            self._stream = None

    @contextlib.contextmanager
    def _current(self) -> Iterator[Any]:
        """The context is current in the thread that imported PyCUDA alone; the pipeline has others."""
        self._context.push()
        try:
            yield self._cuda
        except self._cuda.Error as error:
            raise EngineError(f"CUDA: {error}") from error
        finally:
            self._context.pop()
