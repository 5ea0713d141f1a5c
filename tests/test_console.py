"""What a person at the terminal is told, and what is kept from them."""

from __future__ import annotations

import io
import logging
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge.console import CLEAR, Progress, in_words, listening, note, say, watched


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_say_goes_where_it_should(capsys: pytest.CaptureFixture[str]) -> None:
    say("result")
    say("trouble", error=True)
    assert capsys.readouterr() == ("result\n", "trouble\n")


@pytest.mark.parametrize("text", ["9 °C", "caf\udce9.png"], ids=["no such sign", "no UTF-8"])
def test_say_never_fails_on_a_sign_the_terminal_lacks(text: str) -> None:
    code = f"from tdfusion_edge.console import say; say({text!a})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env={"PYTHONIOENCODING": "ascii"}
    )
    assert done.stdout.decode("ascii") == text.encode("ascii", "backslashreplace").decode() + "\n"


# --- notes and logs --------------------------------------------------------------------------------


def speak() -> None:
    ours, other = logging.getLogger("tdfusion_edge.probe"), logging.getLogger("another.library")
    ours.debug("where")
    note("what")
    ours.warning("beware of rtsp://me:hunter2@camera/")
    other.info("chatter")
    other.warning("theirs")
    ours.error("broken")


@pytest.mark.parametrize(
    ("level", "lines"),
    [
        (logging.ERROR, ["error: broken"]),
        (logging.INFO, ["what", "warning: beware of rtsp://***@camera/", "warning: theirs", "error: broken"]),
        (
            logging.DEBUG,
            [
                "debug: tdfusion_edge.probe: where",
                "what",
                "warning: beware of rtsp://***@camera/",
                "warning: theirs",
                "error: broken",
            ],
        ),
    ],
    ids=["quiet", "as it is", "verbose"],
)
def test_the_level_decides_what_is_heard(
    capsys: pytest.CaptureFixture[str], level: int, lines: list[str]
) -> None:
    with listening(level):
        speak()
    assert capsys.readouterr() == ("", "".join(f"{line}\n" for line in lines))


def test_logging_is_left_as_it_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    def state() -> tuple[object, ...]:
        root, own = logging.getLogger(), logging.getLogger("tdfusion_edge")
        return root.level, list(root.handlers), own.level, list(own.handlers)

    before = state()
    with pytest.raises(ZeroDivisionError), listening(logging.ERROR):
        raise ZeroDivisionError
    assert state() == before
    note("nobody listens")
    assert capsys.readouterr().err == ""


# --- progress --------------------------------------------------------------------------------------


def progress_of(stream: io.StringIO, clock: Clock, level: int = logging.INFO) -> Progress:
    with listening(level):
        return Progress("fusing", clock=clock, stream=stream)


def test_a_pipe_gets_a_line_every_ten_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = progress_of(stream, clock)
    for second in range(41):
        clock.now_s = 100.0 + second
        progress.update(second / 100, f"{second} pictures")
    progress.close()
    assert stream.getvalue().splitlines() == [
        "fusing: 10%, about 1 min 30 s left, 10 pictures",
        "fusing: 20%, about 1 min 20 s left, 20 pictures",
        "fusing: 30%, about 1 min 10 s left, 30 pictures",
        "fusing: 40%, about 1 min 0 s left, 40 pictures",
    ]


def test_a_terminal_gets_one_line_that_is_gone_in_the_end() -> None:
    stream, clock = Terminal(), Clock()
    with progress_of(stream, clock) as progress:
        progress.update(0.1)
        assert stream.getvalue() == ""  # a short work needs none
        clock.now_s += 2
        progress.update(0.5)
        progress.update(0.6)  # too soon for another
        clock.now_s += 2
        progress.update(None, "7 pictures")
    assert stream.getvalue() == f"{CLEAR}fusing: 50%, about 2 s left{CLEAR}fusing: 7 pictures{CLEAR}"


def test_what_may_never_end_fills_no_log() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = progress_of(stream, clock)
    clock.now_s += 100
    progress.update(None, "7 pictures")
    assert stream.getvalue() == ""


def test_a_work_that_showed_nothing_leaves_the_terminal_alone() -> None:
    stream, clock = Terminal(), Clock()
    with progress_of(stream, clock) as progress:
        progress.update(1.0)
    assert stream.getvalue() == ""


def test_quiet_and_a_library_s_user_see_no_progress() -> None:
    for level in (logging.ERROR, logging.WARNING):
        stream, clock = Terminal(), Clock()
        with progress_of(stream, clock, level) as progress:
            clock.now_s += 100
            progress.update(0.5)
        assert stream.getvalue() == ""


@given(st.floats(-1, 2), st.floats(0, 1e6))
def test_any_share_at_any_time_makes_one_line(done: float, elapsed_s: float) -> None:
    stream, clock = io.StringIO(), Clock()
    progress = progress_of(stream, clock)
    clock.now_s += 10 + elapsed_s
    progress.update(done)
    (line,) = stream.getvalue().splitlines()
    assert 0 <= int(line.removeprefix("fusing: ").partition("%")[0]) <= 100


@given(st.floats(0, 1e6))
def test_a_span_in_words_is_right_to_the_minute(seconds: float) -> None:
    units = {"s": 1, "min": 60, "h": 3600}
    words = in_words(seconds).split()
    told = sum(int(count) * units[unit] for count, unit in zip(words[::2], words[1::2], strict=True))
    assert abs(told - seconds) <= (0.5 if seconds < 3599 else 60.5)


class Gone(Terminal):
    """Standard error whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_reader_that_has_gone_does_not_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Gone())
    clock = Clock()
    with listening(logging.INFO):
        note("first picture")
        logging.getLogger("tdfusion_edge.capture").warning("a camera is late")
        with Progress("fusing", clock=clock) as progress:
            for _ in range(3):
                clock.now_s += 60
                progress.update(0.5)


def test_a_long_loop_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, clock = Terminal(), Clock()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(Progress.__init__, "__kwdefaults__", {"clock": clock, "stream": None})
    with listening(logging.INFO):
        seen = []
        for item in watched("abcd", 4, "comparing"):
            seen.append(item)
            clock.now_s += 2
    assert "".join(seen) == "abcd"
    assert "comparing: 25%, about 6 s left, 1 of 4 pairs" in terminal.getvalue()
    assert "4 of 4 pairs" in terminal.getvalue()
