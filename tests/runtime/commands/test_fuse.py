"""``tdfusion-edge fuse`` from end to end, with good and with bad input."""

from __future__ import annotations

import json
import resource
import signal
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from limited import run_limited
from sink_results import number_of, numbered

from tdfusion_edge import console
from tdfusion_edge.cli import main
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime.heads.colours import COLOURS
from tdfusion_edge.runtime.picture.registration import Warp

TIME_BASE = Fraction(1, 90_000)


def write_video(path: Path, numbers: list[int], times: list[int]) -> Path:
    """A video whose pictures show ``numbers``, at ``times`` in ticks of 1/90000 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = 80, 48, "yuv420p"
        stream.codec_context.time_base = TIME_BASE
        for number, time in zip(numbers, times, strict=True):
            frame = av.VideoFrame.from_ndarray(numbered(number, (80, 48), colour=True), format="bgr24")
            frame.pts, frame.time_base = time, TIME_BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_video(path: Path) -> list[tuple[int, Fraction]]:
    """Number and time of every frame."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [
        (number_of(frame.to_ndarray(format="bgr24")), frame.pts * frame.time_base)
        for frame in frames
        if frame.pts is not None and frame.time_base is not None
    ]


def fuse(*arguments: object, bundle: Path) -> int:
    return main(["fuse", *map(str, arguments), "--bundle", str(bundle), "--stretch", "none"])


