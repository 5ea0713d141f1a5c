"""The back end `cuda` in a Fuser, on the emulated device."""

from __future__ import annotations

import shutil

import built_kernels
import numpy as np
import pytest
from emulated_device import EmulatedDevice

from tdfusion_edge import Fuser, bundle
from tdfusion_edge.bundle import Bundle
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines import Choice, open_graph
from tdfusion_edge.runtime.engines.cuda import engine as module
from tdfusion_edge.runtime.engines.cuda.engine import KEEP, CudaEngine

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with")

SIZE = 96, 64


@pytest.fixture
def device(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> EmulatedDevice:
    made = EmulatedDevice(built_kernels.library(tmp_path_factory))
    monkeypatch.setattr(module, "open_device", lambda: made)
    monkeypatch.setattr(module, "image_for", lambda driver, capability: b"fatbin")
    return made


@pytest.fixture(scope="module")
def edge() -> Bundle:
    return bundle.read(bundle.default_path())


def pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    width, height = SIZE
    return random.integers(0, 256, (height, width), np.uint8), random.integers(
        0, 256, (height, width, 3), np.uint8
    )


def test_a_fuser_fuses_as_with_the_reference(device: EmulatedDevice) -> None:
    with (
        Fuser("edge", backend="cuda") as kernel,
        Fuser("edge", backend="onnxruntime", threads=1) as reference,
    ):
        assert (kernel.backend, kernel.precision) == ("cuda", "fp16")
        assert "back end cuda, fp16, heads by onnxruntime, detects" in str(kernel)
        for seed in range(2):
            got, wanted = kernel(*pair(seed)), reference(*pair(seed))
            assert got.fused is not None
            assert wanted.fused is not None
            np.testing.assert_allclose(got.fused, wanted.fused, atol=2e-3, rtol=0)
            assert np.abs(got.picture.astype(int) - wanted.picture).max() <= 1
            assert len(got.detections) == len(wanted.detections)
    assert len(device.launched) == 2
    assert not device.memory


def test_few_sizes_stay_prepared(device: EmulatedDevice, edge: Bundle) -> None:
    engine = open_graph(edge, "fusion", Choice("cuda")).engine
    held = []
    for side in (32, 34, 36, 38, 40, 32):
        plane = np.zeros((1, 1, side, side), np.float32)
        assert engine.run({"infrared": plane, "visible": plane})["fused"].shape == plane.shape
        held.append(len(device.memory))
    assert held[KEEP - 1 :] == [held[KEEP - 1]] * len(held[KEEP - 1 :])
    engine.close()
    engine.close()
    assert not device.memory
    with pytest.raises(EngineError, match="closed"):
        engine.run({"infrared": plane, "visible": plane})


@pytest.mark.parametrize("value", [0.5, -1 / 255, 256 / 255, float("nan")])
def test_lumas_between_levels_are_refused(device: EmulatedDevice, edge: Bundle, value: float) -> None:
    engine = open_graph(edge, "fusion", Choice("cuda")).engine
    plane = np.full((1, 1, 32, 32), value, np.float32)
    with pytest.raises(EngineError, match="8 bits"):
        engine.run({"infrared": plane, "visible": np.zeros_like(plane)})


def test_what_it_does_not_run_is_refused(device: EmulatedDevice, edge: Bundle) -> None:
    graph, onnx = edge.graph("fusion", "fp32")
    with pytest.raises(EngineError, match="computes in FP16: expected --precision fp16"):
        CudaEngine(onnx, graph=graph, precision="fp32")
    graph, onnx = edge.graph("detector", "fp32")
    with pytest.raises(EngineError, match="not made for this graph"):
        CudaEngine(onnx, graph=graph)
    engine = open_graph(edge, "fusion", Choice("cuda")).engine
    planes = np.zeros((1, 1, 32, 32), np.float32), np.zeros((1, 1, 32, 34), np.float32)
    with pytest.raises(EngineError, match=r"two of \(1, 1, H, W\)"):
        engine.run(dict(zip(("infrared", "visible"), planes, strict=True)))


def test_an_installation_without_compiled_kernels_says_so(
    device: EmulatedDevice, edge: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(driver: object, capability: object) -> bytes:
        raise EngineError("this installation has no compiled kernels")

    monkeypatch.setattr(module, "image_for", none)
    with pytest.raises(EngineError, match="no compiled kernels"):
        open_graph(edge, "fusion", Choice("cuda"))
