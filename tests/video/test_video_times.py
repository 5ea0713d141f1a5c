"""When pictures are shown: own start, joined files, bare streams, lengths that files state."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import FRAGMENTED, MKV, MP4, TS, Kind, bars, number_in, record

from tdfusion_edge.errors import SourceError
from tdfusion_edge.integrity import video_bytes_missing, video_structure
from tdfusion_edge.video.clock import Clock
from tdfusion_edge.video.reader import VideoReader


def read(path: Path) -> tuple[list[int], list[float]]:
    """Numbers and seconds of all frames."""
    reader = VideoReader(path)
    frames = list(iter(reader.read, None))
    reader.close()
    return [number_in(frame.image) for frame in frames], [frame.time_ns / 1e9 for frame in frames]


@pytest.mark.parametrize("kind", [MKV, TS, FRAGMENTED, Kind(".mov")], ids=lambda kind: kind.suffix)
@pytest.mark.parametrize("sound_from", [0, 30_000])
def test_a_sound_track_does_not_move_the_pictures(tmp_path: Path, kind: Kind, sound_from: int) -> None:
    times = [2000 + 9000 * index for index in range(12)]  # as AAC's priming puts them
    plain = read(record(tmp_path / "plain", kind, times))
    assert read(record(tmp_path / "sound", kind, times, sound_from=sound_from))[0] == plain[0]
    assert plain[1][0] == 0
    sound = read(record(tmp_path / "sound", kind, times, sound_from=sound_from))[1]
    assert sound[0] == 0
    if kind is not FRAGMENTED:  # whose muxer stretches the first picture
        np.testing.assert_allclose(sound, plain[1], atol=0.0011)


def test_reordered_pictures_of_an_avi_begin_at_zero(tmp_path: Path) -> None:
    """An AVI keeps no times of showing: FFmpeg counts from when the first packet is decoded."""
    numbers, times = read(record(tmp_path / "reordered", Kind(".avi"), ticks=30, count=12))
    assert numbers == list(range(12))
    np.testing.assert_allclose(times, np.arange(12) / 30, atol=1e-6)


JOINED = [
    (TS, 2), (TS, 3), (MKV, 2), (Kind(".avi", "mjpeg", "yuvj420p"), 3), (Kind(".webm", "libvpx"), 2),
    (Kind(".h264"), 3),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "pieces"), JOINED, ids=lambda it: str(getattr(it, "suffix", it)))
@pytest.mark.parametrize("count", range(13, 18))
def test_pieces_that_were_joined_go_on_behind_each_other(
    tmp_path: Path, kind: Kind, pieces: int, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    ticks = {".avi": 30, ".webm": 1000, ".h264": 30}.get(kind.suffix, 90_000)
    piece = record(tmp_path / "piece", kind, ticks=ticks, count=count)
    path = tmp_path / f"joined{kind.suffix}"
    path.write_bytes(piece.read_bytes() * pieces)
    numbers, times = read(path)
    assert numbers == list(range(count)) * pieces
    np.testing.assert_allclose(times, np.arange(count * pieces) / 30, atol=0.0011 * pieces)
    told = [record.getMessage() for record in caplog.records]
    if kind.suffix in (".avi", ".h264"):  # FFmpeg counts on by itself, or all is counted
        assert told == []
    else:
        (line,) = told
        said = rf"{re.escape(str(path))}: its times jump back at (\d\.\d+) s, .* behind that"
        assert (match := re.fullmatch(said, line)) is not None
        assert float(match[1]) == pytest.approx(count / 30, abs=0.0012)


def test_pieces_with_later_times_keep_their_gap(tmp_path: Path) -> None:
    path = tmp_path / "joined.mkv"
    late = [900_000 + 3000 * index for index in range(15)]
    path.write_bytes(
        record(tmp_path / "a", MKV, count=15).read_bytes() + record(tmp_path / "b", MKV, late).read_bytes()
    )
    numbers, times = read(path)
    assert numbers == list(range(15)) * 2
    assert times[15] == pytest.approx(10, abs=0.001)


def test_a_transport_stream_with_a_later_one_behind_it_says_what_it_may_be(tmp_path: Path) -> None:
    """No packet of it tells that from packets that were lost."""
    path = tmp_path / "joined.ts"
    late = [900_000 + 3000 * index for index in range(15)]
    path.write_bytes(
        record(tmp_path / "a", TS, count=15).read_bytes() + record(tmp_path / "b", TS, late).read_bytes()
    )
    with pytest.raises(SourceError) as caught:
        read(path)
    assert "is cut short or damaged, or a recording with later times was joined to it" in str(caught.value)
    assert "all that can be shown" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "pieces"), [(MP4, 2), (MP4, 3), (FRAGMENTED, 2), (MKV, 3)], ids=lambda it: str(it)[:30]
)
def test_what_is_not_read_of_joined_files_is_told(
    tmp_path: Path, kind: Kind, pieces: int, caplog: pytest.LogCaptureFixture
) -> None:
    piece = record(tmp_path / "piece", kind, count=15)
    assert video_structure(piece).further == ()
    assert read(piece)[0] == list(range(15))
    path, length = tmp_path / f"joined{kind.suffix}", piece.stat().st_size
    path.write_bytes(piece.read_bytes() * pieces)
    whole = 2 if kind is MKV else 1  # so many FFmpeg reads
    assert video_structure(path).further == tuple(length * number for number in range(1, pieces))
    assert read(path)[0] == list(range(15)) * whole
    line = caplog.records[-1].getMessage()
    assert "holds a further recording behind what is read" in line
    assert f"tail -c +{whole * length + 1} {path} > second{kind.suffix}" in line
    path.write_bytes(path.read_bytes()[whole * length :])  # what that command does
    caplog.clear()
    assert read(path)[0] == list(range(15))
    assert len(caplog.records) == (pieces - whole > 1)


class Stamps:
    """As much of a stream and its frames as a clock looks at."""

    time_base = Fraction(1, 1000)
    average_rate = base_rate = guessed_rate = Fraction(10)
    start_time: int | None = 0
    name = "mpegts"
    duration = None
    frames = 0

    def __init__(self) -> None:
        self.format, self.pts = self, 0
        self.flags, self.duration = 0, None

    def clock(self) -> Clock:
        stamps: Any = self
        return Clock(Path("clip.ts"), stamps, stamps)

    def times(self, stamps: list[int]) -> list[int]:
        """What becomes of time stamps in milliseconds."""
        clock, times = self.clock(), []
        for self.pts in stamps:
            frame: Any = self
            times.append(clock.time_ns(frame) // 1_000_000)
        return times


def test_one_wrong_time_moves_nothing_but_its_picture(caplog: pytest.LogCaptureFixture) -> None:
    true = [100 * index for index in range(60)]
    for stray in (0, 1000, 2900):
        stamps = [*true[:40], stray, *true[41:]]
        assert Stamps().times(stamps) == true
    assert caplog.records == []


def test_a_picture_that_comes_twice_is_no_jump() -> None:
    stamps = [0, 100, 200, 200, 300, 290, 400]
    assert Stamps().times(stamps) == stamps


@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.lists(st.integers(250, 400), min_size=6, max_size=20)), min_size=1
    )
)
def test_joined_times_always_go_on(pieces: list[tuple[int, list[int]]]) -> None:
    """Every piece keeps its own gaps, and begins a period behind the one before, whose clock was ahead."""
    stamps: list[int] = []
    expected: list[int] = []
    for start, gaps in pieces:
        since = [sum(gaps[:index]) for index in range(len(gaps) + 1)]
        begin = expected[-1] + 100 if expected else start
        stamps += [start + time for time in since]
        expected += [begin + time for time in since]
    assert Stamps().times(stamps) == expected


@pytest.mark.parametrize("rate", [30, 50, 10])
def test_a_bare_stream_runs_at_the_rate_of_its_header(
    tmp_path: Path, rate: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "vis.h264"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 80, 48, "yuv420p"
        for index in range(20):
            frame = av.VideoFrame.from_ndarray(bars(index), format="gray")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    numbers, times = read(path)
    assert numbers == list(range(20))
    np.testing.assert_allclose(times, np.arange(20) / rate, atol=1e-8)
    assert caplog.records == []


def test_a_bare_stream_that_names_no_rate_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = record(tmp_path / "my vis", Kind(".mjpeg", "mjpeg", "yuvj420p"), ticks=30, count=10)
    numbers, times = read(path)
    assert numbers == list(range(10))
    np.testing.assert_allclose(times, np.arange(10) / 25, atol=1e-8)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        f"{path} has no times and names no rate; 25 pictures a second are assumed. Put it into a container: "
        f"ffmpeg -r RATE -i '{path}' -c copy 'my vis'.mkv"
    )


@pytest.mark.parametrize("kind", [MP4, MKV], ids=lambda kind: kind.suffix)
def test_a_last_picture_may_be_shown_long(tmp_path: Path, kind: Kind) -> None:
    plain = record(
        tmp_path / "plain", kind, codec_options={"bf": "0"}
    )  # the last one stored is the last shown
    path = tmp_path / f"long{kind.suffix}"
    with av.open(str(plain)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(video=0) if packet.size]
        last = max(packets, key=lambda packet: packet.pts or 0)
        last.duration = round(5 / last.time_base)
        for packet in packets:
            packet.stream = stream
            new.mux(packet)
    with av.open(str(path)) as container:
        assert (container.duration or 0) > 5_000_000
    assert read(path) == read(plain)


@pytest.mark.parametrize("tag", ["00:01:00.000000000", "00:00:00,667000000", "soon", "", "0:0:0"])
@pytest.mark.parametrize("sound_from", [None, 0])
def test_a_tag_of_another_length_is_passed_over(tmp_path: Path, tag: str, sound_from: int | None) -> None:
    path = record(tmp_path / "vis", MKV, sound_from=sound_from)
    data = path.read_bytes()
    place = re.search(rb"DURATIOND\x87..?(00:00:0\d\.\d{9}\x00)", data, re.DOTALL)
    assert place is not None
    path.write_bytes(data[: place.start(1)] + tag.encode().ljust(19, b"\0") + data[place.end(1) :])
    with av.open(str(path)) as container:
        assert container.streams.video[0].metadata["DURATION"] == tag
    assert read(path)[0] == list(range(20))


def test_a_lost_end_is_noticed_beside_a_sound_track(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    pictures = [rng.integers(0, 65536, (48, 80)).astype(np.uint16) for _ in range(40)]
    path = record(tmp_path / "ir", Kind(".mkv", "ffv1", "gray16le"), pictures=pictures, sound_from=0)
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(data[:half] + bytes(len(data) - half - 3000) + data[-3000:])
    assert video_bytes_missing(path) == 0
    reader = VideoReader(path)
    with pytest.raises(SourceError, match="s at its end cannot be read"):
        list(iter(reader.read, None))
    reader.close()
