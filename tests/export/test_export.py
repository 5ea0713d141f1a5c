"""From a checkpoint to a bundle: the graph equals the network, and nothing else gets in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from checkpoints import save_fusion
from taught import taught_edge

from tdfusion_edge import bundle, checkpoint
from tdfusion_edge.cli import main
from tdfusion_edge.errors import ConfigError, ExportError, RequestError
from tdfusion_edge.export import fusion as export_fusion
from tdfusion_edge.export.assemble import export
from tdfusion_edge.export.gate import in_words
from tdfusion_edge.export.graph import smooth_pair
from tdfusion_edge.export.networks import load_network
from tdfusion_edge.export.operations import count
from tdfusion_edge.runtime.engines.ort import onnxruntime
from tdfusion_edge.train.models.base import FusionOutput
from tdfusion_edge.train.models.edge import Edge
from tdfusion_edge.train.models.tdfusion import TDFusion


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, small_pairs: Path) -> tuple[Path, torch.nn.Module]:
    folder = tmp_path_factory.mktemp("export")
    network = taught_edge()
    path = save_fusion(folder / "edge.safetensors", network)
    export([path], folder / "bundle", size=None, data=small_pairs)
    return folder / "bundle", network


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (240, 321), (480, 640)])
def test_the_bundle_gives_what_the_network_gives_at_any_size(
    exported: tuple[Path, torch.nn.Module], size: tuple[int, int]
) -> None:
    path, network = exported
    _, raw = bundle.read(path).graph("fusion")
    infrared, visible = smooth_pair(*size, seed=9)
    session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    (fused,) = session.run(["fused"], {"infrared": infrared, "visible": visible})
    with torch.inference_mode():
        expected = network(torch.from_numpy(infrared), torch.from_numpy(visible)).fused.numpy()
    assert fused.shape == (1, 1, *size)
    np.testing.assert_allclose(fused, expected, atol=export_fusion.TOLERANCE)


def test_the_manifest_says_what_the_graph_takes_and_gives(
    exported: tuple[Path, torch.nn.Module], small_pairs: Path
) -> None:
    manifest = bundle.read(exported[0]).manifest
    graph = manifest.graphs["fusion"]
    model = onnx.load_from_string(bundle.read(exported[0]).files[graph.files["fp32"]])
    assert [tensor.name for tensor in graph.inputs] == [value.name for value in model.graph.input]
    assert (
        [tensor.name for tensor in graph.outputs] == [value.name for value in model.graph.output] == ["fused"]
    )
    for tensor, value in zip(
        (*graph.inputs, *graph.outputs), (*model.graph.input, *model.graph.output), strict=True
    ):
        shape = [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        assert list(tensor.shape) == shape == [1, 1, "height", "width"]
    plain, low = manifest.parity
    assert (plain.precision, plain.against, plain.pictures) == (
        "fp32",
        "pytorch",
        "3 random pairs and a black one",
    )
    assert 0 < plain.max_error <= export_fusion.TOLERANCE
    assert (low.precision, low.against, low.pictures) == ("fp16", "fp32", f"2 pairs of {small_pairs.name}")
    assert low.figures["psnr_db"] >= 60
    assert graph.files == {"fp32": "fusion.onnx", "fp16": "fusion.fp16.onnx"}
    assert manifest.metrics == {"qabf": 0.5}
    card = bundle.read(exported[0]).files["MODEL_CARD.md"].decode()
    assert "public domain" in card
    assert "| loss | alpha 1.5 |" in card
    assert "network_options {'pretrained': 'nano.onnx'}" in card  # and not the folder that it lay in
    assert "checkpoint of step 1 of 2" in card
    assert r"Only a \| test." in card
    assert list(manifest.commands) == ["export"], "the training noted no command"
    assert f"\n    {manifest.commands['export']}\n" in card
    assert f"- {in_words(low)}\n" in card
    graph, raw = bundle.read(exported[0]).graph("fusion")
    assert graph.multiply_adds == count(raw, (640, 480)).multiply_adds
    assert graph.parameters == sum(parameter.numel() for parameter in exported[1].parameters())
    sizes = [f"{len(bundle.read(exported[0]).graph('fusion', one)[1]) / 1e3:.1f}" for one in ("fp32", "fp16")]
    costs = f"{graph.parameters:,} | {graph.multiply_adds / 1e6:.1f} | {' | '.join(sizes)}"
    assert f"| fusion | {costs} |" in card


def test_edge_has_only_operations_that_tensorrt_has(exported: tuple[Path, torch.nn.Module]) -> None:
    model = onnx.load_from_string(bundle.read(exported[0]).files["fusion.onnx"])
    known = {
        "Concat",
        "Conv",
        "Relu",
        "Sigmoid",
        "Pad",
        "DepthToSpace",
        "Shape",
        "Slice",
        "Split",
        "Mul",
        "Add",
        "Clip",
        "Min",
    }
    assert {node.op_type for node in model.graph.node} <= known


@pytest.mark.slow
def test_the_paper_network_exports_with_the_same_names() -> None:
    torch.manual_seed(0)
    network = TDFusion().eval()
    raw = export_fusion.fusion_onnx(network)
    assert export_fusion.fusion_parity(network, raw).max_error <= export_fusion.TOLERANCE
    operations = {node.op_type for node in onnx.load_from_string(raw).graph.node}
    assert "LayerNormalization" in operations
    assert "ReduceL2" not in operations, "the norm over H * W overflows in FP16"


@pytest.fixture
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_fusion, "PARITY_SIZES", ((64, 96), (33, 47)))


class Divides(Edge):
    """Safe in PyTorch; the exporter drops the term that makes it so."""

    def forward(self, infrared: torch.Tensor, visible: torch.Tensor) -> FusionOutput:
        fused = super().forward(infrared, visible).fused
        return FusionOutput(fused * (fused / (fused + 1e-12)))


@pytest.mark.usefixtures("small_sizes")
def test_a_graph_that_divides_by_black_is_refused() -> None:
    network = Divides(width=4, depth=1).eval()
    with pytest.raises(ExportError, match=r"differs from PyTorch.*got nan"):
        export_fusion.fusion_parity(network, export_fusion.fusion_onnx(network))


@pytest.mark.usefixtures("small_sizes")
def test_a_graph_of_other_weights_is_refused(exported: tuple[Path, torch.nn.Module]) -> None:
    with pytest.raises(ExportError, match="differs from PyTorch"):
        export_fusion.fusion_parity(taught_edge(1), bundle.read(exported[0]).graph("fusion")[1])


@pytest.mark.usefixtures("small_sizes")
def test_weights_that_are_no_numbers_are_refused() -> None:
    network = Edge(width=4, depth=1).eval()
    with torch.no_grad():
        network.head.bias.fill_(float("nan"))
    with pytest.raises(ExportError, match="got nan"):
        export_fusion.fusion_parity(network, export_fusion.fusion_onnx(network))


def test_misspelt_network_options_are_a_wrong_request(tmp_path: Path) -> None:
    path = save_fusion(tmp_path / "odd.safetensors", Edge(), widht=8)
    with pytest.raises(ConfigError, match="does not take these options"):
        load_network(path, *checkpoint.read(path))
    path = save_fusion(tmp_path / "huge.safetensors", Edge(), width=10**6)
    with pytest.raises(RequestError, match=r"width in 1\.\.256"):
        load_network(path, *checkpoint.read(path))


def test_no_bundle_is_written_beyond_the_tolerance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_fusion, "TOLERANCE", -1.0)
    path = save_fusion(tmp_path / "edge.safetensors", Edge(width=4, depth=1), width=4, depth=1)
    with pytest.raises(ExportError):
        export([path], tmp_path / "bundle", size=None, precisions=["fp32"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edge.safetensors"]


def test_a_bundle_never_replaces_a_checkpoint_nor_stands_among_pairs(
    tmp_path: Path, small_pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_fusion(tmp_path / "edge.safetensors", Edge(width=4, depth=1), width=4, depth=1)
    (tmp_path / "bundle.zip").hardlink_to(path)
    before = path.read_bytes()
    for output in (tmp_path / "bundle.zip", small_pairs / "ir" / "bundle", small_pairs / "vi"):
        assert main(["export", str(path), "-o", str(output), "--data", str(small_pairs)]) == 2
        assert "--output" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert not (small_pairs / "ir" / "bundle").exists()


def test_a_checkpoint_cannot_name_code_to_run(tmp_path: Path) -> None:
    path = save_fusion(tmp_path / "evil.safetensors", Edge(), "os:system", command="touch pwned")
    for allowed in ((), ("somewhere:Else",)):
        with pytest.raises(RequestError, match="names the network 'os:system'"):
            load_network(path, *checkpoint.read(path), allowed=allowed)
    foreign = save_fusion(tmp_path / "dict.safetensors", Edge(), "builtins:dict")
    with pytest.raises(ConfigError, match="is no fusion network"):
        load_network(foreign, *checkpoint.read(foreign), allowed=("builtins:dict",))


def test_a_users_own_class_loads_when_the_user_names_it(tmp_path: Path) -> None:
    name = "tdfusion_edge.train.models.edge:Edge"
    path = save_fusion(tmp_path / "own.safetensors", Edge(width=8), name, width=8)
    loaded = load_network(path, *checkpoint.read(path), allowed=(name,))
    assert loaded(*torch.rand(2, 1, 1, 40, 40)).fused.shape == (1, 1, 40, 40)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = save_fusion(tmp_path / "wide.safetensors", Edge(width=8))
    with pytest.raises(RequestError, match="does not fit the network 'edge'"):
        load_network(path, *checkpoint.read(path))
