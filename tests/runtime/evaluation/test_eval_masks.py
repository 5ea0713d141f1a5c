"""``eval --labels mask:FOLDER``: classes that follow from brightness, scored through the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bands import NAMES

from tdfusion_edge.cli import main

HEIGHT, WIDTH = 48, 64
"""Twice what the network takes."""
LEVELS = (20, 120, 240)
"""Of the three classes."""


@pytest.fixture
def field(tmp_path: Path) -> Path:
    """Stripes of 32, 16 and 16 columns for the classes; infrared shows the last as ground."""
    for part in ("ir", "vi", "masks"):
        (tmp_path / part).mkdir()
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    classes[:, 32:48], classes[:, 48:] = 1, 2
    for name in ("1D", "2N"):
        visible = np.array(LEVELS, np.uint8)[classes]
        infrared = np.where(classes == 2, np.uint8(LEVELS[0]), visible)
        cv2.imwrite(str(tmp_path / "ir" / f"{name}.png"), infrared)
        cv2.imwrite(str(tmp_path / "vi" / f"{name}.png"), visible)
        cv2.imwrite(str(tmp_path / "masks" / f"{name}_mask.png"), classes)
    return tmp_path


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["eval", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_rows_segment_what_their_sensors_see(
    field: Path, bands_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(bands_bundle_path), "--data", str(field), "--labels", "mask:masks", "--baselines"]
    printed = evaluated(capsys, *arguments, "--groups", "day=*D")
    rows = printed["segmentation"]
    assert (
        list(rows)
        == list(printed["rows"])
        == ["bands", "infrared", "visible", "average", "additive", "maximum"]
    )
    pixels = dict(zip(NAMES, (2 * HEIGHT * count for count in (32, 16, 16)), strict=True))
    right = {name: {"iou": 1, "accuracy": 1, "pixels": count} for name, count in pixels.items()}
    assert rows["visible"] == {"miou": 1, "macc": 1, "accuracy": 1, "classes": right}
    # Of the 48 columns that are ground to the infrared camera 32 are, and it sees nothing bright.
    assert rows["infrared"] == {
        "miou": pytest.approx((32 / 48 + 1 + 0) / 3),
        "macc": pytest.approx(2 / 3),
        "accuracy": 0.75,
        "classes": {
            **right,
            "ground": {"iou": pytest.approx(32 / 48), "accuracy": 1, "pixels": pixels["ground"]},
            "bright": {"iou": 0, "accuracy": 0, "pixels": pixels["bright"]},
        },
    }
    # The mean of 20 and 240 is dim.
    assert rows["bands"] == rows["average"]
    assert rows["bands"]["classes"]["dim"]["iou"] == 0.5
    day = printed["groups"]["day"]
    assert day["segmentation"]["infrared"]["miou"] == rows["infrared"]["miou"]
    assert day["segmentation"]["infrared"]["classes"]["dim"]["pixels"] == pixels["dim"] / 2
    assert "detection" not in printed


def test_the_table_has_the_iou_of_each_class_behind_its_share(
    field: Path, bands_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(bands_bundle_path), "--data", str(field), "--labels", "mask:masks"]) == 0
    lines = [row.split() for row in capsys.readouterr().out.splitlines()]
    heads = ["ground", "(50.0%)", "dim", "(25.0%)", "bright", "(25.0%)"]
    assert lines[3] == ["masks", "mIoU", "accuracy", *heads]
    assert lines[4] == ["bands", "0.5000", "0.7500", "1.000", "0.500", "0.000"]


def test_masks_may_name_their_classes_otherwise(
    field: Path, bands_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By other numbers, with a class that the network does not know and a value that does not count."""
    for path in (field / "masks").iterdir():
        classes = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        numbers = np.array([7, 2, 0], np.uint8)[classes]
        numbers[:, :8] = 1
        cv2.imwrite(str(path), numbers)
    arguments = [str(bands_bundle_path), "--data", str(field), "--labels", "mask:masks", "--ignore", "7"]
    assert main(["eval", *arguments, "--json", "--baselines", "--classes", "BRIGHT,water,dim"]) == 0
    said = capsys.readouterr()
    knower = f"the bundle's segmentation network ({', '.join(NAMES)})"
    assert f"ignored water, which {knower} does not know; not scored ground, for which" in said.err
    classes = json.loads(said.out)["segmentation"]["visible"]["classes"]
    assert {name: row["pixels"] for name, row in classes.items()} == {
        "ground": 0,
        "dim": 2 * HEIGHT * 16,
        "bright": 2 * HEIGHT * 16,
    }
    assert (classes["dim"]["iou"], classes["bright"]["iou"], classes["ground"]["iou"]) == (1, 1, None)


def test_wrong_requests(field: Path, bands_bundle_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = ["eval", str(bands_bundle_path), "--data", str(field), "--labels"]
    (field / "small").mkdir()
    for name in ("1D", "2N"):
        cv2.imwrite(str(field / "small" / f"{name}.png"), np.zeros((HEIGHT // 2, WIDTH), np.uint8))
    for arguments, message in (
        (["yolo:boxes"], "--labels yolo:boxes: there is no detector to score"),
        (["mask:nowhere"], "there is no folder of labels"),
        (["mask:small"], "1D.png does not fit its picture: expected 64x48, got 64x24"),
        (["mask:masks", "--classes", "ground,dim"], "has values without a class: expected 0 to 1"),
        (["mask:masks", "--classes", "sky,sea,rock"], "have no class of the bundle's segmentation network"),
        (["yolo:boxes", "--colours", "#000000"], "--colours: expected --labels mask:FOLDER as well"),
    ):
        assert main([*here, *arguments]) == 2
        assert message in capsys.readouterr().err
