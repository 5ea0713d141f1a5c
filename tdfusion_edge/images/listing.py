"""Picture files of a folder and names in a list: which they are, and in which order.

Names are compared composed (:func:`tdfusion_edge.text.composed`): one file system writes an accent apart from
its letter, another in one with it.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from pathlib import Path

from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.text import composed, decoded, few

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
"""Which files are pictures, in lower case."""

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v")
"""Which files of a data folder are videos, in lower case."""


def list_images(folder: Path) -> list[Path]:
    """The images in ``folder`` itself, in natural order of their stems; hidden files are left out.

    Raises:
        InputMissing: there is none; subfolders that hold some are named.
    """
    return _list_files(folder, IMAGE_SUFFIXES)


def by_stem(folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> dict[str, Path]:
    """The files in ``folder`` itself with one of ``suffixes``, by composed stem, in natural order.

    Args:
        folder: Where they are.
        suffixes: What their names may end in, in lower case.

    Raises:
        InputMissing: there is no such folder, or no such file in it.
        RequestError: two files have one stem.
    """
    if not folder.is_dir():
        raise InputMissing(f"there is no folder {folder}")
    found: dict[str, Path] = {}
    for path in _list_files(folder, suffixes):
        stem = composed(path.stem)
        if stem in found:
            raise RequestError(
                f"{folder} has two files of one stem",
                expected="one",
                got=f"{found[stem].name} and {path.name}",
                hint="Which one belongs to the pair cannot be told: move the other away.",
            )
        found[stem] = path
    return found


def without_partner(infrared: Path, visible: Path) -> list[str]:
    """A line for each of two folders that has pictures whose stem the other one lacks.

    Raises:
        InputMissing, RequestError: as :func:`by_stem`.
    """
    ours, theirs = by_stem(infrared), by_stem(visible)
    return [
        f"{len(alone)} without partner in {folder}: {few(alone)}"
        for folder, alone in (
            (infrared, [stem for stem in ours if stem not in theirs]),
            (visible, [stem for stem in theirs if stem not in ours]),
        )
        if alone
    ]


def read_names(path: Path, known: Container[str]) -> list[str]:
    """The stems in a text file, in its order, composed.

    A line is a stem, and the blanks around it are none of it. A line that is no stem and whose words all are
    stands for those.

    Args:
        path: Text in UTF-8, or with a byte order mark.
        known: Stems that there are, composed; what is none of them is in the result as its line says it.

    Raises:
        InputMissing: there is no such file, or no stem in it.
        RequestError: it is no text.
    """
    if not path.is_file():
        raise InputMissing(f"there is no list {path}", expected="a text file with one stem a line")
    try:
        text = decoded(path.read_bytes())
    except (UnicodeDecodeError, OSError) as error:
        raise RequestError(f"{path} cannot be read", expected="a text file with one stem a line") from error
    lines = (composed(line.rstrip("\r")) for line in text.split("\n"))
    names = [name for line in lines if line.strip() for name in _stems(line, known)]
    if not names:
        raise InputMissing(f"{path} names no pair", expected="one stem a line", got="an empty list")
    return names


def _stems(line: str, known: Container[str]) -> list[str]:
    """The stems that a line of a list stands for."""
    if line in known:  # a stem may begin or end with a blank
        return [line]
    stem, words = line.strip(), line.split()
    if stem not in known and all(word in known for word in words):
        return words
    return [stem]


def natural_order(path: Path) -> tuple[Sequence[str | int], str]:
    """Sort key under which ``frame2`` comes before ``frame10``, whatever the suffixes are."""
    parts = re.split(r"(\d+)", composed(path.stem).casefold())
    # The odd parts are the digits: numbers only ever meet numbers when two keys are compared.
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], composed(path.name)


def _list_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    def is_wanted(path: Path) -> bool:
        return path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()

    try:
        entries = list(folder.iterdir())
        files = [path for path in entries if is_wanted(path)]
        if files:
            return sorted(files, key=natural_order)
        below = sorted(path.name for path in entries if path.is_dir() and any(map(is_wanted, path.iterdir())))
    except OSError as error:
        raise InputMissing(f"{folder} cannot be read: {error.strerror}") from error
    what = "images or videos" if set(suffixes) & set(VIDEO_SUFFIXES) else "images"
    raise InputMissing(
        f"{folder} holds no {what}",
        expected=f"files that end in {' '.join(suffixes)}",
        got=f"{len(entries)} other entries" if entries else "an empty folder",
        hint=f"{what.capitalize()} are in its subfolders {few(below)}: name one of them." if below else None,
    )
