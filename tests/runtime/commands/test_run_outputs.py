"""``tdfusion-edge run`` with outputs that are no plain files: a recording, segments, a pipe, a server."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
from limited import run_limited
from streamed import Server, free_port, require_gstreamer, until

from tdfusion_edge.cli import main
from tdfusion_edge.runtime.commands.outputs import reason_of
from tdfusion_edge.runtime.pairing.health import CameraState
from tdfusion_edge.runtime.pipeline.monitor import Snapshot
from tdfusion_edge.video.times import pieces

CAMERA = "sim://ir?size=160x128&depth=16,sim://vis?size=160x128"


@pytest.fixture
def recorded(tmp_path: Path) -> str:
    """Two folders of 40 pictures, which say which one they are."""
    for name, depth in (("a", np.uint16), ("b", np.uint8)):
        (tmp_path / name).mkdir()
        for number in range(40):
            picture = np.full((48, 64), 100 + number * 3, depth)
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), picture)
    return f"{tmp_path / 'a'},{tmp_path / 'b'}"


def run(*arguments: object) -> int:
    return main(["run", *map(str, arguments)])


def child(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tdfusion_edge", "run", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# -- recording and segments --------------------------------------------------------------------------


def test_a_recording_plays_as_it_was(
    tmp_path: Path, recorded: str, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again = tmp_path / "first.jsonl", tmp_path / "again.jsonl"
    common = ("--bundle", mean_bundle_path, "--json")
    assert run("--camera", recorded, "--record", tmp_path / "rec", "-o", first, *common) == 0
    told = json.loads(capsys.readouterr().out)["outputs"]["recording"]
    assert told == {
        "recorded": {"infrared": 40, "visible": 40},
        "dropped": {"infrared": 0, "visible": 0},
        "failures": 0,
        "removed": 0,
    }
    shutil.move(tmp_path / "rec", tmp_path / "moved")
    assert run("--rig", tmp_path / "moved" / "rig.toml", "--camera", "ir0,vis0", "-o", again, *common) == 0
    keys = ("infrared_sequence", "visible_sequence", "skew_ms", "t", "degraded")
    assert [[row[key] for key in keys] for row in rows(again)] == [
        [row[key] for key in keys] for row in rows(first)
    ]
    with av.open(str(pieces(tmp_path / "moved" / "ir")[0])) as container:
        counts = [int(frame.to_ndarray()[0, 0]) for frame in container.decode(video=0)]
    assert counts == [100 + 3 * number for number in range(40)]


def test_the_two_files_of_a_recording_keep_their_offset(
    tmp_path: Path, recorded: str, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    infrared, visible = recorded.split(",")
    (tmp_path / "rig.toml").write_text(
        f'[cameras.a]\nuri = "{infrared}"\nrole = "infrared"\noffset_ms = 200\n'
        f'[cameras.b]\nuri = "{visible}"\n'
    )
    common = ("--bundle", mean_bundle_path)
    arguments = (
        "--rig",
        tmp_path / "rig.toml",
        "--camera",
        "a,b",
        "--policy",
        "drop",
        "--record",
        tmp_path / "rec",
    )
    assert run(*arguments, "-o", tmp_path / "first.jsonl", *common) == 0
    files = [pieces(tmp_path / "rec" / name)[0] for name in ("ir", "vi")]
    for name, camera in (("files", files), ("folders", [file.parent for file in files])):
        lines = tmp_path / f"{name}.jsonl"
        capsys.readouterr()
        assert run("--camera", ",".join(map(str, camera)), "--policy", "drop", "-o", lines, *common) == 0
        assert "begins" not in capsys.readouterr().err
        found = [(row["infrared_sequence"], row["visible_sequence"]) for row in rows(lines)]
        assert found == [(number, number + 6) for number in range(34)]


def test_all_outputs_are_divided_and_the_oldest_make_room(
    tmp_path: Path, recorded: str, mean_bundle_path: Path
) -> None:
    outputs = ("-o", tmp_path / "f.mp4", "-o", tmp_path / "f.jsonl", "--record", tmp_path / "rec")
    arguments = ("--camera", recorded, "--bundle", mean_bundle_path, *outputs, "--segment-seconds", 0.4)
    assert run(*arguments) == 0
    shown = sorted(tmp_path.glob("f-*.mp4"))
    assert len(shown) == len(list(tmp_path.glob("f-*.jsonl"))) == 4
    lines = [row["index"] for path in sorted(tmp_path.glob("f-*.jsonl")) for row in rows(path)]
    assert lines == list(range(40))
    assert len(pieces(tmp_path / "rec" / "ir")) == len(pieces(tmp_path / "rec" / "vi")) == 4
    for path in shown:
        path.rename(path.with_name(f"kept {path.name}"))
    assert run(*arguments, "--keep-gb", 0.000001) == 0
    # What is being written stays; names that are not ours any more stay too.
    assert len(list(tmp_path.glob("kept *"))) == 4
    assert len(list(tmp_path.glob("f-*.mp4"))) <= 1
    assert len(pieces(tmp_path / "rec" / "ir")) == 1


@pytest.mark.slow
def test_a_full_disk_stops_the_recording_and_no_picture(tmp_path: Path) -> None:
    lines = tmp_path / "out.jsonl"
    arguments = ("run", "--camera", CAMERA, "--seconds", "3", "--no-detect", "--json")
    done = run_limited([*arguments, "--record", tmp_path / "rec", "-o", lines], 200_000)
    facts = json.loads(done.stdout)
    told = facts["outputs"]["recording"]
    assert done.returncode == 1
    assert facts["failed_sinks"] == 0
    assert facts["written"] == len(rows(lines)) > 10
    assert told["failures"] >= 1
    assert told["dropped"]["infrared"] > 0
    assert "the disk allows no larger file" in done.stderr
    assert "the pictures go on" in done.stderr


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_a_recording_up_to_its_last_second(tmp_path: Path) -> None:
    lines = tmp_path / "out.jsonl"
    process = child("--camera", CAMERA, "--no-detect", "--record", tmp_path / "rec", "-o", lines)
    try:
        until(lambda: lines.exists() and len(lines.read_text().splitlines()) > 130, 60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = rows(lines)[-1]
    replay = tmp_path / "replay.jsonl"
    code = run("--rig", tmp_path / "rec" / "rig.toml", "--camera", "ir0,vis0", "--no-detect", "-o", replay)
    assert code in (0, 1)  # 1: the end of a file was torn
    found = rows(replay)
    assert last["infrared_sequence"] - found[-1]["infrared_sequence"] <= 45
    by_number = {row["visible_sequence"]: row for row in found}
    both = [
        (row, by_number[row["visible_sequence"]])
        for row in rows(lines)
        if row["visible_sequence"] in by_number
    ]
    assert len(both) > 60
    assert all(a["infrared_sequence"] == b["infrared_sequence"] for a, b in both)


# -- pipe --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mkv", pytest.param("mpegts", marks=pytest.mark.slow)])
def test_a_pipe_holds_pictures_alone(
    tmp_path: Path, recorded: str, mean_bundle_path: Path, kind: str
) -> None:
    file = tmp_path / "out.mkv"
    arguments = ("--camera", recorded, "--bundle", mean_bundle_path, "-o", file)
    process = child(*arguments, "-o", "-", "--pipe-format", kind)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    piped, filed = levels(io.BytesIO(out)), levels(str(file))
    assert piped == filed
    assert len(piped) == 40
    assert len(set(piped)) > 10
    assert b"40 pictures" in err


def levels(file: io.BytesIO | str) -> list[int]:
    """The grey level of every picture of a video."""
    with av.open(file) as container:
        return [int(frame.to_ndarray(format="gray")[20, 20]) for frame in container.decode(video=0)]


@pytest.mark.slow
def test_a_pipe_may_hold_bare_pictures_or_lines(recorded: str, mean_bundle_path: Path) -> None:
    process = child(
        "--camera", recorded, "--bundle", mean_bundle_path, "-o", "-", "--pipe-format", "rawvideo"
    )
    out, err = process.communicate(timeout=60)
    assert len(out) == 40 * 48 * 64 * 3
    process = child(
        "--camera", recorded, "--bundle", mean_bundle_path, "-o", "-", "--pipe-format", "jsonl", "--json"
    )
    out, err = process.communicate(timeout=60)
    assert [json.loads(line)["index"] for line in out.splitlines()] == list(range(40))
    assert json.loads(err.splitlines()[-1])["pictures"] == 40


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_the_run_quietly(tmp_path: Path, mean_bundle_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    process = child("--camera", CAMERA, "--bundle", mean_bundle_path, "-o", "-", "-o", out)
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(5000)
        process.stdout.close()
        said = process.stderr.read().decode()
    assert process.returncode == 0
    assert "error" not in said
    assert "Traceback" not in said
    assert len(rows(out)) > 0


@pytest.mark.slow
def test_a_terminal_is_not_filled_with_pictures(recorded: str, mean_bundle_path: Path) -> None:
    above, below = os.openpty()
    try:
        command = [
            sys.executable,
            "-m",
            "tdfusion_edge",
            "run",
            "--camera",
            recorded,
            "--bundle",
            mean_bundle_path,
        ]
        done = subprocess.run(
            [*command, "-o", "-"], stdout=below, stderr=subprocess.PIPE, timeout=60, check=False
        )
    finally:
        os.close(above)
        os.close(below)
    assert done.returncode == 2
    assert b"would fill the terminal" in done.stderr


def is_slate(picture: np.ndarray[Any, Any]) -> bool:
    """Its upper rows are of one grey, which no street's are."""
    return bool(np.ptp(picture[:4]) <= 4)


