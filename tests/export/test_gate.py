"""The gate with planted faults: what it measures, what it refuses, and that nothing is written then."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnx
import pytest
import torch
from checkpoints import save
from onnx import TensorProto, helper
from tiny_task import TinyDetector
from torch import Tensor, nn

from tdfusion_edge import bundle, checkpoint
from tdfusion_edge.cli import main
from tdfusion_edge.errors import ExportError
from tdfusion_edge.export import precisions
from tdfusion_edge.export.assemble import export
from tdfusion_edge.export.fusion import STAY_FLOAT, fusion_feeds, fusion_onnx
from tdfusion_edge.export.gate import passed
from tdfusion_edge.export.pairs import Pairs
from tdfusion_edge.pairs import Boxes, LabelledPair
from tdfusion_edge.train.models.base import FusionOutput
from tdfusion_edge.train.models.edge import Edge

TINY = "tiny_task:TinyDetector"
CLASSES = ("person", "car")
VIEW = checkpoint.TaskView(classes=CLASSES, height=48, width=64)


def views(count: int = 2) -> tuple[LabelledPair, ...]:
    """Dark pairs with one bright thing of luma 200, at the same place in both pictures."""
    random = np.random.default_rng(0)
    made = []
    for number in range(count):
        infrared, visible = random.integers(0, 60, (2, 96, 128), dtype=np.uint8)
        for picture in (infrared, visible):
            picture[16:64, 8 : 8 + 32] = 200
        made.append(LabelledPair(str(number), infrared, visible))
    return tuple(made)


def blend(share: float, first: str = "infrared") -> bytes:
    """An ONNX fusion graph that takes so much of its first input and the rest of the other."""
    shape = (1, 1, "height", "width")
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name in ("infrared", "visible", "fused")
    }
    second = {"infrared": "visible", "visible": "infrared"}[first]
    nodes = [
        helper.make_node("Mul", [first, "much"], ["one"]),
        helper.make_node("Mul", [second, "little"], ["other"]),
        helper.make_node("Add", ["one", "other"], ["fused"]),
    ]
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, (), [value])
        for name, value in (("much", share), ("little", 1 - share))
    ]
    graph = helper.make_graph(
        nodes, "blend", [values["infrared"], values["visible"]], [values["fused"]], weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    raw: bytes = model.SerializeToString()
    return raw


def planted(
    opened: bundle.Bundle, files: Mapping[str, bytes], **changes: Any
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What a bundle with float16 beside float32 would be written from."""
    manifest = msgspec.to_builtins(opened.manifest)
    for name, graph in manifest["graphs"].items():
        graph["files"] = {"fp32": f"{name}.onnx", "fp16": f"{name}.fp16.onnx"}
    for key in ("format", "sha256"):
        manifest.pop(key)
    whole = {
        **opened.files,
        **{f"{name}.fp16.onnx": opened.files[f"{name}.onnx"] for name in manifest["graphs"]},
    }
    return manifest | changes, {**whole, **files}


def labelled(pairs: Pairs) -> Pairs:
    boxes = Boxes(np.array([[8, 16, 40, 64]], np.float32), np.zeros(1, np.int64))
    return pairs._replace(measured=tuple(pair._replace(boxes=boxes) for pair in pairs.measured))


def test_swapped_inputs_are_refused(mean_bundle: bundle.Bundle) -> None:
    good, swapped = (
        {"fusion.onnx": blend(0.8), "fusion.fp16.onnx": blend(0.8, side)} for side in ("infrared", "visible")
    )
    pairs = Pairs(views(), (), "2 pairs")
    (row,) = passed(*planted(mean_bundle, good), pairs)
    assert (row.precision, row.max_error) == ("fp16", 0.0)
    assert not {"psnr_db", "map50_change"} & set(row.figures)
    with pytest.raises(ExportError, match=r"fp16 is too far from float32: largest error of the fused luma"):
        passed(*planted(mean_bundle, swapped), pairs)


def test_a_detector_that_scores_less_is_refused(finder_bundle: bundle.Bundle) -> None:
    """It loses what is not shown for its score, so that only the labels tell."""
    pairs = Pairs(views(), (), "2 pairs")
    head = msgspec.structs.replace(finder_bundle.manifest.heads["detector"], score_threshold=0.9)
    manifest, files = planted(finder_bundle, {}, heads={"detector": msgspec.to_builtins(head)})
    (row,) = passed(manifest, files, labelled(pairs))
    assert (row.figures.get("boxes_kept"), row.figures["map50_change"]) == (None, 0.0)
    model = onnx.load_from_string(files["detector.onnx"])
    low = next(one for one in model.graph.initializer if one.name == "low")
    low.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(low) + np.float32(0.1), "low"))
    worse = {**files, "detector.fp16.onnx": model.SerializeToString()}
    assert "map50_change" not in passed(manifest, worse, pairs)[0].figures
    with pytest.raises(ExportError, match=r"change of mAP50: expected at most 0\.005, got 1"):
        passed(manifest, worse, labelled(pairs))


