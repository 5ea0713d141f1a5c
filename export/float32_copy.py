"""A half-precision graph copied into float32, and nodes in the copy that measure the others.

See :mod:`~tdfusion_edge.export.ranges`, which runs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.lint import LOW, Typed, label, subgraphs

OPSET = 18
"""From here on every reduction takes its axes as an input, so that one can stand for another."""
PREFIX = "probe/"

ADDS = MappingProxyType(
    {
        **dict.fromkeys(("ReduceSum", "ReduceMean", "ReduceL1", "ReduceLogSum"), "ReduceL1"),
        **dict.fromkeys(("ReduceL2", "ReduceSumSquare"), "ReduceSumSquare"),
    }
)
"""The reduction that gives the sum inside another one: of |x|, or of squares."""


class Probes(NamedTuple):
    """What to ask such a copy for."""

    sizes: Mapping[str, tuple[str, str, str]]
    """FP16 tensor to the outputs that give its max |x|, its sum of squares and its number of elements."""
    sums: Mapping[str, str]
    """Node to the output that gives the sums inside it."""

    @property
    def outputs(self) -> list[str]:
        """All of them."""
        return [name for names in self.sizes.values() for name in names] + list(self.sums.values())


def float32_copy(graph: Typed) -> onnx.ModelProto:
    """A copy in which every FP16 and BF16 tensor, weight and cast is float32; names stay.

    Raises:
        ExportError: the opset is older than 18, or an If, Loop or Scan holds FP16, whose tensors
            cannot be asked for from outside.
    """
    version = max((entry.version for entry in graph.model.opset_import if entry.domain == ""), default=0)
    if version < OPSET:
        raise ExportError(
            "the range test cannot read the graph", expected=f"opset {OPSET} or later", got=str(version)
        )
    for node in graph.model.graph.node:
        for body in subgraphs(node):
            if names := [name for name in _tensors(body) if graph.types.get(name) in LOW]:
                raise ExportError(
                    f"the range test cannot look into {node.op_type} '{label(node)}'",
                    expected="float32 inside",
                    got=f"FP16 in '{names[0]}'",
                    hint="Write x.float() around it in the network's forward.",
                )
    full = onnx.ModelProto()
    full.CopyFrom(graph.model)
    del full.graph.value_info[:]
    for value in (*full.graph.input, *full.graph.output):
        if value.type.tensor_type.elem_type in LOW:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for tensor in full.graph.initializer:
        _raise_tensor(tensor)
    for node in full.graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i in LOW:
                attribute.i = TensorProto.FLOAT
            elif attribute.type == onnx.AttributeProto.TENSOR:
                _raise_tensor(attribute.t)
    return full


def inside(full: onnx.ModelProto, graph: Typed) -> Probes:
    """Add to ``full`` the nodes that measure, and make their results its only outputs."""
    low = {name for name, kind in graph.types.items() if kind == TensorProto.FLOAT16}
    sizes: dict[str, tuple[str, str, str]] = {}
    sums: dict[str, str] = {}
    nodes = list(full.graph.node)
    del full.graph.output[:]
    for tensor in (name for name in _tensors(full.graph) if name in low):
        sizes[tensor] = _add_sizes(full.graph, tensor)
    for node in nodes:
        if node.input and node.input[0] in low and (output := _add_sum(full.graph, node, graph)):
            sums[label(node)] = output
    for names in (*sizes.values(), *((name,) for name in sums.values())):
        for name in names:
            kind = TensorProto.INT64 if name.endswith("/count") else TensorProto.FLOAT
            full.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    return Probes(sizes, sums)


def _tensors(graph: onnx.GraphProto) -> list[str]:
    """Inputs, weights and what nodes give, those of subgraphs among them."""
    names = [value.name for value in graph.input] + [tensor.name for tensor in graph.initializer]
    for node in graph.node:
        names += [name for name in node.output if name]
        for body in subgraphs(node):
            names += _tensors(body)
    return names


def _raise_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in LOW:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _add_sizes(graph: onnx.GraphProto, tensor: str) -> tuple[str, str, str]:
    largest, squares, count = (f"{PREFIX}{tensor}/{what}" for what in ("max", "squares", "count"))
    absolute = f"{PREFIX}{tensor}/abs"
    graph.node.extend(
        [
            helper.make_node("Abs", [tensor], [absolute]),
            helper.make_node("ReduceMax", [absolute], [largest], keepdims=0),
            helper.make_node("ReduceSumSquare", [tensor], [squares], keepdims=0),
            helper.make_node("Size", [tensor], [count]),
        ]
    )
    return largest, squares, count


def _add_sum(full: onnx.GraphProto, node: onnx.NodeProto, graph: Typed) -> str | None:
    """Nodes that give the sums inside ``node``; None where it adds nothing.

    Normalisations add squares over axes that depend on their kind. Where these are not known, more are
    taken, so that a sum is never given too small.
    """
    options = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    op, first, name = node.op_type, node.input[0], f"{PREFIX}{label(node)}/sum"

    def add(kind: str, inputs: Sequence[str], output: str = name, **options: Any) -> str:
        full.node.append(helper.make_node(kind, inputs, [output], **options))
        return output

    def constant(values: npt.ArrayLike, kind: type, what: str) -> str:
        full.initializer.append(numpy_helper.from_array(np.asarray(values, kind), f"{name}/{what}"))
        return f"{name}/{what}"

    def over(start: int) -> list[str]:
        return [first, constant(range(start, _rank(graph, first)), np.int64, "axes")]

    if op in ADDS:
        noop = options.get("noop_with_empty_axes", 0)
        return add(ADDS[op], node.input, keepdims=1, noop_with_empty_axes=noop)
    if op == "ReduceLogSumExp":
        return add("Exp", [node.output[0]])
    if op == "Softmax":  # the largest of e^(x - max) / sum is 1 / sum
        axis = constant([options.get("axis", -1)], np.int64, "axes")
        return add("Reciprocal", [add("ReduceMax", [node.output[0], axis], f"{name}/top")])
    if op == "AveragePool":
        mean = add("AveragePool", [add("Abs", [first], f"{name}/abs")], f"{name}/mean", **options)
        return add("Mul", [mean, constant(np.prod(options["kernel_shape"]), np.float32, "cells")])
    if op == "CumSum":
        return add("ReduceL1", [first])
    if op == "GlobalAveragePool":
        return add("ReduceL1", over(2))
    if op == "InstanceNormalization":
        return add("ReduceSumSquare", over(2))
    if op == "LayerNormalization":
        return add("ReduceSumSquare", over(options.get("axis", -1) % _rank(graph, first)))
    if op.endswith("Normalization") and op != "BatchNormalization":
        return add("ReduceSumSquare", over(1))
    return None


def _rank(graph: Typed, tensor: str) -> int:
    whole = graph.model.graph
    for value in (*whole.value_info, *whole.input, *whole.output):
        if value.name == tensor and value.type.tensor_type.HasField("shape"):
            return len(value.type.tensor_type.shape.dim)
    raise ExportError(f"the number of axes of the tensor '{tensor}' is not known from the graph")
