"""Text for the person at the terminal, or the program behind the pipe.

Results go to standard output by :func:`say` and :func:`say_json`. Everything else goes to standard error:
errors by :func:`say`, what is good to know by :func:`note` and the package's loggers, and how far a long work
is by :class:`Progress`. ``-q`` hides all of it but the errors.

This module is the border that all of it passes, with what argparse, ``warnings`` and Python itself say: there
credentials are taken out (:mod:`tdfusion_edge.redact`) and control characters are escaped
(:mod:`tdfusion_edge.escape`).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, TextIO, TypeVar

from tdfusion_edge.errors import SinkError
from tdfusion_edge.escape import escape, one_line
from tdfusion_edge.redact import redact, redact_all

PACKAGE = "tdfusion_edge"
"""The logger above all of ours."""
TERMINAL_S, LINES_S = 0.2, 10.0
"""Seconds between two lines of progress: rewritten in place on a terminal, new lines elsewhere."""
STREAMS = ("stdin", "stdout", "stderr")
"""Names in ``sys``, by number."""
LONGEST_LINE = 2_000
"""Characters of a message's line that are shown."""

CLEAR = "\r\x1b[K"
"""Takes a half-written line of progress off a terminal."""

T = TypeVar("T")

log = logging.getLogger(__name__)


def say(text: str, *, error: bool = False) -> None:
    """Write a line, or several, to standard output or standard error, and flush it.

    Credentials in it are hidden, control characters but tab and newline are escaped, and so is a character
    that the terminal cannot show. Standard error that cannot be written, full or gone, is no error: what
    cannot be told must not end the work.

    Raises:
        BrokenPipeError: the reader of standard output has gone.
        SinkError: standard output cannot be written: the disk is full.
    """
    shown = escape(redact(text))
    _put("\n".join(map(_shortened, shown.split("\n"))) if error else shown, error=error)


def _shortened(line: str) -> str:
    """A message that quotes a megabyte of somebody's input is no message."""
    if len(line) <= LONGEST_LINE:
        return line
    # What is wrong with it stands before or behind it.
    return f"{line[: LONGEST_LINE - 400]} ... {line[-300:]} ({len(line):,} characters)"


def say_json(value: Any, *, indent: int | None = None) -> None:
    """Write a value as JSON to standard output; credentials in its texts are hidden, one text at a time.

    Raises:
        As :func:`say`.
    """
    # ASCII alone: JSON's own escapes stand for every control character but DEL.
    _put(json.dumps(redact_all(value), indent=indent).replace("\x7f", "\\u007f"))


def _put(text: str, *, error: bool = False) -> None:
    stream = sys.stderr if error else sys.stdout
    if stream is None:  # closed before the program began
        return
    # A file name that is no UTF-8, or a sign that an old code page lacks, must not end a run.
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except (OSError, ValueError) as failure:  # ValueError: it was closed
        _drop(stream)
        if isinstance(failure, BrokenPipeError) and not error:
            raise
        if not error:
            reason = getattr(failure, "strerror", None) or failure
            raise SinkError(f"standard output cannot be written: {reason}") from failure


