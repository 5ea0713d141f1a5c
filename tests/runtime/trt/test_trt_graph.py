from __future__ import annotations

import numpy as np
import onnx
import pytest
import trt_graphs as graphs
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tdfusion_edge import bundle
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.base import Tensor
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.engines.tensorrt.graph import DTYPES, read_graph

BLEND = graphs.blend()


@pytest.mark.parametrize("raw", [BLEND, graphs.blend(shape=(1, 1, 24, 32)), graphs.quantised()])
def test_names_and_shapes_are_those_that_onnx_runtime_reads(raw: bytes) -> None:
    graph, reference = read_graph(raw), OnnxRuntimeEngine(raw)
    assert (graph.inputs, graph.outputs) == (reference.inputs, reference.outputs)


@pytest.mark.parametrize("opset", [17, 18, 300])
def test_the_opset_is_that_of_the_unnamed_domain(opset: int) -> None:
    model = onnx.load_from_string(graphs.blend())
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("org.example", 21))
    assert read_graph(model.SerializeToString()).opset == 0
    model.opset_import.append(helper.make_opsetid("", opset))
    assert read_graph(model.SerializeToString()).opset == opset
    model.opset_import[1].domain = "ai.onnx"
    assert read_graph(model.SerializeToString()).opset == opset


def test_so_are_those_of_the_shipped_networks() -> None:
    shipped = bundle.read(bundle.default_path())
    for name in shipped.manifest.graphs:
        raw = shipped.graph(name)[1]
        graph, reference = read_graph(raw), OnnxRuntimeEngine(raw)
        assert (graph.inputs, graph.outputs) == (reference.inputs, reference.outputs)


@pytest.mark.parametrize("kind", DTYPES)
def test_every_dtype_is_that_of_onnx(kind: int) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    raw = graphs.model([node], [graphs.tensor("x", (2,), kind)], [graphs.tensor("y", (2,), kind)])
    assert read_graph(raw).inputs == (Tensor("x", np.dtype(helper.tensor_dtype_to_np_dtype(kind)), (2,)),)


def test_weights_that_are_listed_as_inputs_are_none() -> None:
    """As IR version 3 wants it."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, (1,), [2.0])
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    inputs = [graphs.tensor("x", (1,)), graphs.tensor("w", (1,))]
    raw = graphs.model([node], inputs, [graphs.tensor("y", (1,))], [weight])
    assert [tensor.name for tensor in read_graph(raw).inputs] == ["x"]


@pytest.mark.parametrize("where", ["initializer", "constant", "branch"])
@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/hostname", ""])
def test_a_weight_in_another_file_is_refused(where: str, location: str) -> None:
    with pytest.raises(EngineError, match="weight 'w' of the graph lies in another file"):
        read_graph(graphs.external_weight(location, where))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "there is no graph in it"),
        (b"no graph", "cannot be read"),
        (BLEND[:-20], "cut off"),
        (helper.make_model(helper.make_graph([], "g", [], [])).SerializeToString(), "no input or no output"),
    ],
)
def test_what_is_no_graph_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        read_graph(raw)


def test_a_dtype_that_no_engine_takes_is_refused() -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    strings = [graphs.tensor(name, (1,), TensorProto.STRING) for name in "xy"]
    with pytest.raises(EngineError, match=r"graph tensor 'x': expected float32, .*, got ONNX data type 8"):
        read_graph(graphs.model([node], strings[:1], strings[1:]))


def test_graphs_within_graphs_end_somewhere() -> None:
    """A few kilobytes can nest thousands deep."""
    message = b""
    for _ in range(500):
        attribute = _field(6, message)  # graph of an attribute of a node
        message = _field(1, _field(5, attribute))
    with pytest.raises(EngineError, match="nested too deeply"):
        read_graph(_field(7, message))


def _field(number: int, content: bytes) -> bytes:
    length, size = b"", len(content)
    while size >= 0x80:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


@given(at=st.integers(0, len(BLEND) - 1), byte=st.integers(0, 255), cut=st.integers(0, 40))
def test_no_bytes_do_anything_but_be_read_or_refused(at: int, byte: int, cut: int) -> None:
    raw = (BLEND[:at] + bytes([byte]) + BLEND[at + 1 :])[: len(BLEND) - cut]
    try:
        read_graph(raw)
    except EngineError:
        return