# -- server ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_server_sees_that_there_is_no_picture_yet_and_then_the_run(tmp_path: Path) -> None:
    require_gstreamer()
    server = Server(tmp_path)
    try:
        process = child("--camera", CAMERA, "--no-detect", "-o", server.url(), "--json")
        try:
            until(lambda: sum(not is_slate(one) for one in server.pictures()) > 5, 90)
        finally:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    finally:
        server.kill()
    told = json.loads(out)["outputs"][f"rtsp://127.0.0.1:{server.port}/live"]
    assert told["connected"], err
    assert told["sent"] > 5
    assert told["slates"] >= 1
    assert is_slate(server.pictures()[0])


def test_a_slate_says_which_camera_fails_and_why() -> None:
    live = CameraState("live", 30.0, 0.01, 0, None)
    failing = CameraState("failing", 0.0, 7.0, 3, "v4l2:///dev/video2 is gone")
    silent = CameraState("silent", 0.0, 7.0, 0, None)
    for cameras, said in (
        ({}, "the cameras are being opened"),
        ({"infrared": failing, "visible": live}, "infrared: v4l2:///dev/video2 is gone"),
        ({"infrared": failing, "visible": silent}, "infrared: v4l2:///dev/video2 is gone; visible: silent"),
        ({"infrared": live, "visible": live}, "both cameras are live, and no picture can be made of them"),
    ):
        monitor = SimpleNamespace(snapshot=lambda cameras=cameras: Snapshot(running=True, cameras=cameras))
        assert reason_of(monitor) == said  # type: ignore[arg-type]