def picture(level: int, shape: tuple[int, ...] = (48, 64)) -> Image:
    return np.full(shape, level, np.uint8)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Folders with the stems 1, 2, 10 in both, and one alone in each."""
    infrared, visible = tmp_path / "ir", tmp_path / "vis"
    for folder, suffix, alone in ((infrared, "png", "7"), (visible, "bmp", "8")):
        folder.mkdir()
        for stem in ("1", "2", "10", alone):
            level = 2 * int(stem) if folder is infrared else 100
            cv2.imwrite(str(folder / f"{stem}.{suffix}"), picture(level, (35, 51)))
    return infrared, visible


def test_two_pictures(tmp_path: Path, mean_bundle_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "ir.png"), picture(40))
    cv2.imwrite(str(tmp_path / "vis.png"), picture(100))
    out = tmp_path / "fused.png"
    assert fuse(tmp_path / "ir.png", tmp_path / "vis.png", "-o", out, bundle=mean_bundle_path) == 0
    np.testing.assert_array_equal(cv2.imread(str(out), cv2.IMREAD_UNCHANGED), picture(70))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fused.png", "ir.png", "vis.png"]


def test_two_folders_are_matched_by_stem_and_the_rest_is_listed(
    folders: tuple[Path, Path], tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fuse(*folders, "-o", tmp_path / "out", bundle=mean_bundle_path) == 0
    printed = capsys.readouterr()
    assert "3 fused" in printed.out
    assert f"1 without partner in {folders[0]}: 7" in printed.err
    assert f"1 without partner in {folders[1]}: 8" in printed.err
    for stem in (1, 2, 10):
        np.testing.assert_array_equal(
            cv2.imread(str(tmp_path / "out" / f"{stem}.png"), cv2.IMREAD_UNCHANGED),
            picture(50 + stem, (35, 51)),
        )
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_damaged_picture_is_named_and_the_others_are_fused(
    folders: tuple[Path, Path], tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders[0] / "2.png").write_text("this is no picture")
    assert fuse(*folders, "-o", tmp_path / "out", bundle=mean_bundle_path) == 1
    assert "2.png is no image" in capsys.readouterr().err
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == ["1", "10"]


def test_a_picture_that_does_not_fit_is_noted_too(
    folders: tuple[Path, Path], tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(folders[1] / "2.bmp"), picture(1, (20, 51)))
    assert fuse(*folders, "-o", tmp_path / "out", bundle=mean_bundle_path) == 1
    assert "too small for the network" in capsys.readouterr().err
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == ["1", "10"]


def test_a_full_disk_leaves_no_video_and_says_so(tmp_path: Path, mean_bundle_path: Path) -> None:
    paths = [
        write_video(tmp_path / f"{name}.mp4", list(range(90)), [i * 3_000 for i in range(90)])
        for name in ("ir", "vis")
    ]
    out = tmp_path / "out.mp4"
    done = run_limited(["fuse", *paths, "-o", out], 8000)
    assert done.returncode == 1
    assert f"{out} was not written, nothing was kept: the disk allows no larger file" in done.stderr
    assert "partial" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ir.mp4", "vis.mp4"]


def test_two_videos_keep_every_frame_and_its_time(tmp_path: Path, mean_bundle_path: Path) -> None:
    times = [0, 3_000, 6_100, 9_000, 15_000, 15_900, 30_000]
    for name in ("ir", "vis"):
        write_video(tmp_path / f"{name}.mp4", list(range(7)), times)
    out = tmp_path / "fused.mp4"
    assert fuse(tmp_path / "ir.mp4", tmp_path / "vis.mp4", "-o", out, bundle=mean_bundle_path) == 0
    assert read_video(out) == [(number, time * TIME_BASE) for number, time in enumerate(times)]


def test_a_long_work_says_how_far_it_is(
    tmp_path: Path,
    folders: tuple[Path, Path],
    mean_bundle_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(console, "LINES_S", 0.0)
    times = [i * 3_000 for i in range(20)]
    infrared, visible = (
        write_video(tmp_path / f"{name}.mp4", list(range(20)), times) for name in ("ir", "vis")
    )
    assert fuse(infrared, visible, "-o", tmp_path / "fused.mp4", bundle=mean_bundle_path) == 0
    begin = f"fusing {visible}: "
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith(begin)]
    shares = [int(line.removeprefix(begin).partition("%")[0]) for line in lines]
    assert shares == [5 * number for number in range(20)]
    assert lines[-1].endswith(", 20 pictures")
    assert fuse(*folders, "-o", tmp_path / "out", bundle=mean_bundle_path) == 0
    assert f"fusing {folders[1]}: 67%, about 0 s left\n" in capsys.readouterr().err


def test_quiet_leaves_the_result_and_what_was_left_out(
    tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    infrared = write_video(tmp_path / "ir.mp4", list(range(5)), [i * 3_000 for i in range(5)])
    visible = write_video(tmp_path / "vis.mp4", list(range(9)), [i * 3_000 for i in range(9)])
    out = tmp_path / "fused.mp4"
    assert fuse(infrared, visible, "-o", out, "-q", bundle=mean_bundle_path) == 0
    assert capsys.readouterr() == (
        f"5 fused, written to {out}\n", f"4 frames of {visible} have no partner\n"
    )  # fmt: skip


def test_videos_of_different_length_say_what_was_left_out(
    tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    infrared = write_video(tmp_path / "ir.mp4", list(range(5)), [i * 3_000 for i in range(5)])
    visible = write_video(tmp_path / "vis.mp4", list(range(9)), [i * 3_000 for i in range(9)])
    assert fuse(infrared, visible, "-o", tmp_path / "fused.mp4", bundle=mean_bundle_path) == 0
    assert f"4 frames of {visible} have no partner" in capsys.readouterr().err
    assert [number for number, _ in read_video(tmp_path / "fused.mp4")] == list(range(5))


def test_a_cut_video_leaves_nothing_behind(
    tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [
        write_video(tmp_path / f"{name}.mkv", list(range(90)), [i * 3_000 for i in range(90)])
        for name in ("ir", "vis")
    ]
    paths[0].write_bytes(paths[0].read_bytes()[: paths[0].stat().st_size // 2])
    (tmp_path / "fused.mp4").write_text("an older file")
    assert fuse(*paths, "-o", tmp_path / "fused.mp4", bundle=mean_bundle_path) == 1
    assert "ir.mkv" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fused.mp4", "ir.mkv", "vis.mkv"]
    assert (tmp_path / "fused.mp4").read_text() == "an older file"


BOX = [12, 6, 40, 30]
"""Where :func:`bright` is bright."""


def bright(path: Path, size: tuple[int, int] = (64, 48)) -> Path:
    image = np.full((*size[::-1], 3), 20, np.uint8)
    x1, y1, x2, y2 = BOX
    image[y1:y2, x1:x2] = 240
    cv2.imwrite(str(path), image)
    return path


def found_in(path: Path) -> list[tuple[str | None, list[list[float]]]]:
    """Name and boxes of every line."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [(row.get("name"), [found["box"] for found in row["detections"]]) for row in rows]


