"""Pairs of videos, read frame by frame into memory."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from tdfusion_edge.color import U8, luma
from tdfusion_edge.errors import RequestError
from tdfusion_edge.pairs.types import LabelledPair, paired
from tdfusion_edge.video.reader import VideoReader
from tdfusion_edge.video.remarks import remarks

logger = logging.getLogger(__name__)

_TOLERANCE_MS = 20.0
"""Beginnings of two videos that are no further apart count as one, as in ``fuse``."""


def read_videos(
    name: str, infrared: Path, visible: Path, every: int, *, colour: bool = False
) -> list[LabelledPair]:
    """Every n-th frame of two videos, paired by number; what is odd about the two is logged.

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
