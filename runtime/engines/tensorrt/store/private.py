"""A folder that one user alone writes to, and locks in it that end with their process."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tdfusion_edge.errors import EngineError
from tdfusion_edge.locks import try_lock

WAIT_S = 0.1


class Busy(EngineError):
    """Another process holds the lock."""


def default_folder() -> Path:
    """``tdfusion-edge/engines`` below ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        EngineError: this user has no home.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):  # noqa: PTH117  # the standard has a relative one ignored
        return Path(named) / "tdfusion-edge" / "engines"
    try:
        return Path.home() / ".cache" / "tdfusion-edge" / "engines"
    except RuntimeError as error:
        raise EngineError(
            "engines have no place: this user has no home", hint="Set XDG_CACHE_HOME."
        ) from error


def make_private(folder: Path) -> None:
    """Make the folder where it is missing, and refuse one that others could put engines into.

    Raises:
        EngineError: it belongs to another user, others can write to it or swap it, or it cannot be made.
    """
    try:
        for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)  # mkdir(parents=True) would leave theirs to the umask
        found = folder.lstat()
        above = [(parent, parent.stat()) for parent in folder.parents]
    except OSError as error:
        raise EngineError(f"engines cannot be kept in {folder}: {error.strerror or error}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise EngineError(f"engines cannot be kept in {folder}", expected="a folder", got="a link")
    if found.st_uid != os.geteuid():
        raise EngineError(
            f"engines cannot be kept in {folder}",
            expected=f"a folder of user {os.geteuid()}",
            got=f"one of user {found.st_uid}",
        )
    if found.st_mode & 0o022:
        raise EngineError(
            f"engines cannot be kept in {folder}: others can write to it", hint=f"chmod 700 {folder}"
        )
    for parent, above_it in above:
        # Who can write there can put another folder in place of this one.
        open_to = above_it.st_mode & (stat.S_IWOTH | stat.S_IWGRP)
        if open_to and not above_it.st_mode & stat.S_ISVTX:
            everyone = bool(open_to & stat.S_IWOTH)
            raise EngineError(
                f"engines cannot be kept in {folder}: {'everyone' if everyone else 'a group'} can write to "
                f"{parent}",
                hint=f"chmod {'go' if everyone else 'g'}-w {parent}",
            )


def read_own(path: Path) -> bytes:
    """Content of a plain file of this user that nobody else can write to.

    Raises:
        OSError: there is none, or it is anything else.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise PermissionError(f"{path} is no file that this user alone can write to")
        return stream.read()


@contextlib.contextmanager
def locked(
    path: Path,
    *,
    limit_s: float,
    on_wait: Callable[[float], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold a lock that the system takes back when this process ends, however it ends.

    Args:
        path: The lock's file; it is there only while somebody holds or awaits the lock.
        limit_s: Seconds to wait; 0 tries once.
        on_wait: Called every so often with the seconds waited.
        clock: Monotonic seconds.
        sleep: Waits.

    Raises:
        Busy: somebody else holds it for longer.
        EngineError: there are no locks.
    """
    begin = clock()
    while (descriptor := _or_error(path)) is None:
        waited = clock() - begin
        if waited >= limit_s:
            raise Busy("another process builds the same engine", expected=f"its end in {limit_s:g} s")
        if on_wait is not None:
            on_wait(waited)
        sleep(WAIT_S)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: who opened it before will see that it is gone
        os.close(descriptor)


def _or_error(path: Path) -> int | None:
    try:
        return try_lock(path)
    except OSError as error:  # a file system without locks, or read-only
        raise EngineError(f"{path} cannot be locked: {error.strerror or error}") from error
