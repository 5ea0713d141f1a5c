"""Tiny graphs, one for each thing that a builder must take or refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
FREE: tuple[int | str, ...] = (1, 1, "height", "width")


def model(
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    weights: list[Any] | None = None,
    *,
    opset: int = 17,
    check: bool = True,
) -> bytes:
    graph = helper.make_graph(nodes, "test", inputs, outputs, weights or [])
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("org.example", 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    if check:
        onnx.checker.check_model(made)
    raw: bytes = made.SerializeToString()
    return raw


def tensor(name: str, shape: tuple[int | str, ...] = FREE, dtype: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, dtype, shape)


def blend(dtype: int = FLOAT, shape: tuple[int | str, ...] = FREE, opset: int = 17) -> bytes:
    """Two pictures in; their mean and their difference out, by nodes with names."""
    half = numpy_helper.from_array(np.array(0.5, helper.tensor_dtype_to_np_dtype(dtype)), "half")
    nodes = [
        helper.make_node("Add", ["infrared", "visible"], ["sum"], name="add"),
        helper.make_node("Mul", ["sum", "half"], ["fused"], name="halve"),
        helper.make_node("Sub", ["infrared", "visible"], ["difference"], name="subtract"),
    ]
    inputs = [tensor(name, shape, dtype) for name in ("infrared", "visible")]
    outputs = [tensor(name, shape, dtype) for name in ("fused", "difference")]
    return model(nodes, inputs, outputs, [half], opset=opset)


def in_colour() -> bytes:
    """A luma and its chroma in, as a head that sees colours takes them; their sum out."""
    node = helper.make_node("Add", ["luma", "chroma"], ["sum"], name="add")
    shape = (1, 2, 4, 6)
    return model([node], [tensor("luma", (1, 1, 4, 6)), tensor("chroma", shape)], [tensor("sum", shape)])


def one_picture() -> bytes:
    """One picture in, float32."""
    node = helper.make_node("Relu", ["infrared"], ["fused"], name="relu")
    return model([node], [tensor("infrared")], [tensor("fused")])


def half_inside() -> bytes:
    """float32 outside, half precision inside: what an FP16 bundle holds."""
    half = numpy_helper.from_array(np.array(0.5, np.float16), "half")
    nodes = [
        helper.make_node("Cast", ["infrared"], ["low"], name="down", to=HALF),
        helper.make_node("Mul", ["low", "half"], ["scaled"], name="halve"),
        helper.make_node("Cast", ["scaled"], ["fused"], name="up", to=FLOAT),
    ]
    return model(nodes, [tensor("infrared")], [tensor("fused")], [half])


def stored_in_half() -> bytes:
    """Rounded to half precision and back; nothing computes in it."""
    nodes = [
        helper.make_node("Cast", ["infrared"], ["low"], name="down", to=HALF),
        helper.make_node("Cast", ["low"], ["high"], name="up", to=FLOAT),
        helper.make_node("Relu", ["high"], ["fused"], name="relu"),
    ]
    return model(nodes, [tensor("infrared")], [tensor("fused")])


def quantised() -> bytes:
    """An 8-bit convolution by a pair of quantisation nodes on each side."""
    weights = [
        numpy_helper.from_array(np.full((4, 1, 3, 3), 0.5, np.float32), "w"),
        numpy_helper.from_array(np.array(0.01, np.float32), "scale"),
        numpy_helper.from_array(np.array(0, np.int8), "zero"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["infrared", "scale", "zero"], ["xq"], name="xq"),
        helper.make_node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"], name="xd"),
        helper.make_node("QuantizeLinear", ["w", "scale", "zero"], ["wq"], name="wq"),
        helper.make_node("DequantizeLinear", ["wq", "scale", "zero"], ["wd"], name="wd"),
        helper.make_node("Conv", ["xd", "wd"], ["fused"], name="conv", pads=[1, 1, 1, 1]),
    ]
    return model(nodes, [tensor("infrared")], [tensor("fused", (1, 4, "height", "width"))], weights)


def unknown_operation() -> bytes:
    nodes = [
        helper.make_node("Relu", ["infrared"], ["positive"], name="relu"),
        helper.make_node("Foo", ["positive"], ["fused"], name="strange", domain="org.example"),
    ]
    return model(nodes, [tensor("infrared")], [tensor("fused")], check=False)


def attention() -> bytes:
    """Opset 23's Attention with heads too small for any kernel: it parses, and does not build."""
    shape = (1, 2, 16, 8)
    node = helper.make_node("Attention", ["q", "k", "v"], ["fused"], name="attention")
    inputs = [tensor(name, shape) for name in "qkv"]
    return model([node], inputs, [tensor("fused", shape)], opset=23, check=False)


def external_weight(location: str, where: str = "initializer") -> bytes:
    """A graph whose weight lies in another file: as an initialiser, a constant, or in a branch."""
    weight = helper.make_tensor("w", FLOAT, (1,), b"\0\0\0\0", raw=True)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    add = helper.make_node("Add", ["infrared", "w"], ["fused"], name="add")
    if where == "initializer":
        return model([add], [tensor("infrared")], [tensor("fused")], [weight], check=False)
    constant = helper.make_node("Constant", [], ["w"], value=weight)
    if where == "constant":
        return model([constant, add], [tensor("infrared")], [tensor("fused")], check=False)
    branch = helper.make_graph([constant], "branch", [], [tensor("w", (1,))])
    choose = helper.make_node("If", ["flag"], ["w"], then_branch=branch, else_branch=branch)
    flag = tensor("flag", (), TensorProto.BOOL)
    return model([choose, add], [tensor("infrared"), flag], [tensor("fused")], check=False)
