"""What a folder of engines holds, and removing what nobody has used for long."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tdfusion_edge.config import parse
from tdfusion_edge.errors import ConfigError, EngineError
from tdfusion_edge.runtime.engines.tensorrt.cache import PLAN, RECORD, TIMING, EngineCache
from tdfusion_edge.runtime.engines.tensorrt.facts import EngineFacts, EngineRecord
from tdfusion_edge.runtime.engines.tensorrt.folder import Busy, make_private, read_own

DAY_S = 86400.0
KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Kept:
    """One engine of a folder, or what is left of one."""

    key: str
    facts: EngineFacts | None
    """None where the record is missing or damaged."""
    problem: str
    """Why it would not be taken; empty where nothing is known against it. (Digests are not counted here.)"""
    size: int
    """Bytes on disk."""
    used: float
    """When it was last built or loaded, seconds since 1970."""


def kept_in(folder: Path) -> list[Kept]:
    """All engines of a folder, the one that was used last in front; none where there is no folder.

    Raises:
        EngineError: the folder cannot be read.
    """
    try:
        names = [path.name for path in folder.iterdir()] if folder.exists() else []
    except OSError as error:
        raise EngineError(f"{folder} cannot be read: {error.strerror or error}") from error
    keys = {name[:64] for name in names if KEY.match(name) and name[64:] in (PLAN, RECORD)}
    found = [kept for key in keys if (kept := _look(folder, key)) is not None]
    return sorted(found, key=lambda kept: (-kept.used, kept.key))


def prune(cache: EngineCache, days: float, *, now: Callable[[], float] = time.time) -> list[Kept]:
    """Remove every engine that was not used in the last ``days``, and give those that were removed.

    Kernel times that no build has used since go as well, and what builds that were killed left behind. What
    another process builds now stays.

    Raises:
        EngineError: the folder is not this user's alone, or one cannot be removed.
    """
    if not cache.folder.exists():
        return []
    make_private(cache.folder)
    limit = now() - days * DAY_S
    cache.sweep()
    for timing in cache.folder.glob(f"*{TIMING}"):
        _remove_timing(timing, limit)
    return [kept for kept in kept_in(cache.folder) if kept.used < limit and _removed(cache, kept.key, limit)]


def _removed(cache: EngineCache, key: str, limit: float) -> bool:
    def in_use() -> bool:
        """It was loaded or built since it was looked at."""
        kept = _look(cache.folder, key)
        return kept is None or kept.used >= limit

    try:
        return cache.remove(key, limit_s=0, unless=in_use)
    except Busy:
        return False


def _remove_timing(path: Path, limit: float) -> None:
    try:
        if path.lstat().st_mtime < limit:
            path.unlink()
    except FileNotFoundError:  # another process may tidy up too
        pass
    except OSError as error:
        raise EngineError(f"{path} cannot be removed: {error.strerror or error}") from error


def _look(folder: Path, key: str) -> Kept | None:
    """What there is under a key; None where it has gone meanwhile."""
    plan, record = folder / f"{key}{PLAN}", folder / f"{key}{RECORD}"
    there = []
    for path in (record, plan):
        with contextlib.suppress(FileNotFoundError):
            there.append(path.lstat())
    if not there:
        return None
    size, used = sum(stat.st_size for stat in there), there[0].st_mtime
    try:
        written = parse(read_own(record), EngineRecord, name="the record")
    except FileNotFoundError:
        return Kept(key, None, "its record is missing", size, used)
    except (OSError, ConfigError) as error:
        return Kept(key, None, str(error), size, used)
    problem = "" if written.facts.key() == key else "it was built from something else"
    if not problem and (len(there) < 2 or there[1].st_size != written.size):
        problem = "the engine is cut off or missing"
    return Kept(key, written.facts, problem, size, used)