def has_box(image: Image) -> bool:
    return image.ndim == 3 and tuple(image[20, BOX[0]]) == COLOURS[0]


def test_boxes_of_pictures_are_drawn_and_listed_where_asked_for(
    tmp_path: Path, finder_bundle_path: Path
) -> None:
    pair = bright(tmp_path / "ir.png"), bright(tmp_path / "vis.png")
    out, lines = tmp_path / "fused.png", tmp_path / "found.jsonl"
    for options, drawn, listed in (
        ((), False, False),
        (("--boxes",), True, False),
        (("--detections", lines), False, True),
        (("--boxes", "--detections", lines), True, True),
        (("--boxes", "--score-threshold", "0.99"), False, False),
    ):
        assert fuse(*pair, "-o", out, *options, bundle=finder_bundle_path) == 0
        assert has_box(cv2.imread(str(out), cv2.IMREAD_UNCHANGED)) == drawn, options
        assert lines.exists() == listed, options
        if listed:
            assert found_in(lines) == [("vis.png", [BOX])]
            lines.unlink()


def test_lines_of_folders_name_their_pictures(tmp_path: Path, finder_bundle_path: Path) -> None:
    for name in ("ir", "vis"):
        (tmp_path / name).mkdir()
        for stem in ("1", "2", "10"):
            bright(tmp_path / name / f"{stem}.png")
    cv2.imwrite(str(tmp_path / "vis" / "2.png"), picture(20))
    cv2.imwrite(str(tmp_path / "ir" / "2.png"), picture(20))
    (tmp_path / "ir" / "10.png").write_text("no picture")
    out, lines = tmp_path / "out", tmp_path / "found.jsonl"
    options = "--boxes", "--detections", lines
    arguments = tmp_path / "ir", tmp_path / "vis", "-o", out, *options
    assert fuse(*arguments, bundle=finder_bundle_path) == 1
    assert found_in(lines) == [("1.png", [BOX]), ("2.png", [])]
    drawn = {path.name: has_box(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)) for path in out.iterdir()}
    assert drawn == {"1.png": True, "2.png": False}


def bright_folders(parent: Path, count: int) -> tuple[Path, Path]:
    for name in ("ir", "vis"):
        (parent / name).mkdir()
        for stem in range(count):
            bright(parent / name / f"{stem}.png")
    return parent / "ir", parent / "vis"


def test_an_error_leaves_the_lines_of_a_folder_as_they_were(tmp_path: Path, finder_bundle_path: Path) -> None:
    pairs, lines = bright_folders(tmp_path, 3), tmp_path / "found.jsonl"
    (tmp_path / "out" / "1.png").mkdir(parents=True)  # the second picture has no place
    arguments = *pairs, "-o", tmp_path / "out", "--detections", lines
    for older in (None, "an older file"):
        if older is not None:
            lines.write_text(older)
        fuse(*arguments, bundle=finder_bundle_path)
        assert (lines.read_text() if lines.exists() else None) == older
        assert {path.name for path in tmp_path.iterdir()} <= {"ir", "vis", "out", "found.jsonl"}


def test_lines_of_no_picture_are_none(tmp_path: Path, finder_bundle_path: Path) -> None:
    pairs, lines = bright_folders(tmp_path, 1), tmp_path / "found.jsonl"
    lines.write_text("an older file")
    (pairs[0] / "0.png").write_text("no picture")
    assert fuse(*pairs, "-o", tmp_path / "out", "--detections", lines, bundle=finder_bundle_path) == 1
    assert lines.read_text() == ""


