"""``tdfusion-edge run`` from end to end, on the simulated rig and on files, with good and bad input."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from limited import run_limited

from tdfusion_edge import bundle, console
from tdfusion_edge.cli import main
from tdfusion_edge.runtime.heads.colours import COLOURS
from tdfusion_edge.runtime.simulation.mark import read_mark


def run(*arguments: object) -> int:
    return main(["run", *map(str, arguments)])


def pictures(path: Path) -> list[tuple[float, np.ndarray[Any, Any]]]:
    with av.open(str(path)) as container:
        return [
            (float(frame.time or 0), frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)
        ]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_says_what_it_waits_for_and_how_far_it_is(
    mean_bundle_path: Path,
    recorded: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(console, "LINES_S", 0.0)
    still = "fps=10&frames=11&realtime=0"
    camera = f"sim://ir?{still},sim://vis?{still}"
    assert run("--camera", camera, "--bundle", mean_bundle_path, "--seconds", 2, "--no-detect") == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "loading bundle mean ..."
    assert said[2:4] == ["drawing the simulated street ...", "first picture, 640x480"]
    assert [line.partition("%")[0] for line in said[4:]] == [f"running: {5 * n}" for n in range(11)]
    assert run("--camera", ",".join(map(str, recorded)), "--bundle", mean_bundle_path) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[2:] == ["opening the cameras ...", "first picture, 64x48; Ctrl-C ends the run"]


def test_a_quiet_run_prints_the_figures_alone(
    mean_bundle_path: Path, recorded: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("-q", "--camera", ",".join(map(str, recorded)), "--bundle", mean_bundle_path, "--json") == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["pictures"] == 20
    assert told.err == ""


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Path, Path]:
    """Folders of 20 pictures of two cameras."""
    for name, level in (("ir", 80), ("vis", 120)):
        (tmp_path / name).mkdir()
        for number in range(20):
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), np.full((48, 64), level + number, np.uint8))
    return tmp_path / "ir", tmp_path / "vis"


def test_the_simulated_rig_gives_a_video_whose_frames_fit_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mean_bundle_path: Path
) -> None:
    out, lines = tmp_path / "fused.mp4", tmp_path / "fused.jsonl"
    code = run(
        "--camera", "sim://ir?mark=1,sim://vis?mark=1", "--seconds", 2, "--output", out, "--output", lines,
        "--json", "--bundle", mean_bundle_path, "--stretch", "none",
    )  # fmt: skip
    assert code == 0
    facts = json.loads(capsys.readouterr().out)
    told, shown = rows(lines), pictures(out)
    assert facts["pictures"] == facts["written"] + facts["sink_dropped"]
    assert len(told) == len(shown) == facts["written"] > 10
    # Both marks are the same where the pair is: averaged pictures of two frames would read as none.
    assert [read_mark(picture) for _, picture in shown] == [row["visible_sequence"] for row in told]
    assert all(row["infrared_sequence"] == row["visible_sequence"] for row in told)
    first = told[0]["time_ns"]
    for (time, _), row in zip(shown, told, strict=True):
        assert time == pytest.approx((row["time_ns"] - first) / 1e9, abs=1e-4)
    for role in ("infrared", "visible"):
        counts = facts["cameras"][role]
        assert counts["paired"] == facts["pictures"]
    assert set(facts["latency_ms"]["capture to sink"]) == {"p50", "p95", "p99", "max"}


def test_without_a_rig_file_the_names_are_simulated_and_the_program_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("TDFUSION_RIG", raising=False)
    assert run("--camera", "ir0,vis0", "--seconds", 0.5) == 0
    printed = capsys.readouterr()
    assert "ir0 and vis0 are simulated cameras" in printed.err
    assert "pictures in" in printed.out


def test_files_are_processed_whole_and_in_order(
    recorded: tuple[Path, Path], tmp_path: Path, mean_bundle_path: Path
) -> None:
    out = tmp_path / "out"
    camera = f"{recorded[0]},{recorded[1]}"
    arguments = ("--bundle", mean_bundle_path, "--stretch", "none", "--range", "camera")
    assert run("--camera", camera, "-o", out, *arguments) == 0
    levels = [int(cv2.imread(str(path), 0)[0, 0]) for path in sorted(out.iterdir())]
    assert levels == [100 + number for number in range(20)]


def test_a_rig_file_names_the_cameras_in_either_order(
    recorded: tuple[Path, Path], tmp_path: Path, mean_bundle_path: Path
) -> None:
    rig = tmp_path / "rig.toml"
    rig.write_text(
        f'[cameras.a]\nuri = "{recorded[1]}"\nrole = "visible"\n'
        f'[cameras.b]\nuri = "{recorded[0]}"\nrole = "infrared"\noffset_ms = {1000 / 30}\n'
    )
    lines = tmp_path / "out.jsonl"
    arguments = ("--rig", rig, "--bundle", mean_bundle_path, "--policy", "drop", "-o", lines)
    assert run("--camera", "a,b", *arguments) == 0
    # An offset of one frame pairs each infrared frame with the next visible one.
    assert [(row["infrared_sequence"], row["visible_sequence"]) for row in rows(lines)] == [
        (number, number + 1) for number in range(19)
    ]


def test_a_camera_that_stops_for_three_seconds_and_comes_back_is_shown_by_its_absence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mean_bundle_path: Path
) -> None:
    rig = tmp_path / "rig.toml"
    rig.write_text(
        '[cameras.ir0]\nuri = "sim://ir?realtime=0&frames=180&silence=1:3"\n'
        '[cameras.vis0]\nuri = "sim://vis?realtime=0&frames=180"\n[sync]\nsilent_ms = 200\n'
    )
    lines = tmp_path / "out.jsonl"
    arguments = ("--rig", rig, "--camera", "ir0,vis0", "-o", lines, "--json", "--bundle", mean_bundle_path)
    assert run(*arguments) == 0
    facts = json.loads(capsys.readouterr().out)
    told = {row["visible_sequence"]: row["degraded"] for row in rows(lines)}
    # Six frames (200 ms) pass before the camera counts as silent; then visible goes on alone.
    assert [number for number, why in told.items() if why is None] == [*range(30), *range(120, 180)]
    assert [number for number, why in told.items() if why == "infrared missing"] == list(range(35, 120))
    assert facts["degraded"] == {"infrared missing": 85}
    assert facts["cameras"]["visible"]["unmatched"] == 5
    assert facts["cameras"]["infrared"]["missing"] == 90


@pytest.fixture
def bright(tmp_path: Path) -> str:
    """Two cameras that show the same bright block, whose place in the picture is [16, 10, 40, 30]."""
    picture = np.full((48, 64, 3), 20, np.uint8)
    picture[10:30, 16:40] = 240
    for name in ("hot", "day"):
        (tmp_path / name).mkdir()
        for number in range(3):
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), picture)
    return f"{tmp_path / 'hot'},{tmp_path / 'day'}"


def test_boxes_are_drawn_and_listed_unless_told_otherwise(
    bright: str, tmp_path: Path, finder_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases: list[tuple[tuple[object, ...], bool, int]] = [
        ((), True, 1),
        (("--no-boxes",), False, 1),
        (("--no-detect",), False, 0),
        (("--score-threshold", 0.99), False, 0),
        (("--score-threshold", 0.9), True, 1),
    ]
    for number, (options, drawn, count) in enumerate(cases):
        out, lines = tmp_path / f"out{number}", tmp_path / f"out{number}.jsonl"
        arguments = ("--bundle", finder_bundle_path, "--stretch", "none", "--range", "camera", "--json")
        assert run("--camera", bright, "-o", out, "-o", lines, *arguments, *options) == 0
        printed = capsys.readouterr()
        facts = json.loads(printed.out)
        assert facts["detections"] == ({"bright": 3 * count} if count else {}), options
        assert ("detect" in facts["latency_ms"]) == ("--no-detect" not in options)
        assert ("detects bright, dim" in printed.err) == ("--no-detect" not in options)
        boxes = [[found["box"] for found in row["detections"]] for row in rows(lines)]
        assert boxes == [[[16, 10, 40, 30]] * count] * 3, options
        for path in sorted(out.iterdir()):
            picture = cv2.imread(str(path))
            assert (tuple(picture[20, 16]) == COLOURS[0]) == drawn, options
            assert (tuple(picture[20, 16]) == (240, 240, 240)) != drawn, options


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_whole_files(tmp_path: Path, number: int) -> None:
    out, lines = tmp_path / "fused.mp4", tmp_path / "fused.jsonl"
    command = [
        sys.executable,
        "-m",
        "tdfusion_edge",
        "run",
        "--camera",
        "sim://ir,sim://vis",
        "-o",
        str(out),
        "-o",
        str(lines),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        while not (lines.exists() and lines.read_bytes().count(b"\n") >= 3):
            assert process.poll() is None, process.stderr.read()
            os.sched_yield()
        process.send_signal(number)
        printed, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "pictures in" in printed
    assert len(pictures(out)) == len(rows(lines)) >= 3


def test_wrong_requests(
    recorded: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    mean_bundle_path: Path,
    finder_bundle_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("TDFUSION_RIG", raising=False)
    mean, finder = mean_bundle_path, finder_bundle_path
    good = f"{recorded[0]},{recorded[1]}"
    (tmp_path / "misspelt.toml").write_text('[cameras.ir0]\nuri = "sim://ir"\nofset_ms = 3\n')
    deep = tmp_path / "deep"
    deep.mkdir()
    cv2.imwrite(str(deep / "0.png"), np.zeros((48, 64), np.uint16))
    small = tmp_path / "small"
    small.mkdir()
    cv2.imwrite(str(small / "0.png"), np.zeros((20, 64), np.uint8))
    changed = tmp_path / "changed"
    shutil.copytree(bundle.default_path(), changed)
    film, hard, soft = tmp_path / "film.mp4", tmp_path / "hard.mp4", tmp_path / "soft.mp4"
    film.write_bytes(b"a video, which is not opened")
    hard.hardlink_to(film)
    soft.symlink_to(film)
    devices = tmp_path / "devices.toml"
    (tmp_path / "null").symlink_to("/dev/null")
    devices.write_text(
        f'[cameras."{tmp_path}/null"]\nuri = "v4l2://{tmp_path}/null"\n[cameras.a]\nuri = "sim://ir"\n'
    )
    rig, lines = tmp_path / "whole.toml", tmp_path / "lines.jsonl"
    rig.write_text('[cameras.ir0]\nuri = "sim://ir"\n')
    lines.hardlink_to(rig)
    graph = bytearray((changed / "fusion.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (changed / "fusion.onnx").write_bytes(graph)
    cases = [
        (("--camera", "ir0"), 2, "expected two names or addresses"),
        (("--camera", "ir0,ir0"), 2, "twice"),
        (("--camera", f"{film},{hard}"), 2, "are one file"),
        (("--camera", f"{recorded[0]},file://{recorded[0]}"), 2, "are one folder"),
        (("--camera", f"/dev/null,{tmp_path / 'null'}", "--rig", devices), 2, "are one device"),
        (("--camera", "ir0,cam9"), 2, "no camera 'cam9'"),
        (("--camera", "ir0,vis0", "--rig", "none.toml"), 2, "no rig file none.toml"),
        (("--camera", "ir0,vis0", "--rig", "misspelt.toml"), 2, "Did you mean 'offset_ms'?"),
        (("--camera", "v4l2:///dev/video99,vis0", "--policy", "drop"), 2, "no camera /dev/video99"),
        (("--camera", "vis0,v4l2:///dev/video99", "--policy", "hold-last"), 2, "no camera /dev/video99"),
        (("--camera", "v4l2:///dev/video98,v4l2:///dev/video99"), 2, "neither camera can be opened"),
        (("--camera", f"v4l2:///dev/video99,{recorded[1]}"), 2, "do not share a clock"),
        (("--camera", "v4l2:///dev/video99?format=Y61,vis0"), 2, "Did you mean Y16?"),
        (("--camera", "sim://ir?sed=3,vis0"), 2, "seed"),
        (("--camera", good, "--bundle", changed), 1, "'fusion.onnx' was changed after export"),
        (("--camera", good, "--bundle", "none"), 2, "there is no bundle at none"),
        (("--camera", good, "--seconds", "0"), 2, "--seconds: expected more than 0"),
        (("--camera", good, "--seconds", "inf"), 2, "--seconds: expected more than 0 and finite"),
        (("--camera", good, "--seconds", "1e300"), 2, "at most 1000000000, got 1e+300"),
        (("--camera", good, "--tolerance-ms", "1e305"), 2, "at most 86400000, got 1e+305"),
        (("--camera", good, "--mode", "latest"), 2, "--mode latest is for live cameras"),
        (("--camera", f"{recorded[0]},sim://vis"), 2, "two live or two recorded, got recorded and live"),
        (
            ("--camera", f"file://{recorded[0]}?fps=10,{recorded[1]}", "-o", recorded[0]),
            2,
            "an input already",
        ),
        (("--camera", good, "--tolerance-ms", "-1"), 2, "--tolerance-ms"),
        (("--camera", good, "--score-threshold", "2", "--bundle", finder), 2, "expected 0 to 1, got 2"),
        (("--camera", good, "--score-threshold", "0.5", "--bundle", mean), 2, "nothing is detected"),
        (
            ("--camera", good, "--score-threshold", "0.5", "--bundle", finder, "--no-detect"),
            2,
            "nothing is detected",
        ),
        (("--camera", good, "-o", "x.avi"), 2, "unknown kind of output"),
        (("--camera", good, "-o", "x.mp4", "-o", "./x.mp4"), 2, "an output already"),
        (("--camera", good, "-o", recorded[0]), 2, "an input already"),
        (("--camera", good, "-o", recorded[0] / "out"), 2, "lies in a folder that is read"),
        (("--camera", good, "-o", tmp_path), 2, "holds an input"),
        (("--camera", f"{film},{recorded[1]}", "-o", hard), 2, "an input already"),
        (("--camera", f"{film},{recorded[1]}", "-o", soft), 2, "an input already"),
        (("--camera", good, "-o", "x.mp4", "-o", "X.MP4"), 2, "an output already"),
        (("--camera", good, "--rig", rig, "-o", lines), 2, "an input already"),
        (("--camera", f"{recorded[0]},{deep}"), 2, "16-bit"),
        (("--camera", f"{deep},{recorded[1]}", "--range", "camera"), 2, "range mode 'camera'"),
        (("--camera", f"{recorded[0]},{small}"), 2, "expected 32x32 pixels or more, got 64x20"),
    ]
    before = sorted(tmp_path.rglob("*"))
    for arguments, code, message in cases:
        assert run(*arguments) == code, message
        assert message in capsys.readouterr().err
        assert sorted(tmp_path.rglob("*")) == before, message


def test_a_run_without_a_picture_has_failed(
    recorded: tuple[Path, Path], tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = tmp_path / "rig.toml"
    rig.write_text(
        f'[cameras.a]\nuri = "{recorded[0]}"\noffset_ms = 90000\n[cameras.b]\nuri = "{recorded[1]}"\n'
    )
    arguments = ("--rig", rig, "--camera", "a,b", "--policy", "drop", "--bundle", mean_bundle_path)
    assert run(*arguments, "-o", tmp_path / "out.mp4") == 1
    printed = capsys.readouterr()
    assert "20 unmatched" in printed.out
    assert "no picture was made" in printed.err
    assert not (tmp_path / "out.mp4").exists()


def test_a_run_that_is_quiet_still_says_why_a_camera_failed(
    mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cameras = "v4l2:///dev/video99,sim://vis?size=160x120"
    assert run("--camera", cameras, "--seconds", 0.7, "-q", "--bundle", mean_bundle_path) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert re.search(r"infrared: +\d+ failures\n +last failure: there is no camera /dev/video99", printed.out)


@pytest.mark.parametrize(
    ("cameras", "degraded", "counted"),
    [
        ("v4l2:///dev/video99,sim://vis?size=160x120", "infrared missing", "infrared"),
        ("ir0,vis0", "visible missing", "visible"),
    ],
)
def test_a_camera_that_is_absent_leaves_the_run_to_the_other(
    tmp_path: Path,
    mean_bundle_path: Path,
    capsys: pytest.CaptureFixture[str],
    cameras: str,
    degraded: str,
    counted: str,
) -> None:
    rig, lines = tmp_path / "rig.toml", tmp_path / "out.jsonl"
    # Its size is known before it is there: infrared is shown at it.
    rig.write_text(
        '[cameras.ir0]\nuri = "sim://ir?view=160x120"\n'
        '[cameras.vis0]\nuri = "v4l2:///dev/video99"\nsize = [160, 120]\n[sync]\nsilent_ms = 50\n'
    )
    arguments = ("--rig", rig, "--camera", cameras, "-o", lines, "--seconds", 1, "--json")
    assert run(*arguments, "--policy", "single", "--bundle", mean_bundle_path) == 0
    printed = capsys.readouterr()
    told = rows(lines)
    assert {row["degraded"] for row in told} == {degraded}
    assert {tuple(row["size"]) for row in told} == {(160, 120)}
    facts = json.loads(printed.out)
    assert facts["pictures"] == facts["written"] + facts["sink_dropped"] > 3
    assert facts["cameras"][counted]["failures"] >= 1
    assert facts["last_failures"][counted].startswith("there is no camera /dev/video99")
    assert printed.err.count("there is no camera /dev/video99") == 1
    assert f"{counted} is asked for again" in printed.err


def test_visible_that_is_absent_and_of_unknown_size_is_said_to_be_waited_for(
    tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = "sim://ir?view=160x120,v4l2:///dev/video99"
    arguments = ("--camera", camera, "--seconds", 1, "--bundle", mean_bundle_path)
    assert run(*arguments, "-o", tmp_path / "out.mp4") == 1
    printed = capsys.readouterr()
    assert "Pictures begin when it is there" in printed.err
    assert "infrared alone before any visible frame" in printed.out


def test_swapped_cameras_and_one_recording_for_both_are_warned_of_once(
    recorded: tuple[Path, Path], tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coloured = tmp_path / "coloured"
    coloured.mkdir()
    for number in range(20):
        picture = np.full((48, 64, 3), (200, 60, 40), np.uint8)
        picture[number : number + 10] = 255
        cv2.imwrite(str(coloured / f"{number}.png"), picture)
        cv2.imwrite(str(recorded[0] / f"{number}.png"), picture[..., 1])
    copied = tmp_path / "copied"
    shutil.copytree(recorded[0], copied)
    grey = recorded[0]
    cases = [
        (f"{coloured},{grey}", f"are they swapped? Infrared comes first: --camera {grey},{coloured}"),
        (f"{copied},{grey}", "show the very same picture: is one file given for both cameras?"),
        (f"{grey},{coloured}", None),
    ]
    for camera, message in cases:
        assert run("--camera", camera, "--bundle", mean_bundle_path) == 0
        printed = capsys.readouterr().err
        assert printed.count("warning: ") == (message is not None), camera
        assert message is None or message in printed


def test_a_second_run_on_an_output_is_refused_and_the_first_loses_nothing(
    recorded: tuple[Path, Path], tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = [tmp_path / "out.mp4", tmp_path / "out.jsonl", tmp_path / "out"]
    command = [sys.executable, "-m", "tdfusion_edge", "run", "--camera", "sim://ir,sim://vis", "--no-detect"]
    command += [part for output in outputs for part in ("-o", str(output))]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert first.stderr is not None
        while not (outputs[1].exists() and outputs[1].read_bytes().count(b"\n") >= 3):
            assert first.poll() is None, first.stderr.read()
            os.sched_yield()
        camera = ",".join(map(str, recorded))
        for output in outputs:
            assert run("--camera", camera, "--bundle", mean_bundle_path, "-o", output) == 2
            assert f"is being written by another run, process {first.pid}" in capsys.readouterr().err
        # Another name of it is seen when it is opened.
        (tmp_path / "hard.jsonl").hardlink_to(outputs[1])
        assert run("--camera", camera, "--bundle", mean_bundle_path, "-o", tmp_path / "hard.jsonl") == 1
        assert "another run is writing to it" in capsys.readouterr().err
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=30)
    finally:
        first.kill()
    assert first.returncode == 0
    told = rows(outputs[1])
    assert [row["index"] for row in told] == sorted(row["index"] for row in told)
    assert len(told) == len(pictures(outputs[0])) == len(list(outputs[2].iterdir())) >= 3
    assert not list(tmp_path.glob(".*")), "locks go with their run"
    assert run("--camera", camera, "--bundle", mean_bundle_path, "-o", outputs[1]) == 0


def test_a_full_disk_ends_the_run_with_what_was_written(tmp_path: Path) -> None:
    out = tmp_path / "fused.mp4"
    camera = "sim://ir?realtime=0,sim://vis?realtime=0"
    done = run_limited(["run", "--camera", camera, "--seconds", "20", "-o", out], 400_000)
    assert done.returncode == 1
    assert "the disk allows no larger file" in done.stderr
    assert len(pictures(out)) > 5, "the whole fragments play"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_one_output_on_a_full_disk_costs_no_other_and_the_exit_code_says_so(
    recorded: tuple[Path, Path], tmp_path: Path, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full, out = tmp_path / "full.jsonl", tmp_path / "out.mp4"
    full.symlink_to("/dev/full")
    camera = ",".join(map(str, recorded))
    assert run("-q", "--camera", camera, "-o", full, "-o", out, "--bundle", mean_bundle_path) == 1
    printed = capsys.readouterr()
    assert len(pictures(out)) == 20
    assert "20 written, 0 dropped, 1 failed" in printed.out
    assert printed.err.count("disk full") == 1, "it is said once, with -q as well"
    assert "full.jsonl: disk full after 0 lines; the other outputs go on" in printed.err
