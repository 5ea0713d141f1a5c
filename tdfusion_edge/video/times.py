"""When the frames of a recording were captured: lines of JSON beside each video, on one clock for all.

A Matroska file holds milliseconds since its own beginning. ``NAME.jsonl`` beside ``NAME.mkv`` has the capture
times to the nanosecond, the cameras' own numbers of the frames, and which recording the file is a piece of.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from tdfusion_edge.errors import SourceError

VERSION = 1
VIDEO, SUFFIX = ".mkv", ".jsonl"
FOLDERS: Mapping[str, str] = MappingProxyType({"infrared": "ir", "visible": "vi"})
"""Of each role's videos in a recording, as the data folders of a training have them."""
NEAR_NS = 1_500_000
"""A frame's time in the video is rounded to a millisecond; so near is the line that speaks of it."""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """First line: what the video is a piece of."""

    version: int
    """1."""
    recording: str
    """Names the recording; its clock is that of all files with this name."""
    role: str
    """``infrared`` or ``visible``."""
    camera: str
    """Name of the camera, without credentials."""
    begun_ns: int
    """When the recording began, on the clock of the capture times."""
    begun_utc_ns: int
    """The same moment by the wall clock, nanoseconds since 1970."""
    origin_ns: int
    """Capture time that is 0 in this video; one for all cameras of the piece."""


class Stamp(msgspec.Struct, frozen=True):
    """Every other line: a frame, in the video's order."""

    time_ns: int
    """Capture time."""
    sequence: int
    """Number of the frame at its camera; a gap: frames that were lost before they were recorded."""


class Times:
    """Capture times of one video.

    Args:
        piece: The first line.
        stamps: The others.
    """

    def __init__(self, piece: Piece, stamps: list[Stamp]) -> None:
        self.piece, self.stamps = piece, stamps
        self._next = 0
        self._sequence = -1

    def of(self, shown_ns: int) -> Stamp:
        """The stamp of the next frame.

        Args:
            shown_ns: Its time in the video, nanoseconds on the video's own clock.

        Returns:
            Its line; for a frame without one, as after a power cut, what the video says, to a millisecond.
        """
        at_ns = self.piece.origin_ns + shown_ns
        for index in range(self._next, len(self.stamps)):
            stamp = self.stamps[index]
            if abs(stamp.time_ns - at_ns) <= NEAR_NS:
                self._next, self._sequence = index + 1, stamp.sequence
                return stamp
            if stamp.time_ns > at_ns + NEAR_NS:
                break
        self._sequence += 1
        return Stamp(at_ns, self._sequence)


def beside(video: Path) -> Path:
    """Where the times of a video are."""
    return video.with_suffix(SUFFIX)


def read_piece(video: Path) -> Piece | None:
    """What a video is a piece of; None for a video of somebody else's.

    Raises:
        SourceError: the file beside it cannot be read.
    """
    path = beside(video)
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return _piece(file.readline())
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def read_times(video: Path) -> Times | None:
    """The capture times of a video; None for a video of somebody else's.

    A last line that was cut is passed over.

    Raises:
        SourceError: the file beside it cannot be read, or another line is none.
    """
    path = beside(video)
    piece = read_piece(video)
    if piece is None:
        return None
    try:
        lines = path.read_bytes().splitlines()[1:]
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    stamps: list[Stamp] = []
    for number, line in enumerate(lines, 2):
        try:
            stamps.append(msgspec.json.decode(line, type=Stamp))
        except msgspec.DecodeError as error:
            if number == len(lines) + 1:
                break
            raise SourceError(
                f"{path}: line {number} is no time of a frame: {error}",
                hint="Remove the file: the video then begins at 0, as every other one.",
            ) from error
    return Times(piece, stamps)


def share_a_clock(first: Path, second: Path) -> bool:
    """Whether two videos are pieces of one recording."""
    one, other = read_piece(first), read_piece(second)
    return one is not None and other is not None and one.recording == other.recording


def pieces(folder: Path) -> list[Path]:
    """The videos in a folder that are pieces of recordings, oldest first; hidden ones are left out."""
    videos = sorted(folder.glob(f"[!.]*{VIDEO}"))
    return [video for video in videos if read_piece(video) is not None]


def is_recording(folder: Path) -> bool:
    """Whether a folder holds pieces of recordings."""
    return any(read_piece(video) is not None for video in folder.glob(f"[!.]*{VIDEO}"))


def other_half(folder: Path) -> Path | None:
    """The other camera's folder, for that of a camera of which a recording has no frame at all; else None."""
    absolute = folder.absolute()
    if absolute.name not in FOLDERS.values() or (folder.exists() and any(folder.iterdir())):
        return None
    other = next(absolute.parent / name for name in FOLDERS.values() if name != absolute.name)
    return other if is_recording(other) else None


def _piece(line: bytes) -> Piece | None:
    try:
        piece = msgspec.json.decode(line, type=Piece)
    except msgspec.DecodeError:  # lines of somebody else's
        return None
    return piece if piece.version == VERSION else None
