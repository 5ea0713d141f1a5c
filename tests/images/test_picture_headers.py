"""A picture's header is read first: what is too large, endless or absurd is refused before it is decoded."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import picture_bytes as made
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge.errors import SourceError
from tdfusion_edge.images import read_image
from tdfusion_edge.images.headers import header_of
from tdfusion_edge.images.reading import MOST_PIXELS

SMALL = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)


def claiming(kind: str, width: int, height: int) -> bytes:
    """A small file that says that it is of this size."""
    if kind == "png":
        data = made.png_of(SMALL, 2)
        head = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
        return data[:12] + head + made.chunk(b"IHDR", head[4:])[-4:] + data[33:]
    if kind == "jpg":
        data = made.encoded(".jpg", SMALL)
        at = data.index(b"\xff\xc0") + 5
        return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]
    if kind == "tif":
        return made.tiff_of([(SMALL, {256: width, 257: height})])
    if kind == "webp":
        data = made.webp(SMALL, 1)
        return data[:24] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + data[30:]
    data = made.encoded(".bmp", SMALL)
    # Run lengths, so that the file need not be as long as the picture.
    return data[:18] + struct.pack("<ii", width, -height) + data[26:30] + struct.pack("<I", 1) + data[34:]


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp", "bmp"])
def test_a_size_beyond_the_limit_is_refused_before_decoding(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"huge.{kind}"
    path.write_bytes(claiming(kind, 30_000, 30_000))
    tracemalloc.start()
    with pytest.raises(SourceError, match=r"huge\.\w+ is larger than is taken.*100,000,000.*30000x30000"):
        read_image(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp", "bmp"])
@given(st.integers(1, 16_000), st.integers(1, 16_000))
def test_the_size_that_a_file_states_is_read(kind: str, width: int, height: int) -> None:
    header = header_of(claiming(kind, width, height))
    assert header is not None
    assert (header.width, header.height) == (width, height)


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_WEBP_QUALITY, 80), (cv2.IMWRITE_WEBP_QUALITY, 101)])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
def test_the_size_is_that_of_what_is_decoded(suffix: str, options: tuple[int, ...]) -> None:
    header = header_of(made.encoded(suffix, SMALL, *(options if suffix == ".webp" else ())))
    assert header is not None
    assert (header.width, header.height) == (10, 12)


def test_an_old_bitmap_has_16_bit_sides() -> None:
    data = made.encoded(".bmp", SMALL)
    core = struct.pack("<IHHHH", 12, 10, 12, 1, 24)
    header = header_of(b"BM" + struct.pack("<IHHI", 26 + 384, 0, 0, 26) + core + data[54:])
    assert header is not None
    assert (header.width, header.height) == (10, 12)


def test_the_limit_leaves_room_for_large_cameras() -> None:
    assert MOST_PIXELS >= 12_000 * 8_000


def test_pages_that_point_at_each_other_end(tmp_path: Path) -> None:
    one = made.tiff_of([(SMALL[..., 0], {})])
    (start,) = struct.unpack_from("<I", one, 4)
    (tmp_path / "loop.tif").write_bytes(one[:-4] + struct.pack("<I", start))
    with pytest.raises(SourceError, match=r"loop\.tif: its pages have no end"):
        read_image(tmp_path / "loop.tif")
    # A chain of directories that lie in each other, each as long as the file.
    links = b"".join(struct.pack("<HI", 65535, 0) for _ in range(150_000))
    nested = bytearray(b"II*\0" + struct.pack("<I", 8) + links)
    for at in range(8, 8 + 6 * 10_000, 6):
        struct.pack_into("<I", nested, at + 2 + 12 * 65535, at + 6)
    (tmp_path / "nested.tif").write_bytes(nested)
    with pytest.raises(SourceError, match=r"nested\.tif: its pages have no end"):
        read_image(tmp_path / "nested.tif")


def test_a_jpeg_of_endless_scans_is_refused(tmp_path: Path) -> None:
    data = made.encoded(".jpg", SMALL, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    path = tmp_path / "scans.jpg"
    path.write_bytes(data)
    assert read_image(path).shape == SMALL.shape
    at = data.index(b"\xff\xda")
    end = data.index(b"\xff", at + 2)
    path.write_bytes(data[:at] + data[at:end] * 2_000 + data[at:])
    with pytest.raises(SourceError, match=r"takes too long to decode: expected 500 scans"):
        read_image(path)


@pytest.mark.parametrize("kind", ["gif", "ppm", "text"])
def test_other_formats_are_none_of_ours(tmp_path: Path, kind: str) -> None:
    content = {"gif": b"GIF89a" + bytes(40), "ppm": b"P6 30000 30000 255\n" + bytes(40), "text": b"hello"}
    (tmp_path / "other.png").write_bytes(content[kind])
    with pytest.raises(SourceError, match="is no image, or a damaged one: expected PNG, JPEG, BMP, WebP or"):
        read_image(tmp_path / "other.png")


@given(st.data())
def test_headers_of_any_bytes_are_read_without_a_crash(data: st.DataObject) -> None:
    """Whole files with some bytes changed: a header, none, or an error of ours."""
    kinds = {
        "png": made.png(SMALL, 6), "jpg": made.jpeg(SMALL, 6), "webp": made.webp(SMALL, 6),
        "tif": made.tiff_of([(SMALL, {274: 6}), (SMALL, {})], big=data.draw(st.booleans())),
        "bmp": made.encoded(".bmp", SMALL),
    }  # fmt: skip
    raw = bytearray(kinds[data.draw(st.sampled_from(sorted(kinds)))])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(raw) - 1))
        value = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFE, 0xFF]) | st.integers(0, 255))
        raw[at : at + data.draw(st.integers(1, 4))] = bytes([value])
    try:
        header = header_of(bytes(raw))
    except SourceError:
        header = None
    assert header is None or 1 <= header.orientation <= 8
