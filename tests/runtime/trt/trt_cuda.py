"""Stand-ins for the two libraries that give a GPU, on memory of the host; as strict as they are."""

from __future__ import annotations

import ctypes
import enum
from types import SimpleNamespace
from typing import Any

import numpy as np

from tdfusion_edge.runtime.driver import Driver


class Code(enum.IntEnum):
    cudaSuccess = 0  # noqa: N815
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorInsufficientDriver = 35  # noqa: N815
    cudaErrorNoDevice = 100  # noqa: N815


class FakeProperties(SimpleNamespace):
    """Those that are read."""


ORIN = FakeProperties(
    name=b"Orin\0\0",
    major=8,
    minor=7,
    multiProcessorCount=8,
    totalGlobalMem=7 << 30,
    integrated=1,
    canMapHostMemory=1,
)
ADA = FakeProperties(
    **{**vars(ORIN), "name": b"Ada", "minor": 9, "integrated": 0, "multiProcessorCount": 128}
)
DRIVER = Driver((12, 6), "540.4.0")


class Kind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1  # noqa: N815
    cudaMemcpyDeviceToHost = 2  # noqa: N815


class FakeRuntime:
    """The functions of ``cuda.bindings.runtime`` that are used, on host memory."""

    cudaStreamNonBlocking = 1  # noqa: N815
    cudaMemcpyKind = Kind  # noqa: N815
    cudaHostAllocDefault, cudaHostAllocMapped = 0, 2  # noqa: N815

    def __init__(self, devices: int = 1, properties: FakeProperties = ADA) -> None:
        self.devices, self.properties = devices, properties
        self.pinned: dict[int, tuple[int, Any]] = {}
        self.blocks: dict[int, Any] = {}
        self.streams: set[int] = set()
        self.queue: list[tuple[int, int, int]] = []

    def cudaGetDeviceCount(self) -> Any:  # noqa: N802
        return Code.cudaSuccess, self.devices

    def cudaSetDevice(self, number: int) -> Any:  # noqa: N802
        return (Code.cudaSuccess if number < self.devices else Code.cudaErrorNoDevice,)

    def cudaGetDeviceProperties(self, number: int) -> Any:  # noqa: N802
        return Code.cudaSuccess, self.properties

    def cudaHostAlloc(self, size: int, flags: int) -> Any:  # noqa: N802
        if size > 1 << 20:
            return Code.cudaErrorMemoryAllocation, None
        block = ctypes.create_string_buffer(size)
        self.pinned[ctypes.addressof(block)] = flags, block
        return Code.cudaSuccess, ctypes.addressof(block)

    def cudaHostGetDevicePointer(self, host: int, flags: int) -> Any:  # noqa: N802
        assert self.pinned[host][0] == self.cudaHostAllocMapped
        return Code.cudaSuccess, host

    def cudaFreeHost(self, host: int) -> Any:  # noqa: N802
        assert not self.queue, "memory is freed while a copy is queued"
        del self.pinned[host]
        return (Code.cudaSuccess,)

    def cudaMemGetInfo(self) -> Any:  # noqa: N802
        return Code.cudaSuccess, 3 << 20, 7 << 30

    def cudaStreamCreateWithFlags(self, flags: int) -> Any:  # noqa: N802
        assert flags == self.cudaStreamNonBlocking
        self.streams.add(77)
        return Code.cudaSuccess, 77

    def cudaStreamDestroy(self, stream: int) -> Any:  # noqa: N802
        self.streams.remove(stream)
        return (Code.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: int) -> Any:  # noqa: N802
        assert stream in self.streams
        for target, source, size in self.queue:
            ctypes.memmove(target, source, size)
        self.queue.clear()
        return (Code.cudaSuccess,)

    def cudaMalloc(self, size: int) -> Any:  # noqa: N802
        if size > 1 << 20:
            return Code.cudaErrorMemoryAllocation, None
        block = ctypes.create_string_buffer(size)
        self.blocks[ctypes.addressof(block)] = block
        return Code.cudaSuccess, ctypes.addressof(block)

    def cudaFree(self, address: int) -> Any:  # noqa: N802
        del self.blocks[address]
        return (Code.cudaSuccess,)

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: Kind, stream: int) -> Any:  # noqa: N802
        assert stream in self.streams
        into, out_of = (
            (self.blocks, self.pinned) if kind == Kind.cudaMemcpyHostToDevice else (self.pinned, self.blocks)
        )
        assert target in into
        assert source in out_of, "a copy from pageable memory waits for the CPU"
        self.queue.append((target, source, size))
        return (Code.cudaSuccess,)

    def cudaGetErrorString(self, code: Code) -> Any:  # noqa: N802
        return Code.cudaSuccess, b"out of memory" if code == 2 else b"no CUDA-capable device"


