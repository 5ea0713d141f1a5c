"""Engines that were built before.

An engine is native code, so none is loaded that this user did not build: the folder is the user's alone,
and beside each engine lies a record of what it was built from and of its digest. One that is cut off,
changed, or of another graph, library, GPU or request is built anew.

Two processes that want the same engine: the first builds under a lock, the second waits and then takes what
the first made. A build happens in a folder of its own beside the engines, and its results are renamed
into place, the record last: an engine without a record counts as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tdfusion_edge.config import parse, to_json
from tdfusion_edge.errors import ConfigError, EngineError
from tdfusion_edge.files import write_aside
from tdfusion_edge.runtime.engines.tensorrt.builder import Built
from tdfusion_edge.runtime.engines.tensorrt.facts import EngineFacts, EngineRecord
from tdfusion_edge.runtime.engines.tensorrt.folder import default_folder, locked, make_private, read_own

PLAN, RECORD, LOCK, PART, TIMING = ".plan", ".json", ".lock", ".part", ".timing"
DIGEST = 32
"""Bytes of SHA-256 before a timing cache."""

Make = Callable[[Path, bytes | None], Built]
"""Builds into an empty folder, given an earlier timing cache."""


class EngineCache:
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
        self.folder = (default_folder() if folder is None else folder).resolve()
        self._clock, self._sleep = clock, sleep

    def find(self, facts: EngineFacts) -> bytes | None:
        """The engine with these facts, verified; None where there is none that is good.

        Raises:
            EngineError: the folder is not this user's alone.
        """
        make_private(self.folder)
        found = self._look(facts)
        return found if isinstance(found, bytes) else None

    def obtain(
        self,
        facts: EngineFacts,
        make: Make,
        *,
        limit_s: float,
        driver: str = "",
        on_wait: Callable[[float], None] | None = None,
        on_reject: Callable[[str], None] | None = None,
    ) -> tuple[bytes, bool]:
        """The engine with these facts, built where there is none that is good.

        Args:
            facts: What it must be.
            make: Builds it.
            limit_s: Seconds to wait for another process that builds it.
            driver: For the record.
            on_wait: Told of the seconds waited.
            on_reject: Told why an engine that is there is not taken.

        Returns:
            The engine, and whether it was built now.

        Raises:
            EngineError: the folder is not this user's alone or not writable, or the wait was too long.
        """
        if (plan := self.find(facts)) is not None:
            return plan, False
        with self._locked(facts.key(), limit_s, on_wait):
            found = self._look(facts)  # it may have been built meanwhile
            if isinstance(found, bytes):
                return found, False
            if found is not None and on_reject is not None:
                on_reject(found)
            return self._build(facts, make, driver), True

    def discard(self, facts: EngineFacts, *, limit_s: float) -> None:
        """Remove an engine that the library does not take.

        Raises:
            EngineError: it cannot be removed.
        """
        make_private(self.folder)
        self.remove(facts.key(), limit_s=limit_s)

    def remove(self, key: str, *, limit_s: float, unless: Callable[[], bool] = lambda: False) -> bool:
        """Remove an engine by its key, and say whether that was done.

        Args:
            key: As :meth:`EngineFacts.key` gives it.
            limit_s: Seconds to wait for a process that builds it.
            unless: Asked when no other process builds it any more; True keeps it.

        Raises:
            Busy: another process builds it.
            EngineError: it cannot be removed.
        """
        with self._locked(key, limit_s, None), self._named_errors():
            if unless():
                return False
            self._remove(key)
            return True

    def _path(self, key: str, suffix: str) -> Path:
        return self.folder / f"{key}{suffix}"

    def _locked(
        self, key: str, limit_s: float, on_wait: Callable[[float], None] | None
    ) -> contextlib.AbstractContextManager[None]:
        return locked(
            self._path(key, LOCK), limit_s=limit_s, on_wait=on_wait, clock=self._clock, sleep=self._sleep
        )

    def _look(self, facts: EngineFacts) -> bytes | str | None:
        """The engine, or why it is not taken; None where nothing is there."""
        key = facts.key()
        try:
            raw = read_own(self._path(key, RECORD))
            record = parse(raw, EngineRecord, name="the record")
            if record.facts != facts:
                return "it was built from something else"
            plan = read_own(self._path(key, PLAN))
        except FileNotFoundError:
            return "its record is missing" if self._path(key, PLAN).exists() else None
        except (OSError, ConfigError) as error:
            return str(error)
        if len(plan) != record.size:
            return f"it has {len(plan)} bytes instead of {record.size}"
        if hashlib.sha256(plan).hexdigest() != record.sha256:
            return "it was changed"
        with contextlib.suppress(OSError):  # a folder that cannot be written serves as well
            os.utime(self._path(key, RECORD))  # when it was last used, for who tidies up
        return plan

    def _build(self, facts: EngineFacts, make: Make, driver: str) -> bytes:
        key = facts.key()
        part = self._path(key, PART)
        timing = self._path(_timing_name(facts), TIMING)
        with self._named_errors():
            self._remove(key)
            self.sweep()
            shutil.rmtree(part, ignore_errors=True)  # of a process that was killed: the lock is ours now
            part.mkdir(mode=0o700)
        try:
            built = make(part, _read_timing(timing))  # its errors, and its caller's, are its own
            with self._named_errors():
                if built.timing is not None:
                    raw = built.timing.read_bytes()
                    _put(part, timing, hashlib.sha256(raw).digest() + raw)
                return self._store(facts, part, built, driver)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _store(self, facts: EngineFacts, part: Path, built: Built, driver: str) -> bytes:
        plan = built.plan.read_bytes()
        record = EngineRecord(
            facts=facts,
            sha256=hashlib.sha256(plan).hexdigest(),
            size=len(plan),
            seconds=round(built.seconds, 3),
            driver=driver,
        )
        built.plan.chmod(0o600)
        built.plan.replace(self._path(facts.key(), PLAN))
        _put(part, self._path(facts.key(), RECORD), to_json(record))
        return plan

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            told = f"engines cannot be kept in {self.folder}: {error.strerror or error}"
            raise EngineError(told) from error

    def _remove(self, key: str) -> None:
        # The record first: an engine without one counts as none.
        for suffix in (RECORD, PLAN):
            self._path(key, suffix).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what processes that were killed left: whose lock can be had is not being built."""
        for part in self.folder.glob(f"*{PART}"):
            with contextlib.suppress(EngineError), self._locked(part.stem, 0, None):
                shutil.rmtree(part, ignore_errors=True)


def _put(part: Path, path: Path, raw: bytes) -> None:
    """Into place, readable for this user alone; ``part`` is a folder that already is."""
    aside = part / path.name
    write_aside(aside, raw)
    aside.chmod(0o600)
    aside.replace(path)


def _timing_name(facts: EngineFacts) -> str:
    """Kernel times hold for one library on one GPU, whatever the graph is."""
    told = "\0".join((facts.flavour, facts.version, facts.gpu, facts.capability))
    return hashlib.sha256(told.encode()).hexdigest()


def _read_timing(path: Path) -> bytes | None:
    """A timing cache that is whole; without one the build measures again."""
    try:
        raw = read_own(path)
    except OSError:
        return None
    good = hashlib.sha256(raw[DIGEST:]).digest() == raw[:DIGEST]
    return raw[DIGEST:] if good else None
