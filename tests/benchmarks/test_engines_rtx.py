"""Real engines of every network, built with TensorRT-RTX for three GPUs, and what their logs say.

It needs no GPU: the library builds without one. Nothing runs, so nothing here is about speed or the
numbers of a picture. A build for several GPUs logs one list of kernels.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from types import MappingProxyType

import onnx
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper

from benchmarks import schema, script
from benchmarks.engines import build_log
from benchmarks.engines.__main__ import BENCHMARK
from benchmarks.engines.build_log import BuildLog
from benchmarks.engines.networks import NETWORKS, PRECISIONS, SHIPPED, TARGETS, Built, build, graph_of
from tdfusion_edge import bundle
from tdfusion_edge.export.onepass import OnePassOutput
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.builder import build_in
from tdfusion_edge.runtime.engines.tensorrt.store.request import request_for
from tdfusion_edge.train.models.base import FusionOutput
from tdfusion_edge.train.models.task import BoxPrediction, MaskPrediction

SIZE = (128, 96)
PAIR = ("infrared", "visible")
NAMES = {
    "edge": (PAIR, FusionOutput._fields),
    "tdfusion": (PAIR, FusionOutput._fields),
    "yolox_nano": (("luma", "chroma", "infrared"), BoxPrediction._fields),
    "yolo_n": (("luma",), BoxPrediction._fields),
    "segformer_b0": (("luma",), MaskPrediction._fields),
    "onepass": ((*PAIR, "limits"), OnePassOutput._fields),
}

SLOW = tuple(name for name in NAMES if name not in ("edge", "onepass"))

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="TensorRT-RTX is not installed (pip install tensorrt-rtx-cu13)",
)


def logged(
    raw: bytes,
    folder: Path,
    *,
    precision: bundle.Precision = "fp32",
    shapes: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
) -> BuildLog:
    trt = bindings.load("tensorrt-rtx")
    request = request_for(trt, "tensorrt-rtx", raw, shapes, TARGETS[0], precision=precision)
    (folder / "build").mkdir()
    build_in(replace(request, targets=TARGETS), raw, None, folder / "build", log_to=folder / "build.log")
    return build_log.read((folder / "build.log").read_text())


def types(log: BuildLog) -> set[str]:
    return {tensor.dtype for kernel in log.kernels for tensor in (*kernel.inputs, *kernel.outputs)}


def check_outside(log: BuildLog, raw: bytes) -> None:
    graph = OnnxRuntimeEngine(raw)
    for given, wanted in ((log.inputs, graph.inputs), (log.outputs, graph.outputs)):
        assert [(it.name, it.dtype) for it in given] == [(it.name, it.dtype.name) for it in wanted]


@pytest.mark.parametrize(("name", "part"), SHIPPED.items())
def test_the_graphs_of_a_bundle_are_its_own(name: str, part: str) -> None:
    """Not others like them: what is said of the shipped bundle's engines has to be of its files."""
    opened = bundle.read(bundle.default_path())
    for precision in PRECISIONS:
        graph, raw = opened.graph(part, precision)
        made = graph_of(name, precision, (640, 480), opened)
        assert (made[0], made[2]) == (raw, f"{graph.files[precision]} of the bundle")
        assert made[1].keys() == {tensor.name for tensor in graph.inputs} == set(NAMES[name][0])


def test_every_network_is_here() -> None:
    assert NAMES.keys() == NETWORKS.keys()


