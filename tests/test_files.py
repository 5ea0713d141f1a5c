"""Names of what is written aside, names that are too long, and lists of names."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge import bundle
from tdfusion_edge.cli import main
from tdfusion_edge.files import aside_name, write_aside
from tdfusion_edge.text import few

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1).filter(
    lambda name: name not in (".", "..") and len(os.fsencode(name)) <= 255
)


@given(NAMES | st.sampled_from(["n" * 255, "é" * 127, "語" * 85]), st.sampled_from([".part", ".partial.mp4"]))
def test_a_name_aside_is_hidden_and_fits(name: str, ending: str) -> None:
    path = Path("/folder") / name
    aside = aside_name(path, ending)
    assert aside.parent == path.parent
    assert aside.name.startswith(".")
    assert aside.name.endswith(f".{os.getpid()}{ending}")
    assert len(os.fsencode(aside.name)) <= 255


def test_long_names_that_begin_alike_stay_apart() -> None:
    one, other = (aside_name(Path("n" * 250 + end), ".part") for end in "ab")
    assert one != other


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127])
def test_the_longest_name_is_written(tmp_path: Path, name: str) -> None:
    write_aside(tmp_path / name, b"content")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, b"content")]


def test_outputs_of_the_longest_names(tmp_path: Path, mean_bundle_path: Path) -> None:
    for name in ("ir.png", "vis.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((40, 40), np.uint8))
    out = tmp_path / ("o" * 251 + ".png")
    call = ["fuse", tmp_path / "ir.png", tmp_path / "vis.png", "-o", out, "--bundle", mean_bundle_path]
    assert main([str(one) for one in call]) == 0
    assert out.is_file()
    archive = tmp_path / ("b" * 251 + ".zip")
    opened = bundle.read(mean_bundle_path)
    files = {path.name: path.read_bytes() for path in mean_bundle_path.iterdir() if path.suffix == ".onnx"}
    manifest = {
        "name": "long",
        "network": "m",
        "strategy": "s",
        "created": "2026-01-01",
        "graphs": opened.manifest.graphs,
    }
    for _ in range(2):  # the second replaces the first
        bundle.write(archive, manifest, files)
    assert bundle.read(archive).manifest.name == "long"


@pytest.mark.parametrize(
    "call",
    [
        ["fuse", "{long}", "vis.png", "-o", "o.png"],
        ["fuse", "vis.png", "vis.png", "-o", "{long}.png"],
        ["fuse", "vis.png", "vis.png", "-o", "o.png", "--bundle", "{long}"],
        ["dataset", "check", "{long}"],
        ["dataset", "check", ".", "--names", "{long}"],
        ["dataset", "check", ".", "--labels", "yolo:{long}", "--classes", "a"],
    ],
)
def test_a_name_that_is_too_long_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], call: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (".", "ir", "vi"):
        Path(name).mkdir(exist_ok=True)
        cv2.imwrite(f"{name}/vis.png", np.zeros((40, 40), np.uint8))
    assert main([one.format(long="x" * 300) for one in call]) == 2
    said = capsys.readouterr().err
    assert "too long" in said
    assert "255 bytes" in said
    assert "Traceback" not in said


@given(st.lists(st.text("ab", min_size=1, max_size=300), max_size=12), st.integers(1, 9))
def test_a_list_of_names_has_a_bound(names: list[str], most: int) -> None:
    text = few(names, most)
    assert len(text) <= most * 257 + 30
    if len(names) <= most and all(len(name) <= 255 for name in names):
        assert text == ", ".join(names)
    if len(names) > most:
        assert text.endswith(f" and {len(names) - most} more")
