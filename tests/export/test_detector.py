"""Which networks of which checkpoints go into a bundle, and that a detector's graph is the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import MADE_UP, save
from small_bundle import FINDS, VIEW, Checkpoints, seen
from tiny_task import Swapped, TinyBlind, TinyMask, TinyNeither

from tdfusion_edge import bundle, checkpoint
from tdfusion_edge.cli import main
from tdfusion_edge.errors import ConfigError, ExportError, RequestError
from tdfusion_edge.export.assemble import export
from tdfusion_edge.export.graph import LEGACY, OPSET
from tdfusion_edge.export.heads import boxes
from tdfusion_edge.export.heads.graph import head_onnx
from tdfusion_edge.export.model_card import model_card
from tdfusion_edge.export.networks import choose
from tdfusion_edge.train.models.edge import Edge


def detector_only(path: Path, made: torch.nn.Module, name: str = FINDS, **header: Any) -> Path:
    return save(path, {"task": (made, name, {})}, **({"strategy": "task", "task": VIEW} | header))


@pytest.fixture(scope="module")
def fusion(small_checkpoints: Checkpoints) -> Path:
    return small_checkpoints.fusion_path


def test_the_same_fusion_network_twice_is_one(small_checkpoints: Checkpoints, tmp_path: Path) -> None:
    options, fusion = {"width": 4, "depth": 1}, small_checkpoints.fusion_path
    again = save(tmp_path / "again.safetensors", {"fusion": (small_checkpoints.fusion, "edge", options)})
    assert choose([fusion, again], [FINDS]).fusion.header.strategy == "tdfusion"
    torch.manual_seed(1)
    other = save(tmp_path / "other.safetensors", {"fusion": (Edge(**options), "edge", options)})
    with pytest.raises(RequestError, match=r"different fusion networks: expected one, got .*edge.*other"):
        choose([fusion, again, other], [FINDS])


def test_a_detector_alone_makes_no_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = detector_only(tmp_path / "detector.safetensors", seen())
    assert main(["export", str(path), "-o", str(tmp_path / "bundle"), "--network", FINDS]) == 2
    said = capsys.readouterr().err
    assert "needs a fusion network: expected a checkpoint with one, got" in said
    assert "detector.safetensors: task" in said
    assert not (tmp_path / "bundle").exists()


def test_what_gives_neither_is_left_out_and_one_checkpoint_may_hold_both_networks(
    fusion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = detector_only(tmp_path / "odd.safetensors", TinyNeither(3), "tiny_task:TinyNeither")
    command = ["export", str(fusion), str(odd), "-o", str(tmp_path / "bundle"), "--precision", "fp32"]
    command.append("--no-onepass")
    assert main([*command, "--network", FINDS, "--network", "tiny_task:TinyNeither"]) == 0
    printed = capsys.readouterr()
    assert f"left out: 'tiny_task:TinyNeither' of {odd} gives 'depth', none of boxes, mask" in printed.err
    assert "with detector of person, car, lamp" in printed.out
    manifest = bundle.read(tmp_path / "bundle").manifest
    assert set(manifest.graphs) == {"fusion", "detector"}
    assert manifest.metrics == {"qabf": 0.5, "map50": 0.125}
    assert manifest.training_data == (MADE_UP,)


def test_a_class_that_is_not_allowed_by_name_is_left_out(
    fusion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", str(fusion), "-o", str(tmp_path / "bundle"), "--precision", "fp32"]
    assert main([*command, "--no-onepass"]) == 0
    said = capsys.readouterr().err
    assert f"left out: '{FINDS}' of {fusion} is none of this package's" in said
    assert f"--network {FINDS}" in said
    assert set(bundle.read(tmp_path / "bundle").manifest.graphs) == {"fusion"}
    nowhere = detector_only(tmp_path / "nowhere.safetensors", TinyMask(3), "nowhere:Detector")
    chosen = choose([fusion, nowhere], [FINDS])
    assert "detector" in chosen.heads
    assert "nowhere:Detector" in " ".join(chosen.notes)


def test_the_fusion_network_goes_alone_where_that_is_asked_for(
    fusion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "the bundle"
    command = ["export", str(fusion), "-o", str(place), "--precision", "fp32", "--no-onepass"]
    assert main([*command, "--network", FINDS, "--no-heads"]) == 0
    manifest = bundle.read(place).manifest
    assert set(manifest.graphs) == {"fusion"}
    assert manifest.heads == {}
    assert "--no-heads" in manifest.commands["export"]
    next_line = f"next: tdfusion-edge run --bundle '{place}' --camera ir0,vis0"
    assert capsys.readouterr().out.splitlines()[-1] == next_line


def test_what_a_later_one_stands_in_for_is_not_built(fusion: Path, tmp_path: Path) -> None:
    """It may need a library that is not here; this one could not even be made."""
    made = {"task": (TinyMask(3), "segformer", {"size": "huge"})}
    path = save(tmp_path / "seg.safetensors", made, task=VIEW)
    last = detector_only(tmp_path / "last.safetensors", TinyMask(3), "tiny_task:TinyMask")
    chosen = choose([fusion, path, last], ["tiny_task:TinyMask"])
    assert list(chosen.heads) == ["segmentation"]
    with pytest.raises(ConfigError, match="size of SegFormer"):
        choose([fusion, last, path], ["tiny_task:TinyMask"])


def test_a_checkpoint_names_no_folder_to_read(small_checkpoints: Checkpoints, tmp_path: Path) -> None:
    options = {"width": 4, "depth": 1, "pretrained": "/of/another/machine"}
    path = save(tmp_path / "edge.safetensors", {"fusion": (small_checkpoints.fusion, "edge", options)})
    assert not choose([path]).heads


@pytest.mark.parametrize(
    ("trained_on", "said"), [("this", "this fusion network"), ("other", "another fusion network"), (None, "")]
)
def test_a_detector_says_whose_pictures_it_was_trained_on(
    trained_on: str | None, said: str, fusion: Path, tmp_path: Path
) -> None:
    weights = checkpoint.of_role(checkpoint.read(fusion)[1], "fusion")
    digest = checkpoint.weights_sha256(weights) if trained_on == "this" else trained_on
    path = detector_only(tmp_path / "d.safetensors", seen(), fusion_sha256=digest)
    chosen = choose([fusion, path], [FINDS])
    noted = f"detector of {path} was trained on the pictures of another fusion network"
    assert any(noted in note for note in chosen.notes) == (trained_on == "other")
    card = model_card("test", chosen.fusion.header, chosen.heads)
    assert ("It was trained on the pictures of" in card) == bool(said)
    assert said in card


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (None, "does not say what it tells apart"),
        (checkpoint.TaskView(classes=(), height=48, width=64), "does not say what it tells apart"),
        (checkpoint.TaskView(classes=("a", "b", "c"), height=50, width=64), "multiples of 8, got 64x50"),
        (checkpoint.TaskView(classes=("a", "b"), height=48, width=64), "does not fit the network"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(
    view: checkpoint.TaskView | None, message: str, fusion: Path, tmp_path: Path
) -> None:
    path = detector_only(tmp_path / "d.safetensors", seen(), task=view)
    with pytest.raises(RequestError, match=message):
        export([fusion, path], tmp_path / "bundle", allowed=[FINDS], precisions=["fp32"], size=None)
    assert not (tmp_path / "bundle").exists()


def test_what_gives_no_boxes_is_refused() -> None:
    with pytest.raises(
        ExportError, match=r"expected boxes float32 \(1, anchors, 4\).*got boxes float32 \(1, 4, 48\)"
    ):
        head_onnx(seen(Swapped), VIEW)


@pytest.mark.parametrize("opset", [LEGACY, OPSET])
def test_a_network_that_does_not_look_at_its_colours_is_refused(opset: int) -> None:
    with pytest.raises(ExportError, match=r"expected luma and chroma, got no use of chroma") as raised:
        head_onnx(TinyBlind(3).eval(), VIEW, opset)
    assert "colour = False" in str(raised.value)


def test_a_graph_of_other_weights_is_refused() -> None:
    raw = head_onnx(seen(seed=1), VIEW)
    with pytest.raises(ExportError, match="differs from PyTorch"):
        boxes.compare(seen(seed=2), raw, VIEW)


def test_boxes_that_are_no_numbers_are_refused() -> None:
    made = seen()
    with torch.no_grad():
        made.head.bias[0] = float("nan")  # type: ignore[union-attr, operator]
    with pytest.raises(ExportError, match="not finite"):
        boxes.compare(made, head_onnx(made, VIEW), VIEW)


def test_a_threshold_that_is_none_is_refused(fusion: Path, tmp_path: Path) -> None:
    for bad in (-0.1, 1.5, float("nan")):
        with pytest.raises(RequestError, match="--score-threshold: expected 0 to 1"):
            export([fusion], tmp_path / "bundle", allowed=[FINDS], threshold=bad, size=None)
