"""Fusion graphs that give, or do, what no fusion network should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tdfusion_edge import bundle

TAILS: dict[str, list[tuple[list[str], str, list[str], str]]] = {
    "whole": [],
    "smaller": [(["mean", "zero4", "less4"], "Slice", [], "fused")],
    "two channels": [(["mean", "mean"], "Concat", ["axis=1"], "fused")],
    "two pictures": [(["mean", "mean"], "Concat", ["axis=0"], "fused")],
    "nan": [(["mean", "not_a_number"], "Add", [], "fused")],
    "infinity": [(["mean", "zero"], "Div", [], "fused")],
    "one nan": [(["mean", "corner"], "ScatterND", [], "fused")],
    "1e30": [(["mean", "huge"], "Mul", [], "fused")],
    "255": [(["mean", "grey"], "Mul", [], "fused")],
}
"""Name of what is wrong with it, to what follows the mean of both pictures."""


def fusion_graph(wrong: str) -> bytes:
    """The mean of two pictures, and what is wrong: a key of :data:`TAILS`, or ``endless``.

    ``endless`` computes without end for a visible picture with a white pixel, and no other.
    """
    shape = (1, 1, "height", "width")
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name in ("infrared", "visible", "fused")
    }
    last = "fused" if wrong == "whole" else "mean"
    nodes = [
        helper.make_node("Add", ["infrared", "visible"], ["sum"]),
        helper.make_node("Mul", ["sum", "half"], [last]),
    ]
    if wrong == "endless":
        nodes += _endless()
    elif wrong == "one nan":
        nodes.append(helper.make_node("ScatterND", ["mean", "place", "one_nan"], ["fused"]))
    else:
        for given, kind, options, gives in TAILS[wrong]:
            axes = {key: int(value) for key, value in (option.split("=") for option in options)}
            nodes.append(helper.make_node(kind, given, [gives], **axes))
    constants = {
        "half": np.float32(0.5),
        "zero": np.float32(0),
        "not_a_number": np.float32(np.nan),
        "huge": np.float32(1e30),
        "grey": np.float32(255),
        "place": np.array([[0, 0, 1, 2]]),
        "one_nan": np.array([np.nan], np.float32),
        "zero4": np.array([0, 0, 0, 0]),
        "less4": np.array([1, 1, 16, 16]),
        "white": np.float32(0.999),
        "axes": np.array([0, 1, 2, 3]),
        "long": np.int64(2**40),
        "yes": np.bool_(True),
    }
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "hostile",
        [values["infrared"], values["visible"]],
        [values["fused"]],
        [
            numpy_helper.from_array(np.asarray(value), name)
            for name, value in constants.items()
            if name in used
        ],
    )
    raw: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    ).SerializeToString()
    return raw


def _endless() -> list[onnx.NodeProto]:
    step = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["goes_on"]),
            helper.make_node("Mul", ["carried", "half"], ["next"]),
        ],
        "step",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, ()),
            helper.make_tensor_value_info("going", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, ()),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, ()),
        ],
    )
    return [
        helper.make_node("ReduceMax", ["visible", "axes"], ["brightest"], keepdims=0),
        helper.make_node("Greater", ["brightest", "white"], ["is_white"]),
        helper.make_node("Cast", ["is_white"], ["as_number"], to=TensorProto.INT64),
        helper.make_node("Mul", ["as_number", "long"], ["steps"]),
        helper.make_node("Loop", ["steps", "yes", "zero"], ["carried_out"], body=step),
        helper.make_node("Add", ["mean", "carried_out"], ["fused"]),
    ]


def write_bundle(path: Path, wrong: str, **fields: object) -> Path:
    """A bundle with such a graph; ``fields`` go into its manifest."""
    tensors = {
        name: bundle.TensorInfo(
            name=name, dtype="float32", shape=(1, 1, "height", "width"), content="luma in [0, 1]"
        )
        for name in ("infrared", "visible", "fused")
    }
    graph = bundle.Graph(
        files={"fp32": "fusion.onnx"},
        inputs=(tensors["infrared"], tensors["visible"]),
        outputs=(tensors["fused"],),
        minimum_size=32,
        opset=18,
    )
    manifest = {
        "name": wrong,
        "network": "mean",
        "strategy": "none",
        "created": "2026-01-01",
        "graphs": {"fusion": graph},
    }
    bundle.write(path, manifest | fields, {"fusion.onnx": fusion_graph(wrong)})
    return path