class Pinned(np.ndarray):
    """An array whose ``base`` is an allocation, as PyCUDA's page-locked ones are."""

    allocation: Any = None

    @classmethod
    def made(cls, shape: Any, dtype: Any, driver: Any) -> Any:
        array = np.empty(shape, dtype).view(cls)

        def free() -> None:
            driver.pinned -= 1

        array.allocation = SimpleNamespace(free=free, get_device_pointer=lambda: array.ctypes.data)
        return array

    @property
    def base(self) -> Any:
        return self.allocation


class FakeDriver:
    """The parts of ``pycuda.driver`` that are used; a context must be current for each."""

    class Error(Exception): ...

    device_attribute = SimpleNamespace(MULTIPROCESSOR_COUNT=16, INTEGRATED=18, CAN_MAP_HOST_MEMORY=19)
    host_alloc_flags = SimpleNamespace(DEVICEMAP=2)

    def __init__(self, *, integrated: bool = False) -> None:
        self.integrated = integrated
        self.pinned = 0
        self.depth, self.queue, self.freed = 0, list[Any](), 0
        outer = self

        class Stream:
            handle = 88

            def __init__(self, flags: int) -> None:
                assert outer.depth
                assert flags == 1

            def synchronize(self) -> None:
                assert outer.depth
                for target, source, size in outer.queue:
                    ctypes.memmove(target, source, size)
                outer.queue.clear()

        class Allocation:
            def __init__(self, size: int) -> None:
                self.block = ctypes.create_string_buffer(size)

            def __int__(self) -> int:
                return ctypes.addressof(self.block)

            def free(self) -> None:
                outer.freed += 1

        self.Stream, self.Allocation = Stream, Allocation
        attributes = {16: 6, 18: int(integrated), 19: 1}
        device = SimpleNamespace(
            name=lambda: "Xavier",
            compute_capability=lambda: (7, 2),
            total_memory=lambda: 7 << 30,
            get_attribute=attributes.__getitem__,
        )
        self.Context = SimpleNamespace(get_device=lambda: device)
        self.context = SimpleNamespace(push=lambda: self.enter(1), pop=lambda: self.enter(-1))

    def enter(self, by: int) -> None:
        self.depth += by

    def mem_alloc(self, size: int) -> Any:
        assert self.depth
        if size > 1 << 20:
            raise self.Error("cuMemAlloc failed: out of memory")
        return self.Allocation(size)

    def pagelocked_empty(self, shape: Any, dtype: Any, *, mem_flags: int) -> Any:
        assert self.depth
        assert (mem_flags == self.host_alloc_flags.DEVICEMAP) == self.integrated
        self.pinned += 1
        return Pinned.made(shape, dtype, self)

    def mem_get_info(self) -> Any:
        assert self.depth
        return 3 << 20, 7 << 30

    def memcpy_htod_async(self, target: int, array: Any, stream: Any) -> None:
        assert self.depth
        assert isinstance(array, Pinned)
        self.queue.append((target, array.ctypes.data, array.nbytes))

    def memcpy_dtoh_async(self, array: Any, source: int, stream: Any) -> None:
        assert self.depth
        assert isinstance(array, Pinned)
        self.queue.append((array.ctypes.data, source, array.nbytes))
