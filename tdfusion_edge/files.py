"""Writing a file so that it is whole or not there."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

LONGEST_NAME = 255
"""Bytes of a file's name that every file system in use takes."""


def aside_name(path: Path, ending: str) -> Path:
    """A hidden name beside ``path``, of this process, for what is to be renamed to it.

    Args:
        path: The file or folder; its name may be as long as names can be.
        ending: Says what it is, and may end in a suffix that a library asks for: ``.partial.mp4``.
    """
    ending = f".{os.getpid()}{ending}"
    name = f".{path.name}{ending}"
    if len(os.fsencode(name)) > LONGEST_NAME:
        # The beginning is for people; the sum tells apart what begins alike.
        ending = f"~{zlib.crc32(os.fsencode(path.name)):08x}{ending}"
        room = LONGEST_NAME - len(os.fsencode(f".{ending}"))
        shown = path.name
        while len(os.fsencode(shown)) > room:
            shown = shown[:-1]
        name = f".{shown}{ending}"
    return path.with_name(name)


def write_aside(path: Path, raw: bytes, *, parents: bool = True, mode: int | None = None) -> None:
    """Write beside ``path``, flush to disk and rename.

    Args:
        path: The file.
        raw: What is in it.
        parents: Make its folder where there is none.
        mode: Its rights from the beginning; None: those of any new file of the user.

    Raises:
        OSError: the disk is full, gone or not writable; an older file at ``path`` stays.
    """
    if parents:
        path.parent.mkdir(parents=True, exist_ok=True)
    partial = aside_name(path, ".part")
    try:
        with partial.open("wb") as stream:
            if mode is not None:
                partial.chmod(mode)  # before there is anything to read
            stream.write(raw)
            stream.flush()
            # Without it a power cut can leave the new name with none of its bytes.
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
