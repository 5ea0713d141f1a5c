"""Fused pictures as files of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2

from tdfusion_edge.errors import RequestError, SinkError
from tdfusion_edge.files import write_aside
from tdfusion_edge.frames import Image
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.sinks.output import require_writable, sink_error

SUFFIXES = (".png", ".jpg", ".jpeg")


def write_picture(path: Path, image: Image) -> int:
    """Write one picture so that ``path`` is whole or as it was before, even after a power cut.

    Args:
        path: Ends in ``.png`` (lossless), ``.jpg`` or ``.jpeg``.
        image: uint8 (H, W) or (H, W, 3) BGR; for PNG uint16 (H, W) as well.

    Returns:
        Size of the file in bytes.

    Raises:
        RequestError: another suffix, or a place that cannot be written.
        SinkError: the picture is none, or the disk is full or gone.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise RequestError(f"{path}: unknown kind of picture", expected=", ".join(SUFFIXES))
    require_writable(path)
    try:
        return _write(path, image)
    except OSError as error:
        raise sink_error(path, error, "0 pictures") from error


class FolderSink:
    """Write ``000000.png``, ``000001.png`` and so on, one file a result, numbered by its index.

    Every file of that name is whole: it is written aside, synced, and renamed. The folder is made at
    the first result; pictures of the same name are replaced, others stay.

    Args:
        folder: Where the pictures go; its parent exists.
        stem: Name of a result's file without suffix, where the number will not do.
        picture: What of a result is written, e.g. with its boxes drawn; the fused picture as it is
            where none is given.

    Raises:
        RequestError: a file of that name, or a place that cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        stem: Callable[[Result], str] | None = None,
        picture: Callable[[Result], Image] | None = None,
    ) -> None:
        require_writable(folder, folder=True)
        self._folder = folder
        self._stem = stem
        self._picture = picture
        self._names: set[str] = set()
        self._count = 0
        self._bytes = 0

    def write(self, result: Result) -> None:
        """Write one picture.

        Raises:
            SinkError: the disk is full or gone (no half picture stays), the picture is none, or two
                results have one stem.
        """
        path = self._folder / f"{self._name(result)}.png"
        image = result.picture if self._picture is None else self._picture(result)
        try:
            if not self._count:
                self._folder.mkdir(exist_ok=True)
            self._bytes += _write(path, image)
        except OSError as error:
            so_far = f"{self._count} pictures ({self._bytes / 1e6:.1f} MB)"
            raise sink_error(path, error, so_far, hint="Those are whole.") from error
        self._count += 1

    def close(self) -> None:
        """End; every picture was whole when it was written."""

    def abort(self) -> None:
        """End after a failure; every picture that stands is whole."""

    def _name(self, result: Result) -> str:
        if self._stem is None:
            return f"{result.index:06d}"
        name = self._stem(result)
        if name in ("", ".", "..") or Path(name).name != name:
            raise SinkError(f"{self._folder}: '{name}' is no name for a file")
        if name in self._names:
            raise SinkError(
                f"{self._folder}: a second result is called '{name}'",
                hint="Give the inputs distinct names, so that no picture replaces another.",
            )
        self._names.add(name)
        return name


def _write(path: Path, image: Image) -> int:
    """Encode and write ``path``; OSError leaves nothing behind."""
    try:
        # OpenCV's own compression level: twice as fast as level 1, five times as level 6.
        data = cv2.imencode(path.suffix.lower(), image)[1].tobytes()
    except cv2.error as error:
        raise SinkError(f"{path}: no picture, {image.dtype} {image.shape}: {error}") from error
    write_aside(path, data, parents=False)  # a disk that is gone must not come back as a folder
    return len(data)
