"""What a half-precision ONNX graph must not hold, read from the graph alone.

A sum over a picture, a norm, an exponential or a power in FP16 loses its value without a sign: no NaN,
no warning, a plausible picture. ONNX Runtime computes such nodes in float32 on a CPU, and so hides
them; an engine that runs the graph in the types that stand in it does not. So they are refused by
type, whatever numbers the network has today.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, inliner, numpy_helper, shape_inference

from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.fp16 import ROUNDING, SMALLEST_NORMAL

LOW = {TensorProto.FLOAT16: "FP16", TensorProto.BFLOAT16: "BF16"}

SUMS = "sums in {}, where 65,504 is the largest number"
NORMALISES = "normalises in {}: the sum of squares passes 65,504 or the quotient vanishes"
EXPONENT = "leaves the range of {} at once in one direction or the other"
BY_NAME = {
    **dict.fromkeys(("GlobalAveragePool", "GlobalLpPool", "LpPool", "CumSum", "CumProd", "Einsum"), SUMS),
    **dict.fromkeys(("LRN", "Attention", "MultiHeadAttention", "GroupQueryAttention"), NORMALISES),
    **dict.fromkeys(("Pow", "Exp", "Log"), EXPONENT),
}
TAKES_ONE = ("ReduceMax", "ReduceMin")
"""Reductions that pick a number and add none."""
ADDED = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2}
"""Which input of an operation is its bias."""
PARTS = ("Split", "Reshape", "Transpose")
"""What may stand between a product and its bias: the simplifier makes one product of several of one input."""


class Finding(NamedTuple):
    """What is wrong with one node or weight."""

    node: str
    """Its name, with the node's whose subgraph it stands in."""
    op: str
    why: str

    def __str__(self) -> str:
        return f"{self.op} '{self.node}' {self.why}"


class Typed(NamedTuple):
    """A graph in which every tensor's type stands."""

    model: onnx.ModelProto
    """With functions inlined."""
    types: dict[str, int]
    """Element type by the name of the tensor, those of subgraphs among them."""


def lint(model: onnx.ModelProto) -> list[Finding]:
    """Every node and weight of FP16 or BF16 that must be float32, in the graph's order.

    Reductions but for the maximum and minimum, cumulative sums, Einsum, global and Lp pools;
    normalisations, attention and softmax; powers, exponentials and logarithms; constants and weights
    that are infinite, or so small that FP16 does not hold them. Average pools are left to the range
    test: their window bounds their sum. Subgraphs and functions are looked into.
    """
    whole, types = typed(model)
    return [*_nodes(whole.graph, types, ""), *_weights(whole.graph, "")]


def require_clean(model: onnx.ModelProto) -> None:
    """Refuse a graph with findings.

    Raises:
        ExportError: it names the first and counts the others.
    """
    found = lint(model)
    if found:
        others = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ExportError(
            f"the half-precision graph is not safe: {found[0]}{others}",
            hint="Write x.float() around it in the network's forward, or export in FP32.",
        )


