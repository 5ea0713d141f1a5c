"""Real builds: TensorRT-RTX makes engines for GPUs that are not there. Running one needs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trt_graphs as graphs

from tdfusion_edge import bundle
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.builder import Progress
from tdfusion_edge.runtime.engines.tensorrt.cache import EngineCache
from tdfusion_edge.runtime.engines.tensorrt.obtain import obtain_engine
from tdfusion_edge.runtime.engines.tensorrt.options import BuildOptions, exactly

pytestmark = pytest.mark.usefixtures("rtx")
SHAPE = (1, 1, 32, 48)
PAIR = (exactly({"infrared": SHAPE, "visible": SHAPE}),)
ALONE = (exactly({"infrared": SHAPE}),)


def built(folder: Path, onnx: bytes, **fields: Any) -> tuple[bytes, bool]:
    more = {name: fields.pop(name) for name in ("limit_s", "on_progress", "log_to") if name in fields}
    asked = BuildOptions(**{"profiles": PAIR, "targets": ("sm_89",), **fields})
    return obtain_engine(EngineCache(folder), onnx, asked, "tensorrt-rtx", "1", None, **more)


def test_an_engine_is_built_and_kept_with_its_kernels_in_the_log(engines: Path, tmp_path: Path) -> None:
    steps: list[Progress] = []
    plan, fresh = built(engines, graphs.blend(), log_to=tmp_path / "log", on_progress=steps.append)
    assert fresh
    assert len(plan) > 1000
    assert any(step.phase == "Building engine" and step.of > 1 for step in steps)
    told = (tmp_path / "log").read_text()
    assert "LayerType: kgen" in told
    assert "Datatype: Float" in told
    assert "Datatype: Half" not in told
    assert built(engines, graphs.blend(), limit_s=0.0) == (plan, False)
    assert {path.suffix for path in engines.iterdir()} == {".plan", ".json"}


def test_one_engine_can_be_for_several_gpus(engines: Path) -> None:
    three, _ = built(engines, graphs.blend(), targets=("sm_86", "sm_89", "sm_120"))
    assert len(three) > len(built(engines, graphs.blend())[0])


def test_half_precision_stays_half(engines: Path, tmp_path: Path) -> None:
    built(engines, graphs.half_inside(), precision="fp16", profiles=ALONE, log_to=tmp_path / "log")
    assert "Half" in (tmp_path / "log").read_text()


def test_eight_bits_by_quantisation_nodes(engines: Path) -> None:
    assert built(engines, graphs.quantised(), precision="int8", profiles=ALONE)[1]


def test_the_shipped_network_builds(engines: Path) -> None:
    shipped = bundle.read(bundle.default_path())
    assert built(engines, shipped.graph("fusion")[1], targets=("sm_120",))[1]


@pytest.mark.parametrize(
    ("onnx", "fields", "message"),
    [
        (graphs.unknown_operation(), {"profiles": ALONE}, r"node 1 \(Foo 'strange'\): .*Plugin not found"),
        (graphs.attention(), {"profiles": ()}, r"could not build the engine: .*not supported by a dedicated"),
        (graphs.half_inside(), {"profiles": ALONE}, "not fp32: layer 'down': expected FLOAT, got HALF"),
        (graphs.stored_in_half(), {"profiles": ALONE, "precision": "fp16"}, "compute in HALF, got none"),
        (graphs.external_weight("w.bin"), {"profiles": ALONE}, "'w' of the graph lies in another file"),
        (graphs.blend(), {"targets": ("sm_87",)}, "no engine for sm_87: expected sm_75"),
        (graphs.blend(), {"limit_s": 0.01}, "not built in time: expected at most 0.01 s"),
    ],
    ids=["operation", "kernel", "fp32", "fp16", "external", "target", "limit"],
)
def test_what_cannot_be_built_is_an_error_and_leaves_nothing(
    engines: Path, onnx: bytes, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        built(engines, onnx, **fields)
    assert list(engines.iterdir()) == []


def test_an_interrupted_build_leaves_nothing(engines: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.phase == "Building engine":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built(engines, graphs.blend(), on_progress=interrupt)
    assert list(engines.iterdir()) == []


def test_the_parser_finds_no_file_beside_the_graph(engines: Path, tmp_path: Path) -> None:
    """The second wall: what the scan of the graph would miss has no file in reach."""
    script = (
        "import sys, tensorrt_rtx as trt, trt_graphs\n"
        "log = trt.Logger(trt.Logger.INTERNAL_ERROR)\n"
        "net = trt.Builder(log).create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))\n"
        "print(trt.OnnxParser(net, log).parse(trt_graphs.external_weight('w.bin')))\n"
    )
    (tmp_path / "w.bin").write_bytes(b"\0\0\0\0")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    found = []
    for folder in (tmp_path, engines):
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(done.stdout.strip())
    assert found == ["True", "False"]


def test_features_of_the_real_library() -> None:
    trt = bindings.load("tensorrt-rtx")
    assert bindings.features(trt) == bindings.Features(
        strongly_typed=True,
        progress_monitor=True,
        timing_cache=False,
        compute_capabilities=True,
        runtime_cache=True,
    )
