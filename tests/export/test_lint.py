"""The lint over half-precision graphs: what it must find, wherever it stands, and what it must let pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.lint import lint, require_clean

F16, F32 = TensorProto.FLOAT16, TensorProto.FLOAT
SHAPE = (1, 4, 8, 8)


def model(
    nodes: Sequence[onnx.NodeProto],
    weights: Sequence[onnx.TensorProto] = (),
    *,
    kind: int = F16,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """Nodes from ``x`` to ``y``."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", kind, SHAPE)],
        [helper.make_tensor_value_info("y", kind, None)],
        list(weights),
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(functions))


def array(name: str, values: object, kind: type = np.float16) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, kind), name)


def one(op: str, *others: str, **options: object) -> onnx.NodeProto:
    return helper.make_node(op, ["x", *others], ["y"], name=f"the_{op}", **options)


AXES = array("axes", [2, 3], np.int64)
FOUR = array("four", [1, 1, 1, 1])
HAZARDS = [
    (one("ReduceL2", "axes"), [AXES], "sums in FP16"),
    (one("ReduceMean", "axes"), [AXES], "sums in FP16"),
    (one("ReduceSum"), [], "sums in FP16"),
    (one("GlobalAveragePool"), [], "sums in FP16"),
    (one("CumSum", "axis"), [array("axis", 1, np.int64)], "sums in FP16"),
    (one("Einsum", equation="bchw->bc"), [], "sums in FP16"),
    (one("LpNormalization"), [], "normalises in FP16"),
    (one("InstanceNormalization", "four", "four"), [FOUR], "normalises in FP16"),
    (one("BatchNormalization", *["four"] * 4), [FOUR], "normalises in FP16"),
    (one("LayerNormalization", "eight"), [array("eight", np.ones(8))], "normalises in FP16"),
    (one("Softmax"), [], "leaves the range of FP16"),
    (one("LogSoftmax"), [], "leaves the range of FP16"),
    (one("Exp"), [], "leaves the range of FP16"),
    (one("Log"), [], "leaves the range of FP16"),
    (one("Pow", "two"), [array("two", 2, np.float32)], "leaves the range of FP16"),
]


@pytest.mark.parametrize(("node", "weights", "why"), HAZARDS, ids=lambda value: getattr(value, "op_type", ""))
def test_a_hazard_in_fp16_is_found_and_in_float32_is_none(
    node: onnx.NodeProto, weights: list[onnx.TensorProto], why: str
) -> None:
    (found,) = lint(model([node], weights))
    assert (found.node, found.op) == (node.name, node.op_type)
    assert why in found.why
    full = [
        array(tensor.name, numpy_helper.to_array(tensor), np.float32) if tensor.data_type == F16 else tensor
        for tensor in weights
    ]
    assert lint(model([node], full, kind=F32)) == []


def test_bfloat16_is_no_better() -> None:
    (found,) = lint(model([one("ReduceMean")], kind=TensorProto.BFLOAT16))
    assert "BF16" in found.why


def test_what_adds_nothing_or_stands_between_casts_passes() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["full"], to=F32),
        helper.make_node("ReduceL2", ["full", "axes"], ["norm"]),
        helper.make_node("Softmax", ["full"], ["soft"]),
        helper.make_node("Cast", ["norm"], ["low"], to=F16),
        helper.make_node("ReduceMax", ["low", "axes"], ["max"]),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("ReduceProd", ["shape"], ["count"]),
        helper.make_node("Mul", ["x", "max"], ["y"]),
    ]
    assert lint(model(nodes, [AXES])) == []
    require_clean(model(nodes, [AXES]))


def test_the_error_names_the_first_and_counts_the_others() -> None:
    nodes = [
        helper.make_node("Exp", ["x"], ["a"], name="first"),
        helper.make_node("Exp", ["a"], ["b"]),
        helper.make_node("Log", ["b"], ["y"]),
    ]
    with pytest.raises(ExportError, match=r"not safe: Exp 'first' leaves .*FP16 .*\(and 2 more\)"):
        require_clean(model(nodes))
    assert [found.node for found in lint(model(nodes))] == ["first", "b", "y"]


