"""Operations and weights counted from a graph, against counts by hand and by PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

from onnx import helper, numpy_helper  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from tdfusion_edge.errors import ExportError  # noqa: E402
from tdfusion_edge.export.fusion import fusion_onnx  # noqa: E402
from tdfusion_edge.export.operations import operations, parameters  # noqa: E402
from tdfusion_edge.train.models.edge import Edge  # noqa: E402
from tdfusion_edge.train.models.tdfusion import TDFusion  # noqa: E402


def model(op: str, x: tuple[int | str, ...], weight: tuple[int, ...], **attributes: Any) -> Any:
    """A graph of one node with a weight and a bias of its first axis."""
    tensors = [numpy_helper.from_array(np.zeros(weight, np.float32), "w")]
    inputs = ["x", "w"]
    if op != "MatMul":
        tensors.append(numpy_helper.from_array(np.zeros(weight[0], np.float32), "b"))
        inputs.append("b")
    graph = helper.make_graph(
        [helper.make_node(op, inputs, ["y"], name="n", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def test_a_convolution_is_counted_at_the_size_that_is_asked_for() -> None:
    free = model("Conv", (1, 3, "h", "w"), (8, 3, 3, 3), pads=[1, 1, 1, 1])
    assert operations(free) == 480 * 640 * 8 * 27
    assert operations(free, 10, 20) == 10 * 20 * 8 * 27
    assert parameters(free) == 8 * 27 + 8
    fixed = model("Conv", (1, 3, 16, 16), (8, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1])
    assert operations(fixed) == 8 * 8 * 8 * 27
    depthwise = model("Conv", (1, 8, 16, 16), (8, 1, 3, 3), group=8, pads=[1, 1, 1, 1])
    assert operations(depthwise) == 16 * 16 * 8 * 9


def test_products_of_matrices_and_transposed_convolutions_are_counted() -> None:
    assert operations(model("MatMul", (2, 5, 7), (7, 11))) == 2 * 5 * 7 * 11
    assert operations(model("Gemm", (5, 7), (11, 7), transB=1)) == 5 * 7 * 11
    assert operations(model("Gemm", (7, 5), (11, 7), transA=1, transB=1)) == 5 * 7 * 11
    up = model("ConvTranspose", (1, 4, 8, 8), (4, 4, 2, 2), strides=[2, 2])
    assert operations(up) == 4 * 8 * 8 * 4 * 4


def test_an_unknown_shape_is_an_error() -> None:
    graph = model("Conv", (1, 3, 16, 16), (8, 3, 3, 3))
    graph.graph.node.insert(0, helper.make_node("Foreign", ["x"], ["z"], domain="elsewhere"))
    graph.graph.node[1].input[0] = "z"
    graph.opset_import.append(helper.make_opsetid("elsewhere", 1))
    with pytest.raises(ExportError, match="operations of Conv 'n' cannot be counted"):
        operations(graph)


@pytest.mark.parametrize(
    ("network", "pictures"), [(Edge, (48, 64)), pytest.param(TDFusion, (32, 48), marks=pytest.mark.slow)]
)
def test_whole_networks_have_what_pytorch_counts(network: Any, pictures: tuple[int, int]) -> None:
    """PyTorch's own counter counts two operations a multiply-add."""
    made = network().eval()
    ours = operations(onnx.load_from_string(fusion_onnx(made)), *pictures)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        made(torch.rand(1, 1, *pictures), torch.rand(1, 1, *pictures))
    assert ours == pytest.approx(counter.get_total_flops() / 2, rel=0.02)
    assert parameters(onnx.load_from_string(fusion_onnx(made))) == pytest.approx(
        sum(one.numel() for one in made.parameters()), rel=0.05
    )
