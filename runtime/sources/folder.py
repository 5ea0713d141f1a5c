"""A folder of images, or one image with all its pages, as a stream."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tdfusion_edge.errors import FrameLost, InputMissing, SourceError
from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.images import PictureFile, list_images
from tdfusion_edge.images.remarks import RADIOMETRIC, Remarks
from tdfusion_edge.runtime.sources.uri import SourceUri

DEFAULT_FPS = 30.0
"""Pictures a second of a folder that names no rate."""


class FolderSource:
    """A folder of images, or a single one, played at a constant rate.

    Images come in the natural order of their stems (``2.png`` before ``10.png``) and may differ in
    size. After an image that cannot be read, reading goes on with the next one. A TIFF file that stands
    alone is a recording whose frames are its pages; of one among others the first page is taken.

    Args:
        name: Name for messages and frames, without credentials.
        path: A folder, or one image.
        epoch_ns: Capture time of the first image, monotonic nanoseconds.
        fps: Images a second.

    Raises:
        InputMissing: there is no such folder or file, or the folder holds no image.
    """

    live = False

    def __init__(self, name: str, path: Path, *, epoch_ns: int, fps: float = DEFAULT_FPS) -> None:
        self.name = name
        try:
            self._paths = list_images(path) if path.is_dir() else [path]
            there = self._paths[0].exists()
        except OSError as error:
            raise InputMissing(f"{path} cannot be reached: {error.strerror}") from error
        if not there:
            raise InputMissing(f"{path} does not exist", expected="an image or a folder of images")
        self._epoch_ns, self._fps = epoch_ns, fps
        self._next, self._count = 0, len(self._paths)
        self._file: PictureFile | None = None
        """What stands alone, once it is opened."""
        self._remarks = Remarks()

    def read(self) -> Frame | None:
        """The next image, None after the last.

        Raises:
            FrameLost: the next of several images is damaged, cut short or no image.
            SourceError: the only one is.
        """
        if self._next >= self._count:
            return None
        index, self._next = self._next, self._next + 1
        try:
            image = self._picture(index)
        except (SourceError, InputMissing) as error:  # it may have been removed meanwhile
            if self._count == 1:
                raise
            raise FrameLost(error.what, expected=error.expected, got=error.got, hint=error.hint) from error
        return Frame(image, self._epoch_ns + round(index * 1e9 / self._fps), index, self.name)

    def close(self) -> None:
        """End the stream."""
        self._next, self._file = self._count, None

    def _picture(self, index: int) -> Image:
        if len(self._paths) > 1:
            return self._remarks.read(self._paths[index])
        if self._file is None:
            self._file = PictureFile(self._paths[0])
            self._count = len(self._file)
            self._remarks.say(self._file, RADIOMETRIC)
        return self._file.picture(index)


def from_uri(
    name: str, uri: SourceUri, *, epoch_ns: int, clock: Callable[[], int] = time.monotonic_ns
) -> FolderSource:
    """The source for an address; takes the option ``fps``."""
    uri.refuse_unknown(("fps",))
    return FolderSource(name, Path(uri.path).expanduser(), epoch_ns=epoch_ns, fps=uri.fps() or DEFAULT_FPS)