def _drop(stream: TextIO) -> None:
    """Send what a stream still holds, and all that follows, nowhere: Python flushes it again at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextmanager
def guarded() -> Iterator[None]:
    """While the block runs, faults of threads and of finalisers pass the border as all text does.

    Standard streams that are closed (``2>&-``) are opened to nowhere first, for good: the next file that is
    opened would take their place, and what a library writes to standard error would end up in it.
    """
    _open_standard_streams()

    def told(args: threading.ExceptHookArgs | sys.UnraisableHookArgs) -> None:
        if args.exc_type is not SystemExit and args.exc_value is not None:
            lines = traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback)
            say("".join(lines).rstrip(), error=True)

    before = threading.excepthook, sys.unraisablehook
    # Whoever replaced them, as a test's runner does, wants to hear of it himself.
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = told
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = told
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = before


def _open_standard_streams() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
            if number and getattr(sys, STREAMS[number]) is None:
                setattr(sys, STREAMS[number], os.fdopen(number, "w", closefd=False))


def note(text: str) -> None:
    """Tell on standard error what is neither result nor error, such as "loading bundle edge ...".

    It is a log record of level INFO: a command shows it unless ``-q`` was given; a program that uses the
    package as a library shows it if it configures ``logging`` so.
    """
    log.info("%s", text)


@contextmanager
def listening(level: int) -> Iterator[None]:
    """Show what is logged, and what libraries warn of, on standard error while the block runs.

    Args:
        level: Least level of our own loggers: ``logging.ERROR`` for ``-q``, ``DEBUG`` for ``-v``, else
            ``INFO``. Other libraries are heard from WARNING on, or from ``level`` where that is higher.
    """
    root, own = logging.getLogger(), logging.getLogger(PACKAGE)
    before = root.level, own.level
    handler = _Handler(sys.stderr)
    handler.setFormatter(_Lines())
    root.addHandler(handler)
    root.setLevel(max(root.level, level))
    own.setLevel(level)
    show, warnings.showwarning = warnings.showwarning, _warned
    try:
        yield
    finally:
        warnings.showwarning = show
        root.removeHandler(handler)
        root.setLevel(before[0])
        own.setLevel(before[1])


def _warned(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """In place of ``warnings.showwarning``: one line, as all our warnings are."""
    del where, more
    logging.getLogger("py.warnings").warning("%s: %s", category.__name__, message)


class _Handler(logging.StreamHandler[TextIO]):
    # A StreamHandler by type, because tqdm looks for one to write above its bar.
    def emit(self, record: logging.LogRecord) -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            _put_part(sys.stderr, CLEAR)
        say(self.format(record), error=True)


class _Lines(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, the base class's name
        message = one_line(record.getMessage())
        if record.levelno == logging.INFO:
            return message
        where = f"{record.name}: " if record.levelno < logging.INFO else ""
        return f"{record.levelname.lower()}: {where}{message}"


def _put_part(stream: TextIO, text: str) -> bool:
    """Write a part of a line of standard error; False where nobody reads it."""
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):
        _drop(stream)
        return False
    return True


class Progress:
    """How far a long work is and how long it will still take, on standard error.

    Used as a context manager; the block's end takes the line off the terminal. Short works show nothing: the
    first line comes after a second on a terminal, after ``LINES_S`` seconds elsewhere. Where records of level
    INFO are not wanted, as with ``-q`` or in a program that configures no logging, nothing is shown at all.

    Args:
        what: What is being done: "fusing walk.mp4".
        clock: Seconds that only grow.
        stream: Where to write; None is standard error.
    """

    def __init__(
        self, what: str, *, clock: Callable[[], float] = time.monotonic, stream: TextIO | None = None
    ) -> None:
        self._what, self._clock = what, clock
        self._stream = sys.stderr if stream is None else stream
        self._enabled = self._stream is not None and log.isEnabledFor(logging.INFO)
        self._terminal = self._enabled and self._stream.isatty()
        self._pause_s = TERMINAL_S if self._terminal else LINES_S
        self._start_s = clock()
        self._next_s = self._start_s + (1.0 if self._terminal else LINES_S)
        self._drawn = False

    def update(self, done: float | None, detail: str = "") -> None:
        """Show a line if it is time for one; cheap otherwise.

        Args:
            done: Share of the work that is done, in [0, 1]; None where nobody knows the whole, which is shown
                on a terminal alone: the log of a service is not to grow for ever.
            detail: What else to tell: "412 pictures".
        """
        now_s = self._clock()
        if not self._enabled or now_s < self._next_s or (done is None and not self._terminal):
            return
        self._next_s = now_s + self._pause_s
        parts = [] if done is None else [f"{min(max(done, 0.0), 1.0):.0%}"]
        if done is not None and 0.01 <= done < 1:  # the first steps tell too little
            parts.append(f"about {in_words((now_s - self._start_s) * (1 - done) / done)} left")
        line = one_line(redact(f"{self._what}: {', '.join([*parts, detail] if detail else parts) or '...'}"))
        encoding = self._stream.encoding or "utf-8"
        line = line.encode(encoding, "backslashreplace").decode(encoding)
        self._write(f"{CLEAR}{line}" if self._terminal else f"{line}\n")
        self._drawn = True

    def close(self) -> None:
        """Take the line off the terminal; safe to call twice."""
        if self._terminal and self._drawn:
            self._write(CLEAR)
        self._drawn = False

    def _write(self, text: str) -> None:
        # Where whoever read it has gone, the work goes on.
        self._enabled = _put_part(self._stream, text)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def watched(items: Iterable[T], count: int, what: str, unit: str = "pairs") -> Iterator[T]:
    """The items one by one, with a line on standard error that says how many are done.

    Args:
        items: What is worked through.
        count: How many there are.
        what: What is being done with them: "comparing".
        unit: What they are, for the line.
    """
    with Progress(what) as progress:
        for number, item in enumerate(items, 1):
            yield item
            progress.update(number / count, f"{number} of {count} {unit}")


def in_words(seconds: float) -> str:
    """A time span for people.

    >>> in_words(7.4), in_words(80), in_words(8000)
    ('7 s', '1 min 20 s', '2 h 13 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
