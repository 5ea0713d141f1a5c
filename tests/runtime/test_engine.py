from __future__ import annotations

import argparse
import importlib
import inspect
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tdfusion_edge import bundle
from tdfusion_edge.errors import BundleError, EngineError, RequestError
from tdfusion_edge.runtime import engines
from tdfusion_edge.runtime.commands.engine_options import add_engine_arguments, choice_of
from tdfusion_edge.runtime.engines import BACKENDS, Backend, Choice, Tensor, open_graph, precision_of
from tdfusion_edge.runtime.engines.onnxruntime import DTYPES, OnnxRuntimeEngine

FLOAT = TensorProto.FLOAT
F32 = np.dtype(np.float32)


def model(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: list[Any] | None = None) -> bytes:
    graph = helper.make_graph(nodes, "test", inputs, outputs, weights or [])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    raw: bytes = made.SerializeToString()
    return raw


def tensor(name: str, shape: list[int | str], dtype: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, dtype, shape)


SHAPE: list[int | str] = [1, 1, "height", "width"]


def mean_and_difference() -> bytes:
    """Two pictures in, their mean and their difference out."""
    nodes = [
        helper.make_node("Mean", ["infrared", "visible"], ["fused"]),
        helper.make_node("Sub", ["infrared", "visible"], ["difference"]),
    ]
    inputs = [tensor("infrared", SHAPE), tensor("visible", SHAPE)]
    return model(nodes, inputs, [tensor("fused", SHAPE), tensor("difference", SHAPE)])


def picture(value: float, height: int = 2, width: int = 3) -> np.ndarray[Any, Any]:
    return np.full((1, 1, height, width), value, np.float32)


@pytest.fixture
def engine() -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(mean_and_difference(), threads=1)


def test_it_says_what_it_takes_and_gives(engine: OnnxRuntimeEngine) -> None:
    shape = (1, 1, None, None)
    assert engine.inputs == (Tensor("infrared", F32, shape), Tensor("visible", F32, shape))
    assert engine.outputs == (Tensor("fused", F32, shape), Tensor("difference", F32, shape))


@pytest.mark.parametrize(("height", "width"), [(2, 3), (1, 1), (5, 7)])
def test_outputs_come_by_name_at_every_size(engine: OnnxRuntimeEngine, height: int, width: int) -> None:
    visible, infrared = picture(0.5, height, width), picture(0.25, height, width)
    outputs = engine.run({"visible": visible, "infrared": infrared})
    assert list(outputs) == ["fused", "difference"]
    assert np.array_equal(outputs["fused"], picture(0.375, height, width))
    assert np.array_equal(outputs["difference"], picture(-0.25, height, width))


def test_inputs_need_not_be_contiguous(engine: OnnxRuntimeEngine) -> None:
    whole = np.arange(24, dtype=np.float32).reshape(1, 1, 4, 6)
    view = whole[:, :, ::2, ::-2]
    assert np.array_equal(engine.run({"infrared": view, "visible": view})["fused"], view)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "engine inputs: expected infrared, visible, got none"),
        ({"infrared": picture(0)}, "expected infrared, visible, got infrared"),
        ({"infrared": picture(0), "visible": picture(0), "mask": picture(0)}, "got infrared, mask, visible"),
        ({"infrared": picture(0), "visible": picture(0).astype(np.float64)}, "'visible': expected float32"),
        ({"infrared": picture(0), "visible": picture(0)[0]}, r"got float32 \(1, 2, 3\)"),
        (
            {"infrared": picture(0), "visible": np.zeros((1, 3, 2, 3), np.float32)},
            r"got float32 \(1, 3, 2, 3\)",
        ),
        ({"infrared": picture(0), "visible": picture(0, 4, 5)}, r"ONNX Runtime [\d.]+ failed: "),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    engine: OnnxRuntimeEngine, inputs: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        engine.run(inputs)
    assert engine.run({"infrared": picture(1), "visible": picture(1)})["fused"][0, 0, 0, 0] == 1


