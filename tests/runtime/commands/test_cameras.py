from __future__ import annotations

import json
from pathlib import Path

import pytest

from tdfusion_edge.cli import main
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.commands import cameras as command_cameras
from tdfusion_edge.runtime.sources.listing import CameraInfo, Format, Mode

RIG = """
[cameras.thermal]
uri = "v4l2:///dev/video7?format=Y16"
role = "infrared"
[cameras.yard]
uri = "rtsp://admin:hunter2@10.0.0.5/live"
"""


@pytest.fixture
def rig_file(tmp_path: Path) -> Path:
    path = tmp_path / "rig.toml"
    path.write_text(RIG)
    return path


@pytest.fixture
def found() -> list[CameraInfo]:
    formats = (
        Format("Y16", "16-bit Greyscale", (Mode(640, 512, (60.0, 8.6)), Mode(320, 256, ()))),
        Format("I420", "", ()),
    )
    return [
        CameraInfo("thermal", "v4l2:///dev/video7?format=Y16", in_rig=True, formats=formats),
        CameraInfo("Boson", "v4l2:///dev/video7", in_rig=False, formats=formats),
        CameraInfo("Webcam", "v4l2:///dev/video9", in_rig=False, problem="Permission denied"),
    ]


def test_a_rig_s_cameras_are_listed_without_credentials(
    rig_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cameras", "--rig", str(rig_file)]) == 0
    printed = capsys.readouterr().out
    assert f"cameras of the rig ({rig_file})" in printed
    assert "thermal  infrared  v4l2:///dev/video7?format=Y16" in printed
    assert "yard" in printed
    assert "hunter2" not in printed


def test_without_a_rig_the_simulated_ones_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TDFUSION_RIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["cameras", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rig"] is None
    cameras = [(row["name"], row["role"], row["address"]) for row in told["cameras"] if row["in_rig"]]
    assert cameras == [("ir0", "infrared", "sim://ir"), ("vis0", "visible", "sim://vis")]


def test_json_has_no_credentials_either(rig_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cameras", "--rig", str(rig_file), "--json"]) == 0
    output = capsys.readouterr().out
    assert "hunter2" not in output
    assert json.loads(output)["cameras"][1]["name"] == "yard"


def test_a_missing_rig_is_a_wrong_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cameras", "--rig", str(tmp_path / "none.toml")]) == 2
    assert "there is no rig file" in capsys.readouterr().err


def test_formats_are_shown_for_people(rig_file: Path, found: list[CameraInfo]) -> None:
    assert command_cameras.as_text(rig_file, rig.read(rig_file), found).splitlines() == [
        f"cameras of the rig ({rig_file})",
        "  thermal  infrared  v4l2:///dev/video7?format=Y16  ok",
        "devices of this machine",
        "  v4l2:///dev/video7  Boson  ok",
        "      Y16   640x512@60/8.6, 320x256  16-bit Greyscale",
        "      I420  sizes unknown",
        "  v4l2:///dev/video9  Webcam  Permission denied",
    ]


def test_formats_are_given_to_programs(rig_file: Path, found: list[CameraInfo]) -> None:
    row = command_cameras.as_dict(found[0], rig.read(rig_file))
    assert row["role"] == "infrared"
    assert row["formats"][0] == {
        "fourcc": "Y16",
        "description": "16-bit Greyscale",
        "modes": [
            {"width": 640, "height": 512, "fps": (60.0, 8.6)},
            {"width": 320, "height": 256, "fps": ()},
        ],
    }
    assert json.dumps(row)


def test_no_device_is_said_in_words(rig_file: Path) -> None:
    text = command_cameras.as_text(None, rig.SIMULATED, [])
    assert text.splitlines() == [
        "cameras of the rig (no rig file, these are simulated)",
        "devices of this machine: none, /dev has no V4L2 camera",
    ]
