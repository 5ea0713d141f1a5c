"""The commit that is measured."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit(root: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout at ``root``, and whether files outside ``benchmarks/results`` differ from it.

    The results are left out: the first of two benchmarks would make the tree dirty for the second.
    """
    head = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", ".", ":(exclude)benchmarks/results")
    return (None, None) if head is None or changes is None else (head, bool(changes))


def _git(root: Path, *arguments: str) -> str | None:
    # Without its optional locks git writes nothing, so that a benchmark leaves the checkout alone.
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
