"""``tdfusion-edge dataset check``: each fault is found, named and counted once, and a whole set has none."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge.errors import ConfigError, InputMissing, RequestError, SinkError
from tdfusion_edge.train import command_dataset
from tdfusion_edge.train.data.alignment import estimate_shift
from tdfusion_edge.train.data.sheet import write_png

HEIGHT, WIDTH = 120, 160


def scene(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Overlapping discs of random levels, float64 in [0, 255], with a margin of 20 pixels."""
    random = np.random.default_rng(seed)
    picture = np.full((height + 40, width + 40), 90.0)
    for _ in range(60):
        centre = int(random.integers(width + 40)), int(random.integers(height + 40))
        cv2.circle(picture, centre, int(random.integers(4, 20)), float(random.integers(20, 235)), -1)
    return picture


def two_sensors(seed: int, dx: int, dy: int) -> tuple[np.ndarray, np.ndarray]:
    """Infrared and visible of one scene, the infrared one shifted, inverted, uneven and noisy."""
    random = np.random.default_rng(seed)
    picture = scene(seed)
    visible = picture[20 : 20 + HEIGHT, 20 : 20 + WIDTH]
    infrared = 200 - 0.6 * picture[20 - dy : 20 - dy + HEIGHT, 20 - dx : 20 - dx + WIDTH]
    infrared = infrared + np.linspace(-30, 30, WIDTH) + random.normal(0, 4, (HEIGHT, WIDTH))
    return infrared.clip(0, 255).astype(np.uint8), visible.astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four whole pairs, the infrared 3 pixels to the right and 2 up, with boxes."""
    for part in ("ir", "vi", "labels"):
        (tmp_path / part).mkdir()
    for number in range(4):
        for part, picture in zip(("ir", "vi"), two_sensors(number, 3, -2), strict=True):
            cv2.imwrite(str(tmp_path / part / f"{number}.png"), picture)
        lines = ["0 0.5 0.5 0.25 0.5", "1 0.25 0.25 0.1 0.1"][: number % 3]
        (tmp_path / "labels" / f"{number}.txt").write_text("\n".join(lines))
    return tmp_path


BOXES = ("--labels", "yolo:labels", "--classes", "car,person")


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command_dataset.add_arguments(parser)
    return command_dataset.main(parser.parse_args(["check", *map(str, arguments)]))


def report(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict[str, Any]:
    assert run(*arguments, "--json") == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_whole_set_has_no_fault(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, folder, *BOXES)
    assert found["pairs"] == 4
    assert found["sizes"] == {"160x120": 4}
    assert found["objects"] == {"car": 2, "person": 1}
    assert found["empty"] == 2
    assert found["faults"] == {}
    shift = found["alignment"]
    assert (shift["pairs"], shift["trusted"]) == (4, 4)
    assert (shift["dx"], shift["dy"]) == pytest.approx((3, -2), abs=0.3)
    assert shift["spread_dx"] < 0.5
    assert run(folder, *BOXES) == 0
    text = capsys.readouterr().out
    assert "no fault found" in text
    assert "infrared lies 3.0 px right and 2.0 px up of visible" in text


def test_every_fault_of_a_pair_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (folder / "vi" / "0.png").read_bytes()
    (folder / "vi" / "0.png").write_bytes(whole[: len(whole) // 2])
    cv2.imwrite(str(folder / "ir" / "1.png"), np.full((HEIGHT, WIDTH), 3000, np.uint16))
    cv2.imwrite(str(folder / "ir" / "2.png"), np.zeros((HEIGHT, WIDTH - 1), np.uint8))
    cv2.imwrite(str(folder / "ir" / "warm.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    for name in ("x", "y"):
        cv2.imwrite(str(folder / "vi" / f"{name}.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    faults = report(capsys, folder, code=1)["faults"]
    assert list(faults) == ["infrared_only", "visible_only", "damaged", "deep", "unequal"]
    assert faults["infrared_only"] == ["warm"]
    assert faults["visible_only"] == ["x", "y"]
    assert "0.png is cut short" in faults["damaged"][0]
    assert faults["deep"] == [str(folder / "ir" / "1.png")]
    assert faults["unequal"] == ["2: infrared 159x120, visible 160x120"]
    assert run(folder) == 1
    text = capsys.readouterr().out
    assert "2 visible without infrared:\n  x\n  y" in text
    assert "no fault found" not in text


def test_a_list_restricts_the_check_and_its_names_must_exist(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "ir" / "3.png").write_bytes(b"no picture")
    (folder / "some.txt").write_text("0\n1\n")
    assert report(capsys, folder, "--names", "some.txt")["pairs"] == 2
    (folder / "some.txt").write_text("0\nother\n")
    found = report(capsys, folder, "--names", "some.txt", code=1)
    assert found["faults"] == {"unnamed": ["other"]}


def test_faults_of_boxes_are_told_apart(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def voc(*boxes: tuple[int, int, int, int]) -> str:
        found = "".join(
            f"<object><name>car</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax>"
            "</bndbox></object>"
            for a, b, c, d in boxes
        )
        return f"<annotation>{found}</annotation>"

    (folder / "labels" / "0.xml").write_text(voc((1, 1, 160, 120), (0, 0, 20, 20)))
    (folder / "labels" / "1.xml").write_text(voc((100, 20, 190, 50), (50, 50, 40, 60), (170, 5, 190, 9)))
    (folder / "labels" / "2.xml").write_text("<annotation>")
    found = report(capsys, folder, "--labels", "voc:labels", code=1)
    assert found["objects"] == {"car": 5}
    assert found["faults"]["outside"] == ["1: car at 99.0, 19.0, 190.0, 50.0 of 160x120"]
    assert found["faults"]["degenerate"] == [
        "1: car at 49.0, 49.0, 40.0, 60.0 of 160x120",
        "1: car at 169.0, 4.0, 190.0, 9.0 of 160x120",
    ]
    assert found["faults"]["unlabelled"] == ["3"]
    assert len(found["faults"]["labels"]) == 1
    assert "2.xml is no XML" in found["faults"]["labels"][0]


def test_masks_are_counted_by_class(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:30], mask[30:40] = 1, 255
    for number in range(3):
        cv2.imwrite(str(folder / "labels" / f"{number}.png"), mask)
    cv2.imwrite(str(folder / "labels" / "3.png"), mask + np.uint8(1))
    arguments = ("--labels", "mask:labels", "--classes", "road,car")
    found = report(capsys, folder, *arguments, code=1)
    assert found["pixels"] == {"road": 3 * 80 * WIDTH, "car": 3 * 30 * WIDTH, "(ignored)": 3 * 10 * WIDTH}
    assert list(found["faults"]) == ["labels"]
    assert "3.png has values without a class" in found["faults"]["labels"][0]
    run(folder, *arguments)
    assert "pixels     road 66.67 %, car 25.00 %, (ignored) 8.33 %" in capsys.readouterr().out


def test_masks_may_be_coloured(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    mask[:30] = (0, 0, 255)  # BGR
    for number in range(4):
        cv2.imwrite(str(folder / "labels" / f"{number}.png"), mask)
    arguments = ("--labels", "mask:labels", "--classes", "road,weed,car")
    found = report(capsys, folder, *arguments, "--colours", "#000000, #00ff00,#FF0000")
    assert found["pixels"] == {"road": 4 * 90 * WIDTH, "car": 4 * 30 * WIDTH}


def test_absent_labels_are_a_fault_and_not_the_end(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, folder, "--labels", "voc:boxes", code=1)
    assert found["sizes"] == {"160x120": 4}
    assert found["faults"] == {"labels": [f"there is no folder of labels {folder / 'boxes'}"]}


def test_requests_that_cannot_be_met(folder: Path) -> None:
    for arguments, error, message in (
        (("--labels", "yolo"), ConfigError, "expected FORMAT:PATH"),
        (("--labels", "pascal:labels"), ConfigError, "pascal"),
        (("--labels", "yolo:labels"), ConfigError, "expected classes"),
        (("--classes", "car"), ConfigError, "--classes car: expected --labels as well"),
        (("--labels", "yolo:labels", "--classes", "car,,person"), RequestError, "got an empty one"),
        (("--labels", "yolo:labels", "--classes", "car,car"), RequestError, "got 'car' 2 times"),
        (("--colours", "#000000"), ConfigError, "--colours: expected --labels mask:FOLDER as well"),
        ((*BOXES, "--colours", "#000000,#0000ff"), ConfigError, "--colours: expected --labels mask:FOLDER"),
        (("--labels", "mask:labels", "--classes", "a", "--colours", "red"), ConfigError, "colours"),
        (("--labels", "mask:labels", "--classes", "a", "--ignore", "300"), ConfigError, "255"),
        (("--layout", "llvip"), InputMissing, "infrared/train"),
        (("-o", folder / "sheet.jpg"), RequestError, "a name that ends in .png"),
        (("-o", folder / "none" / "sheet.png"), InputMissing, "there is no folder .*none to write sheet.png"),
    ):
        with pytest.raises(error, match=message):
            run(folder, *arguments)
    with pytest.raises(InputMissing, match="there is no folder"):
        run(folder / "none")
    for picture in (folder / "vi").iterdir():
        picture.rename(picture.with_stem(f"other{picture.stem}"))
    with pytest.raises(RequestError, match="there is no pair to check"):
        run(folder)


@pytest.mark.parametrize("labels", [(), BOXES])
def test_the_sheet_shows_each_whole_pair_beside_its_labels(
    folder: Path, capsys: pytest.CaptureFixture[str], labels: tuple[str, ...]
) -> None:
    (folder / "ir" / "3.png").write_bytes(b"no picture")
    path = folder / "sheet.png"
    assert run(folder, *labels, "-o", path) == 1
    assert f"contact sheet: {path}" in capsys.readouterr().out
    drawn = cv2.imread(str(path))
    assert drawn.shape == (3 * (22 + 300), 3 * 400, 3)
    # Second row, under its line of text: infrared, visible, and both with the boxes of that pair.
    row = drawn[322 + 22 : 644].astype(int)
    for column, part in enumerate(("ir", "vi")):
        picture = cv2.imread(str(folder / part / "1.png"), cv2.IMREAD_GRAYSCALE)
        wanted = cv2.resize(picture, (400, 300), interpolation=cv2.INTER_AREA)
        tile = row[:, 400 * column : 400 * (column + 1)]
        assert abs(tile - wanted[..., None]).max() <= 1
    blend = row[:, 800:]
    coloured = blend.max(axis=2) - blend.min(axis=2) > 60
    # The box of the first line: 0.375..0.625 of the width, 0.25..0.75 of the height.
    assert coloured[75, 160:240].all() == bool(labels)
    assert coloured.any() == bool(labels)
    assert sorted(file.name for file in folder.iterdir()) == ["ir", "labels", "sheet.png", "vi"]


def test_the_report_comes_before_the_sheet_and_without_a_pair_to_show(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for picture in (folder / "ir").iterdir():
        picture.write_bytes(b"no picture")
    assert run(folder, "-o", folder / "sheet.png") == 1
    printed = capsys.readouterr()
    assert "4 unreadable:" in printed.out
    assert "no contact sheet: no pair is without a fault" in printed.err
    assert not (folder / "sheet.png").exists()
    assert run(folder, "-o", folder / "sheet.png", "--json") == 1
    assert json.loads(capsys.readouterr().out)["pairs"] == 4


def test_a_sheet_with_no_place_to_go_is_refused_before_anything_is_read(folder: Path) -> None:
    (folder / "ir").rename(folder / "gone")
    with pytest.raises(RequestError, match=r"a name that ends in \.png"):
        run(folder, "-o", folder / "sheet.jpg")


def test_the_sheet_tints_the_classes_of_a_mask(folder: Path) -> None:
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[:, : WIDTH // 2] = 1
    for number in range(4):
        cv2.imwrite(str(folder / "labels" / f"{number}.png"), mask)
    assert run(folder, "--labels", "mask:labels", "--classes", "road,car", "-o", folder / "sheet.png") == 0
    row = cv2.imread(str(folder / "sheet.png"))[22:322, 800:].astype(int)
    colour = row.max(axis=2) - row.min(axis=2)
    assert colour[:, :198].min() > 40
    assert colour[:, 202:].max() == 0


def test_a_sheet_that_cannot_be_written_leaves_the_old_one(folder: Path) -> None:
    path = folder / "sheet.png"
    path.mkdir()
    with pytest.raises(SinkError, match=r"sheet\.png cannot be written"):
        write_png(path, np.zeros((4, 4, 3), np.uint8))
    assert sorted(file.name for file in folder.iterdir()) == ["ir", "labels", "sheet.png", "vi"]


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(-10, 10), st.integers(-10, 10))
def test_a_shift_between_the_sensors_is_found(seed: int, dx: int, dy: int) -> None:
    found = estimate_shift(*two_sensors(seed, dx, dy))
    assert found.trusted
    assert (found.dx, found.dy) == pytest.approx((dx, dy), abs=0.5)


def test_a_shift_is_in_pixels_of_the_picture_that_was_reduced() -> None:
    random = np.random.default_rng(3)
    small = scene(3, 480, 640).astype(np.uint8)
    large = cv2.resize(small, None, fx=2.5, fy=2.5, interpolation=cv2.INTER_CUBIC)
    visible, infrared = large[50:-50, 50:-50], 255 - large[65:-35, 30:-70]
    noise = random.integers(0, 9, infrared.shape, dtype=np.uint8)
    found = estimate_shift(cv2.add(infrared, noise), np.ascontiguousarray(visible))
    assert found.trusted
    assert (found.dx, found.dy) == pytest.approx((20, -15), abs=1.5)


def test_pictures_of_different_scenes_are_hardly_ever_trusted() -> None:
    trusted = [
        estimate_shift(two_sensors(seed, 0, 0)[0], two_sensors(seed + 100, 0, 0)[1]).trusted
        for seed in range(40)
    ]
    assert sum(trusted) <= 2


def test_pictures_without_edges_have_no_estimate() -> None:
    flat = np.full((HEIGHT, WIDTH), 80, np.uint8)
    assert not estimate_shift(flat, flat).trusted


def test_real_pairs_are_checked(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--labels", "yolo:labels/fusion", "--classes", "person,bicycle,car")
    found = report(capsys, data / "msrs", *arguments, "--names", "split_val.txt")
    assert found["pairs"] == 60
    assert found["sizes"] == {"640x480": 60}
    assert set(found["objects"]) == {"person", "bicycle", "car"}
    # The objects of MSRS stand a few pixels lower in the infrared, which the boxes of each sensor show.
    assert found["alignment"]["trusted"] >= 15
    assert 1 < found["alignment"]["dy"] < 6
    assert abs(found["alignment"]["dx"]) < 3


def test_the_sheet_never_lands_among_the_pairs(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for output in ("ir/0.png", "vi/sheet.png", "labels/0.png", "./ir/../vi/1.png"):
        with pytest.raises(RequestError, match=r"--output .* (is an input already|lies in a folder that is)"):
            run(folder, *BOXES, "-o", folder / output)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert run(folder, *BOXES, "-o", folder / "sheet.png") == 0
