"""Engines that were built before.

An engine is native code, so none is loaded that this user did not build: the folder is the user's alone
(:mod:`private`), and beside each engine lies a record of its request (:mod:`request`) and of its digest. One
that is cut off, changed or of another request is built anew.

Two processes that want the same engine: the first builds under a lock, the second waits and then takes what
the first made. A build happens in a folder of its own beside the engines, and its results are renamed
into place, the record last: an engine without a record counts as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tdfusion_edge.config import Table, parse, to_json
from tdfusion_edge.errors import ConfigError, EngineError, RequestError
from tdfusion_edge.files import write_aside
from tdfusion_edge.runtime.engines.base import OnProgress, Progress
from tdfusion_edge.runtime.engines.tensorrt.device import Gpu
from tdfusion_edge.runtime.engines.tensorrt.store.private import (
    Busy,
    default_folder,
    locked,
    make_private,
    read_own,
)
from tdfusion_edge.runtime.engines.tensorrt.store.request import Request

PLAN, RECORD, LOCK, PART, TIMES, KERNELS = ".plan", ".json", ".lock", ".part", ".timing", ".kernels"
NAME = re.compile(r"([0-9a-f]{64})\.(plan|json)")
DIGEST = 32
"""Bytes of SHA-256 before kernel times, and before compiled kernels."""
DAY_S = 86400.0
LIMIT_S = 1800.0
"""Seconds a build may take: a small device needs minutes for a large network."""

Make = Callable[[Path, bytes | None], tuple[bytes, bytes | None]]
"""Builds in an empty folder, given earlier kernel times; gives the engine, and times where there are any."""


class Record(Table, frozen=True, kw_only=True):
    """The JSON beside an engine."""

    request: Request
    sha256: str
    """Of the engine."""
    size: int
    """Bytes of the engine."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One engine of a folder, or what is left of one."""

    key: str
    request: Request | None
    """None where the record is missing or damaged."""
    problem: str
    """Why it would not be taken; empty where nothing is known against it. (Digests are not counted here.)"""
    size: int
    """Bytes on disk."""
    used: float
    """When it was last built or loaded, seconds since 1970."""


