"""What a network costs on paper: multiply-adds at a size of picture, and numbers that were learned.

Counted are convolutions and matrix products, one multiply-add for each product that is summed; what works
number by number is not (``edge`` blends with 2 a pixel, 0.6 million at 640x480). Papers often print this
count as "FLOPs", which are twice as many.

  python -m benchmarks.operations GRAPH.onnx --size 640x480
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import onnx
from onnx import NodeProto, TensorProto, shape_inference

from benchmarks.script import parse_size
from tdfusion_edge.console import say
from tdfusion_edge.errors import RequestError

Shape: TypeAlias = tuple[int, ...]

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


class Operations(NamedTuple):
    """What one run of a graph costs."""

    multiply_adds: int
    parameters: int
    """Learned numbers: floats that stand under a layer's name, as PyTorch's exporter writes it
    (``stem.weight``). A constant that the exporter made, or a fixed kernel of the network, has none. Of a
    network that learned nothing yet it is too few: the exporter leaves out zeros, and one of two alike."""


def count(graph: bytes, size: tuple[int, int]) -> Operations:
    """Count the operations of a float32 ONNX graph whose inputs are pictures (1, C, height, width).

    Args:
        graph: Serialised model. Its free sides are named "height" and "width".
        size: Width and height, pixels.

    Raises:
        RequestError: a shape on which the count depends does not follow from the size.
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
    """Shape of every tensor whose shape follows from the pictures' size."""
    sides = dict(zip(("width", "height"), size, strict=True))
    for value in model.graph.input:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in sides:
                dimension.dim_value = sides[dimension.dim_param]
    # What the exporter noted holds for every size, and would stand against this one.
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    found = {one.name: tuple(one.dims) for one in model.graph.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        dimensions = value.type.tensor_type.shape.dim
        if all(dimension.HasField("dim_value") for dimension in dimensions):
            found[value.name] = tuple(dimension.dim_value for dimension in dimensions)
    return found


def _of_node(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    """Multiply-adds of one node."""

    def shape(name: str) -> Shape:
        if name not in shapes:
            what = f"operations of '{node.name}' ({node.op_type}) cannot be counted"
            raise RequestError(f"{what}: the shape of '{name}' is open")
        return shapes[name]

    if node.op_type == "Conv":  # the kernel is (out, in / groups, *sides)
        return math.prod(shape(node.output[0])) * math.prod(shape(node.input[1])[1:])
    if node.op_type == "ConvTranspose":  # (in, out / groups, *sides)
        return math.prod(shape(node.input[0])) * math.prod(shape(node.input[1])[1:])
    if node.op_type == "MatMul":
        return math.prod(shape(node.output[0])) * shape(node.input[0])[-1]
    if node.op_type == "Gemm":
        transposed = any(one.name == "transA" and one.i for one in node.attribute)
        return math.prod(shape(node.output[0])) * shape(node.input[0])[0 if transposed else 1]
    if node.op_type in ("Einsum", "LSTM", "GRU", "If", "Loop", "Scan"):
        raise RequestError(f"operations of '{node.name}' ({node.op_type}) cannot be counted")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what graphs cost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operations", description=__doc__)
    parser.add_argument("graphs", nargs="+", type=Path, metavar="GRAPH.onnx")
    parser.add_argument("--size", type=parse_size, default=(640, 480), metavar="WxH")
    args = parser.parse_args(arguments)
    for path in args.graphs:
        found = count(path.read_bytes(), args.size)
        say(f"{path}: {found.multiply_adds / 1e6:.1f} million multiply-adds, {found.parameters:,} parameters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
