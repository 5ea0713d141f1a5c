"""Weights for YOLOX from ONNX files: the published one, one of its own making, and those that do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from tdfusion_edge.checkpoint import TaskView
from tdfusion_edge.coco import NAMES
from tdfusion_edge.errors import ConfigError, InputMissing
from tdfusion_edge.export.fold import folded
from tdfusion_edge.export.graph import LEGACY, smooth_pair
from tdfusion_edge.export.heads.graph import head_onnx
from tdfusion_edge.runtime.engines.ort import onnxruntime
from tdfusion_edge.train.models.yolox.network import YOLOX

COCO = (("person",), ("bicycle",), ("car", "bus", "truck"))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_published_network_is_this_one(published: Path, seed: int) -> None:
    network = YOLOX(80, pretrained=str(published), norm=False).eval()
    luma = smooth_pair(416, 416, seed)[0]
    session = onnxruntime.InferenceSession(published, providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"images": np.repeat(luma * 255, 3, axis=1)})[0]
    with torch.inference_mode():
        boxes, scores = (part[0].numpy() for part in network.graph_output(torch.from_numpy(luma)))
    sides = [416 // stride for stride in (8, 16, 32)]
    grid = np.concatenate([np.mgrid[:side, :side].reshape(2, -1)[::-1].T for side in sides])
    strides = np.repeat([8, 16, 32], np.square(sides))[:, None]
    centres, half = (wanted[:, :2] + grid) * strides, np.exp(wanted[:, 2:4]) * strides / 2
    np.testing.assert_allclose(
        boxes, np.concatenate((centres - half, centres + half), axis=1), rtol=0, atol=0.04
    )
    np.testing.assert_allclose(scores, wanted[:, 4:5] * wanted[:, 5:], rtol=0, atol=9e-5)
    assert scores.max() > 0.1  # it sees something in the waves


def test_a_task_s_classes_are_the_largest_of_coco_s(published: Path) -> None:
    every = YOLOX(80, pretrained=str(published), norm=False).eval()
    some = YOLOX(3, pretrained=str(published), norm=False, coco=COCO).eval()
    luma = torch.from_numpy(smooth_pair(96, 160, 0)[0])
    with torch.inference_mode():
        whole, own = every.graph_output(luma), some.graph_output(luma)
    assert torch.equal(own.boxes, whole.boxes)
    for column, names in enumerate(COCO):
        merged = whole.scores[..., [NAMES.index(name) for name in names]].amax(-1)
        torch.testing.assert_close(own.scores[..., column], merged, rtol=1e-4, atol=1e-6)


def own_file(path: Path, classes: int, size: str = "nano") -> tuple[Path, YOLOX]:
    """A graph that this package exported, whose batch norm had seen something, and its network."""
    torch.manual_seed(0)
    network = YOLOX(classes, size)
    with torch.no_grad():
        network(torch.rand(2, 1, 64, 64))
    view = TaskView(classes=tuple(map(str, range(classes))), height=64, width=64)
    path.write_bytes(head_onnx(folded(network, (torch.zeros(1, 1, 64, 64),)), view, LEGACY))
    return path, network.eval()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, YOLOX]:
    return own_file(tmp_path_factory.mktemp("own") / "own.onnx", 2)


def test_a_network_of_one_s_own_loads_and_trains(own: tuple[Path, YOLOX]) -> None:
    path, network = own
    loaded = YOLOX(2, pretrained=str(path), norm=False)
    luma = torch.rand(1, 1, 64, 96)
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    with torch.inference_mode():
        wanted, got = network.graph_output(luma), loaded.graph_output(luma)  # as it is trained: no eval()
    torch.testing.assert_close(got.boxes, wanted.boxes, rtol=0, atol=1e-2)
    torch.testing.assert_close(got.scores, wanted.scores, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 2, "norm": True}, "expected norm = false, for weights whose batch norm is folded"),
        ({"classes": 2, "size": "tiny"}, r"holds no YOLOX tiny: expected 83 convolutions, got 113"),
        ({"classes": 3}, r"tells 2 classes apart: expected 3$"),
        ({"classes": 1, "coco": [["car"]]}, "does not tell COCO's classes apart: expected 80, got 2"),
        ({"classes": 1, "coco": [["auto"]]}, r"coco of the network yolox: expected names among .*, got auto"),
        ({"classes": 1, "coco": ["car"]}, "expected a list of names for each class"),
        ({"classes": 2, "coco": [["car"]]}, "expected 2 lists of COCO's classes.* got 1"),
    ],
)
def test_what_does_not_fit_is_refused(
    options: dict[str, object], message: str, own: tuple[Path, YOLOX]
) -> None:
    with pytest.raises(ConfigError, match=message):
        YOLOX(**{"norm": False, "pretrained": str(own[0]), **options})  # type: ignore[arg-type]


def convolutions(
    path: Path, network: nn.Module, *, classes: int = 2, bias: bool = True, narrow: int | None = None
) -> Path:
    """An ONNX file of nothing but a network's convolutions in their order, each with its number as weight."""
    tensors, nodes = [], []
    modules = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    of_classes = [head.classes for head in network.heads]  # type: ignore[union-attr]
    for number, module in enumerate(modules):
        rows = classes if module in of_classes else module.out_channels
        shape = [rows, 1 if number == narrow else module.weight.shape[1], *module.weight.shape[2:]]
        weight = np.full(shape, number, np.float32)
        if module in of_classes:
            weight += np.arange(rows, dtype=np.float32)[:, None, None, None] / 1000
        names = [f"w{number}", f"b{number}"][: 2 if bias else 1]
        values = (weight, np.arange(rows, dtype=np.float32))
        tensors += [numpy_helper.from_array(v, n) for n, v in zip(names, values, strict=False)]
        nodes.append(helper.make_node("Conv", [f"x{number}", *names], [f"y{number}"]))
    first = helper.make_tensor_value_info("x0", TensorProto.FLOAT, None)
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [first], [], tensors)), path)
    return path


