"""Our kernel as a node of the one-pass graph, in the place of the fusion network.

The network stays beside it as an ONNX function of the node's name, so that the graph says what the node is to
compute: back ends without plugins run the function (ONNX Runtime, TensorRT-RTX), and the gate looks at it.
What makes the node known to TensorRT is :mod:`tdfusion_edge.runtime.engines.tensorrt.plugins`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tdfusion_edge.errors import EngineError, ExportError, RequestError
from tdfusion_edge.runtime.engines.cuda.weights import edge_of, pack
from tdfusion_edge.runtime.engines.tensorrt.plugins.node import NAME, NAMESPACE, VERSION

INPUTS, OUTPUT, WEIGHTS = ("infrared", "visible", "weights"), "fused", f"{NAME}.weights"
ATTRIBUTES: Mapping[str, Any] = {"plugin_namespace": NAMESPACE, "plugin_version": VERSION, "aot": 1}
"""By these TensorRT's parser finds the plugin; the last asks for the one that is compiled ahead of time."""
_CHAIN = (
    *("Concat", "Conv", "Relu", "Conv", "Relu", "Conv", "Relu", "Conv", "Sigmoid"),
    *("Pad", "Conv", "DepthToSpace", "Split"),
)
"""What follows the two lumas, each the only one that takes the last. Left out are casts, and the Slice before
the Split, which a graph for even sizes does not have."""


def require_kernel(fusion: bytes) -> None:
    """Refuse a fusion network that our kernel is not made for.

    Args:
        fusion: Its graph.

    Raises:
        RequestError: it is none.
    """
    try:
        pack(edge_of(fusion))
    except EngineError as error:
        raise RequestError(
            f"--plugins: {error.what}", expected=error.expected, got=error.got, hint="Leave --plugins out."
        ) from error


def placed(onepass: bytes, fusion: bytes) -> bytes:
    """The one-pass graph with our node.

    Args:
        onepass: In FP16.
        fusion: The graph of the same fusion network, in FP16; see :func:`require_kernel`.

    Raises:
        ExportError: the network is not found in the one-pass graph.
    """
    model, network = onnx.load_from_string(onepass), onnx.load_from_string(fusion)
    lumas, fused = _ends(model.graph)
    weights = pack(edge_of(fusion)).view(np.int32)
    node = helper.make_node(NAME, [*lumas, WEIGHTS], [fused], name=NAME, domain=NAMESPACE, **ATTRIBUTES)
    graph = model.graph
    others = [one for one in graph.node if fused not in one.output]
    at = 1 + max((index for index, one in enumerate(others) if set(lumas) & set(one.output)), default=-1)
    kept = _reached([*others[:at], node, *others[at:]], [value.name for value in graph.output])
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for one in kept for name in one.input}
    initializers = [one for one in graph.initializer if one.name in used]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend([*initializers, numpy_helper.from_array(weights, WEIGHTS)])
    model.opset_import.append(helper.make_opsetid(NAMESPACE, int(VERSION)))
    model.functions.append(_function(network))
    onnx.checker.check_model(model, full_check=True)
    raw: bytes = model.SerializeToString()
    return raw


def _ends(graph: onnx.GraphProto) -> tuple[list[str], str]:
    """Names of the two lumas that go into the network, and of what comes out."""
    taken: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            taken.setdefault(name, []).append(node)
    found = [
        (list(node.input), end)
        for node in graph.node
        if node.op_type == "Concat" and len(node.input) == 2 and (end := _end(node, taken)) is not None
    ]
    if len(found) != 1:
        raise ExportError(
            "--plugins: the fusion network is not found in the one-pass graph",
            expected="one",
            got=str(len(found)),
            hint="Leave --plugins out.",
        )
    return found[0]


def _end(node: onnx.NodeProto, taken: dict[str, list[onnx.NodeProto]]) -> str | None:
    """What comes out of the network that begins at a node; None where it is another network."""

    def after(name: str, kind: str) -> onnx.NodeProto | None:
        takers = taken.get(name, [])
        while len(takers) == 1 and takers[0].op_type in ("Cast", "Slice"):
            takers = taken.get(takers[0].output[0], [])
        return takers[0] if len(takers) == 1 and takers[0].op_type == kind else None

    last: onnx.NodeProto | None = node
    for kind in _CHAIN[1:]:
        last = None if last is None else after(last.output[0], kind)
    if last is None:
        return None
    products = [after(name, "Mul") for name in last.output]
    if len(products) != 2 or None in products:
        return None
    sums = {one.output[0] for product in products if product and (one := after(product.output[0], "Add"))}
    cut = after(sums.pop(), "Min") if len(sums) == 1 else None
    return None if cut is None else str(cut.output[0])


def _reached(nodes: list[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes that outputs depend on, in their order."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]


def _function(network: onnx.ModelProto) -> onnx.FunctionProto:
    """The fusion graph as what the node stands for; its weights become constants."""
    graph = network.graph
    constants = [helper.make_node("Constant", [], [one.name], value=one) for one in graph.initializer]
    return helper.make_function(
        NAMESPACE,
        NAME,
        list(INPUTS),
        [OUTPUT],
        [*constants, *graph.node],
        list(network.opset_import),
        list(ATTRIBUTES),
    )
