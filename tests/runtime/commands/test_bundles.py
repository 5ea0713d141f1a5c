"""The command ``bundles``: what ships, what is in a folder, and what is damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from tdfusion_edge import bundle
from tdfusion_edge.cli import main


def copied(folder: Path, **graph: object) -> Path:
    """The shipped bundle of another name, its fusion graph's description changed."""
    opened = bundle.read(bundle.default_path())
    fields = {name: getattr(opened.manifest, name) for name in opened.manifest.__struct_fields__}
    del fields["format"], fields["sha256"]
    fusion = msgspec.structs.replace(opened.manifest.graphs["fusion"], **graph)
    fields["graphs"] = {**opened.manifest.graphs, "fusion": fusion}
    bundle.write(folder, fields, opened.files)
    return folder


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that ships two bundles."""
    folder = tmp_path / "package"
    copied(folder / "a_25m", parameters=1234, multiply_adds=25_400_000)
    shutil.copytree(bundle.default_path(), folder / "edge")
    monkeypatch.setattr(bundle, "SHIPPED", folder)
    return folder


def test_the_shipped_bundles_are_listed_the_default_first(
    shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundles"]) == 0
    first, second = capsys.readouterr().out.split("\na_25m\n")
    assert first.startswith("edge  (taken where none is named)\n")
    assert "detects person, bicycle, car" in second
    assert "fusion     edge, 1,234 parameters, 25.4 million multiply-adds a 640x480 pair" in second
    assert "fp32, fp16; 11.2 MB" in second
    assert "trained on 242 pairs of msrs: MSRS" in second
    assert main(["bundles", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["bundles"]
    assert [(one["name"], one["default"], one["problem"]) for one in told] == [
        ("edge", True, None),
        ("a_25m", False, None),
    ]
    assert told[1]["graphs"]["fusion"]["multiply_adds"] == 25_400_000
    assert told[1]["heads"]["detector"]["classes"] == ["person", "bicycle", "car"]
    assert told[1]["bytes"] == sum(file.stat().st_size for file in (shipped / "a_25m").iterdir())


def test_every_shipped_bundle_is_taken_by_the_name_that_is_listed(shipped: Path) -> None:
    for folder in bundle.shipped():
        assert bundle.place(folder.name) == folder
        assert bundle.read(bundle.place(folder.name)).manifest.name == "edge"


def test_what_really_ships_can_all_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundles", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["bundles"]
    assert [one["name"] for one in told if one["default"]] == ["edge"]
    assert {one["name"] for one in told} == {one.name for one in bundle.SHIPPED.iterdir()}


def test_a_damaged_bundle_is_told_of_beside_the_others(
    shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shipped / "a_25m" / "fusion.onnx").write_bytes(b"changed")
    assert main(["bundles"]) == 1
    said = capsys.readouterr()
    assert "edge  (taken where none is named)\n    for " in said.out
    assert "a_25m\n    cannot be used: " in said.out
    assert "'fusion.onnx' was changed after export" in said.out
    assert "1 of 2 bundles cannot be used: got a_25m" in said.err
    assert main(["bundles", "--json"]) == 1
    _, bad = json.loads(capsys.readouterr().out)["bundles"]
    assert "'fusion.onnx' was changed" in bad["problem"]
    assert "network" not in bad


def test_bundles_of_a_folder_of_ones_own_stand_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = copied(tmp_path / "mine")
    copied(tmp_path / "packed.zip")
    (tmp_path / "notes").mkdir()
    assert main(["bundles", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"\n{mine}\n" in said
    assert f"\n{tmp_path / 'packed.zip'}\n" in said
    assert "notes" not in said
    assert main(["bundles", str(mine), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bundles"][-1]["name"] == str(mine)


def test_a_folder_without_bundles_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundles", str(tmp_path)]) == 2
    assert "holds no bundle" in capsys.readouterr().err
    assert main(["bundles", str(tmp_path / "gone")]) == 2
    assert "there is no folder" in capsys.readouterr().err