class Normed(Edge):
    """A norm over all pixels, which FP16 cannot sum."""

    def forward(self, infrared: Tensor, visible: Tensor) -> FusionOutput:
        """As ``edge``, scaled by 1 in all but the last digits."""
        fused = super().forward(infrared, visible).fused
        scale = fused.to(self.head.weight.dtype).flatten(1).norm(dim=1)[:, None, None, None]
        return FusionOutput((fused * (scale + 1) / (scale + 1)).float())


class Low(nn.Module):
    """A network wholly in half precision, without what the export keeps in float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, infrared: Tensor, visible: Tensor) -> FusionOutput:
        """float32 in and out."""
        return FusionOutput(self.network(infrared.half(), visible.half()).fused.float())


@pytest.mark.slow
def test_a_norm_in_float16_never_leaves_the_export(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = Normed(width=4, depth=1).eval()
    real = precisions.Real(fusion_feeds(views()), ())
    good = precisions.in_precisions(network, fusion_onnx, real, ("fp32", "fp16"), STAY_FLOAT)
    assert set(good) == {"fp32", "fp16"}
    monkeypatch.setattr(precisions, "half", lambda network: Low(copy.deepcopy(network)))
    with pytest.raises(ExportError, match=r"Reduce\w+ .*in FP16"):
        precisions.in_precisions(network, fusion_onnx, real, ("fp32", "fp16"), STAY_FLOAT)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of both networks."""
    torch.manual_seed(0)
    edge, detector = Edge(width=4, depth=1), TinyDetector(classes=2, width=16)
    networks: dict[str, tuple[nn.Module, str, dict[str, Any]]] = {
        "fusion": (edge, "edge", {"width": 4, "depth": 1}),
        "task": (detector, TINY, {"width": 16}),
    }
    return save(tmp_path_factory.mktemp("trained") / "both.safetensors", networks, task=VIEW)


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """Four pairs with a label each."""
    for part in ("ir", "vi", "boxes"):
        (tmp_path / part).mkdir()
    for pair in views(4):
        cv2.imwrite(str(tmp_path / "ir" / f"{pair.name}.png"), pair.infrared)
        cv2.imwrite(str(tmp_path / "vi" / f"{pair.name}.png"), pair.visible)
        (tmp_path / "boxes" / f"{pair.name}.txt").write_text("1 0.1875 0.41667 0.25 0.5\n")
    return tmp_path


@pytest.mark.slow
def test_the_manifest_says_what_labels_and_calibration_said(
    trained: Path, street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (street / "cal.txt").write_text("2\n3\n")
    command = ["export", str(trained), "-o", str(tmp_path / "out"), "--network", TINY, "--data", str(street)]
    command += ["--precision", "fp16,int8", "--calibration", "cal.txt", "--score-threshold", "0.99"]
    command.append("--no-onepass")
    assert main([*command, "--labels", "yolo:boxes", "--classes", "lamp,car"]) == 0
    low, lowest = bundle.read(tmp_path / "out").manifest.parity[-2:]
    assert (low.precision, lowest.precision) == ("fp16", "int8")
    assert low.pictures == f"2 pairs of {street.name}"
    assert lowest.pictures == f"2 pairs of {street.name}, calibrated on 2 others"
    assert all(abs(row.figures["map50_change"]) <= 0.02 for row in (low, lowest))
    assert "mAP50 by +0.0000" in capsys.readouterr().out
    assert {"fusion.int8.onnx", "detector.int8.onnx"} <= set(bundle.read(tmp_path / "out").files)


def test_wrong_requests_cost_nothing(
    trained: Path, street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", str(trained), "-o", str(tmp_path / "out")]
    here, tiny = ["--data", str(street)], ["--network", TINY]
    for arguments, message in (
        (["--labels", "yolo:boxes"], "--labels yolo:boxes: expected --data as well"),
        (["--calibration", "cal.txt"], "--calibration cal.txt: expected --data as well"),
        ([*here, "--calibration", "cal.txt"], "--calibration cal.txt: expected --precision with int8"),
        ([*here, "--classes", "car"], "--classes car: expected --labels as well"),
        ([*here, "--labels", "yolo:boxes"], "--labels yolo:boxes: there is no detector to score"),
        ([*here, *tiny, "--labels", "yolo:boxes", "--precision", "fp32"], "fp16 or int8 to measure"),
        ([*here, *tiny, "--labels", "yolo:nowhere"], "there is no folder of labels"),
    ):
        assert main([*command, *arguments]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_precision_beyond_its_limits_leaves_no_bundle(
    trained: Path, street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bias of the last layer is another one in float16."""
    real = precisions.half

    def wrong(network: nn.Module) -> nn.Module:
        made = real(network)
        with torch.no_grad():
            list(made.parameters())[-1].fill_(5)
        return made

    monkeypatch.setattr(precisions, "half", wrong)
    with pytest.raises(ExportError, match="fp16 is too far from float32"):
        export([trained], tmp_path / "out", data=street, size=None)
    assert not (tmp_path / "out").exists()