@pytest.fixture(scope="module")
def engines(request: pytest.FixtureRequest) -> Iterator[dict[tuple[str, bundle.Precision], Future[Built]]]:
    """All that are asked for, on their way in two processes: an export keeps one core busy for seconds."""
    pool = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))
    try:
        here = [item for item in request.session.items if item.path == request.path]
        asked = [item for item in here if "engines" in getattr(item, "fixturenames", ())]
        cases = [tuple(item.callspec.params[key] for key in ("name", "precision")) for item in asked]  # type: ignore[attr-defined]
        yield {case: pool.submit(build, *case, SIZE, TARGETS) for case in cases}
    finally:
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "name", ["edge", "onepass", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_an_engine_is_fused_and_sums_in_float32(
    engines: dict[tuple[str, bundle.Precision], Future[Built]], name: str, precision: bundle.Precision
) -> None:
    raw, log, _ = engines[name, precision].result()
    check_outside(log, raw)
    assert (tuple(it.name for it in log.inputs), tuple(it.name for it in log.outputs)) == NAMES[name]
    assert 0 < len(log.kernels) < len(onnx.load_from_string(raw).graph.node)
    assert ("float16" in types(log)) == (precision == "fp16")
    assert build_log.not_float32(log) == []
    assert bool(build_log.reductions(log)) == (name not in ("edge", "yolox_nano"))  # they sum over no picture
    assert build_log.traffic(log).total > 0
    assert log.memory.activations > 0
    assert log.memory.weights > 0


def test_the_shipped_graph_with_free_sizes(tmp_path: Path) -> None:
    raw = bundle.read(bundle.default_path()).graph("fusion")[1]
    log = logged(raw, tmp_path, shapes=dict.fromkeys(PAIR, (1, 1, *SIZE[::-1])))
    check_outside(log, raw)
    assert log.inputs[0].shape == (1, 1, *SIZE[::-1])
    assert 0 < len(log.kernels) < len(onnx.load_from_string(raw).graph.node)
    assert types(log) == {"float32"}


def summing(operation: str) -> bytes:
    """FP16 in and out, with a sum over 64x96 pixels between."""
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT16, shape)
        for name, shape in (("x", (1, 8, 64, 96)), ("y", (1, 8, 64, 96)))
    ]
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node(operation, ["r", "axes"], ["s"], "sum", keepdims=1),
        helper.make_node("Sub", ["r", "s"], ["y"], "sub"),
    ]
    axes = helper.make_tensor("axes", TensorProto.INT64, (2,), (2, 3))
    graph = helper.make_graph(nodes, "summing", tensors[:1], tensors[1:], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("operation", "found"),
    [
        ("ReduceSum", "float16"),
        ("ReduceMean", "float16"),
        ("ReduceSumSquare", "float16"),
        ("ReduceL2", "float32"),
    ],
)
def test_a_sum_in_half_precision_is_seen(operation: str, found: str, tmp_path: Path) -> None:
    """The planted fault. ReduceL2 alone is made safe by the library, which casts around it."""
    log = logged(summing(operation), tmp_path, precision="fp16")
    assert [it.dtype for it in build_log.reductions(log)] == [found]
    assert len(build_log.not_float32(log)) == (found == "float16")


def test_the_benchmark_tells_what_the_log_does(tmp_path: Path) -> None:
    path = tmp_path / "engines_small.json"
    options = ["--network", "edge", "--precision", "fp32", "--size", "128x96", "--target", "sm_89"]
    options.append("--without-errors")
    assert script.main(BENCHMARK, [*options, "--output", str(path)]) == 0
    result = schema.read(path)
    figures = {figure.name: figure for figure in result.results.figures}
    assert len(figures) == 6
    assert {name.partition(",")[0] for name in figures} == {"edge fp32"}
    assert figures["edge fp32, kernels"].value == 8
    # Planes of 128x96 float32 that each kernel reads and writes: both inputs are joined and copied (2, 4); at
    # half size to 16 channels (2, 4), twice between 16 (4, 4), to 2 (4, 1/2); these are padded by a pixel,
    # for which three parts of them are read, and become 8 (2), of which gains and copies make one (4, 1).
    planes = 2 + 4 + 2 + 4 + 2 * (4 + 4) + 4 + 0.5 + 3 * 0.5 + 2 + 4 + 1
    padded = 2 * (2 * (48 + 2) * (64 + 2))
    weights = 2 * 16 * 9 + 2 * 16 * 16 * 9 + 16 * 2 + 3 * 16 + 2 + 8 * 2 * 9
    expected = 4 * (planes * 128 * 96 + padded + weights) / 1e6
    assert figures["edge fp32, traffic"].value == pytest.approx(expected, abs=1e-3)
    assert "estimated" in figures["edge fp32, traffic"].unit
    assert result.metadata.facts["latency"].startswith("not measured")
    assert result.metadata.facts["edge fp32: sums not in float32"] == "none"
    assert result.metadata.facts["targets"] == "sm_89"


def test_the_benchmark_refuses_a_size_that_the_task_networks_cannot_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(BENCHMARK, ["--size", "130x96", "--output", str(tmp_path / "engines.json")]) == 2
    assert "expected multiples of 32 pixels" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
