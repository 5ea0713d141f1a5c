"""What a bundle says that its graphs cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from taught import taught_edge
from torch.utils.flop_counter import FlopCounterMode

from tdfusion_edge.bundle import Graph
from tdfusion_edge.errors import RequestError
from tdfusion_edge.export.fusion import describe_fusion, fusion_onnx
from tdfusion_edge.export.operations import count, counted


def model(op: str, x: tuple[int | str, ...], weight: tuple[int, ...], **attributes: Any) -> bytes:
    """A graph of one node with a weight."""
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "a.weight"], ["y"], name="n", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros(weight, np.float32), "a.weight")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    raw: bytes = made.SerializeToString()
    return raw


@pytest.mark.parametrize(
    ("graph", "products"),
    [
        (model("Conv", (1, 8, "height", "width"), (8, 1, 3, 3), group=8, pads=[1] * 4), 480 * 640 * 8 * 9),
        (model("Conv", (1, 3, 16, 16), (8, 3, 3, 3), strides=[2, 2], pads=[1] * 4), 8 * 8 * 8 * 27),
        (model("MatMul", (2, 5, 7), (7, 11)), 2 * 5 * 7 * 11),
        (model("Gemm", (5, 7), (11, 7), transB=1), 5 * 7 * 11),
        (model("Gemm", (7, 5), (11, 7), transA=1, transB=1), 5 * 7 * 11),
        (model("ConvTranspose", (1, 4, 8, 8), (4, 3, 2, 2), strides=[2, 2]), 16 * 16 * 3 * 4),
    ],
)
def test_products_are_counted_at_the_graphs_own_size_or_at_640x480(graph: bytes, products: int) -> None:
    assert count(graph).multiply_adds == products


def test_a_network_has_what_pytorch_counts_and_all_its_weights() -> None:
    """PyTorch's own counter, an independent one, counts two operations a multiply-add."""
    network = taught_edge()
    raw = fusion_onnx(network)
    described = counted(describe_fusion(network, {"fp32": "fusion.onnx"}), network, raw)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.rand(1, 1, 480, 640), torch.rand(1, 1, 480, 640))
    assert described.multiply_adds == counter.get_total_flops() // 2
    assert described.parameters == count(raw).parameters == 4978


def test_a_network_whose_products_are_not_known_is_exported_without_their_number() -> None:
    network = taught_edge()
    graph = Graph(files={"fp32": "f"}, inputs=(), outputs=(), minimum_size=32, opset=18)
    opaque = model("Einsum", (1, 1, 4, 8), (8, 5), equation="abcd,de->abce")
    with pytest.raises(RequestError, match=r"operations of 'n' \(Einsum\) cannot be counted"):
        count(opaque)
    described = counted(graph, network, opaque)
    assert (described.parameters, described.multiply_adds) == (4978, None)
