"""``--detector FILE.onnx`` of run, fuse and eval: boxes that can be foretold, in each row's colours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from foreign_graphs import SIZE, detector

from tdfusion_edge.cli import main
from tdfusion_edge.color import split
from tdfusion_edge.detection_scores import Truth, score
from tdfusion_edge.pairs import Labels, PairSource, open_pairs
from tdfusion_edge.plain import PLAIN
from tdfusion_edge.runtime.evaluation.rows import baselines
from tdfusion_edge.runtime.heads.boxes.foreign.run import open_detector

BOX = [30, 10, 62, 50]
RED, GREY = (0, 0, 255), (255, 255, 255)
"""Red is bright to the detector, and dark (76) once it is grey."""


def with_block(level: tuple[int, int, int], dark: int = 20) -> Any:
    picture = np.full((SIZE[1], SIZE[0], 3), dark, np.uint8)
    x1, y1, x2, y2 = BOX
    picture[y1:y2, x1:x2] = level
    return picture


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """Three pairs with an object that only the colours of visible show."""
    for part in ("ir", "vi", "boxes", "others"):
        (tmp_path / part).mkdir()
    (x1, y1, x2, y2), (width, height) = BOX, SIZE
    shares = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height
    for number in range(3):
        cv2.imwrite(str(tmp_path / "ir" / f"{number}.png"), with_block((20, 20, 20)))
        cv2.imwrite(str(tmp_path / "vi" / f"{number}.png"), with_block(RED))
        cv2.imwrite(str(tmp_path / "others" / f"{number}.png"), with_block((76, 76, 76))[..., 0])
        (tmp_path / "boxes" / f"{number}.txt").write_text(f"2 {' '.join(map(str, shares))}\n")
    (tmp_path / "yolox.onnx").write_bytes(detector("YOLOX"))
    return tmp_path


def found_by(path: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{found["class"]: found["score"] for found in line["detections"]} for line in lines]


def test_run_and_fuse_find_what_the_file_finds(
    street: Path, finder_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--detector", str(street / "yolox.onnx"), "--bundle", str(finder_bundle_path)]
    plain, cars = {"truck": 0.8, "car": 0.5, "bicycle": 0.3}, {"car": 0.8, "Bike": 0.3}
    three = ["--detector-classes", "person, car,Bike"]
    for number, (options, found) in enumerate(
        (([], plain), (three, cars), ([*three, "--score-threshold", "0.5"], {"car": 0.8}))
    ):
        lines = street / f"run{number}.jsonl"
        cameras = f"{street / 'ir'},{street / 'vi'}"
        assert main(["run", "--camera", cameras, "-o", str(lines), *own, *options, "--range", "camera"]) == 0
        assert "detects person, " in capsys.readouterr().err
        assert found_by(lines) == [found] * 3
        folders = str(street / "ir"), str(street / "vi"), "-o", str(street / f"fused{number}")
        lines = street / f"fuse{number}.jsonl"
        options = [*own, *options, "--range", "camera", "--boxes", "--detections", str(lines)]
        assert main(["fuse", *folders, *options]) == 0
        assert found_by(lines) == [found] * 3
        drawn = cv2.imread(str(street / f"fused{number}" / "0.png"))
        clean = main(["fuse", *folders[:2], "-o", str(street / f"clean{number}"), "--range", "camera"])
        assert clean == 0
        assert not np.array_equal(drawn, cv2.imread(str(street / f"clean{number}" / "0.png")))


def evaluated(capsys: pytest.CaptureFixture[str], street: Path, bundle: Path, *options: str) -> Any:
    here = ["--data", str(street), "--labels", "yolo:boxes", "--detector", str(street / "yolox.onnx")]
    assert main(["eval", str(bundle), *here, *options, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["detection"]


def test_eval_shows_every_row_in_its_colours(
    street: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bundle has no detector; .5 of the two is too dark even in red, what holds visible's luma is not."""
    compare = ["--baselines", "--compare", f"others={street / 'others'}"]
    classes = ["--classes", "person,bicycle,car"]
    rows = evaluated(capsys, street, mean_bundle_path, *classes, *compare)
    seen = {name: row["classes"]["car"]["map50"] for name, row in rows.items()}
    assert seen == {
        "mean": 1, "others": 1, "infrared": 0, "visible": 1, "average": 1, "additive": 1, "maximum": 1,
    }  # fmt: skip
    assert rows["visible"]["classes"].keys() == {"person", "bicycle", "car"}
    assert rows["visible"]["classes"]["person"]["boxes"] == 0
    for path in (street / "vi").iterdir():  # the same luma without its colours shows nothing
        cv2.imwrite(str(path), cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2GRAY))
    rows = evaluated(capsys, street, mean_bundle_path, *classes, *compare)
    assert {row["map50"] for row in rows.values()} == {0}


