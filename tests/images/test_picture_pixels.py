"""Bright is high, counts stay counts, and what cannot be read so is refused: by layout of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import picture_bytes as made
import pytest

from tdfusion_edge.errors import SourceError
from tdfusion_edge.images import PictureFile, read_image

COUNTS = np.random.default_rng(3).integers(7000, 9000, (6, 8)).astype(np.uint16)
LEVELS = (COUNTS >> 8).astype(np.uint8) + COUNTS.astype(np.uint8)


def read(folder: Path, data: bytes) -> Any:
    (folder / "picture").write_bytes(data)
    return read_image(folder / "picture")


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("true", [COUNTS, LEVELS], ids=["16 bits", "8 bits"])
def test_white_is_zero_is_the_same_picture(tmp_path: Path, true: Any, order: str, big: bool) -> None:
    black = made.tiff_of([(true, {262: 1})], order, big=big)
    white = made.tiff_of([(np.iinfo(true.dtype).max - true, {262: 0})], order, big=big)
    np.testing.assert_array_equal(read(tmp_path, black), true)
    np.testing.assert_array_equal(read(tmp_path, white), true)


def test_white_is_zero_is_turned_as_well(tmp_path: Path) -> None:
    data = made.tiff_of([(65535 - COUNTS, {262: 0, 274: 6})])
    np.testing.assert_array_equal(read(tmp_path, data), np.rot90(COUNTS, -1))


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_equal_channels_of_16_bits_are_their_counts(tmp_path: Path, kind: str, channels: int) -> None:
    layers = [COUNTS] * 3 + [np.full_like(COUNTS, 65535)] * (channels - 3)
    stacked = np.stack(layers, axis=-1)
    data = made.png_of(stacked, 2 if channels == 3 else 6)
    if kind == "tif":
        data = made.tiff_of([(stacked, {338: 2} if channels == 4 else {})])
    seen = read(tmp_path, data)
    assert seen.dtype == np.uint16
    np.testing.assert_array_equal(seen, COUNTS)
    stacked[2, 3, 1] += 1
    data = made.png_of(stacked, 2 if channels == 3 else 6)
    with pytest.raises(SourceError, match=f"got uint16 in {channels} channels"):
        read(tmp_path, data)


def test_counts_beside_alpha_are_counts(tmp_path: Path) -> None:
    alpha = np.random.default_rng(4).integers(0, 65536, COUNTS.shape).astype(np.uint16)
    seen = read(tmp_path, made.png_of(np.stack([COUNTS, alpha], axis=-1), 4))
    assert seen.dtype == np.uint16
    np.testing.assert_array_equal(seen, COUNTS)


def test_counts_beside_alpha_in_a_tiff_are_refused_not_cut_to_8_bits(tmp_path: Path) -> None:
    data = made.tiff_of([(np.stack([COUNTS, COUNTS], axis=-1), {338: 2})])
    with pytest.raises(SourceError, match="8- or 16-bit grey or 8-bit colour, got uint16 in 2 channels"):
        read(tmp_path, data)


@pytest.mark.parametrize("alpha", [0, 1, 2])
def test_alpha_is_dropped_and_changes_nothing(tmp_path: Path, alpha: int) -> None:
    half = np.full_like(LEVELS, 128)
    colour = np.stack([LEVELS, LEVELS // 2, LEVELS // 3, half], axis=-1)
    grey = np.stack([LEVELS, half], axis=-1)
    np.testing.assert_array_equal(read(tmp_path, made.png_of(colour, 6)), colour[..., 2::-1])
    np.testing.assert_array_equal(read(tmp_path, made.tiff_of([(colour, {338: alpha})])), colour[..., 2::-1])
    np.testing.assert_array_equal(read(tmp_path, made.tiff_of([(grey, {338: alpha})])), LEVELS)


@pytest.mark.parametrize(
    ("dtype", "form", "got"),
    [
        (np.int16, 2, "int16 in 1 channel"),
        (np.int8, 2, "int8 in 1 channel"),
        (np.float32, 3, "float32 in 1 channel"),
        (np.float64, 3, "float64 in 1 channel"),
        (np.uint32, 1, "uint32 in 1 channel"),
    ],
)
@pytest.mark.parametrize("photometric", [0, 1])
def test_other_depths_are_refused(tmp_path: Path, dtype: Any, form: int, got: str, photometric: int) -> None:
    data = made.tiff_of([(np.ones((3, 4), dtype), {339: form, 262: photometric})])
    with pytest.raises(SourceError, match=f"got {got}"):
        read(tmp_path, data)


def test_a_reduced_page_never_stands_for_the_picture(tmp_path: Path) -> None:
    thumbnail = np.zeros((2, 3), np.uint16)
    for tags in ({254: 1}, {254: 5}, {254: 4}, {255: 2}):
        data = made.tiff_of([(thumbnail, tags), (COUNTS, {})])
        np.testing.assert_array_equal(read(tmp_path, data), COUNTS)
        assert len(PictureFile(tmp_path / "picture")) == 1
    with pytest.raises(SourceError, match="holds no picture but reduced ones"):
        read(tmp_path, made.tiff_of([(thumbnail, {254: 1})]))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_pages_are_given_one_by_one(tmp_path: Path, order: str, big: bool) -> None:
    pages = [COUNTS + number for number in range(5)]
    data = made.tiff_of([(page, {254: 2}) for page in pages], order, big=big)
    np.testing.assert_array_equal(read(tmp_path, data), pages[0])
    file = PictureFile(tmp_path / "picture")
    assert len(file) == 5
    for number in (4, 0, 2, 3, 1):
        np.testing.assert_array_equal(file.picture(number), pages[number])
