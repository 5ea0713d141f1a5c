"""Graphs in other opsets: what TensorRT 8 reads gives what PyTorch gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from checkpoints import save, save_fusion
from tiny_task import TinyDetector
from torch import nn

from tdfusion_edge import bundle, checkpoint
from tdfusion_edge.cli import main
from tdfusion_edge.errors import ExportError, RequestError
from tdfusion_edge.export import fusion as export_fusion
from tdfusion_edge.export.assemble import export
from tdfusion_edge.export.fold import folded
from tdfusion_edge.export.fusion import TOLERANCE, fusion_onnx, fusion_parity
from tdfusion_edge.export.graph import LEGACY, opset_of, smooth_pair, to_onnx
from tdfusion_edge.export.heads import boxes, mask
from tdfusion_edge.export.heads.graph import head_onnx
from tdfusion_edge.export.onepass import OnePass, OnePassOutput
from tdfusion_edge.runtime.engines.ort import onnxruntime
from tdfusion_edge.train.models.base import FusionOutput
from tdfusion_edge.train.models.edge import Edge
from tdfusion_edge.train.models.segformer import SegFormer
from tdfusion_edge.train.models.task import BoxPrediction
from tdfusion_edge.train.models.tdfusion import TDFusion
from tdfusion_edge.train.models.yolo import YOLO

pytestmark = pytest.mark.slow

VIEW = checkpoint.TaskView(classes=("a", "b"), height=64, width=96)
NAMES = ("infrared", "visible")


def session(raw: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("kind", [Edge, pytest.param(TDFusion, marks=pytest.mark.slow)])
def test_fusion_at_free_and_at_fixed_size(kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    """At free size over several, of which the graph was traced at the first."""
    monkeypatch.setattr(export_fusion, "PARITY_SIZES", ((64, 96), (33, 47), (128, 80)))
    torch.manual_seed(0)
    network = kind().eval()
    raw = fusion_onnx(network, LEGACY)
    assert opset_of(raw) == LEGACY
    assert [axis.dim_param for axis in _shape(raw)[2:]] == ["height", "width"]
    assert fusion_parity(network, raw).max_error <= TOLERANCE
    arrays = smooth_pair(40, 56, 3)
    example = tuple(torch.from_numpy(array) for array in arrays)
    fixed = to_onnx(network, example, NAMES, FusionOutput._fields, opset=LEGACY).SerializeToString()
    assert [axis.dim_value for axis in _shape(fixed)] == [1, 1, 40, 56]
    (fused,) = session(fixed).run(["fused"], dict(zip(NAMES, arrays, strict=True)))
    with torch.inference_mode():
        np.testing.assert_allclose(fused, network(*example).fused.numpy(), atol=TOLERANCE)


def _shape(raw: bytes) -> list[onnx.TensorShapeProto.Dimension]:
    return list(onnx.load_from_string(raw).graph.output[0].type.tensor_type.shape.dim)


def seen(network: nn.Module) -> nn.Module:
    """Its batch norm has seen something: its fresh state would be folded without a trace."""
    network.train()
    with torch.no_grad():
        network(torch.rand(4, 1, VIEW.height, VIEW.width))
    return folded(network.eval(), (torch.zeros(1, 1, VIEW.height, VIEW.width),))


@pytest.mark.parametrize("size", [pytest.param("n", marks=pytest.mark.slow), "p"])
def test_yolo(size: str) -> None:
    torch.manual_seed(0)
    network = seen(YOLO(2, size))
    raw = head_onnx(network, VIEW, LEGACY)
    assert opset_of(raw) == LEGACY
    row = boxes.compare(network, raw, VIEW)
    assert row.max_error <= boxes.SCORE_TOLERANCE
    assert row.figures["box_error_px"] <= boxes.BOX_TOLERANCE


@pytest.mark.slow
def test_segformer() -> None:
    torch.manual_seed(0)
    network = SegFormer(classes=2).eval()
    raw = head_onnx(network, VIEW, LEGACY)
    assert opset_of(raw) == LEGACY
    assert mask.compare(network, raw, VIEW).max_error <= 1e-4


def test_the_one_pass_network() -> None:
    torch.manual_seed(0)
    network = OnePass(Edge(width=4, depth=1), seen(TinyDetector(2)), VIEW, (192, 128)).eval()
    random = np.random.default_rng(0)
    arrays = {
        "infrared": random.integers(0, 256, (128, 192), np.uint8),
        "visible": random.integers(0, 256, (128, 192, 3), np.uint8),
        "limits": np.array([0.1, 0.9], np.float32),
    }
    example = tuple(torch.from_numpy(array) for array in arrays.values())
    raw = to_onnx(network, example, tuple(arrays), OnePassOutput._fields, opset=LEGACY).SerializeToString()
    assert opset_of(raw) == LEGACY
    given = session(raw).run(list(OnePassOutput._fields), arrays)
    with torch.inference_mode():
        expected = [tensor.numpy() for tensor in network(*example)]
    # A fused value on the edge between two levels may fall on either.
    assert np.abs(given[0].astype(int) - expected[0]).max() <= 1
    for one, other in zip(given[1:], expected[1:], strict=True):
        np.testing.assert_allclose(one, other, atol=TOLERANCE)


def test_a_bundle_for_tensorrt_8_has_float32_alone(
    tmp_path: Path, small_pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    networks = {
        "fusion": (Edge(width=4, depth=1), "edge", {"width": 4, "depth": 1}),
        "task": (TinyDetector(2).eval(), "tiny_task:TinyDetector", {}),
    }
    path = save(tmp_path / "both.safetensors", networks, task=VIEW)
    command = ["export", str(path), "-o", str(tmp_path / "bundle"), "--opset", "17", "--size", "160x120"]
    assert main([*command, "--network", "tiny_task:TinyDetector"]) == 0
    opened = bundle.read(tmp_path / "bundle")
    assert set(opened.files) == {"fusion.onnx", "detector.onnx", "onepass.onnx", "MODEL_CARD.md"}
    assert opened.manifest.graphs["onepass"].sizes == (
        bundle.Sides(smallest=120, largest=120), bundle.Sides(smallest=160, largest=160),
    )  # fmt: skip
    for name, graph in opened.manifest.graphs.items():
        assert (graph.opset, opset_of(opened.graph(name)[1])) == (17, 17)
    assert main(["verify", str(tmp_path / "bundle"), "--data", str(small_pairs)]) == 0
    capsys.readouterr()
    assert main([*command, "--precision", "fp32,fp16"]) == 2
    said = capsys.readouterr().err
    assert "--opset 17 in fp16: expected fp32, the one precision that is safe in TensorRT 8" in said
    assert "--precision fp32" in said


class Double(TinyDetector):
    """Half a cell in float64, as tracing has it."""

    def decode(self, output: torch.Tensor) -> BoxPrediction:
        boxes, scores = super().decode(output)
        height, width = output.shape[-2:]
        centre = torch.stack(
            torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij"), dim=-1
        )
        return BoxPrediction(
            torch.cat((centre.reshape(1, -1, 2) - boxes[..., :2], boxes[..., 2:]), -1), scores
        )


def test_a_graph_in_float64_is_refused() -> None:
    with pytest.raises(ExportError, match=r"(?s)the graph computes in float64.*--opset"):
        head_onnx(Double(2).eval(), VIEW, 17)
    assert head_onnx(Double(2).eval(), VIEW, 18)


@pytest.mark.parametrize("opset", [16, 21])
def test_other_opsets_are_refused(opset: int, tmp_path: Path) -> None:
    path = save_fusion(tmp_path / "edge.safetensors", Edge())
    with pytest.raises(RequestError, match=f"--opset: expected 17 to 20, got {opset}"):
        export([path], tmp_path / "bundle", opset=opset)
    with pytest.raises(SystemExit):
        main(["export", str(path), "-o", str(tmp_path / "bundle"), "--opset", str(opset)])
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("size", [None, pytest.param((160, 120), marks=pytest.mark.slow)])
def test_the_newest_opset_in_both_precisions(
    size: tuple[int, int] | None, tmp_path: Path, small_pairs: Path
) -> None:
    torch.manual_seed(0)
    path = save_fusion(tmp_path / "edge.safetensors", Edge(width=4, depth=1), width=4, depth=1)
    manifest = export([path], tmp_path / "bundle", opset=20, data=small_pairs, size=size)
    opened = bundle.read(tmp_path / "bundle")
    assert ("onepass" in manifest.graphs) == (size is not None)
    for graph in manifest.graphs.values():
        assert (graph.opset, set(graph.files)) == (20, {"fp32", "fp16"})
        assert {opset_of(opened.files[file]) for file in graph.files.values()} == {20}