def test_a_closed_engine_says_so(engine: OnnxRuntimeEngine) -> None:
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run({"infrared": picture(0), "visible": picture(0)})
    assert len(engine.inputs) == 2


@pytest.mark.parametrize("raw", [b"", b"no graph", mean_and_difference()[:-20]], ids=["empty", "text", "cut"])
def test_what_is_no_graph_is_refused(raw: bytes) -> None:
    with pytest.raises(EngineError, match=r"ONNX Runtime [\d.]+ cannot load the graph: "):
        OnnxRuntimeEngine(raw)


def test_an_operation_that_nobody_knows_is_refused() -> None:
    node = helper.make_node("Foo", ["x"], ["y"], domain="org.example")
    graph = helper.make_graph([node], "g", [tensor("x", [1])], [tensor("y", [1])])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("org.example", 1)]
    raw = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    with pytest.raises(EngineError, match="cannot load the graph"):
        OnnxRuntimeEngine(raw)


def test_a_dtype_that_nothing_here_uses_is_refused() -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    strings = [tensor(name, [1], TensorProto.STRING) for name in "xy"]
    raw = model([node], strings[:1], strings[1:])
    with pytest.raises(
        EngineError, match=r"graph tensor 'x': expected tensor\(float\), .*, got tensor\(string\)"
    ):
        OnnxRuntimeEngine(raw)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_every_dtype_passes_through_unchanged(dtype: np.dtype[Any]) -> None:
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    node = helper.make_node("Identity", ["x"], ["y"])
    engine = OnnxRuntimeEngine(model([node], [tensor("x", ["n"], kind)], [tensor("y", ["n"], kind)]))
    values = np.array([0, 1, 1], dtype)
    assert engine.inputs == (Tensor("x", dtype, (None,)),)
    outputs = engine.run({"x": values})
    assert outputs["y"].dtype == dtype
    assert np.array_equal(outputs["y"], values)