def test_rows_of_coco_go_where_they_belong_and_others_start_afresh(tmp_path: Path) -> None:
    path = convolutions(tmp_path / "w.onnx", YOLOX(1, norm=False), classes=80)
    coco: Sequence[Sequence[str]] = [["truck", "bus"], [], ["person"]]
    torch.manual_seed(0)
    network = YOLOX(3, pretrained=str(path), norm=False, coco=coco)
    for head in network.heads:
        bias = head.classes.bias.tolist()  # type: ignore[union-attr]
        assert bias[:2] == [7, 5]
        assert bias[2] == pytest.approx(-4.595, abs=1e-3)
        assert bias[3] == 0
        assert head.classes.weight[2].std() > 0  # type: ignore[union-attr, index]
        thousandths = (head.classes.weight[[0, 1, 3], 0, 0, 0] * 1000).round() % 1000  # type: ignore[union-attr, index]
        assert thousandths.tolist() == [7, 5, 0]


def test_another_architecture_of_as_many_convolutions_is_refused(tmp_path: Path) -> None:
    path = convolutions(tmp_path / "w.onnx", YOLOX(2, norm=False), narrow=2)
    expected = r"convolution 3 of 113: expected a weight of \(32, 16, 1, 1\), got \(32, 1, 1, 1\)"
    with pytest.raises(ConfigError, match=expected):
        YOLOX(2, pretrained=str(path), norm=False)


def test_batch_norm_that_is_not_folded_is_refused(tmp_path: Path) -> None:
    path = convolutions(tmp_path / "w.onnx", YOLOX(2, norm=False), bias=False)
    with pytest.raises(ConfigError, match="convolutions without bias: expected batch norm folded"):
        YOLOX(2, pretrained=str(path), norm=False)


def test_what_is_no_file_of_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="there is no file"):
        YOLOX(2, pretrained=str(tmp_path / "none.onnx"), norm=False)
    (tmp_path / "x.onnx").write_bytes(b"\x80\x04no graph")
    with pytest.raises(ConfigError, match="holds no ONNX graph"):
        YOLOX(2, pretrained=str(tmp_path / "x.onnx"), norm=False)
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(ConfigError, match="expected 113 convolutions, got 0"):
        YOLOX(2, pretrained=str(tmp_path / "empty.onnx"), norm=False)


def test_weights_in_another_file_are_not_read(tmp_path: Path) -> None:
    path = convolutions(tmp_path / "w.onnx", YOLOX(2, norm=False))
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="beside.bin", size_threshold=0)
    with pytest.raises(ConfigError, match="holds no ONNX graph with its weights"):
        YOLOX(2, pretrained=str(path), norm=False)
