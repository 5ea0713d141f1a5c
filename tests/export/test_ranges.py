"""The range test: overflow, inner sums and vanishing products are found and named, healthy graphs pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.fp16 import LARGEST, ROUNDING
from tdfusion_edge.export.lint import lint
from tdfusion_edge.export.ranges import MARGIN, Feeds, Row, hard_inputs, measure, require_in_range
from tdfusion_edge.images import list_images, read_image

F16, F32 = TensorProto.FLOAT16, TensorProto.FLOAT
SIDE = 64
SHAPE = (1, 2, SIDE, SIDE)


def worst(rows: tuple[Row, ...], kind: str) -> Row | None:
    return next((row for row in rows if row.kind == kind), None)


def graph(*nodes: onnx.NodeProto, weights: Sequence[onnx.TensorProto] = ()) -> onnx.ModelProto:
    """FP16 nodes from ``low``, the float32 input in FP16, to ``y``."""
    body = [helper.make_node("Cast", ["x"], ["low"], "enter", to=F16), *nodes]
    made = helper.make_graph(
        body,
        "test",
        [helper.make_tensor_value_info("x", F32, [1, 2, "height", "width"])],
        [helper.make_tensor_value_info("y", F16, None)],
        list(weights),
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def array(name: str, values: object, kind: type = np.float16) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, kind), name)


def node(op: str, inputs: str, output: str = "y", **options: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), [output], name=f"the_{op}", **options)


def noise(scale: float = 1.0, seed: int = 0) -> dict[str, Feeds]:
    random = np.random.default_rng(seed)
    return {"noise": {"x": (random.standard_normal(SHAPE) * scale).astype(np.float32)}}


def full_size(scale: float = 1.0) -> dict[str, Feeds]:
    """640x480 pixels of this standard deviation."""
    random = np.random.default_rng(0)
    return {"large": {"x": np.float32(scale) * random.standard_normal((1, 2, 480, 640), np.float32)}}


SPATIAL = array("axes", [2, 3], np.int64)


def test_a_value_that_does_not_fit_is_named_with_its_picture() -> None:
    model = graph(node("Mul", "low gain"), weights=[array("gain", 300)])
    pictures = {
        "calm": {"x": np.full(SHAPE, 0.1, np.float32)},
        "bright": {"x": np.full(SHAPE, 60.0, np.float32)},
    }
    with pytest.raises(
        ExportError, match=r"does not hold Mul 'the_Mul' on the picture 'bright' \(value of tensor 'y'\)"
    ) as error:
        require_in_range(model, pictures)
    # 18,000 is below the largest number and above a quarter of it.
    assert error.value.expected == f"at most {LARGEST / MARGIN:.3g}"
    assert error.value.got == "1.8e+04"
    del pictures["bright"]
    row = worst(require_in_range(model, pictures), "value")
    assert row is not None
    # 0.1 x 300 in float32, from weights as FP16 has them.
    assert (row.node, row.got) == ("the_Mul", pytest.approx(30))


def released_norm() -> list[onnx.NodeProto]:
    """x / max(||x||_2, eps) with the norm over all pixels, in FP16, as the exporter writes F.normalize."""
    return [
        node("ReduceL2", "low axes", "norm", keepdims=1),
        node("Max", "norm eps", "safe"),
        node("Div", "low safe", "unit"),
    ]


def test_the_norm_over_all_pixels_of_the_released_code_is_caught_twice() -> None:
    """640x480 pixels of standard deviation 1: squares add up to 307,200, the norm itself is 554."""
    weights = [SPATIAL, array("eps", 1e-4)]
    model = graph(*released_norm(), node("Identity", "unit"), weights=weights)
    assert [(found.node, found.op) for found in lint(model)] == [("the_ReduceL2", "ReduceL2")]
    large = full_size()
    with pytest.raises(ExportError, match=r"hold ReduceL2 'the_ReduceL2' .*'large' \(sum of") as error:
        require_in_range(model, large)
    assert float(error.value.got or "nan") == pytest.approx(307_200, rel=0.01)
    # Every tensor would fit: only the sum inside does not.
    values = [row for row in measure(model, large).rows if row.kind == "value"]
    assert max(row.got for row in values) < 600


@pytest.mark.parametrize("how", ["Mul", "MatMul"])
def test_the_products_of_the_released_attention_are_caught(how: str) -> None:
    """Normalised elements are 1/sqrt(HW) and their products 1/HW: 1/307,200 has 5 bits left in FP16."""
    weights = [SPATIAL, array("eps", 1e-4), array("rows", [1, 2, -1], np.int64)]
    unit = [*released_norm(), node("Reshape", "unit rows", "flat")]
    if how == "Mul":
        products = [node("Mul", "flat flat")]
    else:
        turned = helper.make_node("Transpose", ["flat"], ["turned"], perm=[0, 2, 1])
        products = [turned, node("MatMul", "flat turned")]
    model = graph(*unit, *products, weights=weights)
    quiet = full_size(0.1)
    kind = "product" if how == "Mul" else "products inside"
    with pytest.raises(ExportError, match=rf"{how} 'the_{how}' on the picture 'large' \({kind} of") as error:
        require_in_range(model, quiet)
    assert error.value.expected == "a relative rounding error of at most 0.000977"
    # Of x y with unit variances over HW: the error is 2^-24 / sqrt(12), the product sqrt(3) or 1 over HW.
    expected = 2**-24 / 12**0.5 * 307_200 / (3**0.5 if how == "Mul" else 1)
    assert float(error.value.got or "nan") == pytest.approx(expected, rel=0.2)
    # At 64x64 the products are 1/4,096, which FP16 holds.
    assert all(row.got < ROUNDING for row in measure(model, noise()).rows if row.kind == kind)


def test_the_same_norm_as_a_mean_in_float32_passes_both() -> None:
    nodes = [
        node("Cast", "low", "full", to=F32),
        node("ReduceL2", "full axes", "norm", keepdims=1),
        helper.make_node("Div", ["full", "norm"], ["unit"]),
        helper.make_node("Cast", ["unit"], ["y"], to=F16),
    ]
    model = graph(*nodes, weights=[SPATIAL])
    large = full_size()
    assert lint(model) == []
    assert {row.node for row in require_in_range(model, large).rows} == {"enter", "y"}


SUMS = [
    (node("ReduceMean", "low axes"), lambda x: np.abs(x).sum((2, 3)).max()),
    (node("ReduceSum", "low axes"), lambda x: np.abs(x).sum((2, 3)).max()),
    (node("ReduceSum", "low"), lambda x: np.abs(x).sum()),
    (node("ReduceSumSquare", "low axes"), lambda x: np.square(x).sum((2, 3)).max()),
    (node("GlobalAveragePool", "low"), lambda x: np.abs(x).sum((2, 3)).max()),
    (node("InstanceNormalization", "low two two"), lambda x: np.square(x).sum((2, 3)).max()),
    (node("LayerNormalization", "low row", axis=-1), lambda x: np.square(x).sum(-1).max()),
    (node("Softmax", "low", axis=-1), lambda x: np.exp(x - x.max(-1, keepdims=True)).sum(-1).max()),
    (
        node("AveragePool", "low", kernel_shape=[4, 4], strides=[4, 4]),
        lambda x: np.abs(x).reshape(1, 2, SIDE // 4, 4, SIDE // 4, 4).sum((3, 5)).max(),
    ),
]


@pytest.mark.parametrize(("one", "by_hand"), SUMS, ids=lambda value: getattr(value, "op_type", ""))
def test_the_sum_inside_a_reduction_is_what_it_is_by_hand(one: onnx.NodeProto, by_hand: object) -> None:
    model = graph(one, weights=[SPATIAL, array("two", [1, 1]), array("row", np.ones(SIDE))])
    pictures = noise()
    row = worst(measure(model, pictures), "sum")
    assert row is not None
    assert row.node == one.name
    assert row.got == pytest.approx(by_hand(pictures["noise"]["x"]), rel=1e-4)  # type: ignore[operator]


def test_what_cancels_is_silence_and_no_vanished_product() -> None:
    """A derivative of a constant picture is what rounding leaves of it, far below 2^-14."""
    weight = array("weight", [[[[0.3, -0.3]]], [[[0.7, -0.7]]]])
    model = graph(node("Conv", "low weight", "edges", group=2), node("Mul", "edges edges"), weights=[weight])
    constant = {"x": np.full(SHAPE, 0.3, np.float32)}
    constant["x"] += 1e-7 * np.arange(SIDE, dtype=np.float32)
    both = noise() | {"constant": constant}
    require_in_range(model, both)
    # On its own it is all that there is.
    with pytest.raises(ExportError, match="product of tensor"):
        require_in_range(model, {"constant": constant})


def test_zeros_are_no_vanished_products_and_nan_is_refused() -> None:
    model = graph(node("Mul", "low low"))
    rows = require_in_range(model, {"black": {"x": np.zeros(SHAPE, np.float32)}})
    assert [row.kind for row in rows] == ["value", "value"]
    division = graph(node("Div", "low low"))
    with pytest.raises(ExportError, match=r"Div 'the_Div' on the picture 'black'(?s:.*)got nan"):
        require_in_range(division, noise() | {"black": {"x": np.zeros(SHAPE, np.float32)}})


def test_half_precision_inside_a_subgraph_is_refused() -> None:
    def body(name: str) -> onnx.GraphProto:
        inner = helper.make_node("Neg", ["low"], [name])
        return helper.make_graph([inner], name, [], [helper.make_tensor_value_info(name, F16, None)])

    choose = helper.make_node("If", ["c"], ["y"], "choose", then_branch=body("a"), else_branch=body("b"))
    model = graph(choose, weights=[array("c", True, np.bool_)])
    with pytest.raises(ExportError, match="look into If 'choose': expected float32 inside, got FP16 in"):
        measure(model, noise())


def test_the_hard_pictures_are_what_they_say() -> None:
    shape = (1, 1, 6, 8)
    hard = hard_inputs({"infrared": shape, "visible": shape})
    for name, feeds in hard.items():
        for picture in feeds.values():
            assert (picture.shape, picture.dtype) == (shape, np.float32)
            assert 0 <= picture.min() <= picture.max() <= 1, name
    assert hard["saturated"]["visible"].min() == 1
    assert hard["black"]["infrared"].max() == 0
    assert len(np.unique(hard["white noise"]["infrared"])) == 48
    assert not np.array_equal(hard["white noise"]["infrared"], hard["white noise"]["visible"])
    assert hard["upright edge"]["infrared"][0, 0, 3].tolist() == [0] * 4 + [1] * 4
    assert hard["level edge"]["infrared"][0, 0, :, 5].tolist() == [0] * 3 + [1] * 3
    one_sided = hard["infrared black, else saturated"]
    assert (one_sided["infrared"].max(), one_sided["visible"].min()) == (0, 1)
    assert set(hard_inputs({"luma": shape})) == {
        "saturated", "black", "constant", "white noise", "noise of two levels", "upright edge", "level edge",
    }  # fmt: skip


def test_real_pairs_can_be_measured(data: Path) -> None:
    model = graph(node("Mul", "low low"))
    paths = list_images(data / "msrs" / "ir")[:2]
    pictures: dict[str, Feeds] = {}
    for path in paths:
        image = read_image(path)
        grey: npt.NDArray[np.float32] = image.reshape(*image.shape[:2], -1)[..., 0].astype(np.float32) / 255
        pictures[path.stem] = {"x": np.stack((grey, grey))[None]}
    row = worst(require_in_range(model, pictures), "value")
    assert row is not None
    assert row.picture in pictures
    assert row.got == pytest.approx(max(float(feeds["x"].max()) for feeds in pictures.values()), rel=1e-3)