@pytest.mark.slow
def test_two_streams_that_look_alike_are_counted_apart(
    recorded: str, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = f"rtmp://127.0.0.1:{free_port()}/"
    streams = ("-o", f"{server}live/key-of-one", "-o", f"{server}live/key-of-two")
    assert run("--camera", recorded, "--bundle", mean_bundle_path, *streams, "--json") == 1
    told = json.loads(capsys.readouterr().out)["outputs"]
    assert set(told) == {f"{server}***", f"{server}*** (2)"}


@pytest.mark.slow
def test_a_server_that_is_not_there_costs_no_picture(
    tmp_path: Path, recorded: str, mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"rtsp://joe:hunter2@127.0.0.1:{free_port()}/live"
    out = tmp_path / "out.jsonl"
    camera = "sim://ir?size=160x128&fps=30,sim://vis?size=160x128&fps=30"
    assert run("--camera", camera, "--seconds", 1.5, "--bundle", mean_bundle_path, "-o", url, "-o", out) == 1
    said = capsys.readouterr()
    assert "nobody listens there" in said.err
    assert "was never reached" in said.err
    assert "hunter2" not in said.out + said.err
    assert len(rows(out)) > 10


# -- what does not go together -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-o", "-", "-o", "-"], "-o - twice"),
        (["-o", "http://u:hunter2@h/x"], "nothing can be pushed there"),
        (["-o", "rtsp://h/x", "-o", "rtsp://h/x"], "twice"),
        (["--pipe-format", "mkv"], "expected -o -"),
        (["--record-visible", "ffv1"], "expected --record DIR"),
        (["--keep-gb", "1", "-o", "x.mp4"], "--segment-seconds or --segment-mb as well"),
        (["--segment-seconds", "0", "-o", "x.mp4"], "--segment-seconds"),
        (["--segment-mb", "nan", "-o", "x.mp4"], "--segment-mb"),
        (["--segment-seconds", "10"], "have no file to divide"),
        (["--segment-seconds", "10", "-o", "pngs/"], "has no segments"),
        (["--record", "rec", "-o", "rec"], "is an output already"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_made(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("--camera", CAMERA, *arguments) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "hunter2" not in said
    assert not list(tmp_path.iterdir())


def test_what_is_played_is_not_recorded_into(tmp_path: Path, recorded: str, mean_bundle_path: Path) -> None:
    arguments = ("--bundle", mean_bundle_path, "--record", tmp_path / "rec")
    assert run("--camera", recorded, *arguments) == 0
    assert run("--camera", f"{tmp_path}/rec/ir,{tmp_path}/rec/vi", *arguments) == 2
