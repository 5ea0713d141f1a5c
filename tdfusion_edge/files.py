"""Writing a file so that it is whole or not there."""

from __future__ import annotations

import os
from pathlib import Path


def write_aside(path: Path, raw: bytes, *, parents: bool = True) -> None:
    """Write beside ``path``, flush to disk and rename.

    Args:
        path: The file; its rights are those of any new file of the user.
        raw: What is in it.
        parents: Make its folder where there is none.

    Raises:
        OSError: the disk is full, gone or not writable; an older file at ``path`` stays.
    """
    if parents:
        path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as stream:
            stream.write(raw)
            stream.flush()
            # Without it a power cut can leave the new name with none of its bytes.
            os.fsync(stream.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
