"""``tdfusion-edge eval --labels``: a detector whose findings can be foretold, scored through the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tdfusion_edge import bundle
from tdfusion_edge.cli import main
from tdfusion_edge.install import install_command
from tdfusion_edge.pairs import LabelledPair, PairSource, open_pairs
from tdfusion_edge.runtime.evaluation.rows import Fused, as_row, by_fuser, look_of, measure
from tdfusion_edge.runtime.fuser import Fuser

HEIGHT, WIDTH = 32, 40
"""What the detector takes: half of the pictures' size."""
ANCHORS = ((4, 4, 12, 20), (24, 8, 36, 16))
"""In its pixels; the first one is where persons are, the second where cars are."""
CLASSES = ("person", "car")
KNOWER = "the bundle's detector (person, car)"


def detector_graph() -> bytes:
    """An ONNX detector with two boxes, whose scores are the darkest level within them."""
    nodes, ends = [], []
    for k, (x1, y1, x2, y2) in enumerate(ANCHORS):
        nodes += [
            helper.make_node("Slice", ["luma", f"from{k}", f"to{k}", "axes"], [f"part{k}"]),
            helper.make_node("ReduceMin", [f"part{k}"], [f"level{k}"], keepdims=1),
        ]
        ends += [
            helper.make_tensor(f"from{k}", TensorProto.INT64, (2,), [y1 + 1, x1 + 1]),
            helper.make_tensor(f"to{k}", TensorProto.INT64, (2,), [y2 - 1, x2 - 1]),
        ]
    nodes += [
        helper.make_node("Concat", ["level0", "level1"], ["levels"], axis=2),  # (1, 1, 2, 1)
        helper.make_node("Reshape", ["levels", "shape"], ["column"]),
        helper.make_node("Mul", ["column", "eye"], ["scores"]),
        helper.make_node("Identity", ["anchors"], ["boxes"]),
    ]
    ends += [
        helper.make_tensor("axes", TensorProto.INT64, (2,), [2, 3]),
        helper.make_tensor("shape", TensorProto.INT64, (3,), [1, 2, 1]),
        helper.make_tensor("eye", TensorProto.FLOAT, (1, 2, 2), [1, 0, 0, 1]),
        helper.make_tensor("anchors", TensorProto.FLOAT, (1, 2, 4), [float(v) for a in ANCHORS for v in a]),
    ]
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("luma", (1, 1, HEIGHT, WIDTH)), ("boxes", (1, 2, 4)), ("scores", (1, 2, 2)))
    }
    graph = helper.make_graph(nodes, "detector", [values["luma"]], [values["boxes"], values["scores"]], ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    raw: bytes = model.SerializeToString()
    return raw


@pytest.fixture(scope="module")
def detector_bundle(mean_bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that averages, with a detector."""
    opened = bundle.read(mean_bundle_path)

    def tensor(name: str, shape: tuple[int, ...]) -> bundle.TensorInfo:
        return bundle.TensorInfo(name=name, dtype="float32", shape=shape, content=name)

    graph = bundle.Graph(
        files={"fp32": "detector.onnx"},
        inputs=(tensor("luma", (1, 1, HEIGHT, WIDTH)),),
        outputs=(tensor("boxes", (1, 2, 4)), tensor("scores", (1, 2, 2))),
        minimum_size=HEIGHT,
        opset=18,
    )
    manifest = {
        "name": "mean",
        "network": "mean",
        "strategy": "none",
        "created": "2026-01-01",
        "graphs": {**opened.manifest.graphs, "detector": graph},
        "heads": {
            "detector": bundle.HeadInfo(kind="boxes", network="n", classes=CLASSES, score_threshold=0.25)
        },
    }
    path = tmp_path_factory.mktemp("bundles") / "detecting"
    bundle.write(path, manifest, {**opened.files, "detector.onnx": detector_graph()})
    return path


def picture(random: np.random.Generator, *bright: int) -> np.ndarray:
    """64x80, dim, black where the detector looks, but 200 in the anchors ``bright``."""
    noise = random.integers(0, 60, (2 * HEIGHT, 2 * WIDTH)).astype(np.uint8)
    for k, anchor in enumerate(ANCHORS):
        x1, y1, x2, y2 = (2 * value for value in anchor)
        noise[y1:y2, x1:x2] = 200 if k in bright else 0
    return noise


def line(class_id: int, anchor: tuple[int, int, int, int]) -> str:
    x1, y1, x2, y2 = anchor
    shares = (x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT
    return f"{class_id} {' '.join(map(str, shares))}\n"


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """Persons that only the infrared camera sees (1D, 2N), and a car that only the other one sees (3N)."""
    random = np.random.default_rng(0)
    shows = {"1D": ((0,), ()), "2N": ((0,), ()), "3N": ((), (1,))}
    for part in ("ir", "vi", "boxes"):
        (tmp_path / part).mkdir()
    for name, (infrared, visible) in shows.items():
        cv2.imwrite(str(tmp_path / "ir" / f"{name}.png"), picture(random, *infrared))
        cv2.imwrite(str(tmp_path / "vi" / f"{name}.png"), picture(random, *visible))
        labels = "".join(line(k, ANCHORS[k]) for k in (*infrared, *visible))
        (tmp_path / "boxes" / f"{name}.txt").write_text(labels)
    return tmp_path


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["eval", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_rows_find_what_their_sensors_see(
    street: Path, detector_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(detector_bundle), "--data", str(street), "--labels", "yolo:boxes", "--baselines"]
    printed = evaluated(capsys, *arguments, "--groups", "day=*D,night=*N")
    rows = printed["detection"]
    assert (
        list(rows)
        == list(printed["rows"])
        == ["mean", "infrared", "visible", "average", "additive", "maximum"]
    )
    person, car = ({"map50": 1, "map50_95": 1, "boxes": boxes} for boxes in (2, 1))
    blind = {"map50": 0, "map50_95": 0}
    assert rows["mean"] == {"map50": 1, "map50_95": 1, "classes": {"person": person, "car": car}}
    assert rows["infrared"]["classes"] == {"person": person, "car": {**blind, "boxes": 1}}
    assert rows["visible"]["classes"] == {"person": {**blind, "boxes": 2}, "car": car}
    assert rows["visible"]["map50_95"] == 0.5
    day, night = (printed["groups"][group] for group in ("day", "night"))
    assert (day["pairs"], night["pairs"]) == (1, 2)
    assert day["detection"]["infrared"] == {
        "map50": 1,
        "map50_95": 1,
        "classes": {
            "person": {"map50": 1, "map50_95": 1, "boxes": 1},
            "car": {"map50": None, "map50_95": None, "boxes": 0},
        },
    }
    assert night["detection"]["infrared"]["map50"] == 0.5
    for row, scores in printed["rows"].items():
        for field, value in scores.items():
            parts = [group["rows"][row][field] for group in (day, night)]
            assert value == pytest.approx((parts[0] + 2 * parts[1]) / 3)


def test_the_table_has_both_kinds_of_scores(
    street: Path, detector_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(street), "--labels", "yolo:boxes", "--groups", "day=1*"]
    assert main(["eval", str(detector_bundle), *arguments]) == 0
    lines = [row.split() for row in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["3", "pairs"]
    assert lines[3] == ["3", "boxes", "mAP50", "mAP50:95", "person", "(2)", "car", "(1)"]
    assert lines[4] == ["mean", "1.0000", "1.0000", "1.000/1.000", "1.000/1.000"]
    assert lines[6] == ["day:", "1", "pairs"]
    assert lines[9] == ["1", "boxes", "mAP50", "mAP50:95", "person", "(1)", "car", "(0)"]
    assert lines[10] == ["mean", "1.0000", "1.0000", "1.000/1.000", "-/-"]


def test_coco_and_voc_give_the_scores_of_yolo(
    street: Path, detector_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same boxes in the other formats; both bring their classes, in whatever order and case."""
    (street / "xml").mkdir()
    images, annotations = [], []
    for number, (name, k) in enumerate({"1D": 0, "2N": 0, "3N": 1}.items()):
        x1, y1, x2, y2 = (2 * value for value in ANCHORS[k])
        images.append({"id": number, "file_name": f"some/where/{name}.jpg", "width": 80, "height": 64})
        annotations.append({"image_id": number, "category_id": 9 - k, "bbox": [x1, y1, x2 - x1, y2 - y1]})
        (street / "xml" / f"{name}.xml").write_text(
            f"<annotation><object><name>{CLASSES[k].upper()}</name><bndbox><xmin>{x1 + 1}</xmin>"
            f"<ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object></annotation>"
        )
    categories = [{"id": 9 - k, "name": name.title()} for k, name in enumerate(CLASSES)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (street / "all.json").write_text(json.dumps(coco))
    here = [str(detector_bundle), "--data", str(street), "--baselines"]
    yolo, *others = (
        evaluated(capsys, *here, "--labels", labels) for labels in ("yolo:boxes", "coco:all.json", "voc:xml")
    )
    assert yolo["detection"]["visible"]["map50_95"] == 0.5
    assert others == [yolo, yolo]


def test_labels_may_number_their_classes_otherwise(
    street: Path, detector_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    persons_2 = {"0": "2", "1": "1"}  # and 0 is something that the detector does not know
    for path in (street / "boxes").iterdir():
        text = path.read_text()
        path.write_text(persons_2[text[0]] + text[1:] + line(0, (1, 1, 9, 9)))
    arguments = [str(detector_bundle), "--data", str(street), "--labels", "yolo:boxes"]
    assert main(["eval", *arguments, "--json", "--classes", "dog, CAR,Person"]) == 0
    said = capsys.readouterr()
    assert said.err == f"labels in {street}/boxes: left out dog, which {KNOWER} does not know\n"
    printed = json.loads(said.out)
    boxes = {name: row["boxes"] for name, row in printed["detection"]["mean"]["classes"].items()}
    assert boxes == {"person": 2, "car": 1}
    assert printed["detection"]["mean"]["map50"] == 1


def test_what_the_labels_have_no_class_for_is_said(
    street: Path, detector_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (street / "boxes").iterdir():
        path.write_text(line(1, ANCHORS[0]) if path.stem == "1D" else "")
    arguments = [str(detector_bundle), "--data", str(street), "--labels", "yolo:boxes"]
    assert main(["eval", *arguments, "--classes", "dog,PERSON"]) == 0
    said = capsys.readouterr().err
    assert f"left out dog, which {KNOWER} does not know; not scored car, for which" in said
    assert main(["eval", *arguments]) == 0
    assert capsys.readouterr().err == ""


def test_a_box_too_small_for_training_counts_neither_here(
    street: Path, detector_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The pictures have 80x64 pixels.
    small, enough = (f"0 0.25 0.25 {pixels / 80} 0.25\n" for pixels in (0.9, 1.1))
    with (street / "boxes" / "1D.txt").open("a") as labels:
        labels.write(small + enough)
    printed = evaluated(capsys, str(detector_bundle), "--data", str(street), "--labels", "yolo:boxes")
    assert printed["detection"]["mean"]["classes"]["person"]["boxes"] == 3


def test_rows_in_8_bits_and_in_floats_are_seen_alike(finder_bundle: bundle.Bundle) -> None:
    """Of noise every mean of pixels would be another one if it were rounded to 8 bits."""
    noise = np.random.default_rng(0).integers(0, 256, (1, 250, 330), np.uint8)[0]
    pair = LabelledPair("noise", noise, noise)
    found = []
    with Fuser(finder_bundle, threads=1, score_threshold=0.0) as fuser:
        look = look_of(fuser, "boxes")
        rows = {
            "folder": as_row(lambda pair: pair.visible),
            "network": lambda pair: Fused(pair.visible, pair.visible / np.float32(255)),
        }

        def noted(luma: Any, chroma: Any, infrared: Any) -> Any:
            found.append((luma.dtype, look(luma, chroma, infrared)["boxes"].to_rows()))
            return {}

        measure([pair], rows, noted)
    assert [dtype for dtype, _ in found] == [np.uint8, np.float32]
    assert found[0][1] == found[1][1] != []


def test_the_detector_sees_what_comes_before_the_stretch(street: Path, detector_bundle: Path) -> None:
    row = by_fuser(Fuser(detector_bundle, detect=False), "image")
    infrared, visible = np.full((64, 80), 40, np.uint8), np.zeros((64, 80), np.uint8)
    visible[:32] = 60
    fused = row(LabelledPair("1D", infrared, visible))
    assert sorted(set(fused.picture.ravel().tolist())) == [0, 255]
    assert fused.luma.dtype == np.float32
    assert np.allclose(fused.luma[[0, 63]].T, [50 / 255, 20 / 255])
    seen: list[Any] = []

    def noted(luma: Any, *beside: Any) -> Any:
        seen.append(luma)
        return {}

    measure(open_pairs(street, PairSource(names=("3N", "1D"))), {"": row}, noted)
    assert len(seen) == 2
    assert all(luma.dtype == np.float32 for luma in seen)


def test_wrong_requests(
    street: Path, detector_bundle: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("lacking", "beyond", "broken"):
        (street / folder).mkdir()
        for name in ("1D", "2N", "3N"):
            (street / folder / f"{name}.txt").write_text(line(0, ANCHORS[0]))
    (street / "lacking" / "2N.txt").unlink()
    (street / "beyond" / "2N.txt").write_text(line(2, ANCHORS[0]))
    (street / "broken" / "2N.txt").write_text("0 1 2\n")
    cases = [
        (["--labels", "boxes"], "expected FORMAT:PATH"),
        (["--labels", "yolo:"], "expected FORMAT:PATH"),
        (["--labels", "mask:masks"], "--labels mask:masks: there is no segmentation network to score"),
        (["--labels", "yolo:nowhere"], "there is no folder of labels"),
        (
            ["--labels", "yolo:lacking"],
            "lacks 2N.txt: got 1 pictures without a label\n  Give a picture without",
        ),
        (["--labels", "yolo:beyond"], "2N.txt has a class without a name: expected 0 to 1 (person, car)"),
        (["--labels", "yolo:broken"], "2N.txt, line 1 is no YOLO box"),
        (["--labels", "yolo:boxes", "--classes", "dog,cat"], "have no class of the bundle's detector"),
        (["--labels", "yolo:boxes", "--classes", "person"], "3N.txt has a class without a name"),
        (["--labels", "yolo:boxes", "--classes", "person,,car"], "got an empty one"),
        (["--labels", "yolo:boxes", "--classes", "person,car,car"], "got 'car' 2 times"),
        (["--groups", "day"], "expected NAME=PATTERN"),
        (["--groups", "a=*D,a=*N"], "each NAME once"),
        (["--groups", "day=*D,dusk=*X"], "no pair belongs to 'dusk': expected stems like *X, got 1D"),
    ]
    for arguments, message in cases:
        assert main(["eval", str(detector_bundle), "--data", str(street), *arguments]) == 2
        assert message in capsys.readouterr().err
    assert main(["eval", str(mean_bundle_path), "--data", str(street), "--labels", "yolo:boxes"]) == 2
    assert "--labels yolo:boxes: there is no detector to score" in capsys.readouterr().err


def test_what_scores_boxes_is_asked_for_before_anything_is_fused(
    street: Path,
    detector_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    (street / "ir" / "1D.png").write_bytes(b"what would fail once it is read")
    arguments = ["--data", str(street), "--labels", "yolo:boxes"]
    assert main(["eval", str(detector_bundle), *arguments]) == 2
    assert install_command("metrics") in capsys.readouterr().err
