"""Telling `edge` from a graph without the library `onnx`, and its weights as the tensor cores take them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tdfusion_edge import bundle
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.cuda.graph import read
from tdfusion_edge.runtime.engines.cuda.weights import edge_of, pack

EDGE = Path(bundle.default_path())


@pytest.mark.parametrize("name", ["fusion.onnx", "fusion.fp16.onnx", "detector.onnx", "onepass.onnx"])
def test_nodes_and_constants_are_those_that_onnx_reads(name: str) -> None:
    raw = (EDGE / name).read_bytes()
    graph, wanted = read(raw), onnx.load_from_string(raw).graph
    assert [(n.kind, n.inputs, n.outputs) for n in graph.nodes] == [
        (n.op_type, tuple(n.input), tuple(n.output)) for n in wanted.node
    ]
    for node, other in zip(graph.nodes, wanted.node, strict=True):
        for attribute in other.attribute:
            value = helper.get_attribute_value(attribute)
            if isinstance(value, int | float):
                assert node.attributes[attribute.name] == pytest.approx(value)
            elif isinstance(value, bytes):
                assert node.attributes[attribute.name] == value.decode()
            elif isinstance(value, list) and all(isinstance(one, int) for one in value):
                assert node.attributes[attribute.name] == tuple(value)
    assert set(graph.constants) == {one.name for one in wanted.initializer}
    for one in wanted.initializer:
        np.testing.assert_array_equal(graph.constants[one.name], numpy_helper.to_array(one))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.int32, np.uint8])
def test_numbers_are_read_however_they_are_stored(dtype: Any) -> None:
    values = np.array([0, 1, 2, 3, 100, 7], dtype).reshape(2, 3)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    for raw in (True, False):
        data = values.tobytes() if raw else values.ravel().tolist()
        tensor = helper.make_tensor("x", kind, (2, 3), data, raw=raw)
        graph = helper.make_graph([], "g", [], [], [tensor])
        got = read(helper.make_model(graph).SerializeToString()).constants["x"]
        np.testing.assert_array_equal(got, values)
        assert got.dtype == dtype


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(EngineError):  # and nothing else is raised
        read(raw)


def test_a_cut_graph_is_refused() -> None:
    raw = (EDGE / "fusion.onnx").read_bytes()
    with pytest.raises(EngineError, match="cannot be read"):
        edge_of(raw[: len(raw) // 2])


def test_fragments_hold_what_the_ptx_isa_draws() -> None:
    """Independent of the code that packs: for each lane and word the element that the manual names."""
    weights = edge_of((EDGE / "fusion.onnx").read_bytes())
    packed = pack(weights)
    body = packed[768 : 768 + 2 * 4608].view(np.float16).reshape(2, 9, 2, 32, 2, 2)
    for layer, tap, part, lane, word, half in np.ndindex(*body.shape):
        source, target = 2 * (lane % 4) + half + 8 * word, lane // 4 + 8 * part
        wanted = np.float16(weights.layers[layer][target, source, tap // 3, tap % 3])
        assert body[layer, tap, part, lane, word, half] == wanted
    floats = packed[-208:].view(np.float32)
    np.testing.assert_array_equal(floats[48:51], [*weights.head_bias, weights.most])
    assert weights.most == pytest.approx(2.5)


def test_both_precisions_of_a_bundle_give_the_same_halves() -> None:
    one, other = (pack(edge_of((EDGE / name).read_bytes())) for name in ("fusion.onnx", "fusion.fp16.onnx"))
    np.testing.assert_array_equal(one[:-208], other[:-208])


def changed(change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load_from_string((EDGE / "fusion.onnx").read_bytes())
    change(model)
    raw: bytes = model.SerializeToString()
    return raw


def constant(model: onnx.ModelProto, name: str) -> TensorProto:
    return next(one for one in model.graph.initializer if one.name == name)


def another_activation(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Elu"


def another_width(model: onnx.ModelProto) -> None:
    tensor = constant(model, "stem.weight")
    tensor.CopyFrom(numpy_helper.from_array(np.zeros((24, 2, 3, 3), np.float32), tensor.name))


def another_stride(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    next(one for one in node.attribute if one.name == "strides").ints[:] = [1, 1]


def another_interpolation(model: onnx.ModelProto) -> None:
    tensor = constant(model, "interpolation")
    nearest = numpy_helper.to_array(tensor).copy()
    nearest[0, 0] = np.eye(3)
    tensor.CopyFrom(numpy_helper.from_array(nearest, tensor.name))


def one_layer_more(model: onnx.ModelProto) -> None:
    model.graph.node.add().CopyFrom(model.graph.node[4])


def swapped_pictures(model: onnx.ModelProto) -> None:
    first, second = (node for node in model.graph.node if node.op_type == "Mul")
    first.input[1], second.input[1] = second.input[1], first.input[1]


def another_cap(model: onnx.ModelProto) -> None:
    name = next(node for node in model.graph.node if node.op_type == "Min").input[1]
    constant(model, name).CopyFrom(numpy_helper.from_array(np.array(2, np.float32), name))


def another_padding(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Pad")
    next(one for one in node.attribute if one.name == "mode").s = b"reflect"


def another_source(model: onnx.ModelProto) -> None:
    layers = [node for node in model.graph.node if node.op_type == "Conv"]
    layers[2].input[0] = layers[1].input[0]


def large_weights(model: onnx.ModelProto) -> None:
    """Each is one in FP16, and some picture makes an infinity of them."""
    for name in ("stem.weight", "body.0.weight", "body.1.weight"):
        tensor = constant(model, name)
        tensor.CopyFrom(numpy_helper.from_array(30 * numpy_helper.to_array(tensor), name))


def huge_weight(model: onnx.ModelProto) -> None:
    tensor = constant(model, "body.0.weight")
    values = numpy_helper.to_array(tensor).copy()
    values[0, 0, 0, 0] = 1e6
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (another_activation, "Relu at place 3, got Elu"),
        (another_width, r"\(16, 2, 3, 3\), got \(24, 2, 3, 3\)"),
        (another_stride, "strides and padding"),
        (another_interpolation, "bilinear interpolation"),
        (one_layer_more, "nothing at place"),
        (swapped_pictures, "one behind the other"),
        (another_cap, "one behind the other"),
        (another_padding, "one behind the other"),
        (another_source, "one behind the other"),
        (large_weights, "may pass what FP16 holds"),
        (huge_weight, "FP16"),
    ],
)
def test_another_network_is_refused(change: Callable[[onnx.ModelProto], None], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        pack(edge_of(changed(change)))


def test_the_detector_is_no_edge() -> None:
    with pytest.raises(EngineError, match="not made for this fusion network"):
        edge_of((EDGE / "detector.onnx").read_bytes())
