"""Layouts of pixels and orientations: counts stay counts, and pictures stand as they are to be seen."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from recordings import GREY16, MIRRORS, MP4, QUARTERS, Kind, bars, hold, number_in, record

from tdfusion_edge.errors import SourceError
from tdfusion_edge.video.orientation import UPRIGHT, orientation
from tdfusion_edge.video.pixels import NoCounts, converts, taker
from tdfusion_edge.video.reader import Shown, VideoReader

LAYOUTS = {
    "gray16le": GREY16,
    "gbrp16le": Kind(".mkv", "ffv1", "gbrp16le"),
    "ya16be": Kind(".mov", "png", "ya16be"),
    "rgb48be": Kind(".mov", "png", "rgb48be"),
}


def read(path: Path) -> list[Shown]:
    reader = VideoReader(path)
    frames = list(iter(reader.read, None))
    reader.close()
    return frames


@pytest.mark.parametrize("layout", LAYOUTS)
def test_counts_are_kept_in_every_layout_of_16_bits(tmp_path: Path, layout: str) -> None:
    rng = np.random.default_rng(1)
    pictures = [rng.integers(7000, 9000, (47, 61)).astype(np.uint16) for _ in range(3)]
    path = record(tmp_path / "ir", LAYOUTS[layout], pictures=pictures)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == layout
    for frame, picture in zip(read(path), pictures, strict=True):
        assert frame.image.dtype == np.uint16
        np.testing.assert_array_equal(frame.image, picture)


def test_grey_beside_alpha_is_grey(tmp_path: Path) -> None:
    (frame,) = read(record(tmp_path / "ir", Kind(".mov", "png", "ya8"), count=1))
    assert frame.image.dtype == np.uint8
    np.testing.assert_array_equal(frame.image, bars(0))


@pytest.mark.parametrize("layout", ["gbrp16le", "gbrp10le", "rgb48be"])
def test_colours_of_more_than_8_bits_are_refused(tmp_path: Path, layout: str) -> None:
    path = tmp_path / ("deep.mov" if layout == "rgb48be" else "deep.mkv")
    grey = np.dstack([bars(0, deep=True)] * 3)
    colours = grey + np.array([0, 1, 0], np.uint16)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("png" if layout == "rgb48be" else "ffv1", rate=30)
        stream.height, stream.width, stream.pix_fmt = (*grey.shape[:2], layout)
        for picture in (grey, colours << 6 if "10" in layout else colours):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb48le").reformat(format=layout)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    reader = VideoReader(path)
    first = reader.read()
    assert first is not None
    assert first.image.dtype == np.uint16
    for _ in range(2):
        with pytest.raises(SourceError, match=rf"not taken here \({layout}\)(?s:.*)got 1 frames") as refused:
            reader.read()
    assert "ffmpeg -i" in str(refused.value)
    reader.close()


def test_layouts_that_are_neither_counts_nor_8_bits_are_refused() -> None:
    for name in ("grayf32le", "gbrpf32le", "x2rgb10le", "bayer_rggb16le", "rgbaf16le"):
        layout = av.VideoFormat(name)
        with pytest.raises(NoCounts, match=name):
            taker(layout)
    for name in ("yuv420p10le", "p010le", "yuv444p16le", "bgr24", "pal8", "monow", "bayer_rggb8", "nv12"):
        layout = av.VideoFormat(name)
        assert taker(layout) is not None
        assert converts(layout)


def test_ten_bits_of_visible_light_are_taken(tmp_path: Path) -> None:
    (frame,) = read(record(tmp_path / "vis", Kind(".mp4", "libx264", "yuv420p10le"), count=1))
    assert frame.image.dtype == np.uint8
    assert frame.image.ndim == 3
    assert abs(frame.image[..., 1].astype(int) - bars(0)).mean() < 3


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("turn", QUARTERS)
def test_a_turned_video_stands_upright(tmp_path: Path, suffix: str, turn: int) -> None:
    path = hold(record(tmp_path / "vis", Kind(suffix), count=3), QUARTERS[turn])
    for number, frame in enumerate(read(path)):
        expected = np.rot90(bars(number), -turn // 90)
        assert frame.image.shape[:2] == expected.shape
        assert frame.image.flags.c_contiguous
        assert abs(frame.image[..., 0].astype(int) - expected).mean() < 3


@pytest.mark.parametrize("mirror", MIRRORS)
def test_a_mirrored_video_is_mirrored_back(tmp_path: Path, mirror: str) -> None:
    path = hold(record(tmp_path / "vis", MP4, count=2), MIRRORS[mirror])
    expected = {
        "left to right": bars(1)[:, ::-1],
        "top to bottom": bars(1)[::-1],
        "diagonal": bars(1).T,
        "other diagonal": bars(1)[::-1, ::-1].T,
    }[mirror]
    frame = read(path)[1]
    assert frame.image.shape[:2] == expected.shape
    assert abs(frame.image[..., 0].astype(int) - expected).mean() < 3


def test_counts_are_turned_too(tmp_path: Path) -> None:
    path = hold(record(tmp_path / "ir", Kind(".mov", "png", "gray16be"), count=2), QUARTERS[90])
    np.testing.assert_array_equal(read(path)[1].image, np.rot90(bars(1, deep=True), -1))


def test_a_matrix_that_shows_nothing_is_passed_over(tmp_path: Path) -> None:
    path = hold(record(tmp_path / "vis", MP4, count=3), (0, 0, 0, 0))
    assert [number_in(frame.image) for frame in read(path)] == [0, 1, 2]


def test_another_angle_is_told_and_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = hold(record(tmp_path / "vis", MP4, count=5), (0.7071, 0.7071, -0.7071, 0.7071))
    assert abs(read(path)[4].image[..., 0].astype(int) - bars(4)).mean() < 3
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} asks to be turned by no quarter turns, which is not followed"
    ]


def matrix(*numbers: int) -> bytes:
    a, b, c, d = numbers
    return np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32).tobytes()


@pytest.mark.parametrize("scale", [1, 20_000, 65_536, 131_072])
def test_scale_and_a_rounded_quarter_do_not_matter(scale: int) -> None:
    for a, b, c, d in (*QUARTERS.values(), *MIRRORS.values()):
        exact = orientation(matrix(a * scale, b * scale, c * scale, d * scale))
        assert exact == orientation(matrix(a, b, c, d))
        rounding = scale // 100
        blurred = [value * scale + (0 if value else rounding) for value in (a, b, c, d)]
        assert orientation(matrix(*blurred)) == exact
    assert orientation(matrix(0, 0, 0, 0)) == UPRIGHT


def test_pixels_that_are_not_square_are_known(tmp_path: Path) -> None:
    for aspect in (Fraction(1), Fraction(16, 11)):
        reader = VideoReader(record(tmp_path / "vis", MP4, count=2, aspect=aspect))
        assert reader.pixel_aspect == aspect
        reader.close()


def test_the_first_of_two_videos_is_read_and_that_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams: list[Any] = [container.add_stream("ffv1", rate=30) for _ in range(2)]
        for stream in streams:
            stream.height, stream.width, stream.pix_fmt = (*bars(0).shape, "gray")
        for number in (3, 5):
            for stream, picture in zip(streams, (bars(number), bars(1)), strict=True):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray")))
        for stream in streams:
            container.mux(stream.encode(None))
    assert [number_in(frame.image) for frame in read(path)] == [3, 5]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        f"{path} holds 2 videos, of which the first is read; take out another one: ffmpeg -i {path} "
        "-map 0:v:1 -c copy second.mkv"
    )


def test_a_cover_picture_is_no_video(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "cover.mp4"
    with av.open(str(path), "w") as container:
        cover: Any = container.add_stream("mjpeg", rate=30)
        cover.height, cover.width, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        film: Any = container.add_stream("libx264", rate=30, options={"crf": "12"})
        film.height, film.width, film.pix_fmt = (*bars(0).shape, "yuv420p")
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32), np.uint8), format="gray")))
        for number in range(4):
            container.mux(film.encode(av.VideoFrame.from_ndarray(bars(number), format="gray")))
        for stream in (cover, film):
            container.mux(stream.encode(None))
    assert [number_in(frame.image) for frame in read(path)] == [0, 1, 2, 3]
    assert caplog.records == []
