"""What commands make of everyday and damaged picture files, and what they say of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import picture_bytes as made
import pytest

from tdfusion_edge.cli import main
from tdfusion_edge.errors import FrameLost, SourceError
from tdfusion_edge.frames import Frame
from tdfusion_edge.pairs import Labels, PairSource, load_pairs, open_pairs
from tdfusion_edge.runtime.sources.folder import FolderSource

GREY = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
COLOURS = cv2.applyColorMap(GREY, cv2.COLORMAP_INFERNO)
HINT = "exiftool -b -RawThermalImage"


@pytest.fixture
def folder(tmp_path: Path, mean_bundle_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "vis.png"), GREY)
    for name, picture in (("ir", GREY), ("vi", GREY[::-1])):
        (tmp_path / name).mkdir()
        for number in range(4):
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), picture)
    return tmp_path


def command(name: str, bundle: Path, *arguments: object) -> int:
    return main([name, *map(str, arguments), "--bundle", str(bundle)])


def radiometric(picture: Any) -> bytes:
    """A thermal camera's JPEG: the rendering, and counts in segments of its own."""
    return made.with_segments(made.encoded(".jpg", picture), b"FLIR\0\1\0\1" + bytes(500), b"FLIR\0\1\1\1")


def warnings(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]


def test_a_phone_s_picture_is_fused_upright(folder: Path, mean_bundle_path: Path) -> None:
    scene = cv2.resize(np.random.default_rng(1).integers(0, 256, (4, 3, 3), np.uint8), (48, 64))
    (folder / "ir.png").write_bytes(made.png(GREY.T.copy(), 1))
    fused = []
    for orientation, stored in ((1, scene), (6, np.rot90(scene, 1).copy())):
        (folder / "phone.jpg").write_bytes(made.jpeg(stored, orientation))
        out = folder / f"o{orientation}.png"
        assert command("fuse", mean_bundle_path, folder / "ir.png", folder / "phone.jpg", "-o", out) == 0
        fused.append(cv2.imread(str(out)))
    assert fused[0].shape == fused[1].shape == (64, 48, 3)
    assert np.abs(fused[0].astype(int) - fused[1]).mean() < 2


def test_labels_drawn_on_what_is_shown_lie_where_they_were_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in ("ir", "vi", "lab", "masks"):
        (tmp_path / side).mkdir()
    shown = np.zeros((64, 48), np.uint8)
    shown[8:24, 12:24] = 255
    stored = np.rot90(shown, 1).copy()  # a camera that was held upright: orientation 6
    for side in ("ir", "vi"):
        (tmp_path / side / "a.png").write_bytes(made.png(stored, 6))
    (tmp_path / "lab" / "a.txt").write_text(f"0 {18 / 48} {16 / 64} {12 / 48} {16 / 64}")
    (tmp_path / "masks" / "a.png").write_bytes(made.png(stored // 255, 6))
    boxes = Labels(format="yolo", path="lab", classes=("person",))
    (pair,) = open_pairs(tmp_path, PairSource(labels=boxes), ("person",))
    np.testing.assert_array_equal(pair.visible, shown)
    assert pair.boxes is not None
    np.testing.assert_allclose(pair.boxes.corners, [[12, 8, 24, 24]])
    masks = Labels(format="mask", path="masks", classes=("ground", "person"))
    (pair,) = open_pairs(tmp_path, PairSource(labels=masks), ("ground", "person"))
    np.testing.assert_array_equal(pair.mask, shown // 255)
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9]}],
    }
    (tmp_path / "as_stored.json").write_text(json.dumps(coco))
    check = ["dataset", "check", str(tmp_path), "--labels", "coco:as_stored.json"]
    assert main(check) == 1
    assert "for a picture of another size: expected 48x64, got 64x48" in capsys.readouterr().out


