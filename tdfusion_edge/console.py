"""Text for the person at the terminal, or the program behind the pipe."""

from __future__ import annotations

import sys


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