def test_which_classes_eval_asks_a_detector_for(
    street: Path, finder_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def classes(*options: str) -> list[str]:
        rows = evaluated(capsys, street, finder_bundle_path, *options)
        return list(rows["finder"]["classes"])

    assert len(classes()) == 80, "YOLO's numbers are then COCO's"
    assert classes("--classes", "lamp,Bike,Car") == ["Bike", "Car"]
    assert classes("--classes", "people,bike,car", "--detector-classes", "car") == ["car"]


def test_the_additive_row_is_cut_at_white() -> None:
    pair = next(iter(made()))
    assert PLAIN["additive"](pair.infrared, pair.visible).tolist() == [[0, 95, 140, 255]]
    grey = {name for name, row in baselines().items() if not row(pair).coloured}
    assert grey == {"infrared"}


def made() -> Any:
    from tdfusion_edge.pairs import LabelledPair

    yield LabelledPair("a", np.uint8([[0, 10, 100, 200]]), np.uint8([[0, 100, 100, 200]]))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("eval --data {0} --detector {0}/yolox.onnx", "expected --labels with boxes to score it by"),
        ("eval --data {0} --labels mask:boxes --detector {0}/yolox.onnx", "got mask:boxes"),
        ("eval --data {0} --detector-classes car", "expected --detector as well"),
        (
            "eval --data {0} --labels yolo:boxes --classes a,b,lamp --detector {0}/yolox.onnx",
            "have no class of the given detector",
        ),
        (
            "eval --data {0} --labels yolo:boxes --detector {0}/yolox.onnx --detector-classes lmp",
            "'lmp' is none of COCO's",
        ),
        (
            "eval --data {0} --labels yolo:boxes --classes a,b,car --detector {0}/none.onnx",
            "there is no detector",
        ),
        ("run --camera {0}/ir,{0}/vi --detector {0}/yolox.onnx --no-detect", "nothing is detected"),
        ("run --camera {0}/ir,{0}/vi --detector-classes car", "expected --detector as well"),
        (
            "run --camera {0}/ir,{0}/vi --stretch none --detector {0}/yolox.onnx --graphs onepass",
            "the graph holds the bundle's own detector",
        ),
        ("fuse {0}/ir {0}/vi -o {0}/out --detector {0}/yolox.onnx", "Give fuse --boxes or --detections"),
        ("fuse {0}/ir {0}/vi -o {0}/out --boxes --detector {0}/vi/0.png", "cannot load the graph"),
    ],
)
def test_requests_that_cannot_be_met(
    street: Path, command: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(street.rglob("*"))
    assert main(command.format(street).split()) in (1, 2)
    assert message in capsys.readouterr().err
    assert sorted(street.rglob("*")) == before


@pytest.mark.parametrize("name", ["yolox_nano/yolox_nano", "nanodet_m/nanodet_m_416"])
def test_published_detectors_find_what_real_pictures_show(data: Path, name: str) -> None:
    weights = data / "weights" / f"{name}.onnx"
    if not weights.is_file():
        pytest.skip(f"{weights} is not there")
    classes = ("person", "bicycle", "car")
    stems = tuple((data / "msrs" / "split_val.txt").read_text().split()[:20])
    labels = Labels(format="yolo", path="labels/fusion", classes=classes)
    pairs = open_pairs(data / "msrs", PairSource(names=stems, labels=labels), classes, colour=True)
    one = open_detector(weights, classes, threshold=0.001)
    found: dict[str, list[Any]] = {"visible": [], "average": []}
    truths = []
    for pair in pairs:
        assert pair.colour is not None
        assert pair.boxes is not None
        truths.append(Truth(*pair.boxes))
        for row, lines in found.items():
            lines.append(one.find(PLAIN[row](pair.infrared, pair.visible), split(pair.colour)[1]))
    for row, lines in found.items():
        scores = score(lines, truths, classes)
        assert scores.map50 is not None
        assert scores.map50 > 0.4, (row, scores)
