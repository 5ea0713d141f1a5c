"""A folder of a recording: its pieces one after the other, at the times at which they were captured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tdfusion_edge.errors import FrameLost, InputMissing, SourceError
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.sources.uri import SourceUri
from tdfusion_edge.runtime.sources.video import VideoSource
from tdfusion_edge.video.times import FOLDERS, Piece, other_half, pieces, read_piece


class RecordingSource:
    """All pieces in a folder as one stream, the time between them included.

    Pieces of one recording lie on its clock. Those of several, as after a restart, are put by the wall clock.
    A piece that was cut short, as by a power cut, is played as far as it goes. The folder of a camera that
    gave no frame, beside that of one that did, is a stream without frames.

    Args:
        name: Name for messages and frames, without credentials.
        folder: ``ir`` or ``vi`` of a recording. The other one is looked at too: time begins with the first
            piece of either.
        epoch_ns: Capture time of that beginning, monotonic nanoseconds.

    Raises:
        InputMissing: the folder holds no piece.
        SourceError: the first piece cannot be opened.
    """

    live = False

    def __init__(self, name: str, folder: Path, *, epoch_ns: int) -> None:
        self.name = name
        self._paths = pieces(folder)
        if not self._paths and other_half(folder) is None:
            raise InputMissing(f"{folder} holds no recording", expected="videos with their times beside them")
        self._epoch_ns = epoch_ns
        self._first = _first(folder)
        self._next = 0
        self._sequence = -1
        self._shift_ns = 0
        """Added to the times of the recording that is being played."""
        self._number_shift: int | None = 0
        """Likewise to its numbers, so that they go on behind those of the one before, of whose end and of
        this one's beginning nothing is known to be lost; None until its first frame is there."""
        self._recording: str | None = None
        self._source: VideoSource | None = self._opened() if self._paths else None

    def read(self) -> Frame | None:
        """The next frame, None after the last.

        Raises:
            FrameLost: the rest of a piece is damaged; the next one can be read.
        """
        while self._source is not None:
            try:
                frame = self._source.read()
            except SourceError as error:
                self._advance()
                raise FrameLost(
                    error.what, expected=error.expected, got=error.got, hint=error.hint
                ) from error
            if frame is not None:
                if self._number_shift is None:
                    self._number_shift = self._sequence + 1 - frame.sequence
                shift_ns, shift = self._shift_ns, self._number_shift
                frame = replace(frame, time_ns=frame.time_ns + shift_ns, sequence=frame.sequence + shift)
                self._sequence = max(self._sequence, frame.sequence)
                return frame
            self._advance()
        return None

    def close(self) -> None:
        """Release the file; safe to call twice."""
        source, self._source = self._source, None
        self._next = len(self._paths)
        if source is not None:
            source.close()

    def _advance(self) -> None:
        """Go on with the next piece; None after the last."""
        if self._source is not None:
            self._source.close()
            self._source = None
        while self._source is None and self._next < len(self._paths):
            try:
                self._source = self._opened()
            except SourceError as error:
                raise FrameLost(
                    error.what, expected=error.expected, got=error.got, hint=error.hint
                ) from error

    def _opened(self) -> VideoSource:
        path, self._next = self._paths[self._next], self._next + 1
        piece = read_piece(path)
        assert piece is not None
        if piece.recording != self._recording:
            # Numbers begin anew, and so does the clock: the wall clock alone says when that was.
            self._number_shift = 0 if self._recording is None else None
            self._recording = piece.recording
            self._shift_ns = piece.begun_utc_ns - self._first.begun_utc_ns
        return VideoSource(self.name, path, epoch_ns=self._epoch_ns, origin_ns=piece.begun_ns)


def _first(folder: Path) -> Piece:
    """The earliest piece of all cameras of a recording."""
    folders = {folder.absolute(), *(folder.absolute().parent / name for name in FOLDERS.values())}
    videos = (video for one in folders for video in pieces(one))
    found = [piece for video in videos if (piece := read_piece(video)) is not None]
    return min(found, key=lambda piece: piece.begun_utc_ns)


def size_beside(folder: Path) -> tuple[int, int] | None:
    """Width and height of the other camera's pictures, where ``folder`` is of a camera that gave no frame.

    Raises:
        SourceError: they cannot be read.
    """
    other = other_half(folder)
    if other is None:
        return None
    source = VideoSource(other.name, pieces(other)[0], epoch_ns=0)
    try:
        frame = source.read()
    finally:
        source.close()
    return None if frame is None else frame.size


def from_uri(
    name: str, uri: SourceUri, *, epoch_ns: int, clock: Callable[[], int] = time.monotonic_ns
) -> RecordingSource:
    """The source for an address.

    Raises:
        RequestError: the address or the rig asks for a rate or a size.
    """
    uri.refuse_any("a recording brings its own times and size")
    return RecordingSource(name, uri.local_path(), epoch_ns=epoch_ns)
