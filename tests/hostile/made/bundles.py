"""Bundles: the honest one whose fused picture is the mean of both, and what a stranger makes of it."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

GRAPH = "fusion.onnx"
SHAPE = (1, 1, "height", "width")


@lru_cache
def mean_graph() -> bytes:
    """The mean of both."""
    return graph([("Add", ["infrared", "visible"], "sum"), ("Mul", ["sum", "half"], "fused")], half=0.5)


def graph(nodes: list[tuple[Any, ...]], *, shape: tuple[Any, ...] = SHAPE, **constants: Any) -> bytes:
    """A graph with the names of a fusion network.

    Args:
        nodes: Kind, inputs and output of each, and its attributes.
        shape: Of the output, as the graph says it.
        constants: Floats, or arrays as lists of integers.
    """
    tensors = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape if name == "fused" else SHAPE)
        for name in ("infrared", "visible", "fused")
    }
    initial = [
        helper.make_tensor(name, TensorProto.FLOAT, (), [value])
        if isinstance(value, float)
        else helper.make_tensor(name, TensorProto.INT64, (len(value),), value)
        for name, value in constants.items()
    ]
    made = [helper.make_node(kind, inputs, [output], **dict(*more)) for kind, inputs, output, *more in nodes]
    whole = helper.make_graph(made, "made", [*tensors.values()][:2], [tensors["fused"]], initial)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    raw: bytes = model.SerializeToString()
    return raw


def endless_graph() -> bytes:
    """A loop whose condition stays true."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["again"]),
            helper.make_node("Identity", ["carried"], ["carried_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, ()),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("carried_on", TensorProto.FLOAT, None),
        ],
    )
    loop = helper.make_node("Loop", ["", "true", "visible"], ["fused"], body=body)
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE)
        for name in ("infrared", "visible", "fused")
    ]
    true = helper.make_tensor("true", TensorProto.BOOL, (), [True])
    whole = helper.make_graph([loop], "endless", tensors[:2], tensors[2:], [true])
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    raw: bytes = model.SerializeToString()
    return raw


def manifest(content: bytes | None = None, **changes: Any) -> dict[str, Any]:
    """What the manifest of a bundle with this graph says, but for ``changes``."""
    tensors = [
        {"name": name, "dtype": "float32", "shape": list(SHAPE), "content": "luma in [0, 1]"}
        for name in ("infrared", "visible", "fused")
    ]
    described = {
        "files": {"fp32": GRAPH},
        "inputs": tensors[:2],
        "outputs": tensors[2:],
        "minimum_size": 32,
        "opset": 18,
    }
    usual = {
        "format": 3,
        "name": "mean",
        "network": "mean",
        "strategy": "none",
        "created": "2026-01-01",
        "graphs": {"fusion": described},
        "sha256": {GRAPH: hashlib.sha256(mean_graph() if content is None else content).hexdigest()},
    }
    return usual | changes


def write_bundle(folder: Path, content: bytes | None = None, **changes: Any) -> Path:
    """A bundle as a folder."""
    folder.mkdir()
    (folder / GRAPH).write_bytes(mean_graph() if content is None else content)
    (folder / "manifest.json").write_text(json.dumps(manifest(content, **changes)))
    return folder
