"""Whatever secret stands in whatever place: nothing that is printed or written holds it."""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import logging
import os
import sys
import threading
import types
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge import bundle, cli
from tdfusion_edge.bundle import TrainingData
from tdfusion_edge.completion import SHELLS, _completed, _parser
from tdfusion_edge.console import guarded, listening, say, say_json
from tdfusion_edge.errors import SourceError, TdfusionError
from tdfusion_edge.escape import escape, one_line
from tdfusion_edge.redact import redact

KEYS = (
    "password", "loginpas", "pwd", "user_pw", "token", "access_key", "authbasic", "apikey", "x-secret",
    "session_id", "stream_key",
)  # fmt: skip
CARRIERS: dict[str, Callable[[str], str]] = {
    "rtsp": lambda secret: f"rtsp://admin:{secret}@cam.local:554/live",
    "lost slash": lambda secret: f"rtsp:/admin:{secret}@cam.local/live",
    "no scheme": lambda secret: f"admin:{secret}@10.0.0.5",
    "with a comma": lambda secret: f"rtsp://admin:{secret},Q@cam.local/live",
    "behind a comma": lambda secret: f"rtsp://admin:x,{secret}@cam.local/live",
    "behind a blank": lambda secret: f"rtsp://admin:x {secret}@cam.local/live",
    "cut off": lambda secret: f"rtsp://admin:{secret}",
    "with a blank": lambda secret: f"rtsp://admin:{secret} Q@cam.local/live",
    "brief": lambda secret: f"http://cam.local/v?u={secret}&p={secret}&fps=3",
    "in the path": lambda secret: f"rtsp://cam.local/user=admin_password={secret}_channel=1",
    "relayed": lambda secret: f"http://relay/?url=rtsp%3A%2F%2Fadmin%3A{secret}%40cam",
    "header": lambda secret: f"Authorization: Basic {packed(secret)}",
    "header, no colon": lambda secret: f"Authorization Basic {packed(secret)}",
    "basic": lambda secret: f"Basic {packed(secret)}",
    "bearer": lambda secret: f"Bearer {secret}",
    "option": lambda secret: f"--password {secret}",
    "pair": lambda secret: json.dumps({"password": secret}),
    **{f"key {key}": lambda secret, key=key: f"http://cam.local/v?{key}={secret}" for key in KEYS},  # type: ignore[misc]
}
SECRETS = st.text(alphabet="QXZ~!$*+.-_", min_size=1, max_size=8).map("QZX".__add__)


def packed(secret: str) -> str:
    return base64.b64encode(f"admin:{secret}".encode()).decode()


def leaks(secret: str, text: str) -> bool:
    return any(part in text for part in ("QZX", packed(secret), packed(secret).rstrip("=")))


BASES: dict[str, list[str]] = {
    "run": ["--camera", "a.mp4,b.mp4"],
    "fuse": ["a.png", "b.png", "-o", "x.png"],
    "train": ["edge_fixed", "--data", "nowhere"],
    "dataset": ["check", "nowhere"],
    "export": ["x.safetensors", "-o", "y"],
    "engines": [],
    "eval": ["--data", "nowhere"],
    "verify": ["nowhere"],
    "bench": ["nowhere"],
    "cameras": [],
    "calibrate": ["--camera", "a.mp4,b.mp4"],
    "doctor": ["--no-such"],
    "bundles": ["nowhere"],
    "completion": ["bash"],
}
"""Command lines that end soon."""


def slots() -> Iterator[tuple[str, Callable[[str], list[str]]]]:
    """Every place of every command line: what comes there is the argument."""
    for row in cli.COMMANDS:
        parser = _parser(row)
        if parser is None:
            continue
        name, base = row.name, BASES[row.name]
        for index in range(len(base) + 1):
            yield name, lambda text, base=base, i=index: [*base[:i], text, *base[i + 1 :]]  # type: ignore[misc]
        yield name, lambda text, base=base: [*base, "--" + text]  # type: ignore[misc]
        for action in parser._actions:
            if action.option_strings and action.nargs != 0:
                flag = action.option_strings[-1]
                yield name, lambda text, base=base, flag=flag: [*base, flag, text]  # type: ignore[misc]
                yield name, lambda text, base=base, flag=flag: [*base, f"{flag}={text}"]  # type: ignore[misc]


SLOTS = list(slots())


