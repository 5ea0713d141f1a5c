"""A segmentation graph made by hand: classes follow from the brightness of the pixels and can be foretold."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto, helper

from tdfusion_edge import bundle

NAMES = ("ground", "dim", "bright")
WIDTH, HEIGHT = 32, 24
"""Of its input."""
LEVELS = (0.35, 0.75)


def bands_graph(levels: tuple[float, float] = LEVELS) -> bytes:
    """Pixels above the first level are the second class, above the second one the third."""
    nodes = [
        helper.make_node("Greater", ["luma", "levels"], ["above"]),
        helper.make_node("Cast", ["above"], ["counts"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["counts", "axis"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["mask"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "bands",
        [helper.make_tensor_value_info("luma", TensorProto.FLOAT, (1, 1, HEIGHT, WIDTH))],
        [helper.make_tensor_value_info("mask", TensorProto.UINT8, (1, HEIGHT, WIDTH))],
        [
            helper.make_tensor("levels", TensorProto.FLOAT, (1, 2, 1, 1), levels),
            helper.make_tensor("axis", TensorProto.INT64, (1,), [1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    raw: bytes = model.SerializeToString()
    return raw


def described(**changes: Any) -> bundle.Graph:
    """What a manifest says about it, but for ``changes``."""
    luma = bundle.TensorInfo(name="luma", dtype="float32", shape=(1, 1, HEIGHT, WIDTH), content="luma")
    mask = bundle.TensorInfo(name="mask", dtype="uint8", shape=(1, HEIGHT, WIDTH), content="classes")
    fields: dict[str, Any] = {
        "files": {"fp32": "segmentation.onnx"},
        "inputs": (luma,),
        "outputs": (mask,),
        "minimum_size": HEIGHT,
        "opset": 18,
    }
    return bundle.Graph(**(fields | changes))
