"""What is written must not be what is read, and no two outputs may be one file.

Names are compared by what they lead to: a hard link, a symbolic link and another way to spell a path are
the same file. So are names that differ in the case of their letters alone, because on many disks they are.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tdfusion_edge.errors import RequestError
from tdfusion_edge.text import composed


class _Output(NamedTuple):
    """An output before anything is opened."""

    said: str
    """As the command line has it: option and name."""
    path: Path
    """Absolute, without links."""
    itself: tuple[int, int] | None
    """Device and number on it; None where there is nothing yet."""
    above: frozenset[tuple[int, int]]
    """Those of the folders that it lies in."""


def refuse_clashes(outputs: Iterable[tuple[str, str | Path]], inputs: Iterable[str | Path]) -> None:
    """Refuse outputs that would replace an input or each other, before anything is opened for writing.

    A folder that is read must not get an output, and one that is written to must not hold a folder that is
    read, nor a PNG that is: pictures are written under names that may be theirs. Nothing is created or read.

    Args:
        outputs: Option (``--output``) and name of each; they need not exist.
        inputs: Files and folders that are read.

    Raises:
        RequestError: the first clash.
    """
    written: list[_Output] = []
    for option, name in outputs:
        one = _output(option, name)
        if any(_is_one(one, other.path, other.itself) for other in written):
            raise RequestError(f"{one.said} is an output already", expected="another name")
        written.append(one)
    for name in inputs:
        for one in written:
            _refuse_input(one, Path(name))


def is_same_place(first: Path, second: Path) -> bool:
    """Whether two names lead to one file, folder or device; False where one of them leads nowhere."""
    one, other = what_is_at(first), what_is_at(second)
    if one is None or other is None:
        return False
    if stat.S_ISCHR(one.st_mode) and stat.S_ISCHR(other.st_mode):
        return one.st_rdev == other.st_rdev
    return os.path.samestat(one, other)


def what_is_at(path: Path) -> os.stat_result | None:
    """What a path leads to; None where that is nothing, or no such name can be."""
    try:
        return path.stat()
    except (OSError, ValueError):
        return None


def _output(option: str, name: str | Path) -> _Output:
    # realpath, for Path.resolve raises where links lead in a circle.
    path = Path(os.path.realpath(name))
    above = (_identity(folder) for folder in path.parents)
    return _Output(f"{option} {name}", path, _identity(path), frozenset(filter(None, above)))


def _refuse_input(one: _Output, path: Path) -> None:
    found = _identity(path)
    if _is_one(one, path, found):
        raise RequestError(f"{one.said} is an input already", expected="another name", got=str(path))
    if found is None:
        return
    folder = _is_folder(path)
    if folder and found in one.above:
        raise RequestError(
            f"{one.said} lies in a folder that is read", expected="a place outside of it", got=str(path)
        )
    # What is not there yet holds nothing, and a file neither.
    if one.itself is None or not _is_folder(one.path):
        return
    real = Path(os.path.realpath(path))
    if folder:
        holds = any(_identity(above) == one.itself for above in real.parents)
    else:
        holds = path.suffix.lower() == ".png" and _identity(real.parent) == one.itself
    if holds:
        raise RequestError(f"{one.said} holds an input", expected="a folder of its own", got=str(path))


def _is_one(one: _Output, path: Path, found: tuple[int, int] | None) -> bool:
    """Whether an output is the file or folder at ``path``, or would be it on another disk."""
    if found is not None and found == one.itself:
        return True
    if _spelt(path.name) != _spelt(one.path.name):
        return False
    folder = Path(os.path.realpath(path.parent))
    return folder == one.path.parent or _identity(folder) == (_identity(one.path.parent) or ())


def _spelt(name: str) -> str:
    """A name as a disk sees it that tells no cases and no ways to write an accent apart."""
    return composed(composed(name).casefold())


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and number on it, of what the path leads to; None where that is nothing."""
    found = what_is_at(path)
    return (found.st_dev, found.st_ino) if found is not None and found.st_ino else None


def _is_folder(path: Path) -> bool:
    found = what_is_at(path)
    return found is not None and stat.S_ISDIR(found.st_mode)