def test_every_command_is_tried() -> None:
    assert set(BASES) == {row.name for row in cli.COMMANDS}
    assert len(SLOTS) > 150


def heard(arguments: list[str]) -> tuple[int, str]:
    """The exit code of a command line, and all that it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = cli.main(arguments)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
    return code, out.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty working folder."""
    folder, before = tmp_path_factory.mktemp("border"), Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def require_nothing_written(folder: Path, secret: str) -> None:
    for path in folder.rglob("*"):
        assert not leaks(secret, str(path))
        assert path.is_dir() or not leaks(secret, path.read_bytes().decode("latin-1"))


@settings(max_examples=400)
@given(st.sampled_from(SLOTS), st.sampled_from(sorted(CARRIERS)), SECRETS, st.booleans())
def test_no_secret_of_an_argument_comes_out(
    folder: Path, slot: tuple[str, Callable[[str], list[str]]], carrier: str, secret: str, verbose: bool
) -> None:
    command, place = slot
    line = [command, *place(CARRIERS[carrier](secret)), *(["-v"] if verbose else [])]
    code, text = heard(line)
    assert not leaks(secret, text), (line, text)
    assert "this is a fault" not in text, (line, text)
    assert code in (0, 1, 2)
    require_nothing_written(folder, secret)


@settings(max_examples=40)
@given(
    st.sampled_from(["name", "uri", "role", "key", "text", "environment"]),
    st.sampled_from(sorted(CARRIERS)),
    SECRETS,
)
def test_no_secret_of_a_rig_or_of_the_environment_comes_out(
    folder: Path, place: str, carrier: str, secret: str
) -> None:
    carried = json.dumps(CARRIERS[carrier](secret))
    rigs = {
        "name": f'[cameras.{carried}]\nuri = "sim://ir"\n',
        "uri": f"[cameras.ir0]\nuri = {carried}\n",
        "role": f'[cameras.ir0]\nuri = "sim://ir"\nrole = {carried}\n',
        "key": f'[cameras.ir0]\nuri = "sim://ir"\n{carried} = 3\n',
        "text": f"[cameras.ir0]\nuri = {carried} and more\n",
        "environment": "",
    }
    rig = folder / "rig.toml"
    rig.write_text(rigs[place])
    try:
        with pytest.MonkeyPatch.context() as patch:
            if place == "environment":
                patch.setenv("TDFUSION_RIG", CARRIERS[carrier](secret))
            options = [] if place == "environment" else ["--rig", str(rig)]
            for line in (["cameras"], ["cameras", "--json"], ["run", "--camera", "ir0,vis0"]):
                _, text = heard([*line, *options, "-v"])
                assert not leaks(secret, text), (place, text)
                assert "this is a fault" not in text, text
    finally:
        rig.unlink()
    require_nothing_written(folder, secret)


@given(st.sampled_from(sorted(CARRIERS)), SECRETS)
def test_errors_that_another_program_shows_hold_none(carrier: str, secret: str) -> None:
    carried = CARRIERS[carrier](secret)
    error = SourceError(f"{carried} is gone", expected=carried, got=carried, hint=f"Look at {carried}")
    for text in (str(error), repr(error), error.what, error.got, error.expected, error.hint):
        assert text is not None
        assert not leaks(secret, text)


@given(st.sampled_from(sorted(CARRIERS)), SECRETS)
def test_bundles_hold_none(carrier: str, secret: str) -> None:
    carried = CARRIERS[carrier](secret)
    graph = bundle.Graph(files={"fp32": "x"}, inputs=(), outputs=(), minimum_size=32, opset=18)
    fields = {"name": carried, "network": "n", "strategy": "s", "created": "c", "graphs": {"fusion": graph}}
    data = (TrainingData(name=carried, terms=f"see {carried}", pairs=1),)
    made = bundle.assembled({**fields, "training_data": data}, {"x": b""})
    assert not leaks(secret, repr(made.manifest))


def test_help_and_completion_pass_the_border_unchanged() -> None:
    for row in cli.COMMANDS:
        parser = _parser(row)
        if parser is not None:
            text = parser.format_help()
            assert escape(redact(text)) == text, row.name
    for shell in SHELLS.values():
        script = shell({row.name: _completed(row.summary, _parser(row)) for row in cli.COMMANDS})
        assert escape(redact(script)) == script
    card = bundle.read(bundle.default_path()).files["MODEL_CARD.md"].decode()
    assert redact(card) == card


