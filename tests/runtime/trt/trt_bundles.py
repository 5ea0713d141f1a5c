"""Bundles of tiny graphs, which the stand-in builds and runs."""

from __future__ import annotations

from typing import Any

import onnx
import trt_graphs as graphs
from onnx import helper

from tdfusion_edge import bundle
from tdfusion_edge.bundle import Bundle, Graph, HeadInfo, Precision, TensorInfo


def info(name: str, shape: tuple[int | str, ...] = graphs.FREE) -> TensorInfo:
    return TensorInfo(name=name, dtype="float32", shape=shape, content="")


def described(
    files: dict[Precision, str],
    inputs: tuple[str, ...] = ("infrared", "visible"),
    outputs: tuple[str, ...] = ("fused", "difference"),
    shape: tuple[int | str, ...] = graphs.FREE,
) -> Graph:
    return Graph(
        files=files,
        inputs=tuple(info(name, shape) for name in inputs),
        outputs=tuple(info(name, shape) for name in outputs),
        minimum_size=4,
        opset=17,
    )


def manifest_of(raw: bytes) -> Graph:
    """What a right manifest says about a graph."""
    made = onnx.load_from_string(raw)

    def info_of(value: Any) -> TensorInfo:
        kind, axes = value.type.tensor_type.elem_type, value.type.tensor_type.shape.dim
        return TensorInfo(
            name=value.name,
            dtype=str(helper.tensor_dtype_to_np_dtype(kind)),
            shape=tuple(a.dim_value if a.HasField("dim_value") else a.dim_param for a in axes),
            content="",
        )

    return Graph(
        files={"fp32": "graph.onnx"},
        inputs=tuple(map(info_of, made.graph.input)),
        outputs=tuple(map(info_of, made.graph.output)),
        minimum_size=1,
        opset=next(one.version for one in made.opset_import if one.domain == ""),
    )


def fields(graphs_: dict[str, Graph]) -> dict[str, Any]:
    """Of a manifest; a graph beside fusion and one pass is that of a head."""
    heads = {
        name: HeadInfo(kind="boxes", network="n", classes=("a",), score_threshold=0.5)
        for name in graphs_
        if name not in ("fusion", "onepass")
    }
    return {
        "name": "tiny",
        "network": "n",
        "strategy": "s",
        "created": "2026-01-01",
        "graphs": graphs_,
        "heads": heads,
    }


def fusing() -> Bundle:
    """Fusion of free size in float32."""
    return bundle.assembled(
        fields({"fusion": described({"fp32": "fusion.onnx"})}), {"fusion.onnx": graphs.blend()}
    )


def with_detector() -> Bundle:
    """Fusion in two precisions, and what stands for a detector: of fixed size, in float32 alone."""
    fixed = (1, 1, 8, 12)
    files = {
        "fusion.onnx": graphs.one_picture(),
        "fusion.fp16.onnx": graphs.half_inside(),
        "detector.onnx": graphs.blend(shape=fixed),
    }
    fusion = described({"fp32": "fusion.onnx", "fp16": "fusion.fp16.onnx"}, ("infrared",), ("fused",))
    detector = described({"fp32": "detector.onnx"}, shape=fixed)
    return bundle.assembled(fields({"fusion": fusion, "detector": detector}), files)
