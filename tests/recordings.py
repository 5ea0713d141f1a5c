"""Video files as cameras, phones and muxers write them, whose pictures tell which frame they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import numpy.typing as npt
from sink_results import BITS, number_of

WIDTH, HEIGHT = 80, 48
RATE = 30
SAMPLES = 48_000
"""Of sound, a second."""
COUNTS = (7000, 7440)
"""Thermal counts of a dark and a bright bar: of 16 bits the upper 8 hardly tell them apart."""


ENCODING: Mapping[str, Mapping[str, str]] = {
    "libx264": {"crf": "12", "threads": "1"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "threads": "1"},
}
"""How encoders are hurried, and the pictures kept."""


class Kind(NamedTuple):
    """How a recording is stored."""

    suffix: str
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    options: Mapping[str, str] = {}
    """Of the container."""


FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}
MP4, MKV, TS = Kind(".mp4"), Kind(".mkv"), Kind(".ts")
FRAGMENTED = Kind(".mp4", options=FRAGMENTS)
GREY16 = Kind(".mkv", "ffv1", "gray16le")


def bars(number: int, *, deep: bool = False) -> npt.NDArray[Any]:
    """Ten upright bars, the bits of ``number``, as uint8 or as thermal counts; its lower left corner is grey.

    By that corner a picture that was turned or mirrored is told from one that was not.
    """
    dark, bright, corner = (*COUNTS, 7200) if deep else (40, 220, 128)
    bit = np.arange(WIDTH) * BITS // WIDTH
    row = np.where(number >> bit & 1, bright, dark)
    picture = np.tile(row, (HEIGHT, 1)).astype(np.uint16 if deep else np.uint8)
    picture[-HEIGHT // 4 :, : WIDTH // 5] = corner
    return picture


def number_in(picture: npt.NDArray[Any]) -> int:
    """The number that :func:`bars` drew, of an upright picture of 8 or 16 bits."""
    luma = picture if picture.ndim == 2 else picture[..., 0]
    if luma.dtype == np.uint16:
        luma = (luma > sum(COUNTS) / 2).astype(np.uint8) * 255
    return number_of(luma[: HEIGHT // 2])


def record(
    path: Path,
    kind: Kind = MP4,
    times: Sequence[int] | None = None,
    *,
    count: int = 20,
    ticks: int = 90_000,
    pictures: Sequence[npt.NDArray[Any]] | None = None,
    sound_from: int | None = None,
    tags: Mapping[str, str] | None = None,
    codec_options: Mapping[str, str] | None = None,
    aspect: Fraction | None = None,
) -> Path:
    """Write a video.

    Args:
        path: Where; its suffix becomes the kind's.
        kind: Container and codec.
        times: Of the pictures, in ticks; None: 30 a second.
        count: Pictures, where neither times nor pictures say so.
        ticks: A second.
        pictures: Grey ones, uint8, or uint16 for a kind that stores them; None: :func:`bars`.
        sound_from: Begin of a sound track, in samples; None: there is none.
        tags: Of the file.
        codec_options: Of the video's encoder.
        aspect: Of its pixels.
    """
    path = path.with_suffix(kind.suffix)
    deep = "16" in kind.pix_fmt or "48" in kind.pix_fmt
    number = len(times if times is not None else pictures if pictures is not None else range(count))
    times = [index * ticks // RATE for index in range(number)] if times is None else times
    pictures = [bars(index, deep=deep) for index in range(number)] if pictures is None else pictures
    base = Fraction(1, ticks)
    with av.open(str(path), "w", options=dict(kind.options)) as container:
        container.metadata.update(tags or {})
        options = ENCODING.get(kind.codec, {})
        stream: Any = container.add_stream(
            kind.codec, rate=RATE, options={**options, **(codec_options or {})}
        )
        stream.height, stream.width = pictures[0].shape
        stream.pix_fmt = kind.pix_fmt
        stream.time_base = stream.codec_context.time_base = base
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        sound = None if sound_from is None else container.add_stream("aac", rate=SAMPLES)
        for time, picture in zip(times, pictures, strict=True):
            frame = _frame(picture, kind.pix_fmt)
            frame.pts, frame.time_base = time, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None and sound_from is not None:
            _add_sound(container, sound, sound_from, (times[-1] - times[0]) / ticks)
    return path


def _frame(picture: npt.NDArray[Any], pix_fmt: str) -> av.VideoFrame:
    if pix_fmt.startswith(("gbrp16", "rgb48")):
        three = np.dstack([picture] * 3)
        return av.VideoFrame.from_ndarray(three, format="rgb48le").reformat(format=pix_fmt)
    if picture.dtype == np.uint16:
        return av.VideoFrame.from_ndarray(picture, format="gray16le").reformat(format=pix_fmt)
    return av.VideoFrame.from_ndarray(picture, format="gray")


def _add_sound(container: Any, stream: Any, begin: int, seconds: float) -> None:
    """A hum."""
    block = 1024
    for at in range(0, int(seconds * SAMPLES), block):
        hum = np.sin((at + np.arange(block)) / 40)[None].astype(np.float32)
        frame = av.AudioFrame.from_ndarray(hum, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLES, begin + at, Fraction(1, SAMPLES)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


QUARTERS: Mapping[int, tuple[int, int, int, int]] = {
    0: (1, 0, 0, 1),
    90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    270: (0, -1, 1, 0),
}
"""Clockwise turn in degrees to (a, b, c, d) of an MP4's display matrix."""
MIRRORS: Mapping[str, tuple[int, int, int, int]] = {
    "left to right": (-1, 0, 0, 1),
    "top to bottom": (1, 0, 0, -1),
    "diagonal": (0, 1, 1, 0),
    "other diagonal": (0, -1, -1, 0),
}


def hold(path: Path, matrix: tuple[float, float, float, float]) -> Path:
    """Write a display matrix into an MP4 or MOV, as the phone does that was held so.

    ISO/IEC 14496-12, 8.3.2: a track's header has nine 32-bit numbers behind 40 bytes of others, of which the
    first, second, fourth and fifth are ``matrix`` in units of 1/65536.
    """
    data = path.read_bytes()
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (round(value * 65536) for value in matrix)
    numbers = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    raw = b"".join(value.to_bytes(4, "big", signed=True) for value in numbers)
    path.write_bytes(data[:at] + raw + data[at + 36 :])
    return path
