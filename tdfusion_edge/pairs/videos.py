"""Pairs of videos, read frame by frame into memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tdfusion_edge.color import U8, luma
from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Image
from tdfusion_edge.pairs.types import LabelledPair, paired
from tdfusion_edge.video.reader import VideoReader
from tdfusion_edge.video.remarks import remarks
from tdfusion_edge.video.times import read_times, share_a_clock

logger = logging.getLogger(__name__)

_TOLERANCE_MS = 20.0
"""Beginnings of two videos that are no further apart count as one, as in ``fuse``."""
_NARROWEST = 64.0
"""Counts of a flat scene that are stretched to 8 bits at least, as in the runtime's thermal range."""


def read_videos(
    name: str, infrared: Path, visible: Path, every: int, *, colour: bool = False
) -> list[LabelledPair]:
    """Every n-th frame of two videos; what is odd about the two is logged.

    Frames are paired by number. Those of one recording of ours are paired by their capture times, and
    infrared counts of 16 bits become 8 there: of each frame the 1st percentile is black, the 99th white.

    Args:
        name: Of the pair; a frame is called ``name#number``.
        infrared: Its luma alone is kept.
        visible: Its luma is kept.
        every: Frames to take one of.
        colour: Whether the visible frames' colours are kept beside that.

    Raises:
        InputMissing: there is no such file.
        RequestError: they differ in length, or one has grey of more than 8 bits.
        SourceError: one is cut short, damaged, or cannot be decoded.
    """
    if share_a_clock(infrared, visible):
        return _read_recording(name, infrared, visible, every, colour=colour)
    readers: list[VideoReader] = []
    try:
        readers += [VideoReader(infrared)]
        readers += [VideoReader(visible)]
        for line in remarks(*readers, tolerance_ms=_TOLERANCE_MS, remedy="Cut them to one beginning first."):
            logger.warning("%s", line)
        left, left_count = _read_video(readers[0], every)
        right, right_count = _read_video(readers[1], every, colour=colour)
    finally:
        for reader in readers:
            reader.close()
    if left_count != right_count:
        # Frames are paired by number, so one lost frame shifts every pair behind it.
        raise RequestError(
            f"the videos of pair '{name}' differ in length",
            expected="equal numbers of frames",
            got=f"{left_count} in {infrared} and {right_count} in {visible}",
        )
    frames = enumerate(zip(left, right, strict=True))
    return [paired(f"{name}#{i * every}", *two, colour=colour) for i, two in frames]


def _read_recording(
    name: str, infrared: Path, visible: Path, every: int, *, colour: bool
) -> list[LabelledPair]:
    """Pairs of two pieces of one recording, by time."""
    chosen: list[tuple[int, int]] = []
    times = read_times(infrared), read_times(visible)
    if times[0] is not None and times[1] is not None:
        left, right = ([stamp.time_ns for stamp in one.stamps] for one in times if one is not None)
        chosen = nearest(left, right, round(_TOLERANCE_MS * 1e6))[::every]
    wanted = [{one for one, _ in chosen}, {other for _, other in chosen}]
    kept: list[dict[int, U8]] = []
    for path, numbers in zip((infrared, visible), wanted, strict=True):
        reader = VideoReader(path)
        try:
            kept.append(_frames(reader, numbers, colour=colour and path == visible))
        finally:
            reader.close()
    # Behind a power cut there may be lines of frames that never reached the disk.
    whole = [(one, other) for one, other in chosen if one in kept[0] and other in kept[1]]
    return [paired(f"{name}#{other}", kept[0][one], kept[1][other], colour=colour) for one, other in whole]


def nearest(left: Sequence[int], right: Sequence[int], tolerance: int) -> list[tuple[int, int]]:
    """Places of times that are each other's nearest, no further apart than ``tolerance``.

    Args:
        left: Times, rising.
        right: Times of the other one, rising.
        tolerance: In the same unit.
    """
    if not left or not right:
        return []
    a, b = np.asarray(left, np.int64), np.asarray(right, np.int64)
    to_right, to_left = _nearest(a, b), _nearest(b, a)
    mutual = (to_left[to_right] == np.arange(len(a))) & (np.abs(a - b[to_right]) <= tolerance)
    return [(int(place), int(to_right[place])) for place in np.flatnonzero(mutual)]


def _nearest(times: npt.NDArray[np.int64], among: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each time the place of the one nearest to it; of two equally near the earlier one."""
    after = np.searchsorted(among, times).clip(0, len(among) - 1)
    before = (after - 1).clip(0)
    return np.where(np.abs(times - among[before]) <= np.abs(among[after] - times), before, after)


def _frames(reader: VideoReader, numbers: set[int], *, colour: bool) -> dict[int, U8]:
    """The frames of these numbers in 8 bits, as luma unless their colours are asked for."""
    kept: dict[int, U8] = {}
    last, count = max(numbers, default=-1), 0
    while count <= last and (shown := reader.read()) is not None:
        if count in numbers:
            image = shown.image if shown.image.dtype == np.uint8 else _in_8_bits(shown.image)
            kept[count] = image if colour else luma(image)
        count += 1
    return kept


def _in_8_bits(counts: Image) -> U8:
    low, high = np.percentile(counts, (1, 99))
    scale = 255 / max(high - low, _NARROWEST)
    stretched: U8 = np.clip((counts - low) * scale + 0.5, 0, 255).astype(np.uint8)
    return stretched


def _read_video(reader: VideoReader, every: int, *, colour: bool = False) -> tuple[list[U8], int]:
    """Every n-th frame, as luma unless its colours are asked for, and the number of all frames."""
    kept: list[U8] = []
    count = 0
    while (shown := reader.read()) is not None:
        if shown.image.dtype != np.uint8:
            # Thermal counts of 9 to 16 bits: a conversion to 8 bits would keep the upper ones alone.
            raise RequestError(
                f"{reader.path} is a {reader.layout} video",
                expected="8 bits",
                hint="Convert it with a fixed range first.",
            )
        if count % every == 0:
            kept.append(shown.image if colour else luma(shown.image))
        count += 1
    return kept, count
