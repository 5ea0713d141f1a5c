"""What one pass through an ONNX graph costs, counted from the graph: multiply-adds and weights.

A multiply-add (MAC) is one product that is added to a sum, in a convolution or a product of matrices: half
of what is called FLOPs elsewhere. What works on each element alone (activation, sum, resizing, softmax,
a normalisation that is not folded) is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx
from msgspec.structs import replace
from torch import nn

from tdfusion_edge.bundle import Graph
from tdfusion_edge.errors import ExportError

HEIGHT, WIDTH = 480, 640
"""What most cameras give; operations are stated for it."""
COUNTED = ("Conv", "ConvTranspose", "MatMul", "Gemm")


def counted(graph: Graph, network: nn.Module, raw: bytes) -> Graph:
    """A graph's description with what it costs.

    Args:
        graph: The description.
        network: As it was trained: before anything was folded.
        raw: Its ONNX graph in float32.

    Raises:
        ExportError: the operations cannot be counted.
    """
    weights = sum(parameter.numel() for parameter in network.parameters())
    return replace(graph, parameters=weights, multiply_adds=operations(onnx.load_from_string(raw)))


def operations(model: onnx.ModelProto, height: int = HEIGHT, width: int = WIDTH) -> int:
    """Multiply-adds of one pass.

    Args:
        model: A graph in float32. It is not changed.
        height: Of the pictures that it takes, where their size is free, pixels.
        width: Likewise.

    Raises:
        ExportError: the shape of a tensor that counts does not follow from the graph.
    """
    shapes = _shapes(model, height, width)
    return sum(_of_node(node, shapes) for node in model.graph.node)


def parameters(model: onnx.ModelProto) -> int:
    """Weights and biases of the convolutions and products of matrices of a graph.

    Batch normalisation is folded in a graph, and a weight that belongs to no such node (of a layer
    normalisation, say) cannot be told from a constant: a network may have had a few more when it was trained.
    """
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    used = {name for node in model.graph.node if node.op_type in COUNTED for name in node.input[1:]}
    return sum(sizes.get(name, 0) for name in used)


def _shapes(model: onnx.ModelProto, height: int, width: int) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors whose shape is known, by name."""
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    for value in sized.graph.input:
        free = [axis for axis in value.type.tensor_type.shape.dim if not axis.HasField("dim_value")]
        for axis, side in zip(free, (height, width), strict=False):  # a graph of fixed size has none
            axis.dim_value = side
    for value in sized.graph.output:
        value.type.tensor_type.ClearField("shape")  # its free axes are not free any more
    graph = onnx.shape_inference.infer_shapes(sized, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        axes = value.type.tensor_type.shape.dim
        if all(axis.HasField("dim_value") for axis in axes):
            shapes[value.name] = tuple(axis.dim_value for axis in axes)
    return shapes


def _of_node(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    if node.op_type not in COUNTED:
        return 0
    try:
        first, second, out = (shapes[name] for name in (*node.input[:2], node.output[0]))
    except KeyError as error:
        raise ExportError(
            f"the operations of {node.op_type} '{node.name}' cannot be counted",
            expected="tensors whose shapes follow from the graph",
            got=f"{error} of unknown shape",
        ) from None
    if node.op_type == "Conv":  # (out, in / group, kernel ...)
        return math.prod(out) * math.prod(second[1:])
    if node.op_type == "ConvTranspose":  # (in, out / group, kernel ...)
        return math.prod(first) * math.prod(second[1:])
    across = any(field.name == "transA" and field.i for field in node.attribute)
    return math.prod(out) * (first[0] if across else first[-1])
