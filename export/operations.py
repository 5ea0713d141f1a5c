"""What a network costs on paper: multiply-adds at a size of picture, and numbers that were learned.

Counted are convolutions and products of matrices, one multiply-add (MAC) for each product that is summed:
half of what is called FLOPs elsewhere. What works on each element alone (activation, sum, resizing, softmax,
a normalisation that is not folded) is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import onnx
from msgspec.structs import replace
from onnx import NodeProto, TensorProto, shape_inference
from torch import nn

from tdfusion_edge.bundle import Graph
from tdfusion_edge.errors import RequestError

Shape: TypeAlias = tuple[int, ...]

SIZE = (640, 480)
"""Width and height that most cameras give; operations are stated for it."""
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
OPAQUE = ("Einsum", "LSTM", "GRU", "RNN", "If", "Loop", "Scan")
"""Operators that multiply in ways that are not counted here."""


class Operations(NamedTuple):
    """What one run of a graph costs."""

    multiply_adds: int
    parameters: int
    """Learned numbers: floats that stand under a layer's name, as PyTorch's exporter writes it
    (``stem.weight``). A constant that the exporter made, or a fixed kernel of the network, has none. Batch
    normalisation is folded, and of a network that learned nothing yet it is too few: the exporter leaves out
    zeros, and one of two alike."""


def counted(graph: Graph, network: nn.Module, raw: bytes) -> Graph:
    """A graph's description with what it costs.

    Args:
        graph: The description.
        network: As it was trained: before anything was folded.
        raw: Its ONNX graph in float32.

    Returns:
        Without ``multiply_adds`` where they cannot be counted: such a network can be exported all the same.
    """
    weights = sum(parameter.numel() for parameter in network.parameters())
    try:
        products = count(raw).multiply_adds
    except RequestError:
        products = None
    return replace(graph, parameters=weights, multiply_adds=products)


def count(graph: bytes, size: tuple[int, int] = SIZE) -> Operations:
    """Count the operations of a float32 ONNX graph whose inputs are pictures (1, C, height, width).

    Args:
        graph: Serialised model. Its free sides are named "height" and "width".
        size: Width and height, pixels.

    Raises:
        RequestError: a shape on which the count depends does not follow from the size, or an operator's
            products are not known.
    """
    model = onnx.load_from_string(graph)
    shapes = _shapes(model, size)
    return Operations(
        multiply_adds=sum(_of_node(node, shapes) for node in model.graph.node),
        parameters=sum(
            math.prod(one.dims)
            for one in model.graph.initializer
            if one.data_type in FLOATS and "." in one.name
        ),
    )


def _shapes(model: onnx.ModelProto, size: tuple[int, int]) -> Mapping[str, Shape]:
    """Shape of every tensor whose shape follows from the pictures' size, by name."""
    sides = dict(zip(("width", "height"), size, strict=True))
    for value in model.graph.input:
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param in sides:
                axis.dim_value = sides[axis.dim_param]
    # What the exporter noted holds for every size, and would stand against this one.
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    found = {one.name: tuple(one.dims) for one in model.graph.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        axes = value.type.tensor_type.shape.dim
        if all(axis.HasField("dim_value") for axis in axes):
            found[value.name] = tuple(axis.dim_value for axis in axes)
    return found


def _of_node(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    """Multiply-adds of one node."""
    what = f"operations of '{node.name}' ({node.op_type}) cannot be counted"

    def shape(name: str) -> Shape:
        if name not in shapes:
            raise RequestError(f"{what}: the shape of '{name}' is open")
        return shapes[name]

    if node.op_type == "Conv":  # the kernel is (out, in / groups, *sides)
        return math.prod(shape(node.output[0])) * math.prod(shape(node.input[1])[1:])
    if node.op_type == "ConvTranspose":  # (in, out / groups, *sides)
        return math.prod(shape(node.input[0])) * math.prod(shape(node.input[1])[1:])
    if node.op_type == "MatMul":
        return math.prod(shape(node.output[0])) * shape(node.input[0])[-1]
    if node.op_type == "Gemm":
        across = any(one.name == "transA" and one.i for one in node.attribute)
        return math.prod(shape(node.output[0])) * shape(node.input[0])[0 if across else 1]
    if node.op_type in OPAQUE:
        raise RequestError(what)
    return 0
