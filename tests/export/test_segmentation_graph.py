"""A bundle with a segmentation network: its graph is the network, and the gate measures it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import torch
from checkpoints import MADE_UP, save
from onnx import TensorProto, numpy_helper
from tiny_task import TinyDetector, TinyMask

from tdfusion_edge import bundle, checkpoint
from tdfusion_edge.cli import main
from tdfusion_edge.errors import ExportError, RequestError
from tdfusion_edge.export.assemble import export
from tdfusion_edge.export.fold import folded
from tdfusion_edge.export.fp16 import half
from tdfusion_edge.export.gate import in_words
from tdfusion_edge.export.heads import mask
from tdfusion_edge.export.heads.graph import head_onnx
from tdfusion_edge.export.lint import lint, typed
from tdfusion_edge.export.networks import choose
from tdfusion_edge.export.ranges import hard_inputs, require_in_range
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.train.models.edge import Edge
from tdfusion_edge.train.models.segformer import SegFormer

TINY, FINDS = "tiny_task:TinyMask", "tiny_task:TinyDetector"
CLASSES = ("ground", "person", "car")
VIEW = checkpoint.TaskView(classes=CLASSES, height=48, width=64)
OPS = ("LayerNormalization", "Softmax", "ArgMax", "Conv", "MatMul")
FIELD = bundle.TrainingData(name="field", terms="research", pairs=7)


def bands(classes: int = 3) -> TinyMask:
    """Dark pixels are the first class, bright ones the last."""
    made = TinyMask(classes)
    with torch.no_grad():
        steps = torch.arange(classes, dtype=torch.float32)
        made.head.weight.copy_(8 * steps.view(-1, 1, 1, 1))
        made.head.bias.copy_(-4 * steps**2 / (classes - 1))
    return made.eval()


def masks_only(path: Path, made: torch.nn.Module, name: str = TINY, **header: Any) -> Path:
    fields: dict[str, Any] = {
        "strategy": "task",
        "recipe": "seg",
        "task": VIEW,
        "metrics": {"miou": 0.625, "qabf": 0.875},
        "training_data": (MADE_UP, FIELD),
        "limits": ("Only by night.",),
        "settings": {"optimiser": {"steps": 9}},
    }
    return save(path, {"task": (made, name, {})}, **(fields | header))


@pytest.fixture(scope="module")
def fusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a fusion network and a detector."""
    torch.manual_seed(0)
    networks = {
        "fusion": (Edge(width=4, depth=1), "edge", {"width": 4, "depth": 1}),
        "task": (TinyDetector(3).eval(), FINDS, {}),
    }
    path = tmp_path_factory.mktemp("fusion") / "edge.safetensors"
    return save(path, networks, task=VIEW, metrics={"qabf": 0.5, "map50": 0.125})


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, fusion: Path, small_pairs: Path) -> Path:
    folder = tmp_path_factory.mktemp("written")
    masks = masks_only(folder / "masks.safetensors", bands())
    export([fusion, masks], folder / "bundle", allowed=[TINY, FINDS], data=small_pairs)
    return folder / "bundle"


