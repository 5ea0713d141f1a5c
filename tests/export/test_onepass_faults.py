"""Faults planted in the shipped one-pass graph: none leaves the export, and ``verify`` tells each.

Every one is in all precisions alike, so that the graph is equal to itself, and hardly shows in luma.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tdfusion_edge import bundle
from tdfusion_edge.bundle import ONE_PASS, Bundle
from tdfusion_edge.cli import main
from tdfusion_edge.color import luma
from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.gate import passed
from tdfusion_edge.export.pairs import Pairs
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.runtime.evaluation.pairs import simulated

pytestmark = pytest.mark.slow

Fault = Callable[[onnx.ModelProto], None]
SIZE = (416, 320)
LUMA = np.array([0.114, 0.587, 0.299])
"""BT.601, of blue, green and red."""
TO_YCRCB = np.array([LUMA, 0.713 * ([0, 0, 1] - LUMA), 0.564 * ([1, 0, 0] - LUMA)])


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return bundle.read(bundle.default_path())


@pytest.fixture(scope="module")
def pairs() -> tuple[LabelledPair, ...]:
    return tuple(simulated(2, SIZE))


def swapped(axis: int) -> Callable[[onnx.ModelProto, str, str], None]:
    """Plants a reversed order of an axis of 3 (colours) or of 2 (Cr and Cb) between two tensors."""

    def plant(model: onnx.ModelProto, before: str, after: str) -> None:
        order = np.array([1, 0] if axis == 1 else [2, 1, 0])
        add(model, [helper.make_node("Gather", [before, "order"], [after], axis=axis)], order=order)

    return plant


def add(model: onnx.ModelProto, nodes: list[onnx.NodeProto], **constants: np.ndarray) -> None:
    """Nodes at the end; :func:`planted` puts them in order."""
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    model.graph.node.extend(nodes)


def of_output(plant: Callable[[onnx.ModelProto, str, str], None]) -> Fault:
    """A fault between the graph's picture and its output ``fused``."""

    def fault(model: onnx.ModelProto) -> None:
        (last,) = [node for node in model.graph.node if "fused" in node.output]
        last.output[list(last.output).index("fused")] = "bgr"
        plant(model, "bgr", "fused")

    return fault


def in_floats(model: onnx.ModelProto, before: str, after: str, nodes: list[onnx.NodeProto]) -> None:
    """``nodes`` make ``whole`` of ``levels``, the picture in floats."""
    first = helper.make_node("Cast", [before], ["levels"], to=TensorProto.FLOAT)
    last = [
        helper.make_node("Clip", ["whole", "black", "white"], ["clipped"]),
        helper.make_node("Round", ["clipped"], ["rounded"]),
        helper.make_node("Cast", ["rounded"], [after], to=TensorProto.UINT8),
    ]
    limits = {"black": np.float32(0), "white": np.float32(255)}
    add(model, [first, *nodes, *last], **{name: np.array(value) for name, value in limits.items()})


def chroma_in_the_others_place(model: onnx.ModelProto, before: str, after: str) -> None:
    """Cr as Cb and Cb as Cr, by a product of three matrices."""
    whole = np.linalg.inv(TO_YCRCB) @ TO_YCRCB[[0, 2, 1]]
    in_floats(model, before, after, [helper.make_node("MatMul", ["levels", "matrix"], ["whole"])])
    add(model, [], matrix=whole.T.astype(np.float32))


def chroma_a_row_off(model: onnx.ModelProto, before: str, after: str) -> None:
    """What a pixel differs from its luma by, from the row above."""
    shapes = {"first": [0], "second": [1], "last": [-1], "end": [1 << 30], "rows": [0]}
    nodes = [
        helper.make_node("MatMul", ["levels", "weights"], ["grey"]),
        helper.make_node("Sub", ["levels", "grey"], ["difference"]),
        helper.make_node("Slice", ["difference", "first", "last", "rows"], ["most"]),
        helper.make_node("Slice", ["difference", "first", "second", "rows"], ["top"]),
        helper.make_node("Concat", ["top", "most"], ["moved"], axis=0),
        helper.make_node("Add", ["grey", "moved"], ["whole"]),
    ]
    in_floats(model, before, after, nodes)
    weights = LUMA[:, None].astype(np.float32)
    add(model, [], weights=weights, **{name: np.array(value) for name, value in shapes.items()})


def of_detector(model: onnx.ModelProto) -> None:
    """Cr and Cb in each other's place before the detector alone; the picture is as it should be."""
    inputs = bundle.read(bundle.default_path()).graph("detector")[0].inputs
    (shape,) = [tensor.shape for tensor in inputs if tensor.name == "chroma"]
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    (seen,) = [
        value.name
        for value in inferred.graph.value_info
        if tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim) == shape
    ]
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == seen:
                node.input[index] = "turned"
    swapped(1)(model, seen, "turned")


