"""INT8 as TensorRT takes it, its gates, and the measures behind them."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tdfusion_edge.errors import ExportError, RequestError
from tdfusion_edge.export.fidelity import (
    Agreement,
    Feeds,
    agreement,
    psnr,
    require_agreement,
    require_psnr,
)
from tdfusion_edge.export.int8 import convolutions, last_convolutions, quantised, sensitivities

F32 = TensorProto.FLOAT
SHAPE = (1, 1, 32, 32)
Boxes: TypeAlias = npt.NDArray[np.float32]


def network(outlier: float = 0.3) -> onnx.ModelProto:
    """Three convolutions, of which two give what goes out; ``outlier`` is in the weights of the second."""
    random = np.random.default_rng(0)
    weights = {
        "w1": random.normal(0, 0.3, (4, 1, 3, 3)),
        "w2": random.normal(0, 0.3, (1, 4, 1, 1)),
        "w3": random.normal(0, 0.3, (1, 4, 1, 1)),
        "b1": random.normal(0, 0.1, 4),
    }
    weights["w2"][0, 0] = outlier
    nodes = [
        helper.make_node("Conv", ["luma", "w1", "b1"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], "second"),
        helper.make_node("Conv", ["b", "w3"], ["d"], "third"),
        helper.make_node("Sigmoid", ["c"], ["gain"]),
        helper.make_node("Mul", ["gain", "luma"], ["fused"]),
        helper.make_node("Sigmoid", ["d"], ["second_output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("luma", F32, [1, 1, "height", "width"])],
        [helper.make_tensor_value_info(name, F32, None) for name in ("fused", "second_output")],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def pictures(scale: float = 1.0) -> list[Feeds]:
    random = np.random.default_rng(1)
    return [{"luma": np.float32(scale) * random.random(SHAPE, np.float32)} for _ in range(4)]


@pytest.fixture(scope="module")
def int8() -> onnx.ModelProto:
    return quantised(network(), pictures())


def test_only_inputs_and_weights_of_convolutions_are_quantised(int8: onnx.ModelProto) -> None:
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in int8.graph.initializer}
    made = {name: node for node in int8.graph.node for name in node.output}
    count = {op: sum(node.op_type == op for node in int8.graph.node) for op in ("QuantizeLinear", "Conv")}
    assert count == {"QuantizeLinear": 2, "Conv": 3}  # the second and third read one tensor
    for node in int8.graph.node:
        if node.op_type == "Conv":
            assert [made[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
            weight = made[node.input[1]]
            assert weights[weight.input[0]].dtype == np.int8
            assert weights[weight.input[1]].shape == weights[weight.input[0]].shape[:1]  # a scale a channel
            assert all(weights[name].dtype == np.float32 for name in node.input[2:])
            readers = {reader.op_type for reader in int8.graph.node if node.output[0] in reader.input}
            assert readers <= {"Relu", "Sigmoid"}
        if node.op_type.endswith("quantizeLinear") or node.op_type == "QuantizeLinear":
            zero = weights[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()


def test_the_graph_that_was_given_is_not_changed() -> None:
    model = network()
    before = model.SerializeToString()
    quantised(model, pictures()[:1])
    assert model.SerializeToString() == before


def test_int8_is_near_and_passes_its_gate(int8: onnx.ModelProto) -> None:
    real = {f"picture {index}": feeds for index, feeds in enumerate(pictures())}
    found = psnr(network(), int8, real)
    assert list(found) == list(real)
    assert 45 < min(found.values()) < 90
    require_psnr(found, "INT8")
    assert set(psnr(network(), network(), real).values()) == {float("inf")}


def test_scales_of_other_pictures_fail_the_gate() -> None:
    """Calibrated in the dark, everything brighter is clipped."""
    dark = quantised(network(outlier=8), pictures(0.02))
    found = psnr(network(outlier=8), dark, {"dark": pictures(0.02)[0], "bright": pictures()[0]})
    with pytest.raises(ExportError, match=r"INT8 graph is too far .*'bright': expected 40"):
        require_psnr(found, "INT8")
    with pytest.raises(ExportError, match="got nan dB"):
        require_psnr({"a": float("nan"), "b": 50}, "INT8")


def test_what_stays_float_is_left_alone() -> None:
    model = network()
    some = quantised(model, pictures(), ["first"])
    made = {name: node for node in some.graph.node for name in node.output}
    first = next(node for node in some.graph.node if node.name == "first")
    assert first.input[0] == "luma"
    assert first.input[1] not in made
    with pytest.raises(RequestError, match=r"'forth' is no convolution .*: expected one of first, second"):
        quantised(model, pictures(), ["forth"])
    with pytest.raises(ExportError, match="no convolution is left"):
        quantised(model, pictures(), ["first", "second", "third"])
    with pytest.raises(RequestError, match="expected one or more, got none"):
        quantised(model, [])


def test_the_convolution_that_costs_most_comes_first() -> None:
    """The first output shows nothing of the third."""
    model = network(outlier=3)
    real = {"picture": pictures()[0]}
    costs = sensitivities(model, pictures(), lambda made: -min(psnr(model, made, real).values()))
    assert set(costs) == set(convolutions(model))
    # What the third reads is rounded for the second as well, whose weights are not.
    assert costs["second"] > costs["third"]
    assert list(costs) == sorted(costs, key=lambda name: -costs[name])


def test_the_last_convolutions_are_those_that_no_other_follows() -> None:
    assert convolutions(network()) == ["first", "second", "third"]
    assert last_convolutions(network()) == ["second", "third"]


BOXES = np.array([[0, 0, 10, 10], [20, 20, 30, 40], [5, 5, 6, 6]], np.float32)
SCORES = np.array([[0.9, 0.1], [0.2, 0.5], [0.1, 0.1]], np.float32)


def detector(boxes: Boxes = BOXES, scores: Boxes = SCORES) -> onnx.ModelProto:
    """Finds the same wherever it looks."""
    nodes = [helper.make_node("Identity", [f"c_{name}"], [name]) for name in ("boxes", "scores")]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("luma", F32, SHAPE)],
        [helper.make_tensor_value_info(name, F32, None) for name in ("boxes", "scores")],
        [numpy_helper.from_array(boxes[None], "c_boxes"), numpy_helper.from_array(scores[None], "c_scores")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def compare(boxes: Boxes = BOXES, scores: Boxes = SCORES) -> Agreement:
    return agreement(detector(), detector(boxes, scores), {"a": pictures()[0], "b": pictures()[1]}, 0.25)


def test_detectors_are_compared_box_by_box() -> None:
    assert compare() == Agreement(boxes=4, iou=1, kept=1, added=0, score=0)
    require_agreement(compare(), "INT8")
    moved = BOXES + np.array([[5, 0, 5, 0], [0, 0, 0, 0], [9, 9, 9, 9]], np.float32)
    # Half of a 10x10 box beside itself: 50 / 150; the third box is below the threshold.
    assert compare(boxes=moved).iou == pytest.approx((1 / 3 + 1) / 2)
    lower = SCORES - np.array([[0.7, 0], [0, 0], [0, 0]], np.float32)
    assert compare(scores=lower).kept == 0.5
    assert compare(scores=lower).score == pytest.approx(0.35)
    other_class = SCORES[:, ::-1].copy()
    assert compare(scores=other_class).kept == 0
    more = SCORES + np.array([[0, 0], [0, 0], [0, 0.5]], np.float32)
    assert compare(scores=more).added == 0.5
    for bad in (compare(boxes=moved), compare(scores=lower), compare(scores=more)):
        with pytest.raises(ExportError, match="INT8 detector finds something else"):
            require_agreement(bad, "INT8")


def test_a_detector_that_finds_nothing_proves_nothing() -> None:
    blind = agreement(detector(scores=SCORES * 0), detector(), {"a": pictures()[0]}, 0.25)
    assert blind.boxes == 0
    with pytest.raises(ExportError, match="nothing to compare the INT8 detector by"):
        require_agreement(blind, "INT8")