class EngineStore:
    """Engines in one folder.

    Args:
        folder: Where; None takes the user's own cache folder. It is made at the first use.
        clock: Monotonic seconds.
        sleep: Waits for another process.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        # Resolved, so that a home behind a link is no link in place of the folder.
        folder = default_folder() if folder is None else folder
        try:
            self.folder = folder.resolve()
        except RuntimeError as error:  # what Python before 3.13 makes of links in a circle
            raise RequestError(f"{folder}: {error}", expected="a folder for engines") from error
        self._clock, self._sleep = clock, sleep

    def find(self, request: Request) -> bytes | None:
        """The engine of this request, verified; None where there is none that is good.

        Raises:
            EngineError: the folder is not this user's alone.
        """
        make_private(self.folder)
        found = self._look(request)
        return found if isinstance(found, bytes) else None

    def find_or_build(
        self, request: Request, make: Make, on_progress: OnProgress | None = None, *, limit_s: float = LIMIT_S
    ) -> tuple[bytes, bool]:
        """The engine of this request, built where there is none that is good.

        Args:
            request: What it must be.
            make: Builds it.
            on_progress: Called while it waits, and where an engine that is there is not taken.
            limit_s: Seconds to wait for another process that builds it.

        Returns:
            The engine, and whether it was built now.

        Raises:
            EngineError: the folder is not this user's alone or not writable, or the wait was too long.
        """
        if (plan := self.find(request)) is not None:
            return plan, False
        report = on_progress or (lambda progress: None)

        def on_wait(seconds: float) -> None:
            report(Progress("waiting for another process", seconds))

        with self._locked(request.key(), limit_s, on_wait):
            found = self._look(request)  # it may have been built meanwhile
            if isinstance(found, bytes):
                return found, False
            if found is not None:
                report(Progress(f"building anew, since the kept engine is no good: {found}", 0.0))
            return self._build(request, make), True

    def remove(
        self, key: str, *, limit_s: float = LIMIT_S, unless: Callable[[], bool] = lambda: False
    ) -> bool:
        """Remove an engine by its key, and say whether that was done.

        Args:
            key: As :meth:`Request.key` gives it.
            limit_s: Seconds to wait for a process that builds it.
            unless: Asked when no other process builds it any more; True keeps it.

        Raises:
            Busy: another process builds it.
            EngineError: the folder is not this user's alone, or it cannot be removed.
        """
        make_private(self.folder)
        with self._locked(key, limit_s), self._named_errors():
            if unless():
                return False
            self._unlink(key)
            return True

    def kernels(self, request: Request, gpu: Gpu) -> bytes | None:
        """What an engine compiled on this GPU before; None where there is nothing, or it is not whole."""
        return _read_sealed(self._kernels(request, gpu))

    def keep_kernels(self, request: Request, gpu: Gpu, raw: bytes) -> None:
        """Keep what an engine has compiled, beside it, as long as it is there.

        Where another process keeps the same now, that is enough.

        Raises:
            EngineError: the folder is not this user's alone, or cannot be written to.
        """
        make_private(self.folder)
        path = self._kernels(request, gpu)
        part = path.with_suffix(PART)
        with contextlib.suppress(Busy), self._locked(path.stem, 0), self._named_errors():
            shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
            part.mkdir(mode=0o700)
            try:
                _put(part, path, _sealed(raw))
            finally:
                shutil.rmtree(part, ignore_errors=True)

    def _kernels(self, request: Request, gpu: Gpu) -> Path:
        """They are for one GPU under one driver, though the engine may be for many."""
        told = (gpu.name, gpu.capability, gpu.multiprocessors, gpu.memory_gib, gpu.driver)
        machine = hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:16]
        return self._path(request.key(), f".{machine}{KERNELS}")

    def _kernels_of(self, key: str) -> list[Path]:
        return list(self.folder.glob(f"{key}.*{KERNELS}"))

    def kept(self) -> list[Kept]:
        """All engines, the one that was used last in front; none where there is no folder.

        Raises:
            EngineError: the folder cannot be read.
        """
        with self._named_errors():
            names = [path.name for path in self.folder.iterdir()] if self.folder.exists() else []
        keys = {match[1] for match in map(NAME.fullmatch, names) if match}
        found = [one for key in keys if (one := self._described(key)) is not None]
        return sorted(found, key=lambda one: (-one.used, one.key))

    def prune(self, days: float, *, now: Callable[[], float] = time.time) -> list[Kept]:
        """Remove every engine that was not used in the last ``days``, and give those that were removed.

        Kernel times that no build has used since go as well, and what builds that were killed left behind.
        What another process builds now stays.

        Raises:
            EngineError: the folder is not this user's alone, or one cannot be removed.
        """
        if not self.folder.exists():
            return []
        make_private(self.folder)
        limit = now() - days * DAY_S
        self._sweep()
        with self._named_errors():
            for times in self.folder.glob(f"*{TIMES}"):
                with contextlib.suppress(FileNotFoundError):  # another process may tidy up too
                    if times.lstat().st_mtime < limit:
                        times.unlink()
        return [one for one in self.kept() if one.used < limit and self._pruned(one.key, limit)]

    def _pruned(self, key: str, limit: float) -> bool:
        def in_use() -> bool:
            """It was loaded or built since it was looked at."""
            now = self._described(key)
            return now is None or now.used >= limit

        try:
            return self.remove(key, limit_s=0, unless=in_use)
        except Busy:
            return False

    def _path(self, key: str, suffix: str) -> Path:
        return self.folder / f"{key}{suffix}"

    def _locked(
        self, key: str, limit_s: float, on_wait: Callable[[float], None] | None = None
    ) -> contextlib.AbstractContextManager[None]:
        path = self._path(key, LOCK)
        return locked(path, limit_s=limit_s, on_wait=on_wait, clock=self._clock, sleep=self._sleep)

    def _look(self, request: Request) -> bytes | str | None:
        """The engine, or why it is not taken; None where nothing is there."""
        record, plan = (self._path(request.key(), suffix) for suffix in (RECORD, PLAN))
        try:
            written = parse(read_own(record), Record, name="the record")
            if difference := request.differs(written.request):
                return difference
            raw = read_own(plan)
        except FileNotFoundError:
            return "its record is missing" if plan.exists() else None
        except (OSError, ConfigError) as error:
            return str(error)
        if len(raw) != written.size:
            return f"it has {len(raw)} bytes instead of {written.size}"
        if hashlib.sha256(raw).hexdigest() != written.sha256:
            return "it was changed"
        with contextlib.suppress(OSError):  # a folder that cannot be written serves as well
            os.utime(record)  # when it was last used, for who tidies up
        return raw

    def _described(self, key: str) -> Kept | None:
        """What there is under a key; None where it has gone meanwhile."""
        there = []
        for suffix in (RECORD, PLAN):
            with contextlib.suppress(FileNotFoundError):
                there.append(self._path(key, suffix).lstat())
        if not there:
            return None
        kernels = sum(path.stat().st_size for path in self._kernels_of(key))
        size, used = sum(stat.st_size for stat in there) + kernels, there[0].st_mtime
        try:
            written = parse(read_own(self._path(key, RECORD)), Record, name="the record")
        except FileNotFoundError:
            return Kept(key, None, "its record is missing", size, used)
        except (OSError, ConfigError) as error:
            return Kept(key, None, str(error), size, used)
        problem = "" if written.request.key() == key else "it was built from something else"
        if not problem and (len(there) < 2 or there[1].st_size != written.size):
            problem = "the engine is cut off or missing"
        return Kept(key, written.request, problem, size, used)

    def _build(self, request: Request, make: Make) -> bytes:
        key, times = request.key(), self._path(request.times_key(), TIMES)
        part = self._path(key, PART)
        with self._named_errors():
            self._unlink(key)
            self._sweep()
            shutil.rmtree(part, ignore_errors=True)  # of a process that was killed: the lock is ours now
            part.mkdir(mode=0o700)
        try:
            plan, measured = make(part, _read_sealed(times))  # its errors, and its caller's, are its own
            record = Record(request=request, sha256=hashlib.sha256(plan).hexdigest(), size=len(plan))
            with self._named_errors():
                if measured is not None:
                    _put(part, times, _sealed(measured))
                _put(part, self._path(key, PLAN), plan)
                _put(part, self._path(key, RECORD), to_json(record))
            return plan
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _unlink(self, key: str) -> None:
        # The record first: an engine without one counts as none.
        for suffix in (RECORD, PLAN):
            self._path(key, suffix).unlink(missing_ok=True)
        for path in self._kernels_of(key):
            path.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what processes that were killed left: whose lock can be had is not being built."""
        for part in self.folder.glob(f"*{PART}"):
            with contextlib.suppress(EngineError), self._locked(part.stem, 0):
                shutil.rmtree(part, ignore_errors=True)

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = f"engines cannot be kept in {self.folder}: {error.strerror or error}"
            raise EngineError(why) from error


def _put(part: Path, path: Path, raw: bytes) -> None:
    """Into place, readable for this user alone; ``part`` is a folder that already is."""
    aside = part / path.name
    write_aside(aside, raw)
    aside.chmod(0o600)
    aside.replace(path)


def _sealed(raw: bytes) -> bytes:
    """Behind its own digest."""
    return hashlib.sha256(raw).digest() + raw


def _read_sealed(path: Path) -> bytes | None:
    """What :func:`_sealed` wrote, if it is whole; without it the library measures or compiles again."""
    try:
        raw = read_own(path)
    except OSError:
        return None
    good = hashlib.sha256(raw[DIGEST:]).digest() == raw[:DIGEST]
    return raw[DIGEST:] if good else None