def test_a_radiometric_jpeg_is_told_of_in_one_line(
    folder: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        (folder / "ir" / f"{number}.png").write_bytes(radiometric(GREY))
    hot = folder / "ir" / "0.png"
    assert command("fuse", mean_bundle_path, hot, folder / "vis.png", "-o", folder / "o.png") == 0
    (line,) = warnings(capsys)
    assert line.startswith(f"warning: {hot} is a radiometric JPEG: its rendering is taken, not its counts")
    assert HINT in line
    assert command("fuse", mean_bundle_path, folder / "ir", folder / "vi", "-o", folder / "out") == 0
    assert len(warnings(capsys)) == 1
    assert command("run", mean_bundle_path, "--camera", f"{folder / 'ir'},{folder / 'vi'}") == 0
    (line,) = warnings(capsys)
    assert HINT in line
    assert main(["dataset", "check", str(folder)]) == 0
    assert "note       4 radiometric JPEGs: their renderings are taken" in capsys.readouterr().out


def test_coloured_infrared_is_told_of_in_one_line(
    folder: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 4):
        cv2.imwrite(str(folder / "ir" / f"{number}.png"), COLOURS)
        cv2.imwrite(str(folder / "vi" / f"{number}.png"), COLOURS[::-1])
    hot = folder / "ir" / "1.png"
    said = "infrared comes in colours: their luma is fused, not thermal counts"
    assert command("fuse", mean_bundle_path, hot, folder / "vi" / "2.png", "-o", folder / "o.png") == 0
    assert [said in line and str(hot) in line for line in warnings(capsys)] == [True]
    assert command("fuse", mean_bundle_path, folder / "ir", folder / "vi", "-o", folder / "out") == 0
    assert [said in line for line in warnings(capsys)] == [True]
    assert command("run", mean_bundle_path, "--camera", f"{folder / 'ir'},{folder / 'vi'}") == 0
    assert [said in line for line in warnings(capsys)] == [True]
    assert main(["dataset", "check", str(folder)]) == 0
    assert "note       3 infrared in colours" in capsys.readouterr().out


def test_grey_that_a_codec_has_tinted_is_no_colour(
    folder: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tinted = cv2.merge([GREY, GREY, np.clip(GREY, 4, 255) - np.uint8(4)])
    (folder / "tinted.jpg").write_bytes(made.encoded(".jpg", tinted))
    assert (
        command("fuse", mean_bundle_path, folder / "tinted.jpg", folder / "vis.png", "-o", folder / "o.png")
        == 0
    )
    assert warnings(capsys) == []


def test_pages_are_frames_where_the_file_stands_alone(
    folder: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = [(np.full((48, 64), 1000 * number, np.uint16), {}) for number in range(4)]
    (folder / "stack.tif").write_bytes(made.tiff_of(pages))
    source = FolderSource("ir", folder / "stack.tif", epoch_ns=5, fps=10)
    frames = list(iter(source.read, None))
    assert [int(frame.image[0, 0]) for frame in frames] == [0, 1000, 2000, 3000]
    assert [frame.time_ns for frame in frames] == [5 + 100_000_000 * number for number in range(4)]
    assert (
        command("run", mean_bundle_path, "--camera", f"{folder / 'stack.tif'},{folder / 'vi'}", "--json") == 0
    )
    assert json.loads(capsys.readouterr().out)["cameras"]["infrared"] == {"paired": 4, "failures": 0}
    out = folder / "o.png"
    assert command("fuse", mean_bundle_path, folder / "stack.tif", folder / "vis.png", "-o", out) == 0
    assert [line for line in warnings(capsys) if "has 4 pages: the first is taken" in line]


def test_pages_of_files_among_others_are_told_of_once(
    folder: Path,
    mean_bundle_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for number in (1, 2):
        (folder / "ir" / f"{number}.png").write_bytes(
            made.tiff_of([(GREY, {}), (GREY, {}), (GREY, {254: 1})])
        )
    assert command("run", mean_bundle_path, "--camera", f"{folder / 'ir'},{folder / 'vi'}") == 0
    (line,) = warnings(capsys)
    assert "1.png has 2 pages: the first is taken, of this file and of every other" in line
    assert main(["dataset", "check", str(folder)]) == 0
    assert "note       2 files of several pages" in capsys.readouterr().out
    caplog.clear()
    assert len(load_pairs(folder, PairSource())) == 4
    assert [record.getMessage().partition(" has ")[2][:7] for record in caplog.records] == ["2 pages"]


def test_damaged_pictures_are_left_out_counted_and_said(
    folder: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        path = folder / "ir" / f"{number}.png"
        path.write_bytes(path.read_bytes()[:-9])
    out = folder / "out.jsonl"
    cameras = f"{folder / 'ir'},{folder / 'vi'}"
    code = command("run", mean_bundle_path, "--camera", cameras, "--policy", "drop", "-o", out, "--json")
    told = capsys.readouterr()
    assert code == 1
    figures = json.loads(told.out)
    assert figures["pictures"] == 2
    assert figures["cameras"]["infrared"] == {"paired": 2, "missing": 2, "repeated": 1, "failures": 2}
    assert figures["cameras"]["visible"]["paired"] == 2
    assert len(out.read_text().splitlines()) == 2
    assert told.err.count("is cut short") == 1
    assert "1.png is cut short" in told.err
    assert "2 frames could not be read and are left out" in told.err


def test_where_all_are_damaged_nothing_was_made(
    folder: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (folder / "ir").iterdir():
        path.write_text("no picture")
    cameras = f"{folder / 'ir'},{folder / 'vi'}"
    assert command("run", mean_bundle_path, "--camera", cameras, "--policy", "drop") == 1
    assert "no picture was made" in capsys.readouterr().err


def test_what_is_lost_of_several_and_of_one(folder: Path) -> None:
    (folder / "ir" / "1.png").write_bytes(b"")
    (folder / "ir" / "2.png").unlink()
    source = FolderSource("ir", folder / "ir", epoch_ns=0)
    assert isinstance(source.read(), Frame)
    with pytest.raises(FrameLost, match=r"1\.png is empty"):
        source.read()
    frame = source.read()
    assert frame is not None
    assert frame.sequence == 2  # 3.png: what is gone before the folder is listed is nothing lost
    pages = [(GREY, {}), (GREY.astype(np.float32), {339: 3}), (GREY, {})]
    (folder / "stack.tif").write_bytes(made.tiff_of(pages))
    stack = FolderSource("ir", folder / "stack.tif", epoch_ns=0)
    assert isinstance(stack.read(), Frame)
    with pytest.raises(FrameLost, match="float32 in 1 channel"):
        stack.read()
    assert isinstance(stack.read(), Frame)
    assert stack.read() is None
    (folder / "one.tif").write_bytes(b"II*\0" + bytes(40))
    with pytest.raises(SourceError) as caught:
        FolderSource("ir", folder / "one.tif", epoch_ns=0).read()
    assert not isinstance(caught.value, FrameLost)


def test_a_picture_that_vanishes_meanwhile_is_lost_and_the_others_are_read(folder: Path) -> None:
    source = FolderSource("ir", folder / "ir", epoch_ns=0)
    (folder / "ir" / "0.png").unlink()
    with pytest.raises(FrameLost, match="does not exist"):
        source.read()
    assert isinstance(source.read(), Frame)
