from __future__ import annotations

import ctypes
import dataclasses
import importlib.metadata
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from trt_cuda import ADA, DRIVER, ORIN, Code, FakeDriver, FakeProperties, FakeRuntime, Kind

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.driver import Driver, driver_here
from tdfusion_edge.runtime.engines import providers
from tdfusion_edge.runtime.engines.tensorrt.device import Gpu, open_device, pycuda
from tdfusion_edge.runtime.engines.tensorrt.device.memory import available


def round_trip(device: Any, *, shared: bool) -> None:
    """In by one buffer and out by another one, with the GPU's own copy between."""
    given, back = (device.buffer((2, 3), np.float32) for _ in range(2))
    given.array[:] = np.arange(6, dtype=np.float32).reshape(2, 3)
    back.array[:] = 0
    device.upload(given)
    device.synchronise()
    ctypes.memmove(back.address, given.address, 24)  # what an engine does
    device.download(back)
    assert shared or not back.array.any(), "the copy did not wait for the stream"
    device.synchronise()
    assert np.array_equal(back.array, given.array)
    assert (given.address == given.array.ctypes.data) == shared
    for buffer in (given, back):
        device.release(buffer)


@pytest.mark.parametrize("properties", [ORIN, ADA])
def test_cuda_python_copies_page_locked_memory_on_a_stream_of_its_own(
    monkeypatch: pytest.MonkeyPatch, properties: FakeProperties
) -> None:
    """Where CPU and GPU share memory, it is one and the same, and nothing is copied."""
    cuda, shared = FakeRuntime(properties=properties), bool(properties.integrated)
    importing(monkeypatch, cuda_bindings_runtime=cuda)
    device = open_device(lambda: DRIVER)
    assert device.stream == 77
    calls = []
    real = FakeRuntime.cudaMemcpyAsync
    monkeypatch.setattr(FakeRuntime, "cudaMemcpyAsync", lambda *given: calls.append(1) or real(*given))
    round_trip(device, shared=shared)
    assert len(calls) == (0 if shared else 2)
    with pytest.raises(EngineError, match=r"CUDA: out of memory \(cudaErrorMemoryAllocation\)"):
        device.buffer((1 << 30,), np.uint8)
    device.close()
    device.close()
    assert (cuda.blocks, cuda.pinned, cuda.streams) == ({}, {}, set())


def test_what_the_gpu_lacks_takes_no_page_locked_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeRuntime()
    importing(monkeypatch, cuda_bindings_runtime=cuda)
    device = open_device(lambda: DRIVER)
    monkeypatch.setattr(cuda, "cudaMalloc", lambda size: (Code.cudaErrorMemoryAllocation, None))
    with pytest.raises(EngineError, match="out of memory"):
        device.buffer((4,), np.uint8)
    assert cuda.pinned == {}


def test_the_gpu_is_told_apart_from_others_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    importing(monkeypatch, cuda_bindings_runtime=FakeRuntime(properties=ORIN))
    device = open_device(lambda: DRIVER)
    assert device.gpu == Gpu("Orin", "sm_87", 8, 7 << 30, integrated=True, driver="540.4.0, CUDA 12.6")
    assert (device.gpu.memory_gib, device.gpu.small) == (8, True)
    assert device.provider.startswith("cuda-bindings ")
    agx = dataclasses.replace(device.gpu, memory=int(61.4 * (1 << 30)))
    assert (agx.memory_gib, agx.small) == (62, False)
    assert not dataclasses.replace(device.gpu, integrated=False).small


def test_free_memory_is_the_cpu_s_where_it_is_shared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemFree: 5 kB\nMemAvailable:    4096 kB\n")
    assert available(tmp_path) == 4 << 20
    assert available(tmp_path / "none") is None
    for properties, shared in ((ORIN, True), (ADA, False)):
        importing(monkeypatch, cuda_bindings_runtime=FakeRuntime(properties=properties))
        free = open_device(lambda: DRIVER).free_memory()
        assert (free == 3 << 20) != shared
        assert free > 0


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
    assert all(hasattr(properties, name) for name in vars(ORIN))
    flags = ("cudaHostAllocDefault", "cudaHostAllocMapped")
    assert all(int(getattr(cuda, name)) == getattr(FakeRuntime, name) for name in flags)
    if int(cuda.cudaGetDeviceCount()[0]) != 0:
        with pytest.raises(EngineError, match=r"no GPU can be used: cuda-bindings .*: CUDA: .*\(cudaError"):
            open_device()


def with_pycuda(driver: FakeDriver) -> dict[str, Any]:
    """The modules of PyCUDA."""
    return {
        "pycuda": SimpleNamespace(VERSION=(2026, 1, 0)),
        "pycuda_driver": driver,
        "pycuda_autoprimaryctx": SimpleNamespace(context=driver.context),
    }


