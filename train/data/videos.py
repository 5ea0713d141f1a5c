"""Pairs of videos, read frame by frame into memory as luma."""

from __future__ import annotations

from pathlib import Path

import av

from tdfusion_edge.color import U8, luma
from tdfusion_edge.errors import RequestError, SourceError
from tdfusion_edge.integrity import video_bytes_missing
from tdfusion_edge.redact import redact
from tdfusion_edge.train.data.types import Sample


def read_videos(name: str, infrared: Path, visible: Path, every: int) -> list[Sample]:
    """Every n-th frame of two videos, paired by number.

    Raises:
        RequestError: they differ in length, or one has grey of more than 8 bits.
        SourceError: one is cut short or cannot be decoded.
    """
    (left, left_count), (right, right_count) = (_read_video(path, every) for path in (infrared, visible))
    if left_count != right_count:
        # Frames are paired by number, so one lost frame shifts every pair behind it.
        raise RequestError(
            f"the videos of pair '{name}' differ in length",
            expected="equal numbers of frames",
            got=f"{left_count} in {infrared} and {right_count} in {visible}",
        )
    return [Sample(f"{name}#{i * every}", *frames) for i, frames in enumerate(zip(left, right, strict=True))]


def _read_video(path: Path, every: int) -> tuple[list[U8], int]:
    """Luma of every n-th frame, and the number of all frames."""
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
                    kept.append(luma(frame.to_ndarray(format="bgr24")))
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
