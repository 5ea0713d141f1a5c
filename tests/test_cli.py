from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

import tdfusion_edge
from tdfusion_edge import cli
from tdfusion_edge.console import note, say
from tdfusion_edge.errors import ConfigError, SourceError, TdfusionError
from tdfusion_edge.install import install_command

Work = Callable[[argparse.Namespace], int]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Work], None]:
    """Puts a command ``probe`` into the table whose work is the given function."""

    def install(work: Work, *, extra: str | None = None) -> None:
        module = types.ModuleType("probe_command", "Probe the command line.")
        module.add_arguments = lambda parser: parser.add_argument("--level", type=int)  # type: ignore[attr-defined]
        module.main = work  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "probe_command", module)
        monkeypatch.setattr(cli, "COMMANDS", (cli.Command("probe", "probe_command", "probe", extra),))

    return install


def test_no_arguments_prints_the_commands_and_is_a_wrong_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    printed = capsys.readouterr().out
    assert all(row.name in printed and row.summary in printed for row in cli.COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["unknown"], 2),
        (["--json", "run"], 2),
        (["--", "run"], 2),
        ([""], 2),
    ],
)
def test_what_is_no_command_ends_in_argparse(arguments: list[str], code: int) -> None:
    with pytest.raises(SystemExit) as leaving:
        cli.main(arguments)
    assert leaving.value.code == code


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"tdfusion-edge {tdfusion_edge.__version__}\n"


def test_arguments_reach_the_command_and_its_code_comes_back(command: Callable[[Work], None]) -> None:
    command(lambda args: args.level)
    assert cli.main(["probe", "--level", "7"]) == 7


