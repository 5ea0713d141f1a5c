"""Two recordings that say they begin at different moments are told of; what encoders do is no difference."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from recordings import FRAGMENTED, MKV, MP4, TS, Kind, record

from tdfusion_edge.video.reader import VideoReader
from tdfusion_edge.video.remarks import remarks

NO_B_FRAMES = {"bf": "0"}


def told(infrared: Path, visible: Path, tolerance_ms: float | None = 20.0) -> list[str]:
    readers = [VideoReader(infrared), VideoReader(visible)]
    lines = remarks(*readers, tolerance_ms=tolerance_ms, remedy="Set {later_ms}.")
    for reader in readers:
        reader.close()
    return lines


def late(ms: int, count: int = 8) -> list[int]:
    """Times in ticks of 1/90000 s."""
    return [ms * 90 + 3000 * index for index in range(count)]


KINDS = {
    "mkv": MKV,
    "mov": Kind(".mov"),
    "fragments": Kind(".mp4", options={"movflags": "frag_keyframe+delay_moov"}),
    "mp4": MP4,
    "ts": TS,
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("ms", [120, -120])
def test_a_difference_of_their_clocks_is_told(tmp_path: Path, kind: Kind, ms: int) -> None:
    infrared = record(tmp_path / "ir", kind, late(max(-ms, 0)), codec_options=NO_B_FRAMES)
    visible = record(tmp_path / "vis", kind, late(max(ms, 0)), codec_options=NO_B_FRAMES)
    order = "after" if ms > 0 else "before"
    assert told(infrared, visible) == [
        f"{visible} begins 120 ms {order} {infrared} by their own clocks, and their first pictures count as "
        f"taken at one moment all the same. Set {ms}."
    ]
    assert told(infrared, visible, 150) == []
    assert told(infrared, visible, None) == []
    assert told(infrared, infrared) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"kind": MP4}, {"kind": MP4, "codec_options": NO_B_FRAMES}),
        ({"kind": MP4}, {"kind": FRAGMENTED}),
        ({"kind": FRAGMENTED, "codec_options": NO_B_FRAMES}, {"kind": FRAGMENTED}),
        ({"kind": TS, "codec_options": NO_B_FRAMES}, {"kind": TS}),
        ({"kind": TS}, {"kind": MKV}),
        ({"kind": TS, "times": late(4000)}, {"kind": MP4}),
        ({"kind": MKV}, {"kind": MKV, "times": late(21), "sound_from": 0}),
        ({"kind": MP4}, {"kind": Kind(".avi", "mjpeg", "yuvj420p"), "ticks": 30}),
        ({"kind": MP4}, {"kind": Kind(".h264"), "ticks": 30}),
    ],
)  # fmt: skip
def test_what_encoders_and_muxers_do_is_no_difference(tmp_path: Path, one: dict, other: dict) -> None:
    infrared, visible = record(tmp_path / "ir", **one), record(tmp_path / "vis", **other)
    assert told(infrared, visible) == []
    assert told(visible, infrared) == []


def test_creation_times_tell_of_a_difference(tmp_path: Path) -> None:
    def made(name: str, time: str) -> Path:
        return record(tmp_path / name, MKV, tags={"creation_time": time}, count=3)

    infrared = made("ir", "2024-05-01T10:00:00.250000Z")
    visible = made("vis", "2024-05-01T10:00:00.370000Z")
    assert told(infrared, visible) == [
        f"{visible} begins 120 ms after {infrared} by their creation times, and their first pictures count "
        "as taken at one moment all the same. Set 120."
    ]
    assert told(infrared, made("vis", "2024-05-01T10:00:00.251000Z")) == []
    assert told(infrared, record(tmp_path / "vis", MKV, count=3)) == []
    (line,) = told(infrared, made("vis", "2024-04-30T10:00:00.250000Z"))
    assert "begins 86400000 ms before" in line


def test_pixels_and_bits_that_are_lost_are_told(tmp_path: Path) -> None:
    wide = record(tmp_path / "wide", MP4, aspect=Fraction(16, 11))
    deep = record(tmp_path / "deep", Kind(".mp4", "libx264", "yuv420p10le"))
    grey = record(tmp_path / "grey", Kind(".mkv", "ffv1", "gray16le"))
    plain = record(tmp_path / "plain", MP4)
    assert told(grey, plain) == told(plain, deep) == []
    (line,) = told(deep, plain)
    assert line.startswith(f"{deep} has 10 bits in colours (yuv420p10le), of which the upper 8 are taken")
    (line,) = told(plain, wide)
    assert line.startswith(f"{wide} has pixels of 16:11")
