"""Multiply-adds and parameters of graphs, against counts by hand and published ones."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from taught import taught_edge
from torch import nn

from benchmarks.operations import count, main
from tdfusion_edge import bundle
from tdfusion_edge.errors import RequestError
from tdfusion_edge.export.fusion import fusion_onnx
from tdfusion_edge.train.models.mini import Mini
from tdfusion_edge.train.models.tdfusion import TDFusion

VGA = 640 * 480


def taught(network: nn.Module) -> nn.Module:
    """With weights of which no two are alike: the exporter keeps one copy of equal ones, and no zeros."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return network.eval()


def by_hand(width: int, depth: int, stride: int) -> int:
    """Edge at 640x480: stem, body, head and interpolation, at the cells' resolution."""
    stem = (stride + 1) ** 2 * 2 * width
    body = depth * 9 * width**2
    return VGA // stride**2 * (stem + body + 2 * width + 2 * stride**2 * 9 * 2)


def test_edge_costs_what_its_layers_do() -> None:
    network = taught_edge(width=8, depth=1, stride=4)
    found = count(fusion_onnx(network), (640, 480))
    assert found.multiply_adds == by_hand(width=8, depth=1, stride=4)
    assert found.parameters == sum(part.numel() for part in network.parameters())


def test_the_shipped_fusion_graph_costs_390_million() -> None:
    found = count(bundle.read(bundle.default_path()).graph("fusion")[1], (640, 480))
    assert found == (by_hand(16, 2, 2), 4_978)
    assert found.multiply_adds == 389_529_600


@pytest.mark.slow
def test_tdfusion_costs_what_is_known_of_it() -> None:
    """18.49 thousand million at 640x480, by a count of another implementation."""
    assert count(fusion_onnx(taught(TDFusion())), (640, 480)) == (18_486_067_200, 59_856)


def of(nodes: list[onnx.NodeProto], kernel: tuple[int, ...]) -> bytes:
    """A graph from a picture (1, 1, height, width), with one weight ``a.weight``."""
    floats = TensorProto.FLOAT
    weight = helper.make_tensor("a.weight", floats, kernel, [0.0] * int(torch.tensor(kernel).prod()))
    picture = helper.make_tensor_value_info("x", floats, (1, 1, "height", "width"))
    out = helper.make_tensor_value_info("y", floats, None)
    graph = helper.make_graph(nodes, "made", [picture], [out], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()


def test_each_kind_of_product_counts_by_its_own_rule() -> None:
    conv = helper.make_node("Conv", ["x", "a.weight"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1])
    assert count(of([conv], (3, 1, 3, 3)), (8, 6)).multiply_adds == 4 * 3 * 3 * 9
    up = helper.make_node("ConvTranspose", ["x", "a.weight"], ["y"], strides=[2, 2])
    assert count(of([up], (1, 3, 2, 2)), (8, 6)).multiply_adds == 8 * 6 * 3 * 4
    product = helper.make_node("MatMul", ["x", "a.weight"], ["y"])
    assert count(of([product], (8, 5)), (8, 6)) == (6 * 5 * 8, 40)


def test_what_cannot_be_counted_is_said() -> None:
    einsum = helper.make_node("Einsum", ["x", "a.weight"], ["y"], equation="abcd,de->abce")
    with pytest.raises(RequestError, match="Einsum"):
        count(of([einsum], (8, 5)), (8, 6))
    unknown = helper.make_node("NonZero", ["x"], ["n"])
    cast = helper.make_node("Cast", ["n"], ["f"], to=TensorProto.FLOAT)
    product = helper.make_node("MatMul", ["a.weight", "f"], ["y"])
    with pytest.raises(RequestError, match="the shape of 'y' is open"):
        count(of([unknown, cast, product], (5, 4)), (8, 6))


def test_the_command_prints_what_mini_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = fusion_onnx(taught(Mini()))
    assert count(graph, (640, 480)) == (VGA * (2 * 4 * 9 + 4 * 1 * 9), 113)
    (tmp_path / "mini.onnx").write_bytes(graph)
    assert main([str(tmp_path / "mini.onnx")]) == 0
    assert "33.2 million multiply-adds, 113 parameters" in capsys.readouterr().out
