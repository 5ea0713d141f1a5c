"""Pairs of videos, read frame by frame into memory.

PyAV decodes; it is imported at use, so that importing this module stays cheap.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tdfusion_edge.color import U8, luma
from tdfusion_edge.errors import RequestError, SourceError
from tdfusion_edge.integrity import video_bytes_missing
from tdfusion_edge.pairs.types import LabelledPair, paired
from tdfusion_edge.redact import redact

if TYPE_CHECKING:
    import av


def read_videos(
    name: str, infrared: Path, visible: Path, every: int, *, colour: bool = False
) -> list[LabelledPair]:
    """Every n-th frame of two videos, paired by number.

    Args:
        name: Of the pair; a frame is called ``name#number``.
        infrared: Its luma alone is kept.
        visible: Its luma is kept.
        every: Frames to take one of.
        colour: Whether the visible frames' colours are kept beside that.

    Raises:
        RequestError: they differ in length, or one has grey of more than 8 bits.
        SourceError: one is cut short or cannot be decoded.
    """
    left, left_count = _read_video(infrared, every)
    right, right_count = _read_video(visible, every, colour=colour)
    if left_count != right_count:
        # Frames are paired by number, so one lost frame shifts every pair behind it.
        raise RequestError(
            f"the videos of pair '{name}' differ in length",
            expected="equal numbers of frames",
            got=f"{left_count} in {infrared} and {right_count} in {visible}",
        )
    frames = enumerate(zip(left, right, strict=True))
    return [paired(f"{name}#{i * every}", *two, colour=colour) for i, two in frames]


def _read_video(path: Path, every: int, *, colour: bool = False) -> tuple[list[U8], int]:
    """Every n-th frame, as luma unless its colours are asked for, and the number of all frames."""
    import av

    kept: list[U8] = []
    count = 0
    try:
        if missing := video_bytes_missing(path):
            raise SourceError(
                f"{path} is cut short", expected="a whole video", got=f"{missing} bytes too few"
            )
        # "file:" keeps a colon in a file name from being taken for a protocol.
        with av.open(f"file:{path}") as container:
            if not container.streams.video:
                raise SourceError(f"{path} holds no video stream", expected="a video file")
            for frame in container.decode(video=0):
                _refuse_deep_grey(path, frame)
                if count % every == 0:
                    picture: U8 = frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
                    kept.append(picture if colour else luma(picture))
                count += 1
    except (av.FFmpegError, OSError) as error:
        raise SourceError(f"{path} cannot be decoded: {redact(str(error))}") from error
    return kept, count


def _refuse_deep_grey(path: Path, frame: av.VideoFrame) -> None:
    """Thermal counts of 10 to 16 bits: a conversion to 8 bits would keep the upper ones alone."""
    channels = frame.format.components
    if len(channels) <= 2 and channels[0].bits > 8:  # the second is alpha
        raise RequestError(
            f"{path} is a {frame.format.name} video",
            expected="8 bits",
            hint="Convert it with a fixed range first.",
        )
