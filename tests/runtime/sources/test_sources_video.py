from __future__ import annotations

import random
import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tdfusion_edge.errors import InputMissing, RequestError, SourceError
from tdfusion_edge.frames import Frame
from tdfusion_edge.integrity import video_bytes_missing
from tdfusion_edge.runtime.sources.uri import parse
from tdfusion_edge.runtime.sources.video import VideoSource, from_uri

EPOCH = 5_000_000_003
TICKS = 90_000
COUNT = 40
STEP = 6
"""Grey levels between two frames: coding at the quality used here moves a picture by less than half."""

RATE_30 = [index * 3000 for index in range(COUNT)]


def variable_times() -> list[int]:
    """Presentation times in ticks of a stream that is now 10, now 90 frames a second."""
    gaps = random.Random(1).choices(range(1000, 9000), k=COUNT - 1)
    return [sum(gaps[:index]) for index in range(COUNT)]


def numbered() -> list[Any]:
    """Picture i has the mean grey level 6 i.

    Noise keeps the coder from merging them, and gives each its bytes so that a cut falls among them.
    """
    noise = np.random.default_rng(2).integers(-STEP // 2 + 1, STEP // 2, (COUNT, 48, 64, 3))
    return [np.clip(index * STEP + noise[index], 0, 255).astype(np.uint8) for index in range(COUNT)]


def record(
    path: Path,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times: Sequence[int] = RATE_30,
    *,
    pictures: Sequence[Any] | None = None,
    picture_format: str = "bgr24",
    ticks_a_second: int = TICKS,
    container_options: dict[str, str] | None = None,
) -> Path:
    """A video that shows ``pictures``, by default grey ones whose level tells their number."""
    pictures = numbered() if pictures is None else pictures
    with av.open(str(path), "w", options=container_options or {}) as container:
        # Left to itself the coder takes noise for one cut after the other, without B-frames.
        options = {"crf": "10", "x264-params": "b-adapt=0:scenecut=0"} if codec == "libx264" else {}
        stream: Any = container.add_stream(codec, rate=30, options=options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.time_base = stream.codec_context.time_base = Fraction(1, ticks_a_second)
        for ticks, picture in zip(times, pictures, strict=False):
            frame = av.VideoFrame.from_ndarray(picture, format=picture_format)
            frame.pts, frame.time_base = ticks, Fraction(1, ticks_a_second)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_all(path: Path) -> list[Frame]:
    source = VideoSource("vis", path, epoch_ns=EPOCH)
    frames = list(iter(source.read, None))
    source.close()
    return frames


def read_until_it_fails(path: Path) -> tuple[list[Frame], SourceError]:
    frames: list[Frame] = []
    source: VideoSource | None = None
    try:
        source = VideoSource("vis", path, epoch_ns=EPOCH)
        while (frame := source.read()) is not None:
            frames.append(frame)
    except SourceError as error:
        return frames, error
    pytest.fail(f"{path.name} was read to its end: {len(frames)} frames")


def level(frame: Frame) -> int:
    """Number of the frame, from its grey level."""
    return round(float(frame.image.mean()) / STEP)


def times_of(frames: list[Frame]) -> list[int]:
    return [frame.time_ns for frame in frames]


def nanoseconds(ticks: Sequence[int]) -> list[int]:
    return [EPOCH + round(Fraction(tick * 10**9, TICKS)) for tick in ticks]


def assert_shows_what_its_times_say(frames: list[Frame]) -> None:
    """Every frame of a cut video at 30 frames a second is whole and in its place.

    The last ones may have gaps: a frame between two others is stored after the later one.
    """
    numbers = [round((frame.time_ns - EPOCH) * 30 / 1e9) for frame in frames]
    assert [level(frame) for frame in frames] == numbers
    assert numbers == sorted(set(numbers))
    assert numbers[:-3] == list(range(len(frames)))[:-3]


def whole_packets(path: Path) -> int:
    """How many frames of a cut file are stored whole; 0 where it cannot be opened."""
    try:
        with av.open(str(path)) as container:
            return sum(packet.size > 0 and not packet.is_corrupt for packet in container.demux(video=0))
    except av.FFmpegError:
        return 0


def has_b_frames(path: Path) -> bool:
    with av.open(str(path)) as container:
        stored = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    return stored != sorted(stored)


@pytest.mark.parametrize("times", [RATE_30, variable_times()], ids=["constant", "variable"])
def test_every_frame_comes_in_order_at_its_exact_time(tmp_path: Path, times: list[int]) -> None:
    path = record(tmp_path / "clip.mp4", times=times)
    assert has_b_frames(path)
    frames = read_all(path)
    assert [level(frame) for frame in frames] == list(range(COUNT))
    assert times_of(frames) == nanoseconds(times)
    assert [frame.sequence for frame in frames] == list(range(COUNT))
    assert all(frame.image.shape == (48, 64, 3) and frame.image.dtype == np.uint8 for frame in frames)


@pytest.mark.parametrize(
    ("name", "options"),
    [("clip.mp4", {"movflags": "frag_keyframe+empty_moov"}), ("clip.ts", {}), ("clip.mov", {})],
)
def test_a_muxer_that_shifts_the_start_does_not_shift_the_frames(
    tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    times = variable_times()
    frames = read_all(record(tmp_path / name, times=times, container_options=options))
    assert [level(frame) for frame in frames] == list(range(COUNT))
    assert times_of(frames) == nanoseconds(times)


def test_matroska_keeps_times_to_its_millisecond(tmp_path: Path) -> None:
    times = variable_times()
    frames = read_all(record(tmp_path / "clip.mkv", times=times))
    assert times_of(frames) == [EPOCH + round(Fraction(tick * 1000, TICKS)) * 1_000_000 for tick in times]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "h264"])
def test_the_stated_length_is_known_before_the_first_frame(tmp_path: Path, suffix: str) -> None:
    source = VideoSource("vis", record(tmp_path / f"clip.{suffix}"), epoch_ns=EPOCH)
    told = source.duration_s
    source.close()
    if suffix == "h264":
        assert told is None  # such a file states none
    else:
        assert told == pytest.approx(COUNT / 30, abs=1.5 / 30)


def test_a_stream_without_times_runs_at_its_rate(tmp_path: Path) -> None:
    frames = read_all(record(tmp_path / "clip.h264"))
    assert [level(frame) for frame in frames] == list(range(COUNT))
    gaps = set(np.diff(times_of(frames)).tolist())
    assert times_of(frames)[0] == EPOCH
    assert gaps == {40_000_000}  # FFmpeg assumes 25 frames a second for a bare H.264 stream


@pytest.mark.parametrize(("width", "height"), [(64, 48), (61, 47)])
def test_sixteen_bit_counts_are_kept_exactly(tmp_path: Path, width: int, height: int) -> None:
    pictures = [
        np.random.default_rng(seed).integers(0, 65536, (height, width)).astype(np.uint16) for seed in range(5)
    ]
    path = record(
        tmp_path / "ir.mkv", "ffv1", "gray16le", RATE_30[:5], pictures=pictures, picture_format="gray16le"
    )
    frames = read_all(path)
    assert len(frames) == 5
    for frame, picture in zip(frames, pictures, strict=True):
        assert frame.image.dtype == np.uint16
        assert np.array_equal(frame.image, picture)


def test_ten_bit_counts_are_not_stretched_to_sixteen(tmp_path: Path) -> None:
    picture = (np.arange(48 * 64).reshape(48, 64) % 1024).astype(np.uint16)
    path = record(tmp_path / "ir.mkv", "ffv1", "gray10le", [0], pictures=[picture], picture_format="gray10le")
    (frame,) = read_all(path)
    assert np.array_equal(frame.image, picture)


def test_eight_bit_grey_stays_one_channel(tmp_path: Path) -> None:
    picture = (np.arange(47 * 61).reshape(47, 61) % 256).astype(np.uint8)
    path = record(tmp_path / "ir.mkv", "ffv1", "gray", [0], pictures=[picture], picture_format="gray")
    (frame,) = read_all(path)
    assert frame.image.dtype == np.uint8
    assert np.array_equal(frame.image, picture)


def test_colour_comes_as_blue_green_red(tmp_path: Path) -> None:
    picture = np.full((48, 64, 3), (200, 20, 90), np.uint8)
    path = record(tmp_path / "vis.mkv", "ffv1", "bgr0", [0], pictures=[picture])
    (frame,) = read_all(path)
    assert np.array_equal(frame.image, picture)


def test_frames_are_not_overwritten_by_later_ones(tmp_path: Path) -> None:
    source = VideoSource("vis", record(tmp_path / "clip.mp4"), epoch_ns=0)
    first = source.read()
    assert first is not None
    before = first.image.copy()
    while source.read() is not None:
        pass
    source.close()
    assert np.array_equal(first.image, before)


FASTSTART = {"movflags": "faststart"}
FRAGMENTS = {"movflags": "frag_every_frame+empty_moov"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.mp4", {}),
        ("clip.mp4", FASTSTART),
        ("clip.mp4", FRAGMENTS),
        ("clip.mkv", {}),
        ("clip.avi", {}),
    ],
    ids=["mp4, index lost", "mp4, index first", "mp4, fragments", "mkv", "avi"],
)
def test_a_cut_video_gives_its_whole_frames_and_then_fails(
    tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    path = tmp_path / name
    if name.endswith("avi"):
        record(path, "mjpeg", "yuvj420p", range(COUNT), ticks_a_second=30)
    else:
        record(path, container_options=options)
    assert video_bytes_missing(path) == 0
    assert [level(frame) for frame in read_all(path)] == list(range(COUNT))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 9 // 10])
    assert video_bytes_missing(path) > 0

    frames, error = read_until_it_fails(path)

    assert len(frames) == whole_packets(path) < COUNT
    assert_shows_what_its_times_say(frames)
    assert name in str(error)
    if frames:
        assert f"{len(frames)} frames up to {(frames[-1].time_ns - EPOCH) / 1e9:.3f} s" in str(error)
    else:
        assert "got no frame" in str(error)


def test_a_damaged_recording_fails_again_when_read_again(tmp_path: Path) -> None:
    path = record(tmp_path / "clip.mkv")
    path.write_bytes(path.read_bytes()[:-200])
    source = VideoSource("vis", path, epoch_ns=0)
    messages = set()
    for _ in range(COUNT + 2):
        try:
            assert source.read() is not None
        except SourceError as error:
            messages.add(str(error))
    source.close()
    assert len(messages) == 1
    assert "ffmpeg -i" in messages.pop()


def counts() -> list[Any]:
    """Pictures of 16 bits that do not compress, each different."""
    return [np.random.default_rng(i).integers(0, 65536, (48, 64)).astype(np.uint16) for i in range(COUNT)]


def test_an_unreadable_end_does_not_pass_for_the_end(tmp_path: Path) -> None:
    pictures = counts()
    path = record(tmp_path / "ir.mkv", "ffv1", "gray16le", pictures=pictures, picture_format="gray16le")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    assert video_bytes_missing(path) == 0
    frames, error = read_until_it_fails(path)
    assert 10 < len(frames) < 30
    # FFV1 hands out the one frame that was hit half read and says nothing.
    for frame, picture in zip(frames[:-1], pictures, strict=False):
        assert np.array_equal(frame.image, picture)
    assert "s at its end cannot be read" in str(error)


def test_frames_after_a_damage_keep_their_true_times(tmp_path: Path) -> None:
    pictures = counts()
    path = record(tmp_path / "ir.mkv", "ffv1", "gray16le", pictures=pictures, picture_format="gray16le")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40_000] = bytes(40_000)
    path.write_bytes(data)
    frames = read_all(path)
    assert len(frames) < COUNT
    whole = [
        np.array_equal(frame.image, pictures[round((frame.time_ns - EPOCH) * 30 / 1e9)]) for frame in frames
    ]
    assert whole.count(False) <= 1
    assert whole[-1]


