"""Locks that the system takes back when their process ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from tdfusion_edge.clashes import what_is_at
from tdfusion_edge.errors import RequestError

LONGEST_NAME = 240
"""Bytes of a file's name that leave room for what a lock's has more; disks end at 255."""

log = logging.getLogger(__name__)


@contextlib.contextmanager
def claimed(outputs: Iterable[str | Path]) -> Iterator[None]:
    """Keep other runs from writing to the same files and folders while the block runs.

    The lock's file stands beside each output, as ``.NAME.lock``, and is removed at the end. One that a killed
    process left behind locks nothing. Pipes, devices and places that do not exist are not claimed.

    Args:
        outputs: Files and folders, which need not exist yet.

    Raises:
        RequestError: another run writes to one of them. Nothing was changed then.
    """
    with contextlib.ExitStack() as stack:
        for output in outputs:
            stack.enter_context(_claim(Path(os.path.realpath(output)), str(output)))
        yield


def try_lock(path: Path) -> int | None:
    """Open and lock a file, which is made where there is none.

    Remove it while it is locked: who opened it before sees that it is gone, and makes a new one.

    Returns:
        A descriptor, to be closed; None where another process holds the lock.

    Raises:
        OSError: the file cannot be made, or its disk has no locks.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if not lock_open(descriptor):
                os.close(descriptor)
                return None
            # The holder before may have removed this file after it was opened here.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def lock_open(descriptor: int) -> bool:
    """Lock an open file until it is closed; False where another holds the lock.

    Raises:
        OSError: its disk has no locks, or this system.
    """
    try:
        import fcntl  # here, because other systems lack it
    except ImportError as error:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _claim(output: Path, said: str) -> Iterator[None]:
    found, above = what_is_at(output), what_is_at(output.parent)
    there = found is not None and (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode))
    if (found is not None and not there) or above is None or not stat.S_ISDIR(above.st_mode):
        yield  # the one has no content to lose, the other is refused where it is opened
        return
    beside: Path | None = output.with_name(f".{_short(output.name)}.lock")
    assert beside is not None
    try:
        descriptor = try_lock(beside)
    except OSError as error:
        # A folder that takes no new file holds the output already: that is locked itself.
        beside, descriptor = None, _lock_itself(output, said, error)
    if descriptor is None:
        if beside is not None:
            raise _taken(said, beside)
        yield
        return
    try:
        if beside is not None:
            _sign(beside, descriptor)
        yield
    finally:
        if beside is not None:
            beside.unlink(missing_ok=True)
        os.close(descriptor)


def _lock_itself(output: Path, said: str, reason: OSError) -> int | None:
    """Lock an output that is there; None, and a warning, where that cannot be done."""
    descriptor = None
    try:
        descriptor = os.open(output, os.O_RDONLY | os.O_CLOEXEC)
        locked = lock_open(descriptor)
    except OSError:
        if descriptor is not None:
            os.close(descriptor)
        log.warning("%s cannot be locked (%s): a second run on it would not be seen", said, reason.strerror)
        return None
    if not locked:
        os.close(descriptor)
        raise _taken(said, None)
    return descriptor


def _sign(path: Path, descriptor: int) -> None:
    """Write into a lock's file who holds it."""
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    except OSError:
        log.debug("%s: no room to say who holds it", path)


def _short(name: str) -> str:
    raw = os.fsencode(name)
    return name if len(raw) <= LONGEST_NAME else hashlib.sha256(raw).hexdigest()


def _taken(said: str, path: Path | None) -> RequestError:
    holder = ""
    if path is not None:
        with contextlib.suppress(OSError, ValueError):
            holder = f", process {int(path.read_text())}"
    return RequestError(
        f"{said} is being written by another run{holder}",
        expected="an output of its own",
        hint="Name another output, or end that run first.",
    )
