"""Text for the person at the terminal, or the program behind the pipe.

Results go to standard output by :func:`say`. Everything else goes to standard error: errors by :func:`say`,
what is good to know by :func:`note` and the package's loggers, and how far a long work is by
:class:`Progress`. ``-q`` hides all of it but the errors.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TextIO, TypeVar

from tdfusion_edge.redact import redact

PACKAGE = "tdfusion_edge"
"""The logger above all of ours."""
TERMINAL_S, LINES_S = 0.2, 10.0
"""Seconds between two lines of progress: rewritten in place on a terminal, new lines elsewhere."""
CLEAR = "\r\x1b[K"
"""Takes a half-written line of progress off a terminal."""

T = TypeVar("T")

log = logging.getLogger(__name__)


def say(text: str, *, error: bool = False) -> None:
    """Write a line to standard output, or to standard error, and flush it.

    A character that the terminal cannot show is written as its escape sequence. Nothing is hidden
    here: credentials are taken out (:func:`tdfusion_edge.redact.redact`) where the text is made.

    Raises:
        BrokenPipeError: the reader has gone.
    """
    stream = sys.stderr if error else sys.stdout
    # A file name that is no UTF-8, or a sign that an old code page lacks, must not end a run.
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def note(text: str) -> None:
    """Tell on standard error what is neither result nor error, such as "loading bundle edge ...".

    It is a log record of level INFO: a command shows it unless ``-q`` was given; a program that uses the
    package as a library shows it if it configures ``logging`` so.
    """
    log.info("%s", text)


@contextmanager
def listening(level: int) -> Iterator[None]:
    """Show what is logged on standard error while the block runs, without credentials.

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
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        own.setLevel(before[1])


class _Handler(logging.StreamHandler[TextIO]):
    # A StreamHandler by type, because tqdm looks for one to write above its bar.
    def emit(self, record: logging.LogRecord) -> None:
        # Whoever read the notes may have gone; a recording goes on.
        with suppress(OSError, ValueError):
            say((CLEAR if sys.stderr.isatty() else "") + self.format(record), error=True)


class _Lines(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, the base class's name
        if record.levelno == logging.INFO:
            return record.getMessage()
        where = f"{record.name}: " if record.levelno < logging.INFO else ""
        return f"{record.levelname.lower()}: {where}{record.getMessage()}"

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


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
        self._enabled = log.isEnabledFor(logging.INFO)
        self._terminal = self._stream.isatty()
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
        line = f"{self._what}: {', '.join([*parts, detail] if detail else parts) or '...'}"
        self._write(f"{CLEAR}{line}" if self._terminal else f"{line}\n")
        self._drawn = True

    def close(self) -> None:
        """Take the line off the terminal; safe to call twice."""
        if self._terminal and self._drawn:
            self._write(CLEAR)
        self._drawn = False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # whoever read it has gone; the work goes on
            self._enabled = False

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
