"""``cuda.bindings.driver`` and ``pycuda.driver`` as our code uses them, computing on host memory at once."""

from __future__ import annotations

import ctypes
import enum
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.kernels.emulator import Library
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.cuda.parameters import (
    EdgeParameters,
    ThermalParameters,
    UnitParameters,
)

ATTRIBUTES = {
    "COMPUTE_CAPABILITY_MAJOR": 8,
    "COMPUTE_CAPABILITY_MINOR": 7,
    "INTEGRATED": 1,
    "MULTIPROCESSOR_COUNT": 8,
    "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": 166_912,
    "MAX_SHARED_MEMORY_PER_MULTIPROCESSOR": 167_936,
    "MAX_THREADS_PER_MULTIPROCESSOR": 1536,
}


def sized(kernel: str) -> int:
    kinds = {"thermal": ThermalParameters, "edge_unit": UnitParameters}
    return ctypes.sizeof(kinds.get(kernel, EdgeParameters))


class CUstream(int):
    """A stream of cuda-python: it is made of a number, and gives it back."""


class Code(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_LAUNCH_FAILED = 719


class Driver:
    """The functions of cuda-python; each answers with a code and a value, as there."""

    CUdevice_attribute = SimpleNamespace(**{f"CU_DEVICE_ATTRIBUTE_{name}": name for name in ATTRIBUTES})
    CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8)
    CUstreamCaptureMode = staticmethod(int)
    CUstream = CUstream

    def __init__(self, library: Library, *, devices: int = 1, integrated: bool = True) -> None:
        self.library, self.devices, self.integrated = library, devices, integrated
        self.failing: dict[str, Code] = {}
        self.called: list[str] = []
        self.memory: dict[int, Any] = {}
        self.current: Any = None
        self.retained = 0
        self.captured: list[Any] | None = None
        self.destroyed: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cu"):
            raise AttributeError(name)
        body = getattr(type(self), f"_{name}", None)

        def function(*arguments: Any) -> Any:
            self.called.append(name)
            if name in self.failing:
                return (self.failing[name],)
            before = ("cuInit", "cuDeviceGet", "cuDriver", "cuDeviceTotal", "cuDevicePrimary", "cuCtxSet")
            if self.current is None and not name.startswith(before):
                return (Code.CUDA_ERROR_INVALID_CONTEXT,)
            if body is None:
                self.destroyed.append(name)
                return (Code.CUDA_SUCCESS,)
            value = body(self, *arguments)
            return (Code.CUDA_SUCCESS,) if value is None else (Code.CUDA_SUCCESS, value)

        return function

    def _cuInit(self, flags: int) -> Any: ...  # noqa: N802
    def _cuMemsetD8(self, address: int, value: int, size: int) -> Any:  # noqa: N802
        ctypes.memset(address, value, size)

    def _cuDeviceGetCount(self) -> Any:  # noqa: N802
        return self.devices

    def _cuDeviceGet(self, number: int) -> Any:  # noqa: N802
        return f"device {number}"

    def _cuDevicePrimaryCtxRetain(self, device: Any) -> Any:  # noqa: N802
        self.retained += 1
        return "context"

    def _cuDevicePrimaryCtxRelease(self, device: Any) -> Any:  # noqa: N802
        self.retained -= 1

    def _cuCtxSetCurrent(self, context: Any) -> Any:  # noqa: N802
        self.current = context

    def _cuCtxSynchronize(self) -> Any: ...  # noqa: N802

    def _cuDriverGetVersion(self) -> Any:  # noqa: N802
        return 12060

    def _cuDeviceGetName(self, size: int, device: Any) -> Any:  # noqa: N802
        return b"Orin".ljust(size, b"\0")

    def _cuDeviceTotalMem(self, device: Any) -> Any:  # noqa: N802
        return 8 << 30

    def _cuDeviceGetAttribute(self, name: str, device: Any) -> Any:  # noqa: N802
        return int(self.integrated) if name == "INTEGRATED" else ATTRIBUTES[name]

    def _cuMemAlloc(self, size: int) -> Any:  # noqa: N802
        array = np.full(size, 0xA5, np.uint8)
        self.memory[array.ctypes.data] = array
        return array.ctypes.data

    def _cuMemHostAlloc(self, size: int, flags: int) -> Any:  # noqa: N802
        assert flags == 3
        return self._cuMemAlloc(size)

    def _cuMemHostGetDevicePointer(self, pointer: int, flags: int) -> Any:  # noqa: N802
        return pointer

    def _cuMemFree(self, address: int) -> Any:  # noqa: N802
        del self.memory[address]

    _cuMemFreeHost = _cuMemFree  # noqa: N815

    def _cuStreamCreate(self, flags: int) -> Any:  # noqa: N802
        assert flags == 1
        return CUstream(0x50)

    def _cuEventCreate(self, flags: int) -> Any:  # noqa: N802
        return object()

    def _cuMemcpyHtoDAsync(self, target: int, source: int, size: int, stream: Any) -> Any:  # noqa: N802
        assert stream is not None
        ctypes.memmove(target, source, size)

    _cuMemcpyDtoHAsync = _cuMemcpyHtoDAsync  # noqa: N815

    def _cuEventRecord(self, event: Any, stream: Any) -> Any: ...  # noqa: N802
    def _cuStreamWaitEvent(self, stream: Any, event: Any, flags: int) -> Any: ...  # noqa: N802
    def _cuEventSynchronize(self, event: Any) -> Any: ...  # noqa: N802
    def _cuEventElapsedTime(self, first: Any, second: Any) -> Any:  # noqa: N802
        return 0.25

    def _cuModuleLoadData(self, image: bytes) -> Any:  # noqa: N802
        return {"image": image}

    def _cuModuleGetFunction(self, module: Any, name: bytes) -> Any:  # noqa: N802
        return {"name": name.decode(), "shared": 0}

    def _cuFuncSetAttribute(self, function: Any, attribute: int, value: int) -> Any:  # noqa: N802
        assert attribute == 8
        function["shared"] = value

    def _cuLaunchKernel(  # noqa: N802
        self, function: Any, gx: int, gy: int, gz: int, bx: int, by: int, bz: int, shared: int, *rest: Any
    ) -> Any:
        stream, pointers, extra = rest
        assert (gy, gz, by, bz, extra) == (1, 1, 1, 1, 0)
        assert isinstance(stream, CUstream)
        assert shared <= function["shared"]
        at = ctypes.c_void_p.from_address(pointers).value
        assert at is not None
        raw = ctypes.string_at(at, sized(function["name"]))
        launch = (function["name"], gx, bx, shared, raw)
        if self.captured is not None:
            self.captured.append(launch)
        else:
            self.library.launch(*launch)

    def _cuStreamBeginCapture(self, stream: Any, mode: int) -> Any:  # noqa: N802
        assert mode == 1
        self.captured = []

    def _cuStreamEndCapture(self, stream: Any) -> Any:  # noqa: N802
        graph, self.captured = self.captured, None
        return graph

    def _cuGraphInstantiate(self, graph: Any, flags: int) -> Any:  # noqa: N802
        return list(graph)

    def _cuGraphLaunch(self, graph: Any, stream: Any) -> Any:  # noqa: N802
        for launch in graph:
            self.library.launch(*launch)


