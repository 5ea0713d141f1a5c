"""Videos whose pictures tell their number, in every container, and the bytes that make them odd."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from sink_results import numbered

from hostile.case import Check, Run, Wrong

SIZE = (96, 64)
FRAMES = 20
CONTAINERS = {"mp4": "mp4", "mkv": "matroska", "ts": "mpegts", "avi": "avi", "mov": "mov"}
MILLISECOND = Fraction(1, 1000)
BITS = 10


@lru_cache
def video(
    container: str = "mp4",
    *,
    count: int = FRAMES,
    fps: int = 10,
    times_ms: tuple[int, ...] | None = None,
    codec: str = "libx264",
    layout: str = "yuv420p",
    sound_ms: int | None = None,
    options: tuple[tuple[str, str], ...] = (),
    first: int = 0,
) -> bytes:
    """A video whose picture n shows the number n in bars.

    Args:
        container: Name of FFmpeg's muxer.
        count: Of pictures.
        fps: Pictures a second.
        times_ms: Of the pictures, where they are not at that rate.
        codec: Encoder.
        layout: Of the pixels.
        sound_ms: A sound track begins so much before the first picture; None is without.
        options: Of the muxer.
        first: Number of the first picture.
    """
    raw = io.BytesIO()
    with av.open(raw, "w", format=container, options=dict(options)) as out:
        stream: Any = out.add_stream(codec, rate=fps, options=_settings(codec, container))
        stream.width, stream.height, stream.pix_fmt = *SIZE, layout
        if times_ms is not None or sound_ms is not None:
            stream.codec_context.time_base = MILLISECOND
        sound = None if sound_ms is None else _sound(out)
        packets = [
            packet
            for number in range(count)
            for packet in stream.encode(_frame(number, first, fps, times_ms, sound_ms, layout))
        ]
        packets += stream.encode(None)
        if sound is not None:
            packets = _beeps(sound, 44_100 * (count + 4) // fps) + packets
        for packet in sorted(packets, key=lambda one: (one.dts or 0) * one.time_base):
            out.mux(packet)
    return raw.getvalue()


def _settings(codec: str, container: str) -> dict[str, str]:
    if "264" not in codec:
        return {}
    # An AVI has no place for the times of pictures that are not in order.
    return {"crf": "10", "g": "10"} | ({"bf": "0"} if container == "avi" else {})


def grainy(number: int) -> npt.NDArray[np.uint8]:
    """A numbered picture with grain, so that its bytes are many and mostly picture."""
    grain = np.random.default_rng(number).integers(-12, 13, (SIZE[1], SIZE[0], 1))
    return (numbered(number, SIZE, colour=True) + grain).astype(np.uint8)


def _frame(
    number: int, first: int, fps: int, times_ms: Sequence[int] | None, sound_ms: int | None, layout: str
) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(grainy(first + number), format="bgr24")
    if layout != "yuv420p":
        frame = frame.reformat(format=layout)
    if times_ms is not None:
        frame.pts, frame.time_base = times_ms[number] + (sound_ms or 0), MILLISECOND
    elif sound_ms:
        frame.pts, frame.time_base = number * 1000 // fps + sound_ms, MILLISECOND
    else:
        frame.pts, frame.time_base = number, Fraction(1, fps)
    return frame


def _sound(out: Any) -> Any:
    stream = out.add_stream("aac", rate=44_100)
    stream.layout = "mono"
    return stream


def _beeps(stream: Any, samples: int) -> list[Any]:
    packets = []
    for at in range(0, samples, 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.pts, frame.rate, frame.time_base = at, 44_100, Fraction(1, 44_100)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def raw_h264(fps: int = 30) -> bytes:
    """A stream without a container, whose parameter set tells its rate."""
    return video("h264", fps=fps)


def counts_video(layout: str, codec: str, container: str) -> bytes:
    """16-bit thermal counts around 8000 as a video of six pictures: 350 levels, told by few upper bits."""
    raw = io.BytesIO()
    with av.open(raw, "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = *SIZE, layout
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(counts(), format="gray16le").reformat(format=layout)
            frame.pts, frame.time_base = number, Fraction(1, 10)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return raw.getvalue()


def counts() -> npt.NDArray[np.uint16]:
    """A scene of few counts, as a thermal camera gives it."""
    return np.tile(np.linspace(7173, 9006, SIZE[0]).astype(np.uint16), (SIZE[1], 1))


def sound_alone() -> bytes:
    """An MP4 without pictures."""
    raw = io.BytesIO()
    with av.open(raw, "w", format="mp4") as out:
        for packet in _beeps(_sound(out), 44_100):
            out.mux(packet)
    return raw.getvalue()


def without_frames(container: str) -> bytes:
    """A header that promises a video, and no picture."""
    raw = io.BytesIO()
    with av.open(raw, "w", format=container) as out:
        stream: Any = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.open()
        out.start_encoding()
    return raw.getvalue()


@lru_cache
def damaged(raw: bytes, number: int = 10, length: int = 60) -> bytes:
    """Bytes in the picture of one packet that are others, where a decoder notices it: not all is noticed."""
    with av.open(io.BytesIO(raw)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        begin, size = int(packets[number].pos or 0), packets[number].size
    noise = np.random.default_rng(1).integers(0, 256, length, np.uint8).tobytes()
    for share in range(30, 80, 10):
        at = begin + size * share // 100
        made = raw[:at] + noise + raw[at + length :]
        if _is_noticed(made):
            return made
    raise AssertionError("no damage is noticed")


def _is_noticed(raw: bytes) -> bool:
    """Whether FFmpeg's decoder conceals something in it."""
    try:
        with av.open(io.BytesIO(raw)) as container:
            container.streams.video[0].thread_type = "NONE"
            return any(frame.is_corrupt for frame in container.decode(video=0))
    except av.FFmpegError:
        return True


