"""The command ``verify``, on real bundles."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest
from bands import bands_graph

from tdfusion_edge import bundle
from tdfusion_edge.cli import main


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three pairs."""
    random = np.random.default_rng(0)
    for side in ("ir", "vi"):
        (tmp_path / side).mkdir()
        for number in range(3):
            picture = random.integers(0, 256, (24, 32), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
            cv2.imwrite(str(tmp_path / side / f"{number}.png"), picture)
    return tmp_path


def written(folder: Path, change: float) -> Path:
    """The shipped bundle with its graph beside a copy in "fp16" whose first weights are scaled."""
    opened = bundle.read(bundle.default_path())
    graph, raw = opened.graph("fusion")
    model = onnx.load_from_string(raw)
    weights = next(one for one in model.graph.initializer if len(one.dims) == 4)
    scaled = onnx.numpy_helper.to_array(weights) * np.float32(1 + change)
    weights.CopyFrom(onnx.numpy_helper.from_array(scaled, weights.name))
    files = {"fusion.onnx": raw, "fusion.fp16.onnx": model.SerializeToString()}
    described = {"files": {"fp32": graph.files["fp32"], "fp16": "fusion.fp16.onnx"}}
    manifest = json.loads((bundle.default_path() / bundle.MANIFEST).read_bytes())
    manifest["graphs"] = {"fusion": {**manifest["graphs"]["fusion"], **described}}
    for key in ("format", "sha256", "heads", "parity"):
        manifest.pop(key, None)
    bundle.write(folder, manifest, files)
    return folder


def test_the_reference_equals_itself(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--data", str(data), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["backend"], told["precision"], told["offences"]) == ("onnxruntime", "fp32", [])
    assert told["gap"]["pairs"] == 3
    assert told["gap"]["max_error"] == 0
    assert told["gap"]["psnr_db"] is None


def test_a_small_difference_is_within_the_limits(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = written(tmp_path / "bundle", 1e-4)
    assert main(["verify", str(place), "--precision", "fp16", "--data", str(data)]) == 0
    told = capsys.readouterr().out
    assert f"onnxruntime in fp16 against onnxruntime in fp32, 3 pairs of {data.name}" in told
    assert told.endswith("equal within the limits\n")


def test_a_graph_that_gives_other_pictures_is_told(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = written(tmp_path / "bundle", 0.5)
    assert main(["verify", str(place), "--precision", "fp16", "--data", str(data)]) == 1
    told = capsys.readouterr().out
    assert "PSNR of the fused luma in dB: expected at least 60, got" in told
    assert told.endswith("not equal: see above\n")


def test_a_precision_that_the_bundle_lacks_is_a_clear_error(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "--precision", "int8", "--data", str(data)]) == 1
    assert "has no fusion graph in int8: got fp32" in capsys.readouterr().err


def test_names_belong_to_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--names", "val.txt"]) == 2
    assert "expected --data as well" in capsys.readouterr().err


def test_pairs_that_are_not_aligned_are_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(data / "ir" / "1.png"), np.zeros((64, 64), np.uint8))
    assert main(["verify", "--data", str(data)]) == 2
    assert "pair '1': the infrared picture has another size than the visible one" in capsys.readouterr().err


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """Three pairs with a bright object of luma 200 at another place in each, and its labels."""
    for part in ("ir", "vi", "boxes"):
        (tmp_path / part).mkdir()
    for number in range(3):
        x = 8 + 40 * number
        picture = np.zeros((96, 128), np.uint8)
        picture[16:64, x : x + 32] = 200
        for side in ("ir", "vi"):
            cv2.imwrite(str(tmp_path / side / f"{number}.png"), picture)
        (tmp_path / "boxes" / f"{number}.txt").write_text(f"0 {(x + 16) / 128} {40 / 96} 0.25 0.5\n")
    return tmp_path


def finding(folder: Path, finder: bundle.Bundle, least: float) -> Path:
    """The bundle that finds bright things, beside a detector "in fp16" that starts at another level.

    It shows what has a score of 0.9, so that what has 200 / 255 counts in the average precision alone.
    """
    model = onnx.load_from_string(finder.files["detector.onnx"])
    low = next(one for one in model.graph.initializer if one.name == "low")
    levels = onnx.numpy_helper.to_array(low).copy()
    levels[0, 0] = least
    low.CopyFrom(onnx.numpy_helper.from_array(levels, "low"))
    files = {
        **finder.files,
        "fusion.fp16.onnx": finder.files["fusion.onnx"],
        "detector.fp16.onnx": model.SerializeToString(),
    }
    manifest = msgspec.to_builtins(finder.manifest)
    for name, graph in manifest["graphs"].items():
        graph["files"] = {"fp32": f"{name}.onnx", "fp16": f"{name}.fp16.onnx"}
    for key in ("format", "sha256"):
        manifest.pop(key)
    manifest["heads"]["detector"]["score_threshold"] = 0.9
    bundle.write(folder, manifest, files)
    return folder


@pytest.mark.parametrize(("least", "change"), [(0.75, 0.0), (0.8, -1.0)])
def test_a_detector_that_scores_less_against_labels_is_told(
    street: Path,
    tmp_path: Path,
    finder_bundle: bundle.Bundle,
    capsys: pytest.CaptureFixture[str],
    least: float,
    change: float,
) -> None:
    place = finding(tmp_path / "bundle", finder_bundle, least)
    asked = ["verify", str(place), "--precision", "fp16", "--data", str(street), "--labels", "yolo:boxes"]
    assert main([*asked, "--json"]) == (change < 0)
    told = json.loads(capsys.readouterr().out)
    assert (told["gap"]["map50"], told["gap"]["map50_change"]) == pytest.approx((1.0, change))
    assert told["gap"]["boxes"] == 0
    assert [row.partition(":")[0] for row in told["offences"]] == ["change of mAP50"] * (change < 0)
    main(asked)
    assert f"mAP50: 1.0000, {change:+.4f}" in capsys.readouterr().out


def test_labels_that_cannot_be_used_are_a_wrong_request(
    street: Path,
    tmp_path: Path,
    finder_bundle: bundle.Bundle,
    mean_bundle_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = str(finding(tmp_path / "bundle", finder_bundle, 0.75))
    (street / "none").mkdir()
    for number in range(3):
        (street / "none" / f"{number}.txt").write_text("")
    here = ["--data", str(street)]
    for arguments, message in (
        ([place, "--labels", "yolo:boxes"], "--labels yolo:boxes: expected --data as well"),
        ([place, *here, "--classes", "bright"], "--classes bright: expected --labels as well"),
        (
            [place, *here, "--labels", "yolo:boxes", "--classes", "dog"],
            "have no class of the bundle's",
        ),
        (
            [place, *here, "--labels", "yolo:none"],
            "no object of the bundle's detector in 3 pairs: expected labels of bright",
        ),
        ([str(mean_bundle_path), *here, "--labels", "yolo:boxes"], "there is no detector to score"),
    ):
        assert main(["verify", *arguments]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(("dim", "change"), [(0.35, 0.0), (0.6, -1 / 3 - (1 - 32 / 48) / 3)])
def test_a_segmentation_that_is_further_from_labelled_masks_is_told(
    tmp_path: Path, bands_bundle_path: Path, capsys: pytest.CaptureFixture[str], dim: float, change: float
) -> None:
    """Stripes of 32 dark, 16 dim and 16 bright columns; the other graph takes what is dim for dark."""
    for part in ("ir", "vi", "masks"):
        (tmp_path / part).mkdir()
    classes = np.zeros((48, 64), np.uint8)
    classes[:, 32:48], classes[:, 48:] = 1, 2
    for name in ("a", "b"):
        for side in ("ir", "vi"):
            cv2.imwrite(str(tmp_path / side / f"{name}.png"), np.array([20, 120, 240], np.uint8)[classes])
        cv2.imwrite(str(tmp_path / "masks" / f"{name}.png"), classes)
    opened = bundle.read(bands_bundle_path)
    manifest = msgspec.to_builtins(opened.manifest)
    for name, graph in manifest["graphs"].items():
        graph["files"] = {"fp32": f"{name}.onnx", "fp16": f"{name}.fp16.onnx"}
    for key in ("format", "sha256"):
        manifest.pop(key)
    lower = {
        "fusion.fp16.onnx": opened.files["fusion.onnx"],
        "segmentation.fp16.onnx": bands_graph((dim, 0.75)),
    }
    bundle.write(tmp_path / "bundle", manifest, {**opened.files, **lower})
    asked = ["verify", str(tmp_path / "bundle"), "--precision", "fp16", "--data", str(tmp_path)]
    assert main([*asked, "--labels", "mask:masks", "--json"]) == (change < 0)
    told = json.loads(capsys.readouterr().out)
    assert (told["gap"]["miou"], told["gap"]["miou_change"]) == pytest.approx((1.0, change))
    assert any(row.startswith("change of mIoU") for row in told["offences"]) == (change < 0)
    main(asked)
    assert "mIoU with the labels" not in capsys.readouterr().out
