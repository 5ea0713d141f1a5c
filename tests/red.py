"""Graphs made by hand that see colours alone: what they find follows from the chroma and can be foretold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import onnx
from onnx import TensorProto, helper

from tdfusion_edge import bundle

WIDTH, HEIGHT = 40, 32
"""Of what they see."""
PLACES = ((4, 4, 12, 20), (24, 8, 36, 16))
"""Where the detector looks, in its pixels."""
CLASSES = ("red",)
INPUTS = {"luma": (1, 1, HEIGHT, WIDTH), "chroma": (1, 2, HEIGHT, WIDTH)}
FINDS = {"boxes": (1, 2, 4), "scores": (1, 2, 1)}


def red_graph(*, colour: bool = True, beside: str = "chroma") -> bytes:
    """A detector with a box at each of two places, whose score is the mean of the first channel within it.

    Args:
        colour: Of what it sees beside the luma, Cr where that is chroma; otherwise of the luma alone.
        beside: Name of what it sees beside the luma.
    """
    seen = beside if colour else "luma"
    nodes, ends = [], []
    for k, (x1, y1, x2, y2) in enumerate(PLACES):
        nodes += [
            helper.make_node("Slice", [seen, f"from{k}", f"to{k}", "axes"], [f"part{k}"]),
            helper.make_node("ReduceMean", [f"part{k}", "axes"], [f"level{k}"], keepdims=1),
        ]
        ends += [
            helper.make_tensor(f"from{k}", TensorProto.INT64, (3,), [0, y1, x1]),
            helper.make_tensor(f"to{k}", TensorProto.INT64, (3,), [1, y2, x2]),
        ]
    nodes += [
        helper.make_node("Concat", ["level0", "level1"], ["levels"], axis=2),
        helper.make_node("Reshape", ["levels", "shape"], ["scores"]),
        helper.make_node("Identity", ["places"], ["boxes"]),
    ]
    ends += [
        helper.make_tensor("axes", TensorProto.INT64, (3,), [1, 2, 3]),
        helper.make_tensor("shape", TensorProto.INT64, (3,), [1, 2, 1]),
        helper.make_tensor("places", TensorProto.FLOAT, (1, 2, 4), [float(v) for one in PLACES for v in one]),
    ]
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (INPUTS | FINDS | {"infrared": INPUTS["luma"]}).items()
    }
    given = [values[name] for name in ("luma", beside) if colour or name == "luma"]
    return _checked(nodes, given, [values[name] for name in FINDS], ends)


def red_mask_graph() -> bytes:
    """A segmentation network: what has a Cr above 0.6 is the second class."""
    nodes = [
        helper.make_node("Gather", ["chroma", "first"], ["cr"], axis=1),
        helper.make_node("Greater", ["cr", "level"], ["red"]),
        helper.make_node("Cast", ["red"], ["mask"], to=TensorProto.UINT8),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in INPUTS.items()]
    mask = helper.make_tensor_value_info("mask", TensorProto.UINT8, (1, HEIGHT, WIDTH))
    ends = [
        helper.make_tensor("first", TensorProto.INT64, (), [0]),
        helper.make_tensor("level", TensorProto.FLOAT, (), [0.6]),
    ]
    return _checked(nodes, inputs, [mask], ends)


def described(beside: str = "chroma", **shapes: tuple[int | str, ...]) -> bundle.Graph:
    """What a manifest says about the detector; ``shapes`` of tensors may be told otherwise."""
    known = INPUTS | FINDS | {"infrared": INPUTS["luma"]} | shapes
    return bundle.Graph(
        files={"fp32": "detector.onnx"},
        inputs=tuple(tensor(name, known[name]) for name in ("luma", beside)),
        outputs=tuple(tensor(name, known[name]) for name in FINDS),
        minimum_size=HEIGHT,
        opset=18,
    )


def write_bundle(folder: Path, fusing: bundle.Bundle, beside: str = "chroma", threshold: float = 0.0) -> Path:
    """The fusion network of ``fusing`` with the detector of :func:`red_graph` behind it, in ``folder``."""
    manifest = fusing.manifest
    info = bundle.HeadInfo(kind="boxes", network="red", classes=CLASSES, score_threshold=threshold)
    fields = {name: getattr(manifest, name) for name in ("name", "network", "strategy", "created")}
    graphs = {**manifest.graphs, "detector": described(beside=beside)}
    files = {**fusing.files, "detector.onnx": red_graph(beside=beside)}
    bundle.write(folder, fields | {"graphs": graphs, "heads": {"detector": info}}, files)
    return folder


def write_labelled(folder: Path, scenes: Sequence[tuple[Any, Any]]) -> None:
    """``ir``, ``vi`` and YOLO ``labels`` of pairs, each with one object, at the place of its number."""
    for part in ("ir", "vi", "labels"):
        (folder / part).mkdir()
    for k, (pair, (x1, y1, x2, y2)) in enumerate(zip(scenes, PLACES, strict=True)):
        for side, picture in zip(("ir", "vi"), pair, strict=True):
            cv2.imwrite(str(folder / side / f"{k}.png"), picture)
        shares = (x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT
        (folder / "labels" / f"{k}.txt").write_text(f"0 {' '.join(map(str, shares))}\n")


def tensor(name: str, shape: tuple[int | str, ...], dtype: str = "float32") -> bundle.TensorInfo:
    """One tensor as a manifest has it."""
    return bundle.TensorInfo(name=name, dtype=dtype, shape=shape, content=name)


def _checked(nodes: list[Any], inputs: list[Any], outputs: list[Any], ends: list[Any]) -> bytes:
    graph = helper.make_graph(nodes, "red", inputs, outputs, ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    raw: bytes = model.SerializeToString()
    return raw
