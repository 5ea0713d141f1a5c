"""A handful of files kept together, as a folder or as one ``.zip``; written whole or not at all.

What is read may come from a stranger: nothing is unpacked to disk, no link is followed, and sizes
are counted while they are read, whatever the archive says about itself.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from tdfusion_edge.errors import BundleError, SinkError
from tdfusion_edge.files import aside_name

MAX_FILES = 1000
"""A folder with more is some other folder: it is not walked to its end."""
MAX_READ = 1 << 20
"""Bytes that are read of a zip at once: its list of files is read in one piece, as long as it says."""
MAX_RATIO, ALWAYS_BYTES = 100, 64 << 20
"""What a zip may unpack to, as a multiple of its own size, and whatever its size. Weights hardly shrink."""


def names(path: Path) -> list[str]:
    """Names of the files in a folder or ``.zip``, relative, with ``/`` between their parts.

    Raises:
        BundleError: it is neither, cannot be read, or holds something else than files: a link, a pipe, a
            name twice, an unusual compression, too many.
    """
    return _folder_names(path) if path.is_dir() else _zip_names(path)


def read(path: Path, wanted: Iterable[str], *, limit: int) -> dict[str, bytes]:
    """Content of some of the files that :func:`names` gave.

    Raises:
        BundleError: a file cannot be read, or together they have more than ``limit`` bytes.
    """
    if path.is_dir():
        return _contents(path, wanted, lambda name: (path / name).open("rb"), limit)
    with _opened_zip(path) as archive:
        most = min(limit, max(ALWAYS_BYTES, MAX_RATIO * path.stat().st_size))
        return _contents(path, wanted, archive.open, most)


def write(path: Path, content: Mapping[str, bytes]) -> None:
    """Write a ``.zip`` or, for any other name, a folder; what was there before is replaced.

    It is written beside its place and then renamed. The same content gives the same bytes.

    Raises:
        SinkError: the disk is full or not writable; what was there before is as it was.
    """
    path = path.resolve()
    new = aside_name(path, ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        (_write_zip if path.suffix == ".zip" else _write_folder)(new, content)
        _put_in_place(new, path)
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        _remove(new)


def refuse_bad_name(path: Path, name: str) -> None:
    """Only a plain relative name is good: one way to write it, the same on every system.

    Raises:
        BundleError: the name leads out of ``path``, or could be read in two ways.
    """
    pure = PurePosixPath(name)
    plain = str(pure) == name != "." and not pure.is_absolute() and ".." not in pure.parts
    if not plain or any(sign in name for sign in "\\:\0"):
        raise BundleError(
            f"{path}: {name!r} is no name for a file in it", expected="a name such as fusion.onnx"
        )


def _folder_names(path: Path) -> list[str]:
    found = []
    for number, file in enumerate(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        # A link may lead anywhere, and a pipe would be waited for without end.
        if file.is_symlink() or not (file.is_file() or file.is_dir()):
            raise BundleError(f"{path}: '{name}' is no plain file")
        if file.is_file():
            found.append(name)
        if number >= MAX_FILES:  # folders count
            raise _too_many(path)
    return sorted(found)


def _too_many(path: Path) -> BundleError:
    return BundleError(f"{path} holds too many files", expected=f"at most {MAX_FILES}")


def _zip_names(path: Path) -> list[str]:
    with _opened_zip(path) as archive:
        if len(archive.infolist()) > MAX_FILES:
            raise _too_many(path)
        members = [member for member in archive.infolist() if not member.is_dir()]
    found = sorted(member.filename for member in members)
    for first, second in itertools.pairwise(found):
        if first == second:
            raise BundleError(f"{path} holds '{first}' twice")
    for member in members:
        # Other methods unpack a block at once, however large it becomes.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BundleError(f"{path}: '{member.filename}' is neither stored nor deflated")
    return found


class _InPieces(io.FileIO):
    """A file that gives no more than ``MAX_READ`` bytes at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        """As ``io.FileIO``; ValueError for more."""
        some = super().read(MAX_READ + 1 if size is None or size < 0 else min(size, MAX_READ + 1)) or b""
        if len(some) > MAX_READ:
            raise ValueError(f"its list of files is longer than {MAX_READ} bytes")
        return some


@contextlib.contextmanager
def _opened_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    # A pipe would be waited for without end, and a device may have none.
    if path.exists() and not path.is_file():
        raise BundleError(f"{path} is no bundle", expected="a folder or a .zip", got="a pipe or a device")
    try:
        with _InPieces(path) as file, zipfile.ZipFile(file) as archive:
            yield archive
    # RuntimeError: it is encrypted. ValueError: names and offsets that make no sense.
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        OSError,
        RuntimeError,
        ValueError,
    ) as error:
        raise BundleError(f"{path} is no readable zip: {error}") from error


def _contents(
    path: Path, wanted: Iterable[str], opened: Callable[[str], IO[bytes]], limit: int
) -> dict[str, bytes]:
    files, left = {}, limit
    for name in wanted:
        chunks: list[bytes] = []
        try:
            with opened(name) as stream:
                while chunk := stream.read(1 << 20):
                    chunks.append(chunk)
                    left -= len(chunk)
                    if left < 0:
                        raise BundleError(f"{path} is too large", expected=f"at most {limit} bytes")
        except OSError as error:
            raise BundleError(f"{path}: '{name}' cannot be read: {error.strerror or error}") from error
        files[name] = b"".join(chunks)
    return files


def _write_folder(aside: Path, content: Mapping[str, bytes]) -> None:
    for name, data in content.items():
        target = aside / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def _write_zip(aside: Path, content: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            member = zipfile.ZipInfo(name)  # of 1980: the clock must not show in the bytes
            member.external_attr = 0o644 << 16
            archive.writestr(member, data, zipfile.ZIP_DEFLATED)


def _put_in_place(new: Path, path: Path) -> None:
    """Rename ``new`` to ``path``; a folder that is there steps back until the new one stands."""
    if not path.is_dir():
        new.replace(path)
        return
    old = aside_name(path, ".old")
    path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        old.rename(path)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