@pytest.mark.parametrize("location", ["weights.bin", "./weights.bin", "../weights.bin", "/etc/hostname"])
def test_weights_are_not_fetched_from_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    """A graph from a stranger could name any file of the working directory."""
    work = tmp_path / "work"
    work.mkdir()
    for folder in (tmp_path, work):
        (folder / "weights.bin").write_bytes(np.arange(1024, dtype=np.float32).tobytes())
    monkeypatch.chdir(work)
    weights = TensorProto(name="weights", data_type=FLOAT, dims=[1024], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": "0", "length": "4096"}.items():
        weights.external_data.add(key=key, value=value)
    node = helper.make_node("Gather", ["weights", "index"], ["y"])
    graph = helper.make_graph(
        [node], "g", [tensor("index", ["n"], TensorProto.INT64)], [tensor("y", ["n"])], [weights]
    )
    raw = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    with pytest.raises(EngineError, match="cannot load the graph"):
        OnnxRuntimeEngine(raw)


def test_loading_a_network_leaves_the_caller_s_arithmetic_alone() -> None:
    """ONNX Runtime can flush denormals to zero, but does it to the thread that asks, for good."""
    OnnxRuntimeEngine(mean_and_difference())
    assert (np.full(4, 1e-40, np.float32) * np.float32(1)).all()


def test_closing_while_another_thread_runs_harms_neither() -> None:
    engine = OnnxRuntimeEngine(mean_and_difference(), threads=1)
    began, failures = threading.Event(), []

    def work() -> None:
        try:
            while True:
                engine.run({"infrared": picture(0, 64, 64), "visible": picture(1, 64, 64)})
                began.set()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert began.wait(30)
    engine.close()
    thread.join(30)
    assert not thread.is_alive()
    assert [type(error) for error in failures] == [EngineError]
    assert "closed" in str(failures[0])


# --- choosing one --------------------------------------------------------------------------------


@pytest.fixture
def opened() -> bundle.Bundle:
    """A fusion in two precisions, both of them the same graph."""
    outside = {
        key: tuple(
            bundle.TensorInfo(name=name, dtype="float32", shape=tuple(SHAPE), content="") for name in names
        )
        for key, names in (("inputs", ("infrared", "visible")), ("outputs", ("fused", "difference")))
    }
    files = {"fp32": "fp32.onnx", "fp16": "fp16.onnx"}
    fusion = bundle.Graph(files=files, minimum_size=1, opset=17, **outside)  # type: ignore[arg-type]
    fields = {"name": "b", "network": "n", "strategy": "s", "created": "2026-01-01"}
    raw = mean_and_difference()
    return bundle.assembled({**fields, "graphs": {"fusion": fusion}}, dict.fromkeys(files.values(), raw))


@pytest.mark.parametrize("backend", ["auto", "onnxruntime"])
def test_a_back_end_is_opened_by_name_and_named(opened: bundle.Bundle, backend: str) -> None:
    name, precision, engine = open_graph(opened, "fusion", Choice(backend, threads=1))
    assert (name, precision) == ("onnxruntime", "fp32")
    assert set(engine.run({"infrared": picture(0), "visible": picture(1)})) == {"fused", "difference"}


def test_an_unknown_back_end_lists_the_known_ones(opened: bundle.Bundle) -> None:
    with pytest.raises(RequestError, match="unknown back end 'openvino': expected auto, onnxruntime"):
        open_graph(opened, "fusion", Choice("openvino"))


def test_the_table_of_back_ends_does_not_change() -> None:
    with pytest.raises(TypeError):
        BACKENDS["mine"] = BACKENDS["onnxruntime"]  # type: ignore[index]


def test_each_row_names_a_class_and_options_that_can_be_chosen() -> None:
    for row in BACKENDS.values():
        module, name = row.engine.split(":")
        kind = getattr(importlib.import_module(module), name)
        takes = set(inspect.signature(kind).parameters)
        assert {"graph", "precision", "on_progress", *row.options} <= takes
        assert set(row.options) <= set(Choice._fields)


MINE = """
import numpy as np
from tdfusion_edge.runtime.engines.base import tensors_of

class MyEngine:
    def __init__(self, onnx, *, graph, precision, on_progress, threads):
        self.inputs, self.outputs = tensors_of(graph.inputs), tensors_of(graph.outputs)
        self.precision, self.threads, self.closed = precision, threads, False

    def run(self, inputs):
        return {tensor.name: np.full((1, 1, 2, 3), 7, np.float32) for tensor in self.outputs}

    def close(self):
        self.closed = True
"""


def test_a_back_end_is_a_file_and_a_row(
    opened: bundle.Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_engine.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    row = Backend("my_engine:MyEngine", "cuda", ("int8", "fp16", "fp32"), one_pass=True, options=("threads",))
    monkeypatch.setattr(engines, "BACKENDS", {**BACKENDS, "mine": row})
    parser = argparse.ArgumentParser()
    add_engine_arguments(parser)
    choice = choice_of(parser.parse_args(["--backend", "mine", "--threads", "3", "--engine-cache", "x"]))
    assert precision_of(opened, "fusion", choice) == "fp16"
    backend, precision, engine = open_graph(opened, "fusion", choice)
    mine: Any = engine
    assert (backend, precision, mine.precision, mine.threads) == ("mine", "fp16", "fp16", 3)
    assert engine.run({})["fused"][0, 0, 0, 0] == 7


def test_an_option_that_no_back_end_has_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    row = BACKENDS["onnxruntime"]
    monkeypatch.setattr(engines, "BACKENDS", {"only": row})
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_engine_arguments(parser)
    assert choice_of(parser.parse_args(["--threads", "2"])) == Choice(threads=2)
    assert "--engine-cache" not in parser.format_help()


def test_a_graph_is_held_against_its_manifest_whatever_runs_it(opened: bundle.Bundle) -> None:
    fusion = opened.manifest.graphs["fusion"]
    wrong = msgspec.structs.replace(fusion, outputs=fusion.outputs[:1])
    manifest = msgspec.structs.replace(opened.manifest, graphs={"fusion": wrong})
    with pytest.raises(BundleError, match="the fusion graph is not what the manifest says"):
        open_graph(bundle.Bundle(manifest, opened.files), "fusion")
