"""The command ``engines`` with the real TensorRT-RTX, for GPUs that are not there."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trt_host import HostDevice

from tdfusion_edge import bundle
from tdfusion_edge.cli import main
from tdfusion_edge.runtime.engines.tensorrt.device import Gpu
from tdfusion_edge.runtime.engines.tensorrt.runner import Opened, TensorRtRtxEngine

pytestmark = pytest.mark.usefixtures("rtx")
SIZE = (48, 64)


class Loaded(Exception):  # nothing went wrong
    """Carries what came as far as the GPU."""


class Runtime:
    """In place of the library's, which loads nothing without a GPU."""

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        raise Loaded(plan)


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("it builds what was built")


def test_a_device_finds_what_was_built_for_it(
    engines: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = ["engines", str(mean_bundle_path), "--backend", "tensorrt-rtx", "--size", f"{SIZE[1]}x{SIZE[0]}"]
    place = ["--engine-cache", str(engines)]
    assert main([*build, "--target", "sm_89", *place]) == 0
    printed = capsys.readouterr()
    assert "fusion in fp32, 1x1x48x64, sm_89: built in " in printed.out
    assert f"--camera ir0,vis0 --backend tensorrt-rtx {' '.join(place)}" in printed.out
    assert "building the fusion engine" in printed.err
    (plan,) = engines.glob("*.plan")

    assert main([*build, "--target", "sm_89", "--target", "sm_86", *place]) == 0
    told = capsys.readouterr().out
    assert f"sm_89: already there, {plan.stat().st_size / 1e6:.1f} MB" in told
    assert "sm_86: built in" in told

    trt = importlib.import_module("tensorrt_rtx")
    ada = Gpu("NVIDIA GeForce RTX 4090", "sm_89")
    graph, onnx = bundle.read(mean_bundle_path).graph("fusion")
    device = HostDevice(ada)
    engine = TensorRtRtxEngine(
        onnx, graph=graph, engine_cache=engines, trt=trt, device=lambda: device, gpu=lambda: ada, build=never
    )
    engine._opened = Opened(device, Runtime())
    with pytest.raises(Loaded) as loaded:
        engine.run(dict.fromkeys(("infrared", "visible"), np.zeros((1, 1, *SIZE), np.float32)))
    assert loaded.value.args[0] == plan.read_bytes()
    engine.close()

    assert main(["engines", "--prune", "0", *place]) == 0
    assert "removed 2 engines" in capsys.readouterr().out
    assert list(engines.glob("*.plan")) == []