def test_a_frame_that_the_decoder_had_to_guess_is_noticed(tmp_path: Path) -> None:
    path = record(tmp_path / "clip.mp4")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 100] = b"\xff" * 100
    path.write_bytes(data)
    frames, error = read_until_it_fails(path)
    assert 10 < len(frames) < 30
    assert [level(frame) for frame in frames] == list(range(len(frames)))
    # The encoder's bits differ from run to run: the decoder repairs the damage or gives up on it.
    assert "is damaged" in str(error) or "cannot be decoded further" in str(error)


def test_packets_lost_on_the_way_are_noticed(tmp_path: Path) -> None:
    path = record(tmp_path / "clip.ts")
    data = path.read_bytes()
    packet = 188  # of a transport stream, which numbers its packets
    middle = len(data) // packet // 2 * packet
    path.write_bytes(data[:middle] + data[middle + packet :])
    frames, error = read_until_it_fails(path)
    assert 0 < len(frames) < COUNT
    assert_shows_what_its_times_say(frames)
    assert "is cut short or damaged" in str(error)


def test_a_recording_that_was_never_closed_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = record(tmp_path / "live.mkv", container_options={"live": "1"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 9 // 10])
    assert video_bytes_missing(path) == 0
    frames = read_all(path)
    assert 20 < len(frames) < COUNT
    assert_shows_what_its_times_say(frames)


@pytest.mark.parametrize("name", ["notes.mp4", "notes.txt", "notes.mkv"])
def test_text_is_no_video(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a line of text\n" * 200)
    with pytest.raises(SourceError, match=name):
        VideoSource("vis", tmp_path / name, epoch_ns=0)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16_000))
    with pytest.raises(SourceError, match="holds no video stream"):
        VideoSource("vis", tmp_path / "sound.wav", epoch_ns=0)


def test_a_video_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="does not exist"):
        VideoSource("vis", tmp_path / "none.mp4", epoch_ns=0)