def typed(model: onnx.ModelProto) -> Typed:
    """The graph with functions inlined, and the type of every tensor whose type is known."""
    whole = inliner.inline_local_functions(model) if model.functions else model
    whole = shape_inference.infer_shapes(whole)
    types: dict[str, int] = {}
    for graph in _graphs(whole.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            types[value.name] = value.type.tensor_type.elem_type
        types.update({tensor.name: tensor.data_type for tensor in graph.initializer})
        for node in graph.node:
            if node.op_type == "Constant" and (array := constant(node)) is not None:
                types[node.output[0]] = array.data_type
    return Typed(whole, types)


def label(node: onnx.NodeProto) -> str:
    """Its name, or the name of what it gives where it has none."""
    return node.name or next((name for name in node.output if name), "without a name")


def constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The tensor of a Constant node; None where it holds a plain number, which is never FP16."""
    return next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The bodies of an If, Loop or Scan."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for body in subgraphs(node):
            yield from _graphs(body)


def _nodes(graph: onnx.GraphProto, types: dict[str, int], where: str) -> Iterator[Finding]:
    for node in graph.node:
        reason = _reason(node.op_type)
        if reason is not None:
            names = [name for name in (*node.input, *node.output) if name]
            kinds = {types.get(name, TensorProto.UNDEFINED) for name in names}
            low = next((LOW[kind] for kind in LOW if kind in kinds), None)
            if low is not None:
                yield Finding(where + label(node), node.op_type, reason.format(low))
            elif all(kind == TensorProto.UNDEFINED for kind in kinds):
                yield Finding(where + label(node), node.op_type, "has tensors of unknown type")
        for body in subgraphs(node):
            yield from _nodes(body, types, f"{where}{label(node)}/")


def _reason(op: str) -> str | None:
    if op.startswith("Reduce") and op not in TAKES_ONE:
        return SUMS
    if op.endswith("Normalization"):
        return NORMALISES
    return EXPONENT if "Softmax" in op else BY_NAME.get(op)


def _weights(graph: onnx.GraphProto, where: str) -> Iterator[Finding]:
    biases = _biases(graph)
    for tensor in graph.initializer:
        if why := _ill(tensor, is_bias=tensor.name in biases):
            yield Finding(where + tensor.name, "weight", why)
    for node in graph.node:
        tensor_or_none = constant(node) if node.op_type == "Constant" else None
        if tensor_or_none is not None and (why := _ill(tensor_or_none, is_bias=node.output[0] in biases)):
            yield Finding(where + label(node), "Constant", why)
        for body in subgraphs(node):
            yield from _weights(body, f"{where}{label(node)}/")


def _biases(graph: onnx.GraphProto) -> set[str]:
    """What is added to the output of a convolution or matrix product; a linear layer is often MatMul and Add.

    Not what any other Add adds: an epsilon below a fraction bar is as small, and is there to be seen.
    """
    products: set[str] = set()
    found: set[str] = set()
    for node in graph.node:  # whose inputs come first
        if node.op_type == "MatMul" or (node.op_type in PARTS and node.input[0] in products):
            products.update(node.output)
        elif node.op_type in ADDED and len(node.input) > ADDED[node.op_type]:
            found.add(node.input[ADDED[node.op_type]])
        elif node.op_type == "Add" and products.intersection(node.input):
            found.update(name for name in node.input if name not in products)
    return found


def _ill(tensor: onnx.TensorProto, *, is_bias: bool) -> str | None:
    """Why a constant cannot be FP16; a small bias can, because it adds: what is lost is at most 3e-8."""
    if tensor.data_type != TensorProto.FLOAT16:
        return None
    values = numpy_helper.to_array(tensor).astype(np.float64)
    if not np.isfinite(values).all():
        return (
            f"has {int((~np.isfinite(values)).sum())} of {values.size} values that FP16 made infinite or NaN"
        )
    error = subnormal_error(values)
    if is_bias or error <= ROUNDING:
        return None
    small = np.count_nonzero((values != 0) & (np.abs(values) < SMALLEST_NORMAL))
    return (
        f"vanishes: {small} of {np.count_nonzero(values)} values that are not 0 lie below FP16's normal "
        f"numbers (6.1e-05), a relative error of {error:.1e} where {ROUNDING:.1e} is allowed"
    )


def subnormal_error(values: npt.NDArray[np.float64]) -> float:
    """Relative error, root mean square, of FP16 numbers below 2^-14; their spacing there is 2^-24.

    What was rounded to zero is gone from the graph and cannot be counted;
    :func:`~tdfusion_edge.export.fp16.half`, which sees both, counts it.
    """
    energy = float(np.square(values).sum())
    small = np.count_nonzero((values != 0) & (np.abs(values) < SMALLEST_NORMAL))
    return float((small * 2.0**-48 / 12 / energy) ** 0.5) if energy else 0.0