FAULTS: Mapping[str, Fault] = {
    "red and blue": of_output(swapped(2)),
    "Cr and Cb": of_output(chroma_in_the_others_place),
    "a row": of_output(chroma_a_row_off),
    "the detector's Cr and Cb": of_detector,
}
SHOWN = ("red and blue", "Cr and Cb", "a row")


def planted(opened: Bundle, fault: Fault) -> dict[str, bytes]:
    """All files of a bundle, its one-pass graphs with the fault in float32 and in float16."""
    files = {name: raw for name, raw in opened.files.items() if name in opened.manifest.sha256}
    for precision in ("fp32", "fp16"):
        graph, raw = opened.graph(ONE_PASS, precision)  # type: ignore[arg-type]
        model = onnx.load_from_string(raw)
        fault(model)
        in_order(model)
        onnx.checker.check_model(model)
        files[graph.files[precision]] = model.SerializeToString()  # type: ignore[index]
    return files


def in_order(model: onnx.ModelProto) -> None:
    """Every node behind those that it takes something from."""
    known = {value.name for value in (*model.graph.input, *model.graph.initializer)} | {""}
    waiting, sorted_nodes = list(model.graph.node), list[onnx.NodeProto]()
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        assert ready
        sorted_nodes += ready
        known |= {name for node in ready for name in node.output}
        waiting = [node for node in waiting if node not in ready]
    del model.graph.node[:]
    model.graph.node.extend(sorted_nodes)


def fields_of(opened: Bundle) -> dict[str, Any]:
    manifest = msgspec.to_builtins(opened.manifest)
    return {key: value for key, value in manifest.items() if key not in ("format", "sha256")}


def test_the_graph_without_a_fault_is_the_networks(shipped: Bundle, pairs: tuple[LabelledPair, ...]) -> None:
    rows = passed(fields_of(shipped), dict(shipped.files), Pairs(pairs, (), "two pairs"), SIZE)
    (full, low) = [row for row in rows if row.graph == ONE_PASS]
    assert [(row.precision, row.against) for row in (full, low)] == [("fp32", "fp32"), ("fp16", "fp32")]
    assert 0 < full.figures["colour_levels"] <= 2
    assert 0 < low.figures["colour_levels"] <= 4
    assert min(row.figures["boxes"] for row in (full, low)) > 0


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_every_precision_leaves_no_bundle(
    shipped: Bundle, pairs: tuple[LabelledPair, ...], name: str
) -> None:
    files = planted(shipped, FAULTS[name])
    expected = r"largest error of a colour" if name in SHOWN else r"(share of boxes|largest error of a score)"
    with pytest.raises(ExportError, match=rf"the one-pass graph: fp32 is too far from float32: {expected}"):
        passed(fields_of(shipped), files, Pairs(pairs, (), "two pairs"), SIZE)


def test_grey_pairs_hide_nothing(shipped: Bundle, pairs: tuple[LabelledPair, ...]) -> None:
    """Simulated ones in colour are looked at beside them."""
    grey = tuple(pair._replace(colour=None) for pair in pairs[:1])
    with pytest.raises(ExportError, match="simulated pairs in colour: fp32 is too far"):
        passed(fields_of(shipped), planted(shipped, FAULTS["red and blue"]), Pairs(grey, (), "one"), SIZE)
    rows = passed(fields_of(shipped), dict(shipped.files), Pairs(grey, (), "one"), SIZE)
    assert [row.pictures for row in rows if row.graph == ONE_PASS] == ["one", "one"]


@pytest.mark.parametrize(("name", "grey"), [*((name, False) for name in FAULTS), ("red and blue", True)])
def test_verify_tells_it(
    shipped: Bundle,
    pairs: tuple[LabelledPair, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    grey: bool,
) -> None:
    bundle.write(tmp_path / "bundle", fields_of(shipped), planted(shipped, FAULTS[name]))
    for side in ("ir", "vi"):
        (tmp_path / side).mkdir()
    for pair in pairs:
        assert pair.colour is not None
        cv2.imwrite(str(tmp_path / "ir" / f"{pair.name}.png"), pair.infrared)
        cv2.imwrite(str(tmp_path / "vi" / f"{pair.name}.png"), luma(pair.colour) if grey else pair.colour)
    assert main(["verify", str(tmp_path / "bundle"), "--data", str(tmp_path), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["offences"] == []
    said = told["onepass"]["offences"]
    signs = (" of a colour in grey levels",) if name in SHOWN else (" of a score", "share of boxes")
    assert any(sign in line for line in said for sign in signs)
    assert all(line.startswith("simulated pairs in colour: ") == grey for line in said)
