"""A Device through cuda-python's bindings of the CUDA driver, in the primary context, which others share."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.driver import Driver
from tdfusion_edge.runtime.engines.base import Array
from tdfusion_edge.runtime.engines.cuda.device import Gpu, Handle, HostMemory
from tdfusion_edge.runtime.engines.cuda.failures import failure
from tdfusion_edge.runtime.engines.cuda.tiles import Limits

_NON_BLOCKING, _PORTABLE, _MAPPED, _THREAD_LOCAL = 1, 1, 2, 1


class CudaPython:
    """One GPU, the first.

    Args:
        cuda: The module ``cuda.bindings.driver``.
        driver: What is known of the driver, which tells the same again.

    Raises:
        EngineError: there is no GPU, or no driver.
    """

    provider = "cuda-python"
    captures = True

    def __init__(self, cuda: Any, driver: Driver | None = None) -> None:
        del driver
        self._cuda = cuda
        self._streams: list[Any] = []
        self._events: list[Any] = []
        self._graphs: list[Any] = []
        self._modules: dict[bytes, Any] = {}
        self._closed = False
        self._do("cuInit", 0)
        if not self._do("cuDeviceGetCount"):
            raise EngineError("there is no GPU")
        self._device = self._do("cuDeviceGet", 0)
        self._context = self._do("cuDevicePrimaryCtxRetain", self._device)
        self._enter()
        self.gpu = self._described()

    def _described(self) -> Gpu:
        version = self._do("cuDriverGetVersion")
        name = self._do("cuDeviceGetName", 128, self._device)
        return Gpu(
            name=name.decode(errors="replace").rstrip("\0"),
            capability=10 * self._asked("COMPUTE_CAPABILITY_MAJOR") + self._asked("COMPUTE_CAPABILITY_MINOR"),
            driver=(version // 1000, version % 1000 // 10),
            memory_bytes=self._do("cuDeviceTotalMem", self._device),
            integrated=bool(self._asked("INTEGRATED")),
            limits=Limits(
                self._asked("MULTIPROCESSOR_COUNT"),
                self._asked("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"),
                self._asked("MAX_SHARED_MEMORY_PER_MULTIPROCESSOR"),
                self._asked("MAX_THREADS_PER_MULTIPROCESSOR"),
            ),
        )

    def _asked(self, attribute: str) -> int:
        kinds = self._cuda.CUdevice_attribute
        wanted = getattr(kinds, f"CU_DEVICE_ATTRIBUTE_{attribute}")
        return int(self._do("cuDeviceGetAttribute", wanted, self._device))

    def allocate(self, size: int) -> int:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        self._enter()
        address = self._do("cuMemAlloc", size)
        self._do("cuMemsetD8", address, 0, size)
        self._do(
            "cuCtxSynchronize"
        )  # streams that do not wait for the default one do not wait for that either
        return int(address)

    def free(self, address: int) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        self._enter()
        self._do("cuMemFree", address)

    def allocate_host(self, size: int) -> HostMemory:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        self._enter()
        pointer = int(self._do("cuMemHostAlloc", size, _PORTABLE | _MAPPED))
        address = int(self._do("cuMemHostGetDevicePointer", pointer, 0))
        array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer))
        return HostMemory(array, address, pointer)

    def free_host(self, memory: HostMemory) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        self._enter()
        self._do("cuMemFreeHost", memory.owner)

    def open_stream(self) -> Handle:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        self._enter()
        self._streams.append(self._do("cuStreamCreate", _NON_BLOCKING))
        return self._streams[-1]

    def number_of(self, stream: Handle) -> int:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        return int(stream)

    def stream_of(self, number: int) -> Handle:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        return self._cuda.CUstream(number)

    def open_event(self) -> Handle:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        self._enter()
        self._events.append(self._do("cuEventCreate", 0))
        return self._events[-1]

    def copy_in(self, address: int, array: Array, stream: Handle) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        self._enter()
        self._do("cuMemcpyHtoDAsync", address, array.ctypes.data, array.nbytes, stream)

    def copy_out(self, array: Array, address: int, stream: Handle) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        self._enter()
        self._do("cuMemcpyDtoHAsync", array.ctypes.data, address, array.nbytes, stream)

    def record(self, event: Handle, stream: Handle) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        self._enter()
        self._do("cuEventRecord", event, stream)

    def wait(self, stream: Handle, event: Handle) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        self._enter()
        self._do("cuStreamWaitEvent", stream, event, 0)

    def await_event(self, event: Handle) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        self._enter()
        self._do("cuEventSynchronize", event)

    def elapsed_ms(self, first: Handle, second: Handle) -> float:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        self._enter()
        return float(self._do("cuEventElapsedTime", first, second))

    def kernel(self, image: bytes, name: str, shared_bytes: int) -> Handle:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        self._enter()
        if image not in self._modules:
            self._modules[image] = self._do("cuModuleLoadData", image)
        function = self._do("cuModuleGetFunction", self._modules[image], name.encode())
        wanted = self._cuda.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        self._do("cuFuncSetAttribute", function, wanted, shared_bytes)
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
        self._enter()
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(parameters))
        sizes = (blocks, 1, 1, threads, 1, 1)
        self._do("cuLaunchKernel", kernel, *sizes, shared_bytes, stream, ctypes.addressof(pointers), 0)

    def begin_capture(self, stream: Handle) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        self._enter()
        modes = self._cuda.CUstreamCaptureMode
        self._do("cuStreamBeginCapture", stream, modes(_THREAD_LOCAL))

    def end_capture(self, stream: Handle) -> Handle:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        self._enter()
        graph = self._do("cuStreamEndCapture", stream)
        self._graphs.append(self._do("cuGraphInstantiate", graph, 0))
        self._do("cuGraphDestroy", graph)
        return self._graphs[-1]

    def launch_graph(self, graph: Handle, stream: Handle) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        self._enter()
        self._do("cuGraphLaunch", graph, stream)

    def close(self) -> None:
        """As :class:`~tdfusion_edge.runtime.engines.cuda.device.Device` says."""
        if self._closed:
            return
        self._closed = True
        self._cuda.cuCtxSetCurrent(self._context)
        for kind, owned in (
            ("cuGraphExecDestroy", self._graphs),
            ("cuEventDestroy", self._events),
            ("cuStreamDestroy", self._streams),
            ("cuModuleUnload", list(self._modules.values())),
        ):
            for one in owned:
                getattr(self._cuda, kind)(one)  # whether it works or not: a lost GPU refuses all of them
        self._cuda.cuDevicePrimaryCtxRelease(self._device)

    def _enter(self) -> None:
        """The context is current in a thread; the pipeline has several."""
        self._do("cuCtxSetCurrent", self._context)

    def _do(self, name: str, *arguments: Any) -> Any:
        """What a function of the driver gives after its error code: nothing, or one thing."""
        code, *rest = getattr(self._cuda, name)(*arguments)
        if int(code) != 0:
            raise failure(code.name, name)
        return rest[0] if rest else None
