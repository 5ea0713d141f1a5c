"""Results whose pictures tell which one they are, and the way to read that back."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from tdfusion_edge.detections import Detections
from tdfusion_edge.frames import Frame, Image, Pair
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.sinks.video import VideoSink

BITS = 10
FRAME_NS = 33_333_333


def numbered(index: int, size: tuple[int, int] = (80, 32), *, colour: bool = False) -> Image:
    """Ten upright bars, the bits of ``index``, dark or bright: no encoder mistakes one for another."""
    width, height = size
    bit = np.arange(width) * BITS // width
    row = np.where(index >> bit & 1, 220, 40).astype(np.uint8)
    grey: npt.NDArray[np.uint8] = np.tile(row, (height, 1))
    return np.dstack((grey, grey, grey)) if colour else grey


def number_of(image: Image) -> int:
    """The index that :func:`numbered` drew."""
    luma = image if image.ndim == 2 else image[..., 0]
    middle = (2 * np.arange(BITS) + 1) * luma.shape[1] // (2 * BITS)
    return int(((luma[luma.shape[0] // 2, middle] > 130) << np.arange(BITS)).sum())


def result(
    index: int,
    time_ns: int | None = None,
    *,
    image: Image | None = None,
    detections: Detections | None = None,
    degraded: str | None = None,
) -> Result:
    """A result number ``index``, 30 a second, both cameras at the same moment."""
    time_ns = index * FRAME_NS if time_ns is None else time_ns
    picture = numbered(index) if image is None else image
    frame = np.zeros((2, 2), np.uint8)
    pair = Pair(Frame(frame, time_ns, index, "ir0"), Frame(frame, time_ns, index, "vis0"))
    findings = {} if detections is None else {"boxes": detections}
    return Result(index, pair, picture, findings, degraded=degraded)


def noisy(index: int, size: tuple[int, int] = (80, 32)) -> Image:
    """:func:`numbered` with noise, so that a video of it takes some bytes."""
    noise = np.random.default_rng(index).integers(-30, 31, (size[1], size[0]))
    return (numbered(index, size) + noise).astype(np.uint8)


def decode(path: Path) -> list[tuple[int, float]]:
    """Number and time in seconds of every frame that a player gets out of a video, damaged or not."""
    frames: list[av.VideoFrame] = []
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            try:
                for packet in container.demux(stream):
                    frames += stream.decode(packet)
            except av.FFmpegError:
                # The cut: a player shows what it has read and stops.
                frames += stream.codec_context.decode(None)
    except (av.FFmpegError, IndexError):
        return []
    return [(number_of(frame.to_ndarray(format="gray")), float(frame.time or 0)) for frame in frames]


def numbers(path: Path) -> list[int]:
    """Numbers of the frames of a video."""
    return [number for number, _ in decode(path)]


def record(path: Path, count: int, step_ns: int = FRAME_NS) -> dict[int, int]:
    """Write ``count`` frames; at each size that the file had, the frames that are whole in it."""
    sink = VideoSink(path)
    whole: dict[int, int] = {}
    for index in range(count):
        sink.write(result(index, index * step_ns, image=noisy(index)))
        whole.setdefault(path.stat().st_size, index)
    sink.close()
    return {**whole, path.stat().st_size: count}


def fill(sink: VideoSink) -> None:
    """Write until the sink refuses."""
    for index in range(1000):
        sink.write(result(index, image=noisy(index)))