def test_subgraphs_are_looked_into() -> None:
    def body(name: str, op: str) -> onnx.GraphProto:
        inner = helper.make_node(op, ["x"], [name], name=f"inner_{op}")
        return helper.make_graph([inner], name, [], [helper.make_tensor_value_info(name, F16, None)])

    condition = array("condition", True, np.bool_)
    node = helper.make_node(
        "If", ["condition"], ["y"], "choose", then_branch=body("a", "Exp"), else_branch=body("b", "Neg")
    )
    (found,) = lint(model([node], [condition]))
    assert (found.node, found.op) == ("choose/inner_Exp", "Exp")


def test_functions_are_looked_into() -> None:
    inner = helper.make_node("ReduceMean", ["a"], ["b"], name="hidden")
    function = helper.make_function("own", "Mean", ["a"], ["b"], [inner], [helper.make_opsetid("", 18)])
    call = helper.make_node("Mean", ["x"], ["y"], domain="own")
    (found,) = lint(model([call], functions=[function]))
    assert found.op == "ReduceMean"
    assert "hidden" in found.node


def test_an_unknown_type_is_no_excuse() -> None:
    nodes = [
        helper.make_node("Unknown", ["x"], ["a"], domain="own"),
        helper.make_node("Exp", ["a"], ["b"], name="blind"),
        helper.make_node("Other", ["b"], ["y"], domain="own"),
    ]
    (found,) = lint(model(nodes))
    assert found.node == "blind"
    assert "unknown type" in found.why


def weighted(weight: object, bias: object = (0.0, 0.0)) -> onnx.ModelProto:
    conv = helper.make_node("Conv", ["x", "weight", "bias"], ["y"])
    return model([conv], [array("weight", weight), array("bias", bias)])


def test_weights_that_fp16_made_infinite_are_found() -> None:
    weight = np.ones((2, 4, 1, 1))
    weight[0, 1] = np.inf
    (found,) = lint(weighted(weight))
    assert (found.node, found.op) == ("weight", "weight")
    assert "1 of 8 values that FP16 made infinite" in found.why
    constant = helper.make_node("Constant", [], ["c"], "big", value=array("c", [np.inf]))
    (found,) = lint(model([constant, one("Add", "c")]))
    assert (found.node, found.op) == ("big", "Constant")


def test_weights_below_the_normal_numbers_are_found_where_they_are_the_layer() -> None:
    random = np.random.default_rng(0)
    small = random.normal(0, 5e-6, (2, 4, 3, 3))
    (found,) = lint(weighted(small))
    assert "vanishes: 71 of 71" in found.why  # one of 72 became 0
    # A few small ones among others, a layer of zeros, and a bias, which only adds.
    assert lint(weighted(np.where(random.random(small.shape) < 0.2, small, 0.1))) == []
    assert lint(weighted(small * 0, (1e-7, 2e-7))) == []
    # A linear layer is a product and a sum; what is added elsewhere may be a divisor's epsilon.
    bias, even = array("bias", (1e-7, 2e-7)), array("weight", np.full((4, 2), 0.1))
    linear = [
        helper.make_node("MatMul", ["x", "weight"], ["rows"]),
        helper.make_node("Add", ["rows", "bias"], ["y"]),
    ]
    assert lint(model(linear, [even, bias])) == []
    halves = helper.make_node("Split", ["rows"], ["left", "right"], axis=0, num_outputs=2)
    assert (
        lint(model([linear[0], halves, helper.make_node("Add", ["left", "bias"], ["y"])], [even, bias])) == []
    )
    (found,) = lint(model([helper.make_node("Add", ["x", "bias"], ["y"])], [bias]))
    assert found.node == "bias"
    # The least norm that is divided by: 1e-6 is 17 spacings, and off by up to 3 in a hundred.
    (found,) = lint(model([one("Max", "eps")], [array("eps", 1e-6)]))
    assert found.node == "eps"
