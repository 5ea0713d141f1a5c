"""The scripts are tried in the shells themselves, where those are installed."""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tdfusion_edge import cli, completion


def script(shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Path:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert cli.main(["completion", shell]) == 0
    path = tmp_path / f"script.{shell}"
    path.write_text(capsys.readouterr().out)
    return path


def output(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def completed_by_bash(path: Path, *words: str) -> list[str]:
    line = shlex.join(words)
    return output(
        "bash", "--norc", "-uc",
        f"source {shlex.quote(str(path))}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _tdfusion_edge; "
        r"""((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}" """,
    )  # fmt: skip


def test_bash_completes_commands_options_and_values(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = script("bash", capsys, tmp_path)
    assert completed_by_bash(path, "tdfusion-edge", "e") == ["export", "engines", "eval"]
    assert completed_by_bash(path, "tdfusion-edge", "--v") == ["--version"]
    assert completed_by_bash(path, "tdfusion-edge", "run", "--mo") == ["--mode"]
    assert completed_by_bash(path, "tdfusion-edge", "run", "--mode", "") == ["latest", "every"]
    assert completed_by_bash(path, "tdfusion-edge", "dataset", "") == ["check"]
    for command in (("run", "--bundle"), ("doctor", "--bundle"), ("bench",), ("verify",)):
        assert completed_by_bash(path, "tdfusion-edge", *command, "e") == ["edge", "edge_35m"]
    backends = completed_by_bash(path, "tdfusion-edge", "bench", "--backend", "")
    assert backends == completed_by_bash(path, "tdfusion-edge", "run", "--backend", "")
    assert {"auto", "onnxruntime", "cuda"} <= {*backends}
    assert completed_by_bash(path, "tdfusion-edge", "fuse", "ir.p") == []  # the shell itself completes files
    assert output("bash", "--norc", "-c", f"source {shlex.quote(str(path))}; complete -p tdfusion-edge") == [
        "complete -o default -F _tdfusion_edge tdfusion-edge"
    ]


def test_bash_knows_every_option_of_every_command_but_hidden_ones(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    path = script("bash", capsys, tmp_path)
    for row in cli.COMMANDS:
        actions = cli.command_parser(row)[0]._actions
        told = {flag for one in actions if one.help != argparse.SUPPRESS for flag in one.option_strings}
        assert set(completed_by_bash(path, "tdfusion-edge", row.name, "-")) == told


def test_fish_completes_commands_options_and_values(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = script("fish", capsys, tmp_path)

    def completed(line: str) -> list[str]:
        code = f"source {shlex.quote(str(path))}; complete -C {shlex.quote(line)}"
        return [row.partition("\t")[0] for row in output("fish", "--no-config", "-c", code)]

    assert completed("tdfusion-edge ev") == ["eval"]
    assert completed("tdfusion-edge run --mod") == ["--mode"]
    assert completed("tdfusion-edge run --mode ") == ["every", "latest"]
    assert completed("tdfusion-edge dataset c") == ["check"]
    assert [word for word in completed("tdfusion-edge run --bundle ed") if "/" not in word] == [
        "edge", "edge_35m",
    ]  # fmt: skip
    assert [word for word in completed("tdfusion-edge bench ed") if "/" not in word] == ["edge", "edge_35m"]
    assert completed("tdfusion-edge bench --backend onn") == ["onnxruntime"]


def test_zsh_can_read_its_script(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = script("zsh", capsys, tmp_path)
    code = f"autoload -U compinit; compinit -D; source {shlex.quote(str(path))}; print $_comps[tdfusion-edge]"
    assert output("zsh", "-f", "-c", code) == ["_tdfusion_edge"]


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_a_command_that_cannot_be_loaded_is_completed_by_its_name(
    shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (cli.Command("gone", "no_such_module_at_all", "it's gone", "train"),)
    monkeypatch.setattr(completion, "COMMANDS", rows)
    assert cli.main(["completion", shell]) == 0
    assert "gone" in capsys.readouterr().out
