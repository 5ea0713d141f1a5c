"""INT8 as TensorRT takes it, and what the gate says of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from alone import Alone
from onnx import TensorProto, helper, numpy_helper

from tdfusion_edge import bundle
from tdfusion_edge.errors import ExportError, RequestError
from tdfusion_edge.export import int8 as int8_module
from tdfusion_edge.export.fusion import STAY_FLOAT, fusion_feeds
from tdfusion_edge.export.int8 import convolutions, quantised
from tdfusion_edge.export.ranges import Feeds
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.runtime.evaluation.pairs import simulated
from tdfusion_edge.runtime.evaluation.parity import Gap, measure
from tdfusion_edge.runtime.picture.units import unit_inputs

F32 = TensorProto.FLOAT
SHAPE = (1, 1, 48, 48)


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


def compared(model: onnx.ModelProto, made: onnx.ModelProto, shown: list[Feeds]) -> Gap:
    """The first output of both, as the parity of a fusion network measures it."""

    def feeds(_: np.ndarray, visible: np.ndarray) -> Feeds:
        return {"luma": visible[None, None] / np.float32(255)}

    lumas = [np.rint(255 * feeds["luma"][0, 0]).astype(np.uint8) for feeds in shown]
    pairs = [LabelledPair(str(number), luma, luma) for number, luma in enumerate(lumas)]
    return measure(pairs, Alone(model, feeds), Alone(made, feeds))


def test_int8_is_near_and_passes_its_gate(int8: onnx.ModelProto) -> None:
    gap = compared(network(), int8, pictures())
    assert 45 < gap.psnr_db < 90
    assert gap.offences("int8") == []


def test_scales_of_other_pictures_fail_the_gate() -> None:
    """Calibrated in half of the light, everything brighter is clipped."""
    dark = quantised(network(outlier=8), pictures(0.4))
    gap = compared(network(outlier=8), dark, pictures())
    assert any(row.startswith("PSNR") for row in gap.offences("int8"))


@pytest.mark.parametrize("picture", [0.0, 0.5, 1.0, np.nan])
def test_pictures_without_contrast_calibrate_nothing(picture: float) -> None:
    """Black, grey, white, and what is no picture; one good one beside them is enough."""
    flat = {"luma": np.full(SHAPE, picture, np.float32)}
    with pytest.raises(RequestError, match=r"no contrast in 'luma': expected 0\.2 or more"):
        quantised(network(), [flat, flat])
    if np.isfinite(picture):
        quantised(network(), [flat, *pictures()[:1]])


def test_pictures_in_the_dark_calibrate_nothing() -> None:
    with pytest.raises(RequestError, match=r"no contrast in 'luma': .*, got 0\.00 to 0\.06"):
        quantised(network(), pictures(1 / 16))


def test_the_shipped_network_passes_only_as_it_honestly_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scales of black pictures, which cost a fifth of the range, passed once."""
    model = onnx.load_from_string(bundle.read(bundle.default_path()).graph("fusion")[1])
    some, measured = list(simulated(2, (320, 240)))[1:], list(simulated(1, (320, 240)))
    black = [pair._replace(infrared=0 * pair.infrared, visible=0 * pair.visible) for pair in some]
    said = {}
    for name, pairs in (("honest", some), ("black", black)):
        if name == "black":
            monkeypatch.setattr(int8_module, "require_contrast", lambda feeds: None)
        made = quantised(model, fusion_feeds(pairs), STAY_FLOAT.of(convolutions(model)))
        said[name] = measure(measured, *(Alone(one, unit_inputs) for one in (model, made)))
    assert said["honest"].psnr_db > 56
    assert said["honest"].offences("int8") == []
    assert [row.partition(":")[0] for row in said["black"].offences("int8")][:2] == [
        "largest error of the fused luma",
        "PSNR of the fused luma in dB",
    ]


def test_an_export_without_int8_does_not_import_the_quantizer() -> None:
    code = "import sys, tdfusion_edge.export.command; print('onnxruntime.quantization' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


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
