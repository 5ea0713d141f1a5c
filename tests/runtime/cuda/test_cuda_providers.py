"""The two libraries behind a Device, on drivers that compute on the host; names against the real bindings."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from edge_cases import LIMITS, Case, wanted_luma, weights
from host_drivers import Code, Driver, PyCudaDriver
from test_picture_path import DEEP, SIZE, library, pictures

from benchmarks.kernels.emulator import Library
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.driver import Driver as HostDriver
from tdfusion_edge.runtime.engines import providers
from tdfusion_edge.runtime.engines.cuda import cuda_python, py_cuda
from tdfusion_edge.runtime.engines.cuda.cuda_python import CudaPython
from tdfusion_edge.runtime.engines.cuda.device import PROVIDERS, Device, open_device
from tdfusion_edge.runtime.engines.cuda.path import PicturePath
from tdfusion_edge.runtime.engines.cuda.py_cuda import PyCuda
from tdfusion_edge.runtime.engines.cuda.unit import UnitKernel
from tdfusion_edge.runtime.engines.cuda.weights import WEIGHT_BYTES
from tdfusion_edge.runtime.engines.providers import Provider

__all__ = ["library"]

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with")


def made(kind: str, library: Library, *, integrated: bool) -> tuple[Device, Any]:
    if kind == "cuda-python":
        driver = Driver(library, integrated=integrated)
        return CudaPython(driver), driver
    other = PyCudaDriver(library, integrated=integrated)
    return PyCuda(other, primary=other.primary), other


@pytest.mark.parametrize("kind", ["cuda-python", "pycuda"])
@pytest.mark.parametrize("integrated", [True, False])
def test_pairs_go_through(library: Library, kind: str, integrated: bool) -> None:
    device, driver = made(kind, library, integrated=integrated)
    assert (device.gpu.name, device.gpu.capability, device.gpu.driver) == ("Orin", 87, (12, 6))
    assert device.gpu.integrated == integrated
    form = replace(DEEP, infrared_bytes=1, percentiles=None)
    got: list[Any] = []

    def work() -> None:  # in another thread than the one that opened the device
        path = PicturePath(device, b"fatbin", weights(), form)
        for seed in range(3):
            path.submit(pictures(Case(SIZE, seed=seed)), LIMITS)
            luma = path.take().luma
            assert luma is not None
            got.append(luma.copy())
        path.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(got) == 3
    for seed, luma in enumerate(got):
        np.testing.assert_allclose(luma, wanted_luma(Case(SIZE, seed=seed)), atol=2e-3, rtol=0)
    assert not driver.memory
    device.close()
    device.close()


def test_cuda_python_gives_everything_back(library: Library) -> None:
    driver = Driver(library)
    device = CudaPython(driver)
    path = PicturePath(device, b"fatbin", weights(), replace(DEEP))
    path.submit(pictures(Case(SIZE, deep=True)), LIMITS)
    path.take()
    path.close()
    device.close()
    assert driver.retained == 0
    assert {"cuGraphExecDestroy", "cuEventDestroy", "cuStreamDestroy", "cuModuleUnload"} <= set(
        driver.destroyed
    )


@pytest.mark.parametrize(
    ("function", "code", "said"),
    [
        ("cuMemHostAlloc", Code.CUDA_ERROR_OUT_OF_MEMORY, "no memory left"),
        ("cuMemAlloc", Code.CUDA_ERROR_OUT_OF_MEMORY, "no memory left"),
        ("cuGraphLaunch", Code.CUDA_ERROR_LAUNCH_FAILED, "lost to this process"),
        ("cuEventSynchronize", Code.CUDA_ERROR_LAUNCH_FAILED, "lost to this process"),
        ("cuFuncSetAttribute", Code.CUDA_ERROR_INVALID_VALUE, "cuFuncSetAttribute failed"),
    ],
)
def test_what_the_driver_refuses_is_told(library: Library, function: str, code: Code, said: str) -> None:
    driver = Driver(library)
    device = CudaPython(driver)
    driver.failing[function] = code

    def loop() -> None:
        path = PicturePath(device, b"fatbin", weights(), DEEP)
        path.submit(pictures(Case(SIZE, deep=True)), LIMITS)
        path.take()

    with pytest.raises(EngineError, match=said):
        loop()
    device.close()


def test_pycudas_words_become_the_drivers_names(library: Library) -> None:
    device, driver = made("pycuda", library, integrated=False)
    driver.most = 100
    with pytest.raises(EngineError, match=r"no memory left \(CUDA_ERROR_OUT_OF_MEMORY\)"):
        device.allocate(101)
    with pytest.raises(EngineError, match="no graphs"):
        device.begin_capture(device.open_stream())


def test_every_name_that_is_used_exists_in_the_real_bindings() -> None:
    real = pytest.importorskip("cuda.bindings.driver")
    source = inspect.getsource(cuda_python)
    names = set(re.findall(r'"(cu[A-Z]\w+)"', source)) | set(re.findall(r"self\._cuda\.(cu\w+)\(", source))
    assert len(names) > 25
    assert [name for name in names if not hasattr(real, name)] == []
    for name in names:  # the first line of each docstring is its signature
        signature = (getattr(real, name).__doc__ or "").partition(")")[0]
        body = getattr(Driver, f"_{name}", None)
        if body is not None and name != "cuLaunchKernel":
            taken = len(inspect.signature(body).parameters) - 1
            assert taken == len([one for one in signature.partition("(")[2].split(",") if one]), signature
    for attribute in vars(Driver.CUdevice_attribute):
        assert hasattr(real.CUdevice_attribute, attribute)
    assert real.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES == 8
    assert real.CUstreamCaptureMode(1).name == "CU_STREAM_CAPTURE_MODE_THREAD_LOCAL"
    assert real.CUstream_flags.CU_STREAM_NON_BLOCKING == 1


def test_without_a_gpu_every_library_is_named_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", None)
    with pytest.raises(EngineError, match="no CUDA library for Python"):
        open_device()


def test_the_next_library_is_tried_when_one_fails(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    without = ModuleType("without")
    vars(without).update({"cuInit": lambda flags: (Code.CUDA_ERROR_NO_DEVICE,)})
    works = Driver(library)
    monkeypatch.setitem(sys.modules, "library_without", without)
    monkeypatch.setitem(sys.modules, "library_works", works)  # type: ignore[arg-type]
    maker = PROVIDERS[0].maker

    def named(*names: str) -> list[Provider]:
        return [Provider(name, f"library_{name}", maker) for name in names]

    assert open_device(named("without", "works")).gpu.name == "Orin"
    with pytest.raises(EngineError, match=r"no GPU can be used: without: .*CUDA_ERROR_NO_DEVICE"):
        open_device(named("without", "absent"))


@pytest.mark.parametrize(
    ("version", "first"), [("13.0.3", "pycuda.driver"), ("12.9.1", "cuda.bindings.driver")]
)
def test_what_is_for_a_newer_driver_is_tried_last(
    library: Library, monkeypatch: pytest.MonkeyPatch, version: str, first: str
) -> None:
    """As for TensorRT: cuda-bindings 13 refuses the driver of JetPack 6."""
    tried = list[str]()

    def note(name: str) -> Any:
        tried.append(name)
        raise RuntimeError("refused")

    stand_in = SimpleNamespace(import_module=note, metadata=FakeMetadata(version))
    monkeypatch.setattr(providers, "importlib", stand_in)
    with pytest.raises(EngineError, match="no GPU can be used") as told:
        open_device(known=lambda: HostDriver((12, 6), "540.4.0"))
    assert tried[0] == first
    assert len(tried) == 2
    assert ("cuda-bindings<13" in (told.value.hint or "")) == (version[:2] == "13")


class FakeMetadata:
    PackageNotFoundError = importlib.metadata.PackageNotFoundError

    def __init__(self, version: str) -> None:
        self._version = version

    def version(self, package: str) -> str:
        return self._version


def test_pycuda_is_used_by_its_public_names() -> None:
    source = Path(py_cuda.__file__).read_text()
    assert not re.findall(r"cuda\._\w+", source)


@pytest.mark.parametrize("kind", ["cuda-python", "pycuda"])
def test_a_stream_is_known_by_its_number(library: Library, kind: str) -> None:
    """Ours to others, and theirs to us: a plugin launches on one that TensorRT opened."""
    device, driver = made(kind, library, integrated=True)
    assert device.number_of(device.open_stream()) == 0x50
    assert device.number_of(device.stream_of(0x77)) == 0x77
    kernel = UnitKernel(lambda: device, lambda version, capability: b"fatbin")
    size = (20, 32)
    at = {name: device.allocate(4 * 640) for name in ("infrared", "visible", "fused")}
    at["weights"] = device.allocate(WEIGHT_BYTES)
    for name in ("infrared", "visible"):
        driver.memory[at[name]].view(np.float32)[:] = np.float32(1)
    driver.memory[at["weights"]][:] = weights()
    kernel.fuse(at["infrared"], at["visible"], at["weights"], at["fused"], size, 0x77)
    assert driver.memory[at["fused"]].view(np.float32).max() == 1
    assert driver.memory[at["fused"]].view(np.float32).min() > 0.5


def test_a_stream_of_the_real_library_is_made_of_a_number() -> None:
    cuda = pytest.importorskip("cuda.bindings.driver", reason="pip install cuda-bindings")
    assert int(cuda.CUstream(0x7F0000001234)) == 0x7F0000001234
