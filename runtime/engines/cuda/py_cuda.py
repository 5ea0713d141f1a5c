"""A Device through PyCUDA, in the primary context, which TensorRT and PyTorch share.

No graphs are made through PyCUDA: launches are queued one by one. A kernel's parameters are handed over as
one block of bytes.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.driver import Driver
from tdfusion_edge.runtime.engines.base import Array
from tdfusion_edge.runtime.engines.cuda.device import Gpu, Handle, HostMemory
from tdfusion_edge.runtime.engines.cuda.failures import failure
from tdfusion_edge.runtime.engines.cuda.tiles import Limits

_NON_BLOCKING = 1


class PyCuda:
    """One GPU, the first.

    Args:
        cuda: The module ``pycuda.driver``.
        driver: What is known of the driver, which tells the same again.
        primary: The module that holds the primary context; None imports PyCUDA's.
    """

    provider = "pycuda"
    captures = False

    def __init__(self, cuda: Any, driver: Driver | None = None, *, primary: Any = None) -> None:
        del driver
        self._cuda = cuda
        self._held: dict[int, Any] = {}  # an allocation ends with its object
        self._modules: dict[bytes, Any] = {}
        # Not autoinit, which makes a second context that the memory of the others is not in.
        loaded = importlib.import_module("pycuda.autoprimaryctx") if primary is None else primary
        self._context = loaded.context
        with self._current("device"):
            self.gpu = self._described(cuda.Context.get_device())

    def _described(self, device: Any) -> Gpu:
        major, minor = device.compute_capability()
        kinds = self._cuda.device_attribute
        version = self._cuda.get_driver_version()

        def asked(name: str) -> int:
            return int(device.get_attribute(getattr(kinds, name)))

        return Gpu(
            name=device.name(),
            capability=10 * major + minor,
            driver=(version // 1000, version % 1000 // 10),
            memory_bytes=device.total_memory(),
            integrated=bool(asked("INTEGRATED")),
            limits=Limits(
                asked("MULTIPROCESSOR_COUNT"),
                asked("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"),
                asked("MAX_SHARED_MEMORY_PER_MULTIPROCESSOR"),
                asked("MAX_THREADS_PER_MULTIPROCESSOR"),
            ),
        )

    def allocate(self, size: int) -> int:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        with self._current("mem_alloc") as cuda:
            memory = cuda.mem_alloc(size)
            cuda.memset_d8(memory, 0, size)
            cuda.Context.synchronize()  # our streams do not wait for the default one, where that was done
        self._held[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        with self._current("free"):
            self._held.pop(address).free()

    def allocate_host(self, size: int) -> HostMemory:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        with self._current("pagelocked_empty") as cuda:
            flags = cuda.host_alloc_flags
            array = cuda.pagelocked_empty(size, np.uint8, mem_flags=flags.PORTABLE | flags.DEVICEMAP)
            return HostMemory(array, int(array.base.get_device_pointer()), array.base)

    def free_host(self, memory: HostMemory) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        with self._current("free"):
            memory.owner.free()

    def open_stream(self) -> Handle:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        with self._current("Stream") as cuda:
            return cuda.Stream(_NON_BLOCKING)

    def number_of(self, stream: Handle) -> int:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        return int(stream.handle)

    def stream_of(self, number: int) -> Handle:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        with self._current("ExternalStream") as cuda:
            return cuda.ExternalStream(number)

    def open_event(self) -> Handle:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        with self._current("Event") as cuda:
            return cuda.Event()

    def copy_in(self, address: int, array: Array, stream: Handle) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        with self._current("memcpy_htod_async") as cuda:
            cuda.memcpy_htod_async(address, array, stream)

    def copy_out(self, array: Array, address: int, stream: Handle) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        with self._current("memcpy_dtoh_async") as cuda:
            cuda.memcpy_dtoh_async(array, address, stream)

    def record(self, event: Handle, stream: Handle) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        with self._current("record"):
            event.record(stream)

    def wait(self, stream: Handle, event: Handle) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        with self._current("wait_for_event"):
            stream.wait_for_event(event)

    def await_event(self, event: Handle) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        with self._current("synchronize"):
            event.synchronize()

    def elapsed_ms(self, first: Handle, second: Handle) -> float:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        with self._current("time_till"):
            return float(first.time_till(second))

    def kernel(self, image: bytes, name: str, shared_bytes: int) -> Handle:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        with self._current("module_from_buffer") as cuda:
            if image not in self._modules:
                self._modules[image] = cuda.module_from_buffer(image)
            function = self._modules[image].get_function(name)
            function.set_attribute(cuda.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES, shared_bytes)
            return function

    def launch(
        self,
        kernel: Handle,
        blocks: int,
        threads: int,
        shared_bytes: int,
        parameters: ctypes.Structure,
        stream: Handle,
    ) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        block = np.void(bytes(parameters))  # which PyCUDA passes by value
        with self._current("launch"):
            kernel(block, grid=(blocks, 1, 1), block=(threads, 1, 1), shared=shared_bytes, stream=stream)

    def begin_capture(self, stream: Handle) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        raise EngineError("no graphs are made through PyCUDA")

    def end_capture(self, stream: Handle) -> Handle:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        raise EngineError("no graphs are made through PyCUDA")

    def launch_graph(self, graph: Handle, stream: Handle) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        raise EngineError("no graphs are made through PyCUDA")

    def close(self) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        with self._current("close"):
            self._modules.clear()

    @contextlib.contextmanager
    def _current(self, what: str) -> Iterator[Any]:
        """The context is current in the thread that imported PyCUDA alone; the pipeline has others."""
        self._context.push()
        try:
            yield self._cuda
        except self._cuda.Error as error:
            raise failure(_code(self._cuda, error), what) from error
        finally:
            self._context.pop()


def _code(cuda: Any, error: Exception) -> str:
    """The driver's name of an error, which PyCUDA tells in words: "cuMemAlloc failed: out of memory"."""
    if isinstance(error, cuda.MemoryError):
        return "CUDA_ERROR_OUT_OF_MEMORY"
    words = str(error).rpartition("failed: ")[2].partition(" - ")[0]
    return "CUDA_ERROR_" + words.strip().upper().replace(" ", "_") if words else type(error).__name__