class PyCudaDriver:
    """The classes of PyCUDA; a wrong thread's call is an error, as there."""

    class Error(Exception): ...

    class MemoryError(Error): ...

    class LaunchError(Error): ...

    device_attribute = SimpleNamespace(**{name: name for name in ATTRIBUTES})
    host_alloc_flags = SimpleNamespace(PORTABLE=1, DEVICEMAP=2)
    function_attribute = SimpleNamespace(MAX_DYNAMIC_SHARED_SIZE_BYTES="shared")

    def __init__(self, library: Library, *, integrated: bool = True) -> None:
        self.library, self.integrated, self.entered = library, integrated, 0
        self.most = 1 << 40
        self.memory: dict[int, Any] = {}
        outer = self

        class Context:
            def push(self) -> None:
                outer.entered += 1

            def pop(self) -> None:
                outer.entered -= 1

            @staticmethod
            def get_device() -> Any:
                return outer.device()

            @staticmethod
            def synchronize() -> None:
                outer.inside()

        self.Context = Context
        self.primary = SimpleNamespace(context=Context())

    def inside(self) -> None:
        if not self.entered:
            raise self.Error("cuCtxGetCurrent failed: invalid device context")

    def device(self) -> Any:
        self.inside()
        asked = {**ATTRIBUTES, "INTEGRATED": int(self.integrated)}
        return SimpleNamespace(
            compute_capability=lambda: (8, 7),
            name=lambda: "Orin",
            total_memory=lambda: 8 << 30,
            get_attribute=asked.get,
        )

    def get_driver_version(self) -> int:
        return 12060

    def _array(self, size: int) -> Any:
        self.inside()
        if size > self.most:
            raise self.MemoryError("cuMemAlloc failed: out of memory")
        array = np.full(size, 0xA5, np.uint8)
        self.memory[array.ctypes.data] = array
        return array

    def mem_alloc(self, size: int) -> Any:
        return Allocation(self, self._array(size))

    def memset_d8(self, memory: Any, value: int, size: int) -> None:
        ctypes.memset(int(memory), value, size)

    def pagelocked_empty(self, size: int, dtype: Any, *, mem_flags: int) -> Any:
        assert mem_flags == 3
        return PageLocked(self, self._array(size))

    def Stream(self, flags: int) -> Any:  # noqa: N802
        assert flags == 1
        return SimpleNamespace(wait_for_event=lambda event: self.inside(), handle=0x50)

    def ExternalStream(self, number: int) -> Any:  # noqa: N802
        self.inside()
        return SimpleNamespace(handle=number)

    def Event(self) -> Any:  # noqa: N802
        self.inside()
        return SimpleNamespace(
            record=lambda stream: self.inside(), synchronize=self.inside, time_till=lambda other: 0.25
        )

    def memcpy_htod_async(self, target: int, array: Any, stream: Any) -> None:
        self.inside()
        ctypes.memmove(target, array.ctypes.data, array.nbytes)

    def memcpy_dtoh_async(self, array: Any, source: int, stream: Any) -> None:
        self.inside()
        ctypes.memmove(array.ctypes.data, source, array.nbytes)

    def module_from_buffer(self, image: bytes) -> Any:
        self.inside()
        return SimpleNamespace(get_function=lambda name: Function(self, name))