ROTATIONS = {
    90: (0, 1, 0, -1, 0, 0),
    180: (-1, 0, 0, 0, -1, 0),
    270: (0, -1, 0, 1, 0, 0),
}


def rotated(raw: bytes, degrees: int) -> bytes:
    """An MP4 or MOV whose display matrix turns it clockwise by so much: a, b, u, c, d, v of the first rows."""
    at = raw.index(b"tkhd") + 4 + 40
    whole = b"".join((value << 16).to_bytes(4, "big", signed=True) for value in ROTATIONS[degrees])
    return raw[:at] + whole + raw[at + 24 :]


def retagged(raw: bytes, duration: bytes) -> bytes:
    """A Matroska file whose DURATION tag says something else, of equal length."""
    found = re.search(rb"\d\d:\d\d:\d\d\.\d{9}", raw)
    assert found is not None
    return raw[: found.start()] + duration + raw[found.end() :]


def joined(*, smooth: bool) -> bytes:
    """Two pieces of an MPEG-TS behind each other, as ``cat`` joins them; numbers go on, the clock does not.

    Every 188 bytes have a counter of four bits. Where the second piece happens to go on with it, as ``smooth``
    lets it, nothing but the clock tells where it begins.
    """
    whole = bytearray(video("mpegts") + video("mpegts", first=FRAMES))
    counters: dict[int, int] = {}
    for at in range(0, len(whole), 188) if smooth else ():
        stream, flags = int.from_bytes(whole[at + 1 : at + 3], "big") & 0x1FFF, whole[at + 3]
        has_payload = bool(flags & 0x10)
        counter = (counters.get(stream, -1) + has_payload) & 15
        counters[stream] = counter
        whole[at + 3] = (flags & 0xF0) | counter
    return bytes(whole)


def pairs_are(numbers: Sequence[int], name: str = "out.mkv", mixed: int = 0) -> Check:
    """A check that the video written has the pictures ``numbers``, each made of two of one number.

    Args:
        numbers: Of the pictures.
        name: Of the video.
        mixed: How many may be made of two numbers.
    """

    def check(folder: Path, run: Run) -> None:
        got = read_numbers(folder / name)
        if [number for number, _ in got] != list(numbers):
            raise Wrong(f"{len(got)} pictures, {[number for number, _ in got][:30]}, not {len(numbers)}")
        blurred = [number for number, clear in got if not clear]
        if len(blurred) > mixed:
            raise Wrong(f"{len(blurred)} of {len(got)} pictures are made of two moments")

    return check


def read_numbers(path: Path, view: Callable[[Any], Any] = lambda picture: picture) -> list[tuple[int, bool]]:
    """Number of every picture, and whether both halves of it showed that one."""
    if not path.exists():
        raise Wrong(f"{path.name} is not there")
    with av.open(str(path)) as container:
        pictures = [view(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]
    return [_number(picture) for picture in pictures]


def _number(picture: npt.NDArray[np.uint8]) -> tuple[int, bool]:
    middle = (2 * np.arange(BITS) + 1) * picture.shape[1] // (2 * BITS)
    bars = picture[picture.shape[0] // 2, middle].astype(int)
    # Bright is 220, dark 40; a bar of one over a bar of the other is 130.
    return int(((bars > 130) << np.arange(BITS)).sum()), bool((np.abs(bars - 130) > 45).all())
