"""A detector graph made by hand, whose boxes follow from the picture's pixels and can be foretold."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tdfusion_edge import bundle

WIDTH, HEIGHT = 32, 24
"""Of its input."""
CLASSES = ("bright", "dim")
LEVELS = ((0.75, 1.5), (0.35, 0.6))
"""Luma of the pixels that each class counts: above the first, below the second."""

NODES = (
    ("Greater", ["luma", "low"], "above"),
    ("Less", ["luma", "high"], "below"),
    ("And", ["above", "below"], "counts"),
    ("Cast", ["counts"], "mask", {"to": TensorProto.FLOAT}),
    ("ReduceMax", ["mask", "rows"], "columns_seen", {"keepdims": 0}),
    ("ReduceMax", ["mask", "columns"], "rows_seen", {"keepdims": 0}),
    ("Cast", ["columns_seen"], "in_column", {"to": TensorProto.BOOL}),
    ("Cast", ["rows_seen"], "in_row", {"to": TensorProto.BOOL}),
    ("Where", ["in_column", "left", "far"], "lefts"),
    ("Where", ["in_column", "right", "zero"], "rights"),
    ("Where", ["in_row", "top", "far"], "tops"),
    ("Where", ["in_row", "bottom", "zero"], "bottoms"),
    ("ReduceMin", ["lefts", "rows"], "x1", {"keepdims": 1}),
    ("ReduceMax", ["rights", "rows"], "x2", {"keepdims": 1}),
    ("ReduceMin", ["tops", "rows"], "y1", {"keepdims": 1}),
    ("ReduceMax", ["bottoms", "rows"], "y2", {"keepdims": 1}),
    ("Concat", ["x1", "y1", "x2", "y2"], "boxes", {"axis": 2}),
    ("Mul", ["luma", "mask"], "counted"),
    ("ReduceMax", ["counted", "both"], "most", {"keepdims": 0}),
    ("Min", ["most", "unit"], "best"),
    ("Unsqueeze", ["best", "one"], "row"),
    ("Mul", ["row", "diagonal"], "scores"),
)


def finder_graph(width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """Finds one box a class, around all pixels of its levels; the score is the highest luma among them.

    A class none of whose pixels is there gets a score of 0.
    """
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    constants: dict[str, Any] = {
        "low": np.array(LEVELS, np.float32)[:, 0].reshape(1, 2, 1, 1),
        "high": np.array(LEVELS, np.float32)[:, 1].reshape(1, 2, 1, 1),
        "rows": np.array([2]),
        "columns": np.array([3]),
        "both": np.array([2, 3]),
        "one": np.array([1]),
        "left": x,
        "right": x + 1,
        "top": y,
        "bottom": y + 1,
        "far": np.float32(1000),
        "zero": np.float32(0),
        "unit": np.float32(1),
        "diagonal": np.eye(2, dtype=np.float32)[None],
    }
    shapes = {"luma": (1, 1, height, width), "boxes": (1, 2, 4), "scores": (1, 2, 2)}
    luma, *outputs = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()
    )
    nodes = [helper.make_node(kind, inputs, [output], **dict(*more)) for kind, inputs, output, *more in NODES]
    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "finder", [luma], outputs, initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    raw: bytes = model.SerializeToString()
    return raw


def described(width: int = WIDTH, height: int = HEIGHT, **shapes: tuple[int | str, ...]) -> bundle.Graph:
    """What a manifest says about it; ``shapes`` of tensors may be told otherwise."""
    true = {"luma": (1, 1, height, width), "boxes": (1, 2, 4), "scores": (1, 2, 2)}
    tensors = [
        bundle.TensorInfo(name=name, dtype="float32", shape=shape, content=name)
        for name, shape in (true | shapes).items()
    ]
    return bundle.Graph(
        files={"fp32": "detector.onnx"},
        inputs=tuple(tensors[:1]),
        outputs=tuple(tensors[1:]),
        minimum_size=min(width, height),
        opset=18,
    )
