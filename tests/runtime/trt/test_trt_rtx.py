"""Real builds: TensorRT-RTX makes engines for GPUs that are not there. Running one needs them."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trt_graphs as graphs
from trt_bundles import manifest_of
from trt_requests import asked_of
from trt_wheels import CHOICES

from tdfusion_edge import bundle
from tdfusion_edge.errors import BundleError, EngineError
from tdfusion_edge.runtime.engines import Progress
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.builder import build_in
from tdfusion_edge.runtime.engines.tensorrt.store import EngineStore

pytestmark = pytest.mark.usefixtures("rtx")
SHAPE = (1, 1, 32, 48)
PAIR = {"infrared": SHAPE, "visible": SHAPE}
ALONE = {"infrared": SHAPE}


def built(folder: Path, onnx: bytes, **fields: Any) -> tuple[bytes, bool]:
    more = {name: fields.pop(name) for name in ("limit_s", "on_progress", "log_to") if name in fields}
    trt, graph = bindings.load("tensorrt-rtx"), fields.pop("graph", None) or manifest_of(onnx)
    shapes, targets = fields.pop("shapes", PAIR), fields.pop("targets", ("sm_89",))
    request = asked_of(trt, onnx, shapes, gpu=targets[0], targets=targets, **fields)

    make = partial(build_in, request, onnx, graph, **more)
    return EngineStore(folder).find_or_build(request, make)


def test_an_engine_is_built_and_kept_with_its_kernels_in_the_log(engines: Path, tmp_path: Path) -> None:
    steps: list[Progress] = []
    plan, fresh = built(engines, graphs.blend(), log_to=tmp_path / "log", on_progress=steps.append)
    assert fresh
    assert len(plan) > 1000
    assert "Building engine" in {step.phase for step in steps}
    told = (tmp_path / "log").read_text()
    assert "LayerType: kgen" in told
    assert "Datatype: Float" in told
    assert "Datatype: Half" not in told
    assert built(engines, graphs.blend()) == (plan, False)
    assert {path.suffix for path in engines.iterdir()} == {".plan", ".json"}


def test_one_engine_can_be_for_several_gpus(engines: Path) -> None:
    three, _ = built(engines, graphs.blend(), targets=("sm_86", "sm_89", "sm_120"))
    assert len(three) > len(built(engines, graphs.blend())[0])


def test_half_precision_stays_half(engines: Path, tmp_path: Path) -> None:
    built(engines, graphs.half_inside(), precision="fp16", shapes=ALONE, log_to=tmp_path / "log")
    assert "Half" in (tmp_path / "log").read_text()


def test_eight_bits_by_quantisation_nodes(engines: Path) -> None:
    assert built(engines, graphs.quantised(), precision="int8", shapes=ALONE)[1]


def test_the_shipped_network_builds(engines: Path) -> None:
    shipped = bundle.read(bundle.default_path())
    graph, onnx = shipped.graph("fusion")
    assert built(engines, onnx, graph=graph, targets=("sm_120",))[1]


@pytest.mark.parametrize(
    ("onnx", "fields", "message"),
    [
        (graphs.unknown_operation(), {"shapes": ALONE}, r"node 1 \(Foo 'strange'\): .*Plugin not found"),
        (graphs.attention(), {"shapes": {}}, r"could not build the engine: .*not supported by a dedicated"),
        (graphs.half_inside(), {"shapes": ALONE}, "not fp32: layer 'down': expected FLOAT, got HALF"),
        (graphs.stored_in_half(), {"shapes": ALONE, "precision": "fp16"}, "compute in HALF, got none"),
        (graphs.external_weight("w.bin"), {"shapes": ALONE}, "a weight of the graph lies in another file"),
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


def test_choices_for_the_real_library() -> None:
    trt = bindings.load("tensorrt-rtx")
    chosen = {name: getattr(bindings, name)(trt) for name in CHOICES}
    assert chosen == {
        "strongly_typed": True,
        "network_flags": 1,
        "largest_opset": None,
        "has_progress_monitor": True,
        "takes_capabilities": True,
        "has_timing_cache": False,
        "has_runtime_cache": True,
    }


def test_what_the_real_network_takes_is_held_against_the_manifest(engines: Path) -> None:
    """The shipped graph under another one's description."""
    shipped = bundle.read(bundle.default_path())
    wrong = shipped.graph("detector")[0]
    with pytest.raises(BundleError, match=r"TensorRT-RTX .* not what the manifest says(.|\n)*visible"):
        built(engines, shipped.graph("fusion")[1], graph=wrong)
