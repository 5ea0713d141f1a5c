"""A second Ctrl-C ends the program, whatever it is doing.

Python hears of a signal between two of its own instructions: while a library computes, and a network may do
so without end, nothing that is written in Python gets its turn in the main thread. The C part of Python does:
it writes the signal's number to a pipe, from which another thread reads.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tdfusion_edge.console import note

PATIENCE_S = 1.0
"""After this long a program that was asked to end, and has not, says how to end it at once."""
ASKING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def second_signal_ends() -> Iterator[None]:
    """While the block runs, the second SIGINT or SIGTERM ends the process at once.

    The first one does what it would do: KeyboardInterrupt, or what a handler makes of it. The exit code of
    the second is 128 and its number, as shells have it. Files are left as they are then: the formats that are
    written here are whole up to a moment ago. Of no effect but in the main thread of a program that uses
    ``signal.set_wakeup_fd`` for nothing else, and on Windows.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    if before != -1:
        signal.set_wakeup_fd(before)
    watcher = threading.Thread(target=_watch, args=(reader,), name="signals", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        if before == -1:
            signal.set_wakeup_fd(-1)
        os.close(writer)  # the end of the pipe ends the thread
        watcher.join()
        os.close(reader)


def _watch(reader: int) -> None:
    asked = told = False
    while True:
        if asked and not told and not select.select([reader], [], [], PATIENCE_S)[0]:
            told = True
            note("still ending; Ctrl-C once more ends at once and leaves files as they are")
        arrived = os.read(reader, 64)
        if not arrived:
            return
        for number in arrived:
            if number in ASKING and asked:
                os._exit(128 + number)
            asked = asked or number in ASKING
