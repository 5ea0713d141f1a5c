"""How the process of a command ends while a thread of it stands in a driver that hangs.

Such a thread cannot be ended. Where its call returns while Python takes itself down, Python before 3.14 ends
the thread there, in the middle of C++ code, and the C++ library answers with ``abort``: the process is killed
by a signal, although all its work is done.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress


def ended_by(work: Callable[[], int]) -> int:
    """Do the work of a process, whose end is then sure to have the work's exit code.

    Called once, as the last thing that a process does. Where a thread is left behind at its end, the process
    ends without taking Python down: after every function that others gave to :mod:`atexit`, and with standard
    output and error flushed.

    Args:
        work: Gives the exit code, or raises SystemExit with it.
    """
    code = 1  # of whatever else it raises

    def leave() -> None:
        if any(thread is not threading.main_thread() for thread in threading.enumerate()):
            logging.shutdown()
            for stream in (sys.stdout, sys.stderr):
                with suppress(AttributeError, OSError, ValueError):  # closed, or nobody reads it
                    stream.flush()
            os._exit(code)

    atexit.register(leave)  # what is registered first is called last
    try:
        code = work()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        raise
    return code