@pytest.mark.parametrize("integrated", [False, True])
def test_pycuda_does_the_same_in_any_thread(monkeypatch: pytest.MonkeyPatch, integrated: bool) -> None:
    cuda = FakeDriver(integrated=integrated)
    importing(monkeypatch, **with_pycuda(cuda))
    device = open_device(lambda: DRIVER)
    assert device.gpu == Gpu("Xavier", "sm_72", 6, 7 << 30, integrated, "540.4.0, CUDA 12.6")
    assert (device.stream, device.provider) == (88, "pycuda 2026.1.0")
    round_trip(device, shared=integrated)
    assert (device.free_memory() == 3 << 20) != integrated
    if not integrated:
        with pytest.raises(EngineError, match="CUDA: cuMemAlloc failed"):
            device.buffer((1 << 30,), np.uint8)
    device.close()
    device.close()
    assert (cuda.depth, cuda.freed) == (0, 0 if integrated else 2)
    assert cuda.pinned == (0 if integrated else 1)  # that of the failed one ends with its array


def importing(monkeypatch: pytest.MonkeyPatch, **found: Any) -> None:
    """As if these modules were installed and the others not; an exception is raised at import."""

    real = importlib.import_module

    def imported(name: str) -> Any:
        if name.startswith("tdfusion_edge."):
            return real(name)
        answer = found.get(name.replace(".", "_"), ModuleNotFoundError(name=name.partition(".")[0]))
        if isinstance(answer, Exception):
            raise answer
        return answer

    for place in (providers, pycuda):
        monkeypatch.setattr(
            place, "importlib", SimpleNamespace(import_module=imported, metadata=importlib.metadata)
        )


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Versions of packages, to be changed."""
    have = {"cuda-bindings": "12.9.1", "pycuda": "2026.1"}

    def version(name: str) -> str:
        if name not in have:
            raise importlib.metadata.PackageNotFoundError(name)
        return have[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    return have


@pytest.mark.parametrize(
    ("version", "cuda", "first"),
    [
        ("12.9.1", (12, 6), "Orin"),  # JetPack 6
        ("13.5.0", (12, 6), "Xavier"),
        ("13.5.0", (13, 0), "Orin"),  # JetPack 7
        ("12.9.1", (13, 2), "Orin"),
        ("13.5.0", None, "Orin"),
    ],
)
def test_the_driver_says_which_library_comes_first(
    monkeypatch: pytest.MonkeyPatch,
    installed: dict[str, str],
    version: str,
    cuda: tuple[int, int] | None,
    first: str,
) -> None:
    installed["cuda-bindings"] = version
    importing(monkeypatch, cuda_bindings_runtime=FakeRuntime(properties=ORIN), **with_pycuda(FakeDriver()))
    assert open_device(lambda: Driver(cuda, "")).gpu.name == first


def test_one_library_after_the_other_is_tried(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str]
) -> None:
    """Also one that is installed and refuses the driver: what it says is only told where none opens the
    GPU."""
    refusing = FakeRuntime()
    monkeypatch.setattr(refusing, "cudaGetDeviceCount", lambda: (Code.cudaErrorInsufficientDriver,))
    modules = {"cuda_bindings_runtime": refusing, **with_pycuda(FakeDriver())}
    importing(monkeypatch, **modules)
    assert open_device(lambda: Driver(None, "")).gpu.name == "Xavier"
    installed["cuda-bindings"] = "13.5.0"
    importing(monkeypatch, **modules | {"pycuda_autoprimaryctx": RuntimeError("cuInit failed")})
    with pytest.raises(EngineError) as told:
        open_device(lambda: DRIVER)
    assert str(told.value).startswith(
        "no GPU can be used: pycuda 2026.1: cuInit failed; cuda-bindings 13.5.0: "
    )
    assert told.value.hint == 'pip install "cuda-bindings<13"  # the driver is for CUDA 12.6'


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            {},
            r"no CUDA library for Python: expected cuda-bindings or pycuda\n  pip install .cuda-bindings<13",
        ),
        (
            {"cuda_bindings_runtime": ImportError("libcudart.so.12: no such file")},
            r"no GPU can be used: cuda-bindings 12\.9\.1: libcudart",
        ),
        (
            {"pycuda_driver": ModuleNotFoundError("No module named 'pytools'", name="pytools")},
            r"no GPU can be used: pycuda 2026\.1: No module named 'pytools'",
        ),
        (
            {"pycuda_driver": FakeDriver(), "pycuda_autoprimaryctx": RuntimeError("cuInit failed")},
            r"no GPU can be used: pycuda 2026\.1: cuInit failed\n.*doctor",
        ),
    ],
)
def test_what_is_missing_or_damaged_is_named(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], found: dict[str, Any], message: str
) -> None:
    importing(monkeypatch, **found)
    with pytest.raises(EngineError, match=message):
        open_device(lambda: DRIVER)


def test_the_driver_s_cuda_version_is_asked_of_the_driver(tmp_path: Path) -> None:
    """A library with its one function stands in for it."""
    source = tmp_path / "cuda.c"
    source.write_text("int cuDriverGetVersion(int *version) { *version = 12060; return 0; }")
    library = tmp_path / "libcuda.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text("NVRM version: NVIDIA Kernel Module  540.4.0  S")
    found = driver_here(str(library), tmp_path)
    assert found == DRIVER
    assert str(found) == "540.4.0, CUDA 12.6"
    assert driver_here(str(tmp_path / "none.so"), tmp_path / "none") == Driver(None, "")
