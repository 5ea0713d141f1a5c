"""What stands in examples/deploy starts what it says it starts."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from tdfusion_edge.cli import COMMANDS, command_parser

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "examples" / "deploy"
UNIT = DEPLOY / "tdfusion-edge.service"


def joined(text: str) -> str:
    """Lines that end in a backslash, with the next one."""
    return re.sub(r"\\\n\s*", "", text)


def settings(text: str) -> dict[str, str]:
    """Keys and values of a unit; a key that is there twice keeps its last value."""
    lines = [line for line in joined(text).splitlines() if "=" in line and not line.startswith("#")]
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


def parsed(words: list[str]) -> argparse.Namespace:
    """A command line of ours, taken apart by its own parser."""
    (command,) = [row for row in COMMANDS if row.name == words[0]]
    return command_parser(command)[0].parse_args(words[1:])


def test_the_unit_starts_a_command_line_of_ours() -> None:
    program, *arguments = shlex.split(settings(UNIT.read_text())["ExecStart"])
    assert Path(program).name == "tdfusion-edge"
    assert parsed(arguments).camera == "ir0,vis0"


def test_the_unit_waits_for_our_word_and_watches() -> None:
    found = settings(UNIT.read_text())
    assert found["Type"] == "notify"
    assert int(found["WatchdogSec"]) >= 10
    folders = {found["StateDirectory"], found["CacheDirectory"]}
    assert folders == {"tdfusion-edge"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here: apt install systemd")
def test_systemd_reads_the_unit_without_a_complaint(tmp_path: Path) -> None:
    program = tmp_path / "tdfusion-edge"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "tdfusion-edge.service"
    unit.write_text(UNIT.read_text().replace("/opt/tdfusion-edge/bin/tdfusion-edge", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if "tdfusion" in line]
    assert complaints == []


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("Containerfile.*")), ids=lambda path: path.suffix)
def test_an_image_installs_extras_that_exist_and_runs_a_command_of_ours(path: Path) -> None:
    text = joined(path.read_text())
    extras = msgspec.toml.decode((ROOT / "pyproject.toml").read_bytes())["project"]["optional-dependencies"]
    for named in re.findall(r"/src\[([\w,-]+)\]", text):
        assert set(named.split(",")) <= set(extras)
    (words,) = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
    assert parsed(msgspec.json.decode(words)) is not None
    for line in re.findall(r"tdfusion-edge(?::\w+)? (run .*)$", text, re.MULTILINE):
        assert parsed(shlex.split(line)).camera == "ir0,vis0"