class Allocation:
    def __init__(self, driver: PyCudaDriver, array: Any) -> None:
        self._driver, self._array = driver, array

    def __int__(self) -> int:
        return int(self._array.ctypes.data)

    get_device_pointer = __int__

    def free(self) -> None:
        del self._driver.memory[int(self)]


class PageLocked:
    """An array whose base gives its memory back; NumPy's own base cannot be set."""

    def __new__(cls, driver: PyCudaDriver, array: Any) -> Any:
        made = array.view(_WithBase)
        made.owner = Allocation(driver, array)
        return made


class _WithBase(np.ndarray):
    owner: Any = None

    @property
    def base(self) -> Any:  # type: ignore[override]
        return self.owner

    def __array_finalize__(self, other: Any) -> None:
        self.owner = getattr(other, "owner", None)


class Function:
    def __init__(self, driver: PyCudaDriver, name: str) -> None:
        self._driver, self._name, self._shared = driver, name, 0

    def set_attribute(self, attribute: str, value: int) -> None:
        assert attribute == "shared"
        self._shared = value

    def __call__(self, block_of_bytes: Any, *, grid: Any, block: Any, shared: int, stream: Any) -> None:
        self._driver.inside()
        assert isinstance(block_of_bytes, np.void)
        assert len(block_of_bytes.tobytes()) == sized(self._name)
        assert shared <= self._shared
        try:
            self._driver.library.launch(self._name, grid[0], block[0], shared, block_of_bytes.tobytes())
        except EngineError as error:
            raise self._driver.LaunchError(f"cuLaunchKernel failed: {error}") from error