def test_json_stays_json_and_texts_are_hidden_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    say_json({"http://a/?token=x": ["rtsp://u:p@h", 1.5, None, True], "\x1b[31m\x7f\u202e": "token=a,b"})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {
        "http://a/?token=***": ["rtsp://***@h", 1.5, None, True],
        "\x1b[31m\x7f\u202e": "token=***",
    }
    assert printed.isascii()
    assert "\x7f" not in printed


# --- control characters --------------------------------------------------------------------------------


@given(st.text())
def test_no_control_character_is_left_and_no_other_is_touched(text: str) -> None:
    shown = escape(text)
    for sign in shown:
        assert sign in "\t\n" or unicodedata.category(sign) not in ("Cc", "Zl", "Zp")
        assert unicodedata.bidirectional(sign) not in (
            "LRE",
            "RLE",
            "LRO",
            "RLO",
            "PDF",
            "LRI",
            "RLI",
            "FSI",
            "PDI",
        )
    kept = [sign for sign in text if unicodedata.category(sign) in ("Lu", "Ll", "Lo", "Mn", "So", "Nd")]
    assert [sign for sign in shown if sign in set(kept)][: len(kept)] or not kept
    assert "\n" not in one_line(text)
    assert escape(shown) == shown


def test_words_of_all_scripts_stay() -> None:
    text = "Straße 街道 улица شارع रास्ता 👩‍🚒 e\u0301 a\tb\nc"
    assert escape(text) == text


EVIL = "\x1b[31mred\x1b[0m\x9b2J\u202egnp.exe\r\x07\x00"


def test_what_reaches_the_terminal_has_no_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded(), listening(logging.DEBUG):
        say(EVIL)
        say(EVIL, error=True)
        logging.getLogger("tdfusion_edge.probe").warning("%s\nerror: forged", EVIL)
        say(str(TdfusionError(f"{EVIL}\nerror: forged", got=EVIL, hint=EVIL)), error=True)
    printed = capsys.readouterr()
    for text in printed:
        assert not set("\x1b\x9b\u202e\r\x07\x00") & set(text)
    assert "\nerror: forged" not in printed.err
    assert r"\x1b[31mred" in printed.out


# --- what is not said by us -----------------------------------------------------------------------------


def test_faults_of_threads_and_of_finalisers_and_warnings_pass_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As they are outside a test's runner, which has its own in their places.
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)

    class Fragile:
        def __del__(self) -> None:
            raise OSError("finaliser of rtsp://u:hunter2@cam/")

    def work(args: argparse.Namespace) -> int:
        def fail() -> None:
            raise OSError("thread of rtsp://u:hunter2@cam/\x1b[31m")

        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        Fragile()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = showing[0]
            warnings.warn("old: rtsp://u:hunter2@cam/", DeprecationWarning, stacklevel=1)
        try:
            raise KeyError("token=hunter2")
        except KeyError as error:
            raise ValueError("while rtsp://u:hunter2@cam/") from error

    showing: list[Callable[..., None]] = []
    module = types.ModuleType("probe_command", "Probe.")

    def main(args: argparse.Namespace) -> int:
        showing.append(warnings.showwarning)
        return work(args)

    module.add_arguments = lambda parser: None  # type: ignore[attr-defined]
    module.main = main  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "probe_command", module)
    monkeypatch.setattr(cli, "COMMANDS", (cli.Command("probe", "probe_command", "probe"),))
    assert cli.main(["probe"]) == 1
    said = capsys.readouterr().err
    assert "hunter2" not in said
    assert "\x1b" not in said
    for words in (
        "thread of rtsp://***@cam/",
        "finaliser of rtsp://***@cam/",
        "while rtsp://***@cam/",
        "token=***",
    ):
        assert words in said
    assert "warning: DeprecationWarning: old: rtsp://***@cam/\n" in said
    assert threading.excepthook is threading.__excepthook__


def test_what_is_no_command_is_quoted_without_its_password() -> None:
    for line in (["rtsp://u:hunter2@cam/"], ["-x", "rtsp://u:hunter2@cam/"], ["--", "http://h/?pwd=hunter2"]):
        code, text = heard(line)
        assert code == 2
        assert "hunter2" not in text