def test_a_colon_in_a_name_is_no_protocol(tmp_path: Path) -> None:
    path = record(tmp_path / "clip.mp4").rename(tmp_path / "ir:night.mp4")
    assert len(read_all(path)) == COUNT


def test_a_video_takes_no_rate(tmp_path: Path) -> None:
    path = record(tmp_path / "clip.mp4")
    with pytest.raises(RequestError, match="brings its own times and size"):
        from_uri("vis", parse(f"file://{path}?fps=10"), epoch_ns=0)
    source = from_uri("vis", parse(f"file://{path}"), epoch_ns=7)
    frame = source.read()
    source.close()
    source.close()
    assert frame is not None
    assert (frame.time_ns, frame.source, source.live) == (7, "vis", False)
    assert source.read() is None


def test_a_title_that_is_no_utf8_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "title.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "cafZZ"
        stream: Any = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 6, 4, "gray"
        frame = av.VideoFrame.from_ndarray(np.full((4, 6), 7, np.uint8), format="gray")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    raw = path.read_bytes()
    assert raw.count(b"cafZZ") == 1
    path.write_bytes(raw.replace(b"cafZZ", b"caf\xe9\xe9"))
    source = VideoSource("vis", path, epoch_ns=0)
    taken = source.read()
    assert taken is not None
    assert taken.image[0, 0] == 7
    assert source.read() is None
    source.close()