@pytest.mark.parametrize("row", cli.COMMANDS, ids=lambda row: row.name)
def test_every_command_of_the_table_can_say_what_it_takes(
    row: cli.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    if row.extra is not None:
        pytest.importorskip("torch")
    with pytest.raises(SystemExit) as leaving:
        cli.main([row.name, "--help"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: tdfusion-edge {row.name} ")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("rig.toml", expected="a table", got="a list", hint="Look at it."), 2),
        (SourceError("rtsp://admin:secret@10.0.0.5/live is gone"), 1),
    ],
)
def test_an_expected_error_is_one_message_without_credentials(
    command: Callable[[Work], None], capsys: pytest.CaptureFixture[str], error: TdfusionError, code: int
) -> None:
    def work(args: argparse.Namespace) -> int:
        raise error

    command(work)
    assert cli.main(["probe"]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert "Traceback" not in printed.err
    assert "secret" not in printed.err


def test_a_fault_shows_its_traceback_without_credentials(
    command: Callable[[Work], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def work(args: argparse.Namespace) -> int:
        raise ZeroDivisionError("while reading rtsp://admin:" + "hunter2" + "@10.0.0.5/live")

    command(work)
    assert cli.main(["probe"]) == 1
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert "ZeroDivisionError" in printed
    assert "rtsp://***@10.0.0.5/live" in printed
    assert "hunter2@" not in printed


def test_control_c_ends_with_its_customary_code(command: Callable[[Work], None]) -> None:
    def work(args: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    command(work)
    assert cli.main(["probe"]) == 130


@pytest.mark.parametrize("late", [False, True], ids=["at import", "at work"])
def test_a_missing_extra_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], late: bool
) -> None:
    needs = "import library_that_is_not_there"
    (tmp_path / "needy_command.py").write_text(
        f"{'' if late else needs}\ndef add_arguments(parser): pass\ndef main(args):\n    {needs}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(cli, "COMMANDS", (cli.Command("needy", "needy_command", "", "train"),))
    try:
        assert cli.main(["needy"]) == 2
    finally:
        sys.modules.pop("needy_command", None)
    printed = capsys.readouterr().err
    assert "needs library_that_is_not_there, which is not installed" in printed
    assert install_command("train") in printed


def test_a_broken_library_sends_to_the_doctor(
    command: Callable[[Work], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def work(args: argparse.Namespace) -> int:
        raise ImportError("libGL.so.1: cannot open shared object file", name="cv2")

    command(work)
    assert cli.main(["probe"]) == 2
    printed = capsys.readouterr().err
    assert "cv2" in printed
    assert "libGL.so.1" in printed
    assert "tdfusion-edge doctor" in printed


def test_a_module_of_ours_that_is_missing_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "COMMANDS", (cli.Command("gone", "tdfusion_edge.no_such_module", "", "train"),))
    assert cli.main(["gone"]) == 1
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert "pip install" not in printed


def test_a_closed_pipe_ends_quietly() -> None:
    code = (
        "import sys, types\n"
        "from tdfusion_edge import cli\n"
        "from tdfusion_edge.console import say\n"
        "probe = types.ModuleType('probe')\n"
        "probe.add_arguments = lambda parser: None\n"
        "probe.main = lambda args: [say('x' * 1000) for _ in range(1000)] and 0\n"
        "sys.modules['probe'] = probe\n"
        "cli.COMMANDS = (cli.Command('probe', 'probe', ''),)\n"
        "sys.exit(cli.main(['probe']))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr as stderr:
        assert stderr.read() == b""
    assert process.wait(60) == 1


def test_python_m_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tdfusion_edge", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"tdfusion-edge {tdfusion_edge.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "heard"),
    [
        (["-q"], []),
        ([], ["loading", "warning: slow"]),
        (
            ["-v"],
            ["debug: ", "debug: tdfusion_edge.probe: opened rtsp://***@cam/", "loading", "warning: slow"],
        ),
    ],
    ids=["quiet", "as it is", "verbose"],
)
def test_quiet_and_verbose_decide_what_is_heard_beside_the_result(
    command: Callable[[Work], None],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    heard: list[str],
) -> None:
    def work(args: argparse.Namespace) -> int:
        assert vars(args) == {"level": 3}
        log = logging.getLogger("tdfusion_edge.probe")
        log.debug("opened rtsp://me:hunter2@cam/")
        note("loading")
        log.warning("slow")
        say("the result")
        return 0

    command(work)
    assert cli.main(["probe", "--level", "3", *arguments]) == 0
    printed = capsys.readouterr()
    assert printed.out == "the result\n"
    lines = printed.err.splitlines()
    assert len(lines) == len(heard)
    assert all(line.startswith(begin) for line, begin in zip(lines, heard, strict=True))
    assert "hunter2" not in printed.err


def test_an_error_is_heard_when_quiet_and_explained_when_verbose(
    command: Callable[[Work], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def work(args: argparse.Namespace) -> int:
        raise SourceError("rtsp://me:hunter2@camera/ is gone")

    command(work)
    assert cli.main(["probe", "-q"]) == 1
    assert capsys.readouterr().err == "error: rtsp://***@camera/ is gone\n"
    assert cli.main(["probe", "-v"]) == 1
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "in work" in told
    assert told.endswith("error: rtsp://***@camera/ is gone\n")
    assert "hunter2" not in told


def test_quiet_and_verbose_exclude_each_other(
    command: Callable[[Work], None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(lambda args: 0)
    with pytest.raises(SystemExit) as leaving:
        cli.main(["probe", "-q", "-v"])
    assert leaving.value.code == 2


def test_the_package_gives_every_name_that_it_promises() -> None:
    assert all(getattr(tdfusion_edge, name) is not None for name in tdfusion_edge.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Frames'"):
        tdfusion_edge.Frames  # noqa: B018


def test_what_is_not_understood_is_quoted_without_its_password(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--camera", "ir0,vis0", "rtsp://user:geheim@host/x"])
    said = capsys.readouterr().err
    assert "geheim" not in said
    assert "unrecognized arguments: rtsp://***@host/x" in said


@pytest.mark.parametrize("flag", ["-q", "--verbose"])
def test_how_loud_it_is_may_be_said_before_the_command(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([flag, "fuse", "nowhere.png", "nowhere.png", "-o", "x.png"]) == 2
    assert "there is no nowhere.png" in capsys.readouterr().err
