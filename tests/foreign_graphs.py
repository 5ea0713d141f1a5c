"""ONNX detectors of every known family, made by hand, whose one box follows from the picture's pixels.

The box lies around all pixels whose red is above :data:`LEVEL`, so that it shows where the picture lies in
the input, in which range, and which channel is red.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = (96, 64)
"""Width and height of the input; its 126 cells are no number of a class."""
LEVEL = 137.0
FAMILIES = ("YOLOX", "YOLOX in pixels", "YOLOv8", "YOLOv8 by rows", "NanoDet")
SCORES = {"bicycle": 0.3, "car": 0.5, "truck": 0.8}
"""Of the box."""
COLUMNS = {"bicycle": 1, "car": 2, "truck": 7}
STRIDE, COLUMN, ROW = 16, 2, 1
"""The cell that the box comes from, in the tests' sizes: not the first one, not of the first stride."""
BINS = 8


class Graph:
    """A graph under construction; every method gives the name of a tensor."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def const(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        array = np.asarray(value)
        floating = array.dtype.kind == "f"
        self.constants.append(numpy_helper.from_array(array.astype(np.float32) if floating else array, name))
        return name

    def op(self, kind: str, *inputs: str, to: str | None = None, **attributes: Any) -> str:
        name = to or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def bytes(self, given: dict[str, Any], outputs: dict[str, Any]) -> bytes:
        values = [
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side.items()]
            for side in (given, outputs)
        ]
        graph = helper.make_graph(self.nodes, "detector", *values, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        raw: bytes = model.SerializeToString()
        return raw


def cells(size: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Stride, column and row of every cell."""
    width, height = size
    return [(s, x, y) for s in (8, 16, 32) for y in range(height // s) for x in range(width // s)]


def detector(family: str, size: tuple[int, int] = SIZE, *, free: bool = False) -> bytes:
    """The graph; ``free``: it does not say which size it takes."""
    graph, (width, height) = Graph(), size
    bgr, level = True, LEVEL
    if family.startswith("YOLOv8"):
        bgr, level = False, LEVEL / 255
    if family == "NanoDet":
        level = (LEVEL - 123.675) / 58.395
    seen, x1, y1, x2, y2 = _box(graph, size, 2 if bgr else 0, level)
    outputs: dict[str, Any] = {}
    if family == "NanoDet":
        _nanodet(graph, size, seen, (x1, y1, x2, y2), outputs)
    else:
        _rows(graph, family, size, seen, (x1, y1, x2, y2), outputs)
    shape = ("n", 3, "h", "w") if free else (1, 3, height, width)
    return graph.bytes({"images": shape}, outputs)


def _box(graph: Graph, size: tuple[int, int], red: int, level: float) -> tuple[str, ...]:
    """Whether there is a box, and its sides, each (1, 1); all 0 where there is none."""
    op, const = graph.op, graph.const
    mask = op("Greater", op("Gather", "images", const(np.int64(red)), axis=1), const(level))
    counted = _cast(graph, mask, TensorProto.FLOAT)
    seen = op("ReduceMax", counted, const(np.array([1, 2])), keepdims=0)
    seen = op("Reshape", seen, const(np.array([1, 1])))
    sides = []
    for side, axis in zip(size, (1, 2), strict=True):
        there = _cast(graph, op("ReduceMax", counted, const(np.array([axis])), keepdims=0), TensorProto.BOOL)
        places = np.arange(side, dtype=np.float32)[None]
        first = op("ReduceMin", op("Where", there, const(places), const(1000.0)), const(np.array([1])))
        last = op("ReduceMax", op("Where", there, const(places + 1), const(0.0)), const(np.array([1])))
        sides.append((op("Mul", first, seen), op("Mul", last, seen)))
    (x1, x2), (y1, y2) = sides
    return seen, x1, y1, x2, y2


def _cast(graph: Graph, tensor: str, kind: int) -> str:
    name = f"t{len(graph.nodes)}"
    graph.nodes.append(helper.make_node("Cast", [tensor], [name], to=kind))
    return name


def _classes() -> Any:
    row = np.zeros((1, 80), np.float32)
    for name, score in SCORES.items():
        row[0, COLUMNS[name]] = score
    return row


def _rows(
    graph: Graph, family: str, size: tuple[int, int], seen: str, box: tuple[str, ...], outputs: dict[str, Any]
) -> None:
    """One output: the row of the box among rows of other cells, whose scores are 0."""
    op, const = graph.op, graph.const
    x1, y1, x2, y2 = box
    centres = [op("Mul", op("Add", a, b), const(0.5)) for a, b in ((x1, x2), (y1, y2))]
    sides = [op("Max", op("Sub", b, a), const(1.0)) for a, b in ((x1, x2), (y1, y2))]
    if family == "YOLOX":
        centres = [
            op("Sub", op("Div", one, const(float(STRIDE))), const(float(cell)))
            for one, cell in zip(centres, (COLUMN, ROW), strict=True)
        ]
        sides = [op("Log", op("Div", one, const(float(STRIDE)))) for one in sides]
    objectness = [seen] if family.startswith("YOLOX") else []
    classes = const(_classes()) if objectness else op("Mul", seen, const(_classes()))
    row = op("Concat", *centres, *sides, *objectness, classes, axis=1)
    columns = 84 + len(objectness)
    places = cells(size)
    others = np.zeros((1, len(places), columns), np.float32)
    if family != "YOLOX":
        others[0, :, :2] = [((x + 0.5) * s, (y + 0.5) * s) for s, x, y in places]
        others[0, :, 2:4] = [(s, s) for s, _, _ in places]
    here = places.index((STRIDE, COLUMN, ROW))
    parts = const(others[:, :here]), op("Unsqueeze", row, const(np.array([1]))), const(others[:, here + 1 :])
    shape = (1, len(places), columns)
    if family == "YOLOv8":
        op("Transpose", op("Concat", *parts, axis=1), to="output", perm=[0, 2, 1])
        outputs["output"] = (1, columns, len(places))
    else:
        op("Concat", *parts, axis=1, to="output")
        outputs["output"] = shape


def _nanodet(
    graph: Graph, size: tuple[int, int], seen: str, box: tuple[str, ...], outputs: dict[str, Any]
) -> None:
    """Six outputs; a side's distribution has its whole weight at both ends, so that its mean is the side."""
    op, const = graph.op, graph.const
    x1, y1, x2, y2 = box
    centre = ((COLUMN + 0.5) * STRIDE, (ROW + 0.5) * STRIDE)
    distances = [op("Sub", const(c), low) for c, low in zip(centre, (x1, y1), strict=True)]
    distances += [op("Sub", high, const(c)) for c, high in zip(centre, (x2, y2), strict=True)]
    rows = []
    for one in distances:
        share = op("Div", one, const(float(STRIDE * (BINS - 1))))
        share = op("Min", op("Max", share, const(1e-6)), const(1 - 1e-6))
        last = op("Log", op("Div", share, op("Sub", const(1.0), share)))
        rows += [const(np.float32([[0.0] + [-100.0] * (BINS - 2)])), last]
    sides, scores = op("Concat", *rows, axis=1), op("Mul", seen, const(_classes()))
    for kind, columns, row in (("cls", 80, scores), ("dis", 4 * BINS, sides)):
        for stride in (8, 16, 32):
            places = [place for place in cells(size) if place[0] == stride]
            name, others = f"{kind}_pred_stride_{stride}", np.zeros((1, len(places), columns), np.float32)
            outputs[name] = others.shape
            if stride != STRIDE:
                op("Identity", const(others), to=name)
                continue
            here = places.index((STRIDE, COLUMN, ROW))
            middle = op("Unsqueeze", row, const(np.array([1])))
            op("Concat", const(others[:, :here]), middle, const(others[:, here + 1 :]), axis=1, to=name)


def constant(*shapes: tuple[int, ...], given: Any = (1, 3, 64, 96), value: float = 0.0) -> bytes:
    """A graph that gives constants of these shapes, whatever it sees."""
    graph = Graph()
    outputs = {}
    for number, shape in enumerate(shapes):
        graph.op("Identity", graph.const(np.full(shape, value, np.float32)), to=f"out{number}")
        outputs[f"out{number}"] = shape
    return graph.bytes({"images": given}, outputs)