def test_boxes_and_masks_are_in_one_bundle(written: Path) -> None:
    opened = bundle.read(written)
    assert set(opened.manifest.graphs) == {"fusion", "detector", "segmentation"}
    assert (opened.manifest.heads["segmentation"].network, opened.manifest.classes("mask")) == (TINY, CLASSES)
    assert opened.manifest.heads["detector"].network == FINDS
    assert opened.manifest.metrics == {"qabf": 0.5, "map50": 0.125, "miou": 0.625}
    assert opened.manifest.training_data == (MADE_UP, FIELD)
    graph, raw = opened.graph("segmentation")
    assert graph.files == {"fp32": "segmentation.onnx", "fp16": "segmentation.fp16.onnx"}
    model = onnx.load_from_string(raw)
    for tensor, value in zip(
        (*graph.inputs, *graph.outputs), (*model.graph.input, *model.graph.output), strict=True
    ):
        kind = value.type.tensor_type
        shape = tuple(axis.dim_value for axis in kind.shape.dim)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
        assert (tensor.name, tensor.shape, tensor.dtype) == (value.name, shape, dtype)
    assert [(t.name, t.dtype, t.shape) for t in graph.outputs] == [("mask", "uint8", (1, 48, 64))]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_pixel_gets_its_class(written: Path, precision: bundle.Precision) -> None:
    levels = np.array([20, 128, 235], np.uint8)
    picture = levels[np.arange(96) // 32][:, None].repeat(128, axis=1)
    expected = np.arange(48) // 16
    with Fuser(str(written), precision=precision, threads=1) as fuse:
        for luma in (picture, picture / np.float32(255)):
            classes = fuse.find(luma)["mask"].classes
            assert classes.dtype == np.uint8
            np.testing.assert_array_equal(classes, np.broadcast_to(expected[:, None], (48, 64)))


def test_uint8_is_made_of_floating_point_numbers(written: Path) -> None:
    """TensorRT makes it of nothing else, and of nothing but an output of the graph."""
    whole, types = typed(onnx.load_from_string(bundle.read(written).files["segmentation.onnx"]))
    (last,) = [node for node in whole.graph.node if "mask" in node.output]
    assert (last.op_type, types[last.input[0]]) == ("Cast", TensorProto.FLOAT)


def test_the_gate_measures_pixels(written: Path) -> None:
    plain, low = (
        next(row for row in bundle.read(written).manifest.parity if (row.graph, row.precision) == wanted)
        for wanted in (("segmentation", "fp32"), ("fusion", "fp16"))
    )
    assert (plain.against, plain.pictures, plain.figures) == (
        "pytorch",
        "3 random pictures",
        {"pixels_equal": 1.0},
    )
    assert 0 <= plain.max_error <= mask.SCORE_TOLERANCE
    equal, overlap = (low.figures[name] for name in ("pixels_equal", "mask_iou"))
    assert 0.99 <= equal <= 1
    assert 0.97 <= overlap <= 1
    assert f"{equal:.2%} of the mask's pixels equal, mIoU {overlap:.3f}" in in_words(low)
    assert "pixels" not in in_words(msgspec.structs.replace(low, figures={}))


def test_the_card_tells_of_the_masks(written: Path) -> None:
    card = bundle.read(written).files["MODEL_CARD.md"].decode()
    for said in (
        f"Segmentation network `{TINY}`, strategy `task`, recipe `seg`",
        "64x48 pixels, and gives each of them a class: ground, person, car.",
        "| made up | 1 | fusion, detector, segmentation | public domain |",
        "| field | 7 | segmentation | research |",
        "## Metrics of the segmentation network on its validation pairs\n\n| miou |\n|---|\n| 0.625 |",
        "Of the segmentation network:\n\n| table | options |\n|---|---|\n| optimiser | steps 9 |",
        "- Only by night.",
    ):
        assert said in card, said
    assert "0.875" not in card


def test_verify_compares_masks(
    written: Path, small_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--precision", "fp16", "--data", str(small_pairs)]
    assert main(["verify", str(written), *command]) == 0
    assert "% of the pixels equal, mIoU " in capsys.readouterr().out
    opened = bundle.read(written)
    model = onnx.load_from_string(opened.files["segmentation.fp16.onnx"])
    bias = next(one for one in model.graph.initializer if list(one.dims) == [3])
    moved = numpy_helper.to_array(bias) + np.array([0, 1, 0], np.float16)
    bias.CopyFrom(numpy_helper.from_array(moved, bias.name))
    manifest = msgspec.structs.asdict(opened.manifest)
    files = {**opened.files, "segmentation.fp16.onnx": model.SerializeToString()}
    del manifest["format"], manifest["sha256"]
    bundle.write(tmp_path / "moved", manifest, files)
    assert main(["verify", str(tmp_path / "moved"), *command]) == 1
    said = capsys.readouterr().out
    assert "share of the mask's pixels of another class: expected at most 0.01, got" in said
    assert "mean overlap of the mask's classes: expected at least 0.97, got" in said


def test_the_last_masks_win_and_say_whose_pictures_they_saw(fusion: Path, tmp_path: Path) -> None:
    first = masks_only(tmp_path / "first.safetensors", bands())
    last = masks_only(tmp_path / "last.safetensors", bands(), recipe="again", fusion_sha256="other")
    chosen = choose([fusion, first, last], [TINY, FINDS])
    assert chosen.heads["segmentation"].header.recipe == "again"
    assert [(name, task.matched) for name, task in chosen.heads.items()] == [
        ("detector", None),
        ("segmentation", False),
    ]
    assert chosen.notes == (
        f"the segmentation network of {last} was trained on the pictures of another fusion network: expected "
        f"{chosen.fusion.sha256[:12]}, got other; it may find less in this one's",
    )


class Coarse(TinyMask):
    """Gives scores at half the resolution."""

    def decode(self, output: torch.Tensor) -> Any:
        return super().decode(output[..., ::2, ::2])


def test_scores_that_are_not_of_every_pixel_are_refused() -> None:
    with pytest.raises(ExportError, match=r"expected mask uint8 \(1, 48, 64\).*got mask uint8 \(1, 24, 32\)"):
        head_onnx(Coarse(3), VIEW)
    with pytest.raises(
        ExportError, match=r"scores of every pixel: expected \(1, 3, 48, 64\).*got \(1, 4, 48, 64\)"
    ):
        mask.compare(TinyMask(4), head_onnx(TinyMask(4), VIEW), VIEW)
    many = checkpoint.TaskView(classes=tuple(map(str, range(256))), height=8, width=8)
    with pytest.raises(ExportError, match="255 classes at most"):
        mask.compare(TinyMask(256), head_onnx(TinyMask(256), many), many)


def test_a_graph_of_other_weights_or_without_numbers_is_refused() -> None:
    made = bands()
    raw = head_onnx(made, VIEW)
    assert mask.compare(made, raw, VIEW).figures == {"pixels_equal": 1.0}
    with torch.no_grad():
        made.head.bias[0] += 1e-3
    with pytest.raises(ExportError, match=r"differs from PyTorch.*got [12]\.\d+e-0[34]"):
        mask.compare(made, raw, VIEW)
    with torch.no_grad():
        made.head.bias[0] = float("nan")
    with pytest.raises(ExportError, match="not finite"):
        mask.compare(made, raw, VIEW)


def test_a_mask_that_is_not_the_best_class_is_refused() -> None:
    made = bands()
    model = onnx.load_from_string(head_onnx(made, VIEW))
    (best,) = [node for node in model.graph.node if node.op_type == "ArgMax"]
    best.op_type = "ArgMin"
    with pytest.raises(ExportError, match="expected one ArgMax, got 0"):
        mask.compare(made, model.SerializeToString(), VIEW)
    best.op_type = "ArgMax"
    last = next(node for node in model.graph.node if "mask" in node.output)
    (kind,) = [attribute for attribute in last.attribute if attribute.name == "to"]
    kind.i = TensorProto.BOOL
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.BOOL
    with pytest.raises(ExportError, match="mask is not the class with the largest score"):
        mask.compare(made, model.SerializeToString(), VIEW)


@pytest.fixture(scope="module")
def segformer() -> SegFormer:
    torch.manual_seed(0)
    return SegFormer(classes=3).eval()


@pytest.mark.slow
def test_segformer_in_float32_and_half(segformer: SegFormer) -> None:
    """The real network, with random weights: its graph, and that FP16 holds what it computes."""
    view = checkpoint.TaskView(classes=CLASSES, height=64, width=64)
    plain = folded(segformer, (torch.zeros(1, 1, view.height, view.width),))
    row = mask.compare(segformer, head_onnx(plain, view), view)
    assert row.max_error <= mask.SCORE_TOLERANCE
    assert row.figures["pixels_equal"] > 0.999
    low = onnx.load_from_string(head_onnx(half(plain), view))
    assert lint(low) == []
    whole, types = typed(low)
    kinds = {op: {types[n.input[0]] for n in whole.graph.node if n.op_type == op} for op in OPS}
    assert kinds["LayerNormalization"] == kinds["Softmax"] == kinds["ArgMax"] == {TensorProto.FLOAT}
    assert kinds["Conv"] == {TensorProto.FLOAT16}
    assert TensorProto.FLOAT16 in kinds["MatMul"]
    require_in_range(low, hard_inputs({"luma": (1, 1, view.height, view.width)}))


def test_a_segmentation_network_needs_a_size_of_its_stride(fusion: Path, tmp_path: Path) -> None:
    view = checkpoint.TaskView(classes=CLASSES, height=50, width=64)
    path = masks_only(tmp_path / "odd.safetensors", SegFormer(classes=3), "segformer", task=view)
    with pytest.raises(RequestError, match="size of the segmentation network's input: expected multiples of"):
        choose([fusion, path], [FINDS])
