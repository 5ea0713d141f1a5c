"""Videos from files, every frame at its true presentation time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.sources.uri import SourceUri
from tdfusion_edge.video.reader import VideoReader


class VideoSource:
    """The video stream of a file.

    Frames come in presentation order, each at ``epoch_ns`` plus its presentation time after the stream's
    start, held as the file says that it is to be seen.

    Grey streams come as (H, W), uint8 or uint16 with the counts as stored, and so do three equal channels of
    more than 8 bits; all others as uint8 (H, W, 3) BGR.

    Args:
        name: Name for messages and frames, without credentials.
        path: The file.
        epoch_ns: Monotonic nanoseconds at the stream's start.

    Raises:
        InputMissing: there is no such file.
        SourceError: it is no video, or cut so short that it cannot be opened.
    """

    live = False

    def __init__(self, name: str, path: Path, *, epoch_ns: int) -> None:
        self.name = name
        self.reader = VideoReader(path)
        """The file, for what it says of itself."""
        self._epoch_ns, self._sequence = epoch_ns, 0

    @property
    def duration_s(self) -> float | None:
        """Length in seconds as the file states it; None where it states none."""
        return self.reader.duration_s

    def read(self) -> Frame | None:
        """The next frame, None after the last.

        Raises:
            SourceError: as :meth:`~tdfusion_edge.video.reader.VideoReader.read`.
        """
        shown = self.reader.read()
        if shown is None:
            return None
        frame = Frame(shown.image, self._epoch_ns + shown.time_ns, self._sequence, self.name)
        self._sequence += 1
        return frame

    def close(self) -> None:
        """Release the file; safe to call twice."""
        self.reader.close()


def from_uri(
    name: str, uri: SourceUri, *, epoch_ns: int, clock: Callable[[], int] = time.monotonic_ns
) -> VideoSource:
    """The source for an address.

    Raises:
        RequestError: the address or the rig asks for a rate or a size.
    """
    if uri.query:
        raise RequestError(
            f"{uri.path}: a video brings its own times and size",
            expected="no options",
            got=", ".join(sorted(uri.query)),
            hint="Remove them from the address or from the rig.",
        )
    return VideoSource(name, uri.local_path(), epoch_ns=epoch_ns)
