"""What is worth knowing of picture files that can be read, but not as whoever made them may think."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tdfusion_edge.frames import Image
from tdfusion_edge.images.reading import PictureFile

log = logging.getLogger(__name__)

RADIOMETRIC, PAGES = "radiometric", "pages"

REMARKS: Mapping[str, str] = MappingProxyType(
    {
        RADIOMETRIC: "its rendering is taken, not its counts, which `exiftool -b -RawThermalImage` gets out",
        PAGES: "the first is taken, of this file and of every other",
    }
)
"""Kind of remark to what it means."""


def remarks_on(file: PictureFile) -> dict[str, str]:
    """Kinds of :data:`REMARKS` that a file gives reason for, each with what it is."""
    found = {}
    if file.header.radiometric:
        found[RADIOMETRIC] = f"{file.path} is a radiometric JPEG"
    if file.header.pictures > 1:
        what = "pages" if file.header.pages else "pictures"
        found[PAGES] = f"{file.path} has {file.header.pictures:,} {what}"
    return found


class Remarks:
    """Reads pictures, and says of each kind of remark once what first gave reason for it.

    Several threads may read at once; then a kind may be said twice.
    """

    def __init__(self) -> None:
        self._said: set[str] = set()

    def read(self, path: Path) -> Image:
        """The first picture of a file; raises as :func:`~tdfusion_edge.images.reading.read_image`."""
        file = PictureFile(path)
        image = file.picture()
        self.say(file, *REMARKS)
        return image

    def say(self, file: PictureFile, *kinds: str) -> None:
        """Log what is to be said of a file, of these kinds."""
        for kind, what in remarks_on(file).items():
            if kind in kinds and kind not in self._said:
                self._said.add(kind)
                log.warning("%s: %s", what, REMARKS[kind])
