from __future__ import annotations

import ctypes
import enum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.tensorrt import device as module
from tdfusion_edge.runtime.engines.tensorrt.device import Gpu, open_device


class Code(enum.IntEnum):
    cudaSuccess = 0  # noqa: N815
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorNoDevice = 100  # noqa: N815


class Kind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1  # noqa: N815
    cudaMemcpyDeviceToHost = 2  # noqa: N815


class FakeRuntime:
    """The functions of ``cuda.bindings.runtime`` that are used, on host memory."""

    cudaStreamNonBlocking = 1  # noqa: N815
    cudaMemcpyKind = Kind  # noqa: N815

    def __init__(self, devices: int = 1) -> None:
        self.devices = devices
        self.blocks: dict[int, Any] = {}
        self.streams: set[int] = set()
        self.queue: list[tuple[int, int, int]] = []

    def cudaGetDeviceCount(self) -> Any:  # noqa: N802
        return Code.cudaSuccess, self.devices

    def cudaSetDevice(self, number: int) -> Any:  # noqa: N802
        return (Code.cudaSuccess if number < self.devices else Code.cudaErrorNoDevice,)

    def cudaGetDeviceProperties(self, number: int) -> Any:  # noqa: N802
        return Code.cudaSuccess, SimpleNamespace(name=b"Orin\0\0", major=8, minor=7)

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
        assert (target if kind == Kind.cudaMemcpyHostToDevice else source) in self.blocks
        self.queue.append((target, source, size))
        return (Code.cudaSuccess,)

    def cudaGetErrorString(self, code: Code) -> Any:  # noqa: N802
        return Code.cudaSuccess, b"out of memory" if code == 2 else b"no CUDA-capable device"


def round_trip(device: Any) -> None:
    array = np.arange(6, dtype=np.float32)
    back = np.zeros_like(array)
    address = device.allocate(array.nbytes)
    device.copy_in(address, array)
    device.copy_out(back, address)
    assert not back.any(), "the copy did not wait for the stream"
    device.synchronise()
    assert np.array_equal(back, array)
    device.free(address)


def test_cuda_python_copies_on_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeRuntime()
    importing(monkeypatch, cuda_bindings_runtime=cuda)
    device = open_device()
    assert device.gpu == Gpu("Orin", "sm_87")
    assert device.stream == 77
    round_trip(device)
    with pytest.raises(EngineError, match=r"CUDA: out of memory \(cudaErrorMemoryAllocation\)"):
        device.allocate(1 << 30)
    device.close()
    device.close()
    assert (cuda.blocks, cuda.streams) == ({}, set())


def test_a_machine_without_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    importing(monkeypatch, cuda_bindings_runtime=FakeRuntime(devices=0))
    with pytest.raises(EngineError, match=r"no GPU can be used: .*\n.*tdfusion-edge doctor"):
        open_device()


def test_the_real_cuda_python_has_what_is_used() -> None:
    """And without a GPU it answers with a code that becomes an error."""
    cuda = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    used = [name for name in vars(FakeRuntime) if name.startswith("cuda")]
    assert [name for name in used if not hasattr(cuda, name)] == []
    assert [kind.name for kind in Kind if getattr(cuda.cudaMemcpyKind, kind.name) != kind] == []
    properties = cuda.cudaDeviceProp()
    assert all(hasattr(properties, name) for name in ("name", "major", "minor"))
    if int(cuda.cudaGetDeviceCount()[0]) != 0:
        with pytest.raises(EngineError, match=r"no GPU can be used: CUDA: .*\(cudaError"):
            open_device()
    else:
        device = open_device()
        round_trip(device)
        device.close()


class FakeDriver:
    """The parts of ``pycuda.driver`` that are used; a context must be current for each."""

    class Error(Exception): ...

    def __init__(self) -> None:
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
        device = SimpleNamespace(name=lambda: "Xavier", compute_capability=lambda: (7, 2))
        self.Context = SimpleNamespace(get_device=lambda: device)
        self.context = SimpleNamespace(push=lambda: self.enter(1), pop=lambda: self.enter(-1))

    def enter(self, by: int) -> None:
        self.depth += by

    def mem_alloc(self, size: int) -> Any:
        assert self.depth
        if size > 1 << 20:
            raise self.Error("cuMemAlloc failed: out of memory")
        return self.Allocation(size)

    def memcpy_htod_async(self, target: int, array: Any, stream: Any) -> None:
        assert self.depth
        self.queue.append((target, array.ctypes.data, array.nbytes))

    def memcpy_dtoh_async(self, array: Any, source: int, stream: Any) -> None:
        assert self.depth
        self.queue.append((array.ctypes.data, source, array.nbytes))


def test_pycuda_does_the_same_in_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeDriver()
    importing(monkeypatch, pycuda_driver=cuda, pycuda_autoprimaryctx=SimpleNamespace(context=cuda.context))
    device = open_device()
    assert device.gpu == Gpu("Xavier", "sm_72")
    assert device.stream == 88
    round_trip(device)
    with pytest.raises(EngineError, match="CUDA: cuMemAlloc failed"):
        device.allocate(1 << 30)
    device.close()
    device.close()
    assert (cuda.depth, cuda.freed) == (0, 1)


def importing(monkeypatch: pytest.MonkeyPatch, **found: Any) -> None:
    """As if these modules were installed and the others not; an exception is raised at import."""

    def imported(name: str) -> Any:
        answer = found.get(name.replace(".", "_"), ModuleNotFoundError(name=name.partition(".")[0]))
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(module, "importlib", SimpleNamespace(import_module=imported))


def test_cuda_python_comes_before_pycuda(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeDriver()
    old = {"pycuda_driver": driver, "pycuda_autoprimaryctx": SimpleNamespace(context=driver.context)}
    importing(monkeypatch, cuda_bindings_runtime=FakeRuntime(), **old)
    assert open_device().gpu.name == "Orin"
    importing(monkeypatch, **old)
    assert open_device().gpu.name == "Xavier"


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({}, r"no CUDA library for Python: expected cuda-bindings or pycuda\n  pip install cuda-bindings"),
        (
            {"cuda_bindings_runtime": ImportError("libcudart.so.12: no such file")},
            r"cuda\.bindings\.runtime cannot be loaded: libcudart",
        ),
        (
            {"pycuda_driver": ModuleNotFoundError("No module named 'pytools'", name="pytools")},
            r"pycuda\.driver cannot be loaded: No module named 'pytools'",
        ),
        (
            {"pycuda_driver": FakeDriver(), "pycuda_autoprimaryctx": RuntimeError("cuInit failed")},
            "no GPU can be used: cuInit failed",
        ),
    ],
)
def test_what_is_missing_or_damaged_is_named(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], message: str
) -> None:
    importing(monkeypatch, **found)
    with pytest.raises(EngineError, match=message):
        open_device()
