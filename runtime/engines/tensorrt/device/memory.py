"""Memory that the CPU could still give."""

from __future__ import annotations

import re
from pathlib import Path


def available(root: Path = Path("/")) -> int | None:
    """Bytes that programs could have now by the kernel's estimate; None where it makes none.

    Where a GPU shares that memory its own count leaves out what the kernel would take from its caches.

    Args:
        root: Where ``proc`` lies.
    """
    try:
        told = (root / "proc/meminfo").read_text()
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", told, re.MULTILINE)
    return None if found is None else int(found[1]) * 1024
