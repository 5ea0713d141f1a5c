"""A bundle with our fusion network and a detector made by hand that sees infrared alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper
from red import HEIGHT, WIDTH, tensor

from tdfusion_edge import bundle

PLANES = {"luma": 1, "chroma": 2, "infrared": 1}
QUARTERS = ((0, 0, 20, 16), (20, 0, 40, 16), (0, 16, 20, 32), (20, 16, 40, 32))
"""Its four boxes; the score of each is the mean of infrared in it."""


def warm_bundle(folder: Path, *, colour: bool = True) -> Path:
    """Written into a folder; ``colour``: whether the detector takes chroma too, and ignores it."""
    shipped = bundle.read(bundle.default_path())
    fields = {name: getattr(shipped.manifest, name) for name in ("name", "network", "strategy", "created")}
    fusion = shipped.manifest.graphs[bundle.FUSION]
    info = bundle.HeadInfo(kind="boxes", network="warm", classes=("warm",), score_threshold=0.1)
    planes = [name for name in PLANES if colour or name != "chroma"]
    graphs = {bundle.FUSION: fusion, "detector": _described(planes)}
    files = {name: shipped.files[name] for name in fusion.files.values()}
    bundle.write(
        folder / "warm",
        fields | {"graphs": graphs, "heads": {"detector": info}},
        files | {"detector.onnx": _graph(planes)},
    )
    return folder / "warm"


def _shapes(planes: list[str]) -> dict[str, tuple[int, ...]]:
    seen = {name: (1, PLANES[name], HEIGHT, WIDTH) for name in planes}
    return {**seen, "boxes": (1, 4, 4), "scores": (1, 4, 1)}


def _described(planes: list[str]) -> bundle.Graph:
    tensors = [tensor(name, shape) for name, shape in _shapes(planes).items()]
    return bundle.Graph(
        files={"fp32": "detector.onnx"},
        inputs=tuple(tensors[:-2]),
        outputs=tuple(tensors[-2:]),
        minimum_size=HEIGHT,
        opset=18,
    )


def _graph(planes: list[str]) -> bytes:
    values: list[Any] = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in _shapes(planes).items()
    ]
    half = [HEIGHT // 2, WIDTH // 2]
    nodes = [
        helper.make_node("AveragePool", ["infrared"], ["means"], kernel_shape=half, strides=half),
        helper.make_node("Reshape", ["means", "shape"], ["scores"]),
        helper.make_node("Identity", ["quarters"], ["boxes"]),
    ]
    ends = [
        helper.make_tensor("shape", TensorProto.INT64, (3,), [1, 4, 1]),
        helper.make_tensor("quarters", TensorProto.FLOAT, (1, 4, 4), [float(v) for q in QUARTERS for v in q]),
    ]
    graph = helper.make_graph(nodes, "warm", values[:-2], values[-2:], ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    raw: bytes = model.SerializeToString()
    return raw
