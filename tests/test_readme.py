"""What the documents promise is there: commands, options, links, version."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import msgspec
import pytest
from readme import blocks, calls, from_nothing, quoted_calls, shell_lines

import tdfusion_edge
from tdfusion_edge.cli import COMMANDS, command_parser
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.sources.uri import parse

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/**/*.md")])
LONGEST = 900
"""Words of the README: it is read in four minutes, and what is longer stands in docs/."""


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def fenced_calls() -> list[list[str]]:
    return [call for path in DOCUMENTS for line in shell_lines(read(path)) for call in calls(line)]


# --- the reader itself ---------------------------------------------------------------------------

SAMPLE = """
Text with `tdfusion-edge run --show` and `rig.toml`.

```sh
# a comment
python3 -m venv .venv && .venv/bin/pip install . \\
    && .venv/bin/tdfusion-edge run -o 'a b' > log
ls | wc -l; tdfusion-edge doctor   # two on one line
```

```toml
tdfusion-edge = "no shell"
```

```bash
python3 -m venv .venv && .venv/bin/pytest
```
"""


def test_shell_blocks_are_read_and_others_not() -> None:
    assert shell_lines(SAMPLE) == [
        "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/tdfusion-edge run -o 'a b' > log",
        "ls | wc -l; tdfusion-edge doctor # two on one line",
        "python3 -m venv .venv && .venv/bin/pytest",
    ]
    assert len(from_nothing(SAMPLE)) == 2
    assert blocks(SAMPLE, "toml") == ['tdfusion-edge = "no shell"\n']


def test_calls_are_found_within_a_line() -> None:
    first, second, third = shell_lines(SAMPLE)
    assert list(calls(first)) == [["run", "-o", "a b"]]
    assert list(calls(second)) == [["doctor"]]
    assert list(calls(third)) == []
    assert quoted_calls(SAMPLE) == [["run", "--show"]]


# --- README --------------------------------------------------------------------------------------


def test_the_readme_starts_from_nothing_twice() -> None:
    run, test = from_nothing(read(README))
    assert ["run", "--camera", "ir0,vis0", "--seconds", "10", "--output", "fused.mp4"] in list(calls(run))
    assert test.endswith(".venv/bin/pytest")
    assert "-c constraints.txt" in test


def test_the_continuous_integration_gets_the_same_lines() -> None:
    for number, line in enumerate(from_nothing(read(README)), 1):
        done = subprocess.run(
            [sys.executable, "-S", str(ROOT / "tests" / "readme.py"), str(number)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == line + "\n"


def test_the_readme_is_short() -> None:
    assert len(read(README).split()) <= LONGEST


def test_the_readme_names_every_command_and_no_other() -> None:
    rows = re.findall(r"^\| `tdfusion-edge (\w+)` \|", read(README), re.MULTILINE)
    assert sorted(rows) == sorted(row.name for row in COMMANDS)


def test_every_document_can_be_found_from_the_readme() -> None:
    found, new = {README}, [README]
    while new:  # by way of other documents too
        here = new.pop()
        linked = {
            (here.parent / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", read(here))
        }
        new += [path for path in DOCUMENTS if path in linked - found]
        found |= linked
    assert [path for path in DOCUMENTS if path not in found] == []


# --- blocks of code --------------------------------------------------------------------------------

GIVEN = """
import cv2, numpy as np
infrared, visible = np.full((96, 128), 90, np.uint8), np.full((96, 128, 3), 120, np.uint8)
cv2.imwrite("ir.png", infrared)
cv2.imwrite("vis.png", visible)
frames = [(infrared, visible)] * 3
"""
"""What the examples of the documents take for granted."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "docs/python.md"])
def test_the_python_of_the_documents_runs(name: str, tmp_path: Path) -> None:
    code = "\n".join([GIVEN, *blocks(read(ROOT / name), "python")])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^(picture )?1\b", done.stdout, re.MULTILINE)  # the stream came to a second picture


def test_the_rigs_of_the_documents_are_some(tmp_path: Path) -> None:
    whole, *parts = blocks(read(ROOT / "docs" / "cameras.md"), "toml")
    (tmp_path / "rig.toml").write_text(whole, encoding="utf-8")
    assert set(rig.read(tmp_path / "rig.toml").cameras) == {"ir0", "vis0"}
    for part in parts:
        (tmp_path / "part.toml").write_text(part, encoding="utf-8")
        for camera in rig.read(tmp_path / "part.toml").cameras.values():
            parse(camera.uri)


def test_the_recipe_of_the_documents_is_one(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from tdfusion_edge.train.recipe_file import load_recipe

    (text,) = blocks(read(ROOT / "docs" / "training.md"), "toml")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    assert load_recipe(str(tmp_path / "mine.toml")).name == "mine"


# --- command lines -----------------------------------------------------------------------------------


def parser_of(name: str) -> argparse.ArgumentParser:
    command = next((row for row in COMMANDS if row.name == name), None)
    assert command is not None, f"there is no command '{name}'"
    if command.extra is not None:
        pytest.importorskip("torch")
    return command_parser(command)[0]


def understands(parser: argparse.ArgumentParser, arguments: list[str]) -> bool:
    try:
        parser.parse_args(arguments)
    except SystemExit as leaving:  # --help leaves with 0
        return not leaving.code
    return True


@pytest.mark.parametrize("call", fenced_calls(), ids=" ".join)
def test_every_command_line_is_understood(call: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    if call[0].startswith("-"):
        assert call in (["--help"], ["--version"])
    else:
        assert understands(parser_of(call[0]), call[1:]), capsys.readouterr().err


def test_every_option_that_is_mentioned_exists() -> None:
    """Each `` `tdfusion-edge COMMAND --option` `` in the running text."""
    unknown = [
        f"{call[0]} {word}"
        for path in DOCUMENTS
        for call in quoted_calls(read(path))
        for word in call[1:]
        if word.startswith("-")
        and not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", parser_of(call[0]).format_help())
    ]
    assert unknown == []


# --- all documents -------------------------------------------------------------------------------


def anchors(markdown: str) -> set[str]:
    """Anchors of the headings, made as code hosts make them."""
    headings = re.findall(r"^#+\s+(.*?)\s*$", re.sub(r"^```.*?^```", "", markdown, flags=re.M | re.S), re.M)
    plain = (re.sub(r"[`*_]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", read(path), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)[^)]*\)|<(?:img|a|source)[^>]+(?:src|href|srcset)=\"([^\"]+)\"", text)
    broken = []
    for target in (first or second for first, second in targets):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = unquote(target).partition("#")
        file = path.parent / name if name else path
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(read(file))):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_exist(path: Path) -> None:
    """`` `runtime/sync.py` `` and the like, from the root or from inside the package."""
    named = re.findall(r"`((?:\w+/)+[\w.]+\.(?:py|toml|md|txt))`", read(path))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_changelog_s_newest_version_is_the_package_s() -> None:
    newest = re.search(r"^## \[?(\d+\.\d+\.\d+)\]?", read(ROOT / "CHANGELOG.md"), re.MULTILINE)
    project = msgspec.toml.decode((ROOT / "pyproject.toml").read_bytes())["project"]
    assert newest is not None
    assert newest[1] == tdfusion_edge.__version__ == project["version"]
