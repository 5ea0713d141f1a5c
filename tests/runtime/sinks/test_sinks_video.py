"""The video sink: times, colours, sizes, and what it refuses."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sink_results import decode, numbered, numbers, record, result

from tdfusion_edge.errors import RequestError, SinkError
from tdfusion_edge.runtime.sinks.encoding import to_yuv420
from tdfusion_edge.runtime.sinks.timeline import LONGEST_STEP, TICKS_PER_S, Timeline
from tdfusion_edge.runtime.sinks.video import VideoSink

SUFFIXES = (".mp4", ".mkv")
REUSE = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# -- times -------------------------------------------------------------------------------------------


@REUSE
@given(
    steps=st.lists(st.integers(12_000, 3_000_000_000), min_size=1, max_size=20), start=st.integers(0, 2**62)
)
def test_mp4_keeps_capture_times_to_half_a_tick(tmp_path: Path, steps: list[int], start: int) -> None:
    times = [0, *itertools.accumulate(steps)]
    path = tmp_path / "out.mp4"
    sink = VideoSink(path)
    for index, time in enumerate(times):
        sink.write(result(index, start + time))
    sink.close()
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    got = [packet.pts * packet.time_base for packet in packets]
    assert all(
        abs(g - Fraction(t, 10**9)) <= Fraction(1, 2 * TICKS_PER_S) for g, t in zip(got, times, strict=True)
    )
    durations = [packet.duration * packet.time_base for packet in packets[:-1]]
    assert durations == [after - before for before, after in itertools.pairwise(got)]
    assert numbers(path) == list(range(len(times)))


def test_mkv_keeps_capture_times_to_a_millisecond(tmp_path: Path) -> None:
    times = [0, 33_333_333, 50_000_000, 1_234_567_890, 9_876_543_210]
    path = tmp_path / "out.mkv"
    sink = VideoSink(path)
    for index, time in enumerate(times):
        sink.write(result(index, 10**15 + time))
    sink.close()
    got = decode(path)
    assert [number for number, _ in got] == [0, 1, 2, 3, 4]
    assert [time for _, time in got] == pytest.approx([time / 1e9 for time in times], abs=0.0006)


@given(times=st.lists(st.integers(-(2**60), 2**60), min_size=2, max_size=50))
def test_timeline_always_rises_and_never_pauses_too_long(times: list[int]) -> None:
    line = Timeline()
    ticks = [line.place(time) for time in times]
    assert ticks[0] == 0
    assert all(1 <= after - before <= LONGEST_STEP for before, after in itertools.pairwise(ticks))


@given(steps=st.lists(st.integers(12_000, 10**13), max_size=50))
def test_timeline_does_not_drift(steps: list[int]) -> None:
    line = Timeline()
    for time in (0, *itertools.accumulate(steps)):
        assert abs(Fraction(line.place(time), TICKS_PER_S) - Fraction(time, 10**9)) <= Fraction(
            1, 2 * TICKS_PER_S
        )


def test_timeline_goes_on_after_a_reset_and_returns_after_a_small_step_back() -> None:
    line = Timeline()
    second = 10**9
    assert [line.place(t) for t in (5 * second, 6 * second)] == [0, 90_000]
    assert [line.place(t) for t in (6 * second - 5_000_000, 7 * second)] == [90_001, 180_000]
    # The clock starts anew: an offset of one tick, then its own pace.
    assert [line.place(t) for t in (0, second, 2 * second)] == [180_001, 270_001, 360_001]


def test_a_frame_that_is_not_later_is_recorded_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = VideoSink(path)
    for index, time in enumerate((0, 40_000_000, 40_000_000, 35_000_000, 80_000_000)):
        sink.write(result(index, time))
    sink.close()
    assert numbers(path) == [0, 1, 2, 3, 4]
    assert decode(path)[-1][1] == pytest.approx(0.08, abs=1e-5)


@pytest.mark.parametrize(("fps", "longest"), [(0.5, 2.0), (3, 1.0), (9, 1.0), (30, 1.0), (120, 1.0)])
def test_a_fragment_is_no_longer_than_a_second_or_one_frame(
    tmp_path: Path, fps: float, longest: float
) -> None:
    path = tmp_path / "out.mp4"
    record(path, 20 if fps < 5 else int(4 * fps), int(1e9 / fps))
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    starts = [float(packet.pts * packet.time_base) for packet in packets if packet.is_keyframe]
    assert len(starts) > 1
    assert max(after - before for before, after in itertools.pairwise(starts)) <= longest + 1e-4
    assert path.read_bytes().count(b"moof") == len(starts)


# -- colour and size ---------------------------------------------------------------------------------

PATCHES = [(0, 0, 0), (255, 255, 255), (0, 0, 255), (0, 255, 0), (255, 0, 0), (128, 128, 128), (30, 90, 200)]


def bt601(planes: np.ndarray, height: int, width: int) -> np.ndarray:
    """BGR of limited-range BT.601 planes by the standard's equations, in floating point."""
    luma = (planes[:height].astype(float) - 16) / 219
    quarter = planes[height:].reshape(2, height // 2, width // 2).astype(float)
    blue, red = ((quarter - 128) / 224).repeat(2, axis=1).repeat(2, axis=2)
    r, b = luma + 1.402 * red, luma + 1.772 * blue
    g = (luma - 0.299 * r - 0.114 * b) / 0.587
    return np.clip(np.rint(np.stack((b, g, r), axis=-1) * 255), 0, 255)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_colours_come_back(tmp_path: Path, suffix: str) -> None:
    picture = np.repeat(np.array(PATCHES, np.uint8), 16, axis=0)[None].repeat(32, axis=0)
    path = tmp_path / f"out{suffix}"
    sink = VideoSink(path)
    for index in range(5):
        sink.write(result(index, image=picture))
    sink.close()
    with av.open(str(path)) as container:
        frame = list(container.decode(video=0))[-1]
    middles = slice(8, None, 16)
    by_equation = bt601(frame.to_ndarray(), *picture.shape[:2])[16, middles]
    assert np.abs(by_equation - PATCHES).max() <= 4
    as_played = frame.to_ndarray(format="bgr24")[16, middles].astype(int)
    assert np.abs(as_played - PATCHES).max() <= 6
    # H.273 numbers: matrix 6 BT.601, primaries 1 and transfer 13 sRGB; 1 is libav's limited range.
    assert (int(frame.colorspace), int(frame.color_range)) == (6, 1)
    assert (int(frame.color_primaries), int(frame.color_trc)) == (1, 13)


def test_planes_follow_the_equations_without_bias() -> None:
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 256, (40, 60, 3)), np.ones((2, 2, 1))).astype(np.uint8)
    blue, green, red = (picture[..., c].astype(float) / 255 for c in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = to_yuv420(picture).astype(float)
    u, v = planes[80:].reshape(2, 40, 60)
    for got, want in (
        (planes[:80], 16 + 219 * luma),
        (u, (128 + 224 * (blue - luma) / 1.772)[::2, ::2]),
        (v, (128 + 224 * (red - luma) / 1.402)[::2, ::2]),
    ):
        assert np.abs(got - want).max() <= 1.2  # chroma is rounded twice
        assert abs((got - want).mean()) < 0.05


def test_chroma_is_the_mean_of_four_pixels() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[1, 1] = (0, 0, 255)
    red_chroma = to_yuv420(picture).ravel()[5]
    assert red_chroma == pytest.approx(128 + 112 / 4, abs=1)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_grey_stays_grey_and_may_alternate_with_colour(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    sink = VideoSink(path)
    for index in range(6):
        sink.write(result(index, image=numbered(index, colour=index % 2 == 1)))
    sink.close()
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert set(frame.to_ndarray()[frame.height :].ravel()) == {128}
    assert numbers(path) == list(range(6))


@pytest.mark.parametrize(("width", "height"), [(81, 32), (80, 33), (81, 33), (1, 1)])
def test_odd_sizes_repeat_their_last_column_and_row(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "out.mp4"
    picture = np.full((height, width), 60, np.uint8)
    picture[:, -8:] = 200
    sink = VideoSink(path)
    sink.write(result(0, image=picture))
    sink.close()
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height) == (width + width % 2, height + height % 2)
    assert frame.format.name == "yuv420p"
    luma = (frame.to_ndarray()[: frame.height].astype(float) - 16) * 255 / 219
    assert np.abs(luma[:height, :width] - picture).max() < 10
    assert np.abs(luma - np.pad(picture, ((0, height % 2), (0, width % 2)), mode="edge")).max() < 10


def test_another_size_is_refused_and_the_video_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = VideoSink(path)
    sink.write(result(0))
    with pytest.raises(SinkError, match=r"size changed at frame 1: expected 80x32 as before, got 40x32"):
        sink.write(result(1, image=numbered(1, (40, 32))))
    sink.write(result(2))
    sink.close()
    assert numbers(path) == [0, 2]


def test_other_dtypes_are_refused(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4")
    with pytest.raises(SinkError, match=r"got uint16 \(32, 80\)"):
        sink.write(result(0, image=numbered(0).astype(np.uint16)))
    sink.close()
    assert not list(tmp_path.iterdir())


def test_what_is_recorded_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = VideoSink(path, picture=lambda r: numbered(r.index + 100))
    sink.write(result(3))
    sink.close()
    assert numbers(path) == [103]


# -- opening -----------------------------------------------------------------------------------------


def test_requests_that_cannot_be_met_are_refused_and_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    for path, message in [
        (tmp_path / "folder.mp4", "is a folder"),
        (tmp_path / "out.avi", "expected .mp4 or .mkv"),
        (tmp_path / "absent" / "out.mp4", "mkdir -p"),
    ]:
        with pytest.raises(RequestError, match=message):
            VideoSink(path)
    for rate in (0.0, -5.0, 1e-9, 1e9, float("nan"), float("inf")):
        with pytest.raises(RequestError, match="frame rate"):
            VideoSink(tmp_path / "out.mp4", fps_hint=rate)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.mp4"]


def test_an_existing_file_stays_until_the_first_frame_is_encoded(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"precious")
    VideoSink(path).close()
    assert path.read_bytes() == b"precious"
    sink = VideoSink(path)
    with pytest.raises(SinkError):  # H.264 ends at 16384 pixels a side
        sink.write(result(0, image=np.zeros((2, 40_000), np.uint8)))
    sink.close()
    assert path.read_bytes() == b"precious"
    sink = VideoSink(path)
    sink.write(result(7))
    sink.close()
    assert numbers(path) == [7]


@pytest.mark.parametrize("rate", [0.01, 29.97, 1000])
def test_a_nominal_rate_changes_no_time(tmp_path: Path, rate: float) -> None:
    path = tmp_path / "out.mp4"
    sink = VideoSink(path, fps_hint=rate)
    for index in range(5):
        sink.write(result(index, index * 40_000_000))
    sink.close()
    assert decode(path) == [(index, pytest.approx(index * 0.04)) for index in range(5)]


def test_close_and_abort_may_come_twice(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = VideoSink(path)
    sink.write(result(0))
    sink.abort()
    sink.abort()
    sink.close()
    with pytest.raises(ValueError, match="closed output"):
        sink.write(result(1))
    assert numbers(path) == [0]
