"""Videos from files, every frame at its true presentation time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.sources.uri import SourceUri
from tdfusion_edge.video.reader import VideoReader
from tdfusion_edge.video.times import read_times


class VideoSource:
    """The video stream of a file.

    Frames come in presentation order, each at ``epoch_ns`` plus its presentation time after the stream's
    start, held as the file says that it is to be seen.

    A piece of our own recordings has its capture times beside it: frames come at ``epoch_ns`` plus the time
    since ``origin_ns``, with the numbers that the camera gave them.

    Grey streams come as (H, W), uint8 or uint16 with the counts as stored, and so do three equal channels of
    more than 8 bits; all others as uint8 (H, W, 3) BGR.

    Args:
        name: Name for messages and frames, without credentials.
        path: The file.
        epoch_ns: Monotonic nanoseconds at the stream's start.
        origin_ns: For a piece of a recording: capture time that stands at ``epoch_ns``; time 0 of the piece,
            which all cameras share, where none is given.

    Raises:
        InputMissing: there is no such file.
        SourceError: it is no video, or cut so short that it cannot be opened.
    """

    live = False

    def __init__(self, name: str, path: Path, *, epoch_ns: int, origin_ns: int | None = None) -> None:
        self.name = name
        self.reader = VideoReader(path)
        """The file, for what it says of itself."""
        self._epoch_ns, self._sequence = epoch_ns, 0
        self.times = read_times(path)
        """When its frames were captured, for a piece of a recording."""
        if self.times is not None:
            self._origin_ns = self.times.piece.origin_ns if origin_ns is None else origin_ns
            self._begins_ns = round(self.reader.beginning.shown * 1_000_000_000)

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
        if self.times is not None:
            stamp = self.times.of(self._begins_ns + shown.time_ns)
            time_ns = self._epoch_ns + stamp.time_ns - self._origin_ns
            return Frame(shown.image, time_ns, stamp.sequence, self.name)
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
    uri.refuse_any("a video brings its own times and size")
    return VideoSource(name, uri.local_path(), epoch_ns=epoch_ns)