def test_a_full_disk_leaves_no_lines_and_names_them(tmp_path: Path, finder_bundle_path: Path) -> None:
    pairs, lines = bright_folders(tmp_path, 20), tmp_path / "found.jsonl"
    command = ["fuse", *pairs, "-o", tmp_path / "out", "--detections", lines, "--bundle", finder_bundle_path]
    done = run_limited(command, 2000)
    assert done.returncode == 1
    assert f"{lines} was not written: the disk allows no larger file" in done.stderr
    assert "partial" not in done.stderr
    assert "whole" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ir", "out", "vis"]


def test_what_is_in_place_is_told_where_the_second_rename_fails(
    tmp_path: Path,
    finder_bundle_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = [write_video(tmp_path / f"{name}.mkv", [1, 2], [0, 3_000]) for name in ("ir", "vis")]
    out, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    replace = Path.replace

    def refused(self: Path, target: Path) -> Path:
        if target == lines:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refused)
    assert fuse(*paths, "-o", out, "--detections", lines, bundle=finder_bundle_path) == 1
    said = capsys.readouterr().err
    assert f"{out} is whole." in said
    assert "Nothing was kept" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ir.mkv", "out.mp4", "vis.mkv"]


def test_lines_of_videos_come_with_the_video_or_not_at_all(
    tmp_path: Path, finder_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [
        write_video(tmp_path / f"{name}.mkv", list(range(90)), [i * 3_000 for i in range(90)])
        for name in ("ir", "vis")
    ]
    out, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    lines.write_text("an older file")
    whole = paths[0].read_bytes()
    paths[0].write_bytes(whole[: len(whole) // 2])
    options = "-o", out, "--boxes", "--detections", lines, "--range", "camera"
    assert fuse(*paths, *options, bundle=finder_bundle_path) == 1
    assert lines.read_text() == "an older file"
    paths[0].write_bytes(whole)
    assert fuse(*paths, *options, bundle=finder_bundle_path) == 0
    found = found_in(lines)
    assert len(found) == len(read_video(out)) == 90
    # The bars of a number are bright where it has a bit.
    assert [bool(boxes) for _, boxes in found] == [number > 0 for number in range(90)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ir.mkv", "out.jsonl", "out.mp4", "vis.mkv"]


def test_detection_needs_a_detector(
    tmp_path: Path, mean_bundle_path: Path, finder_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, out = bright(tmp_path / "a.png"), tmp_path / "out.png"
    cases = [
        (("--boxes",), mean_bundle_path, "has no detector"),
        (("--detections", tmp_path / "f.jsonl"), mean_bundle_path, "tdfusion-edge export FUSION"),
        (("--detections", tmp_path / "f.txt"), finder_bundle_path, "expected a name that ends in .jsonl"),
        (("--detections", out), finder_bundle_path, "is an output already"),
        (("--score-threshold", "0.5"), finder_bundle_path, "nothing is detected"),
        (("--boxes", "--score-threshold", "-1"), finder_bundle_path, "expected 0 to 1, got -1"),
    ]
    for options, bundle, message in cases:
        assert fuse(a, bright(tmp_path / "b.png"), "-o", out, *options, bundle=bundle) == 2, message
        assert message in capsys.readouterr().err
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_wrong_requests(
    folders: tuple[Path, Path], tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture(1))
    cv2.imwrite(str(tmp_path / "small.png"), picture(1, (31, 64)))
    cv2.imwrite(str(tmp_path / "deep.png"), np.zeros((48, 64), np.uint16))
    (tmp_path / "text.png").write_text("no picture")
    other = tmp_path / "other"
    other.mkdir()
    cv2.imwrite(str(other / "alone.png"), picture(1))
    (tmp_path / "hard.png").hardlink_to(tmp_path / "a.png")
    a, out = tmp_path / "a.png", tmp_path / "out.png"
    cases = [
        ((tmp_path / "none.png", a, "-o", out), 2, "there is no"),
        (
            (folders[0], a, "-o", out),
            2,
            "different kinds: expected two pictures, folders or videos, got folder and picture",
        ),
        ((a, a, "-o", tmp_path / "out.mp4"), 2, "unknown kind of picture"),
        ((*folders, "-o", folders[0]), 2, "is an input already"),
        ((a, a, "-o", a), 2, "is an input already"),
        ((a, a, "-o", out, "--range", "linear"), 2, "needs low and high in counts: expected --rig FILE"),
        ((folders[0], tmp_path, "-o", tmp_path / "out"), 2, "lies in a folder that is read"),
        ((folders[0], other, "-o", tmp_path / "out"), 2, "no picture has a partner"),
        ((a, a, "-o", tmp_path / "hard.png"), 2, "is an input already"),
        ((a, tmp_path / "small.png", "-o", out), 2, "expected 32x32 pixels or more, got 64x31"),
        ((a, tmp_path / "deep.png", "-o", out), 2, "the visible picture has 16 bits"),
        ((a, tmp_path / "text.png", "-o", out), 1, "is no image"),
        ((a, a, "-o", out, "--threads", "-1"), 2, "--threads: expected 0 or more"),
    ]
    before = sorted(path for path in tmp_path.rglob("*"))
    for arguments, code, message in cases:
        assert fuse(*arguments, bundle=mean_bundle_path) == code, message
        assert message in capsys.readouterr().err
        assert sorted(path for path in tmp_path.rglob("*")) == before, message


def test_a_full_disk_leaves_the_older_picture(
    tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), noise)
    out = tmp_path / "out.png"
    out.write_text("an older file")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        assert fuse(tmp_path / "a.png", tmp_path / "a.png", "-o", out, bundle=mean_bundle_path) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "the disk allows no larger file" in capsys.readouterr().err
    assert out.read_text() == "an older file"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "out.png"]


def test_real_pairs_of_odd_sizes_come_out_at_their_own_size(data: Path, tmp_path: Path) -> None:
    sizes = {}
    for part in ("ir", "vi"):
        (tmp_path / part).mkdir()
        for path in sorted((data / "roadscene" / part).iterdir())[:6]:
            (tmp_path / part / path.name).write_bytes(path.read_bytes())
            sizes[path.stem] = cv2.imread(str(path)).shape[:2]
    assert any(height % 2 or width % 2 for height, width in sizes.values())
    assert main(["fuse", str(tmp_path / "ir"), str(tmp_path / "vi"), "-o", str(tmp_path / "out")]) == 0
    assert {path.stem: cv2.imread(str(path)).shape[:2] for path in (tmp_path / "out").iterdir()} == sizes


RIG = """
[cameras.thermal]
uri = "sim://ir"
role = "infrared"
range = { mode = "linear", low = 1000, high = 3550 }
[cameras.colour]
uri = "sim://vis"
role = "visible"
"""


def test_the_range_comes_from_the_infrared_camera_of_the_rig(tmp_path: Path, mean_bundle_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "ir.png"), np.full((48, 64), 1600, np.uint16))
    cv2.imwrite(str(tmp_path / "vis.png"), picture(100))
    (tmp_path / "rig.toml").write_text(RIG)
    out = tmp_path / "fused.png"
    paths = tmp_path / "ir.png", tmp_path / "vis.png", "-o", out, "--rig", tmp_path / "rig.toml"
    for more in ((), ("--range", "linear")):
        assert fuse(*paths, *more, bundle=mean_bundle_path) == 0
        np.testing.assert_array_equal(cv2.imread(str(out), cv2.IMREAD_UNCHANGED), picture(80))
        out.unlink()


def test_pictures_of_a_folder_share_the_warp_of_their_sizes(
    folders: tuple[Path, Path], tmp_path: Path, mean_bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []

    def counted(*arguments: Any) -> Warp:
        made.append(arguments[1:])
        return Warp(*arguments)

    monkeypatch.setattr("tdfusion_edge.runtime.picture.alignment.Warp", counted)
    cv2.imwrite(str(folders[0] / "10.png"), picture(20, (70, 102)))
    assert fuse(*folders, "-o", tmp_path / "out", bundle=mean_bundle_path) == 0
    assert sorted(map(str, made)) == ["((102, 70), (51, 35))", "((51, 35), (51, 35))"]
    for stem in (1, 2, 10):
        written = cv2.imread(str(tmp_path / "out" / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(written, picture(50 + stem if stem != 10 else 60, (35, 51)))
