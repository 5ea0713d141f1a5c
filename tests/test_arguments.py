"""What every command refuses among its arguments, and where ``~`` is home."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

import cv2
import numpy as np
import pytest
from hostile_graphs import write_bundle

from tdfusion_edge import bundle, cli
from tdfusion_edge.arguments import bundle_path, file_name, file_path, whole_number
from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.cameras import choose_cameras


@pytest.mark.parametrize(
    ("text", "says"), [("", "an empty text"), ("-", "standard output"), ("rtsp://u:p@h/x", "the address")]
)
def test_what_is_no_file_is_refused(text: str, says: str) -> None:
    for reader in (file_name, file_path, bundle_path):
        with pytest.raises(ArgumentTypeError, match=says):
            reader(text)


def test_home_stands_for_its_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir(tmp_path)
    assert file_name("~") == "/home/me"
    assert file_name("~/out/") == "/home/me/out/"
    assert [file_name(text) for text in ("~me", "a~/b", "./-", "a:b")] == ["~me", "a~/b", "./-", "a:b"]
    assert bundle_path("edge") == bundle.default_path()
    Path("~").mkdir()
    assert file_path("~/x") == Path("/home/me/x")
    Path("~/x").write_bytes(b"")
    assert file_path("~/x") == Path("~/x")  # what is there is meant


@pytest.mark.parametrize("text", ["1.5", "", "many", "99999999999999999999", "-2147483648"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="expected a whole number"):
        whole_number(text)
    assert whole_number("-7") == -7


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["fuse", "", "", "-o", "x.png"], "argument IR: expected a file or folder, got an empty text"),
        (["fuse", "a", "b", "-o", "-"], "no command reads standard input"),
        (["run", "--camera", "a,b", "-o", ""], "got an empty text"),
        (["fuse", "a", "b", "-o", "rtsp://u:hunter2@h/x"], "got the address 'rtsp://***@h/x'"),
        (["verify", ""], "got an empty text"),
        (["eval", "--data", ""], "got an empty text"),
        (["cameras", "--rig", ""], "got an empty text"),
        (["verify", "--threads", "9" * 20], "expected a whole number of at most"),
    ],
)
def test_commands_refuse_it_before_anything_is_done(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as leaving:
        cli.main(line)
    assert leaving.value.code == 2
    said = capsys.readouterr().err
    assert says in said
    assert "hunter2" not in said
    assert not list(tmp_path.iterdir())


def test_both_cameras_and_a_rig_s_may_lie_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for sensor in ("ir", "vi"):
        (tmp_path / sensor).mkdir()
        for number in range(2):
            cv2.imwrite(str(tmp_path / sensor / f"{number}.png"), np.full((48, 64), 90, np.uint8))
    monkeypatch.setenv("HOME", str(tmp_path))
    write_bundle(tmp_path / "whole", "whole")
    line = ["run", "--bundle", "~/whole", "-o", "~/x.jsonl", "--camera"]
    assert cli.main([*line, "~/ir,~/vi"]) == 0
    assert (tmp_path / "x.jsonl").read_bytes().count(b"\n") == 2
    (tmp_path / "rig.toml").write_text('[cameras.a]\nuri = "~/ir"\n[cameras.b]\nuri = "~/vi"\n')
    assert cli.main([*line, "a,b", "--rig", "~/rig.toml"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("camera", ["rtsp://u:p,w@h,vis0", "rtsp://u:p,w@h", "ir0,rtsp://u:p,w@h"])
def test_a_comma_in_a_password_parts_no_cameras(camera: str) -> None:
    with pytest.raises(RequestError, match=r"a comma in a user or a password.*%2C") as caught:
        choose_cameras(camera)
    assert "w@" not in str(caught.value)


@pytest.mark.parametrize("option", ["--seconds", "--tolerance-ms"])
@pytest.mark.parametrize("value", ["nan", "inf", "1e300", "0", "-1"])
def test_spans_are_bounded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    value: str,
) -> None:
    most = {"--seconds": 1_000_000_000, "--tolerance-ms": 86_400_000}[option]
    assert cli.main(["run", "--camera", "sim://ir,sim://vis", option, value]) == 2
    assert f"error: {option}: expected more than 0 and finite, at most {most}," in capsys.readouterr().err


def test_nul_in_an_address_is_refused() -> None:
    with pytest.raises(RequestError, match="a path without NUL"):
        choose_cameras("file:///x%00y,sim://vis").files()
