"""A file that grows and is whole at every commit, and the errors of a disk that refuses."""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tdfusion_edge.errors import RequestError, SinkError
from tdfusion_edge.locks import lock_open

SYNC_INTERVAL_NS = 500_000_000
"""Commits reach the disk, not only the page cache, at most this often."""

LONGEST_NAME = 255
"""Bytes that Linux's disks give a name."""

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


class StreamFile:
    """Binary file for a format that may be cut: what was committed stays, whatever happens next.

    Nothing on disk is touched before the first :meth:`write`, so that whoever fails earlier (an
    encoder that does not open) leaves a file of that name as it was. After an OSError the file takes
    and drops every further byte: a muxer can then be closed without failing a second time.

    The file is locked while it is open, so that another run that came to it by another name, a hard link
    say, fails and cuts nothing off.

    Args:
        path: The file; an existing one is replaced at the first write.
        clock: Monotonic nanoseconds, for the pace of syncs.
    """

    def __init__(self, path: Path, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.path = path
        self.failed = False
        self.closed = False
        self.committed = 0
        """Bytes that :meth:`discard_tail` keeps."""
        self._clock = clock
        self._raw: io.FileIO | None = None
        # A pipe or device can neither be cut nor synced.
        self._regular = path.is_file() or not path.exists()
        self.size = 0
        """Bytes written."""
        self._synced_ns = clock()

    def write(self, data: bytes | memoryview) -> int:
        """Write all of ``data`` at the current position; OSError where the disk refuses."""
        if self.failed:
            return len(data)
        try:
            if self._raw is None:
                self._raw = _opened(self.path)
            rest = memoryview(data)
            while rest:
                rest = rest[self._raw.write(rest) :]
            if self._regular:
                self.size = max(self.size, self._raw.tell())
            else:
                self.size += len(data)
        except OSError:
            self.failed = True
            raise
        return len(data)

    def require_usable(self) -> None:
        """Refuse a result that would go nowhere.

        Raises:
            SinkError: writing failed before.
            ValueError: the file is closed.
        """
        if self.failed:
            raise SinkError(f"{self.path}: writing failed before")
        if self.closed:
            raise ValueError(f"{self.path}: write to a closed output")

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move as a raw file does."""
        return 0 if self._raw is None else self._raw.seek(offset, whence)

    def tell(self) -> int:
        """Current position in bytes."""
        return 0 if self._raw is None else self._raw.tell()

    def seekable(self) -> bool:
        """False for a pipe or device."""
        return self._regular

    def writable(self) -> bool:
        """Always."""
        return True

    def commit(self, *, sync: bool = False) -> bool:
        """Declare what was written whole; True where that is more than at the last commit.

        Synced to the disk where ``sync`` is set or the last time is :data:`SYNC_INTERVAL_NS` ago.
        """
        grown, self.committed = self.size > self.committed, self.size
        now = self._clock()
        due = sync or now - self._synced_ns >= SYNC_INTERVAL_NS
        if due and self._regular and self._raw is not None and not self.closed:
            self._synced_ns = now
            os.fsync(self._raw.fileno())
        return grown

    def discard_tail(self) -> None:
        """Cut the file back to the last commit; a file without any is removed. Never raises."""
        self.failed = True
        if self._raw is None or not self._regular:
            return
        with suppress(OSError):
            self._raw.truncate(self.committed)
        if not self.committed and not self.path.is_symlink():
            with suppress(OSError):
                self.path.unlink()

    def close(self) -> None:
        """Close without syncing; safe to call twice."""
        self.closed = True
        if self._raw is not None:
            self._raw.close()


def _opened(path: Path) -> io.FileIO:
    """The file, locked and empty.

    Raises:
        OSError: it cannot be opened, or another process writes to it.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            free = True
            with suppress(OSError):  # a disk without locks, of which the run was told
                free = lock_open(descriptor)
            if not free:
                raise OSError(errno.EBUSY, "another run is writing to it")
            os.ftruncate(descriptor, 0)  # not before it is known to be nobody's
        return io.FileIO(descriptor, "w")
    except BaseException:
        os.close(descriptor)
        raise


def require_writable(path: Path, *, folder: bool = False) -> None:
    """Refuse an output that cannot come to be, before any work is paid for; creates nothing.

    Raises:
        RequestError: the parent folder is missing, a folder stands where a file should (or the other
            way round), or the rights do not allow it.
    """
    parent = path.absolute().parent
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise RequestError(
            f"{path.name[:40]}... is too long a name",
            expected=f"at most {LONGEST_NAME} bytes",
            got=str(len(os.fsencode(path.name))),
        )
    if not parent.is_dir():
        raise RequestError(f"there is no folder {parent} for the output", hint=f"Make it: mkdir -p {parent}")
    if path.is_dir() and not folder:
        raise RequestError(f"{path} is a folder", expected="the name of a file")
    if path.exists() and not path.is_dir() and folder:
        raise RequestError(f"{path} is a file", expected="the name of a folder")
    touched = path if path.exists() else parent
    if not os.access(touched, os.W_OK):
        raise RequestError(f"{path} cannot be written: no permission for {touched}")


def sink_error(path: Path, error: BaseException, so_far: str, *, hint: str | None = None) -> SinkError:
    """What to raise for a write that failed; ``so_far`` says what was written before."""
    code = getattr(error, "errno", None)
    if code in _FULL:
        what = f"{path}: disk full after {so_far}"
        hint = " ".join(filter(None, ("Free space or name an output on another disk.", hint)))
    elif code == errno.EFBIG:
        what = f"{path}: the disk allows no larger file, after {so_far}"
        hint = " ".join(filter(None, ("FAT32 ends at 4 GB, `ulimit -f` sets a limit too.", hint)))
    else:
        what = f"{path} cannot be written after {so_far}: {getattr(error, 'strerror', None) or error}"
    return SinkError(what, hint=hint)
