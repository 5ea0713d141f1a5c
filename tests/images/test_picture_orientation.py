"""Pictures are read as viewers show them, whichever format says how they are turned."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import picture_bytes as made
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageOps

from tdfusion_edge.images import PictureFile, read_image

Encode = Callable[[Any, int, str], bytes]

FORMATS: dict[str, Encode] = {
    "jpg": made.jpeg,
    "png": made.png,
    "webp": made.webp,
    "tif": made.tiff,
}
"""A picture, BGR or grey, with an orientation; in both byte orders of EXIF."""

CORNERS = {1: "top left", 2: "top right", 3: "bottom right", 4: "bottom left",
           5: "left top", 6: "right top", 7: "right bottom", 8: "left bottom"}  # fmt: skip
"""Where EXIF (CIPA DC-008, tag 274) has the first row, and then the first column, in what is shown."""


def shown(stored: Any, orientation: int) -> Any:
    """What is seen, from those words alone: pixel by pixel."""
    row_side, column_side = CORNERS[orientation].split()
    height, width = stored.shape[:2]
    turned = row_side in ("left", "right")  # rows stand upright
    out = np.zeros((width, height, *stored.shape[2:]) if turned else stored.shape, stored.dtype)
    for y in range(height):
        for x in range(width):
            row = y if row_side in ("top", "left") else height - 1 - y
            column = x if column_side in ("left", "top") else width - 1 - x
            out[(column, row) if turned else (row, column)] = stored[y, x]
    return out


def by_pillow(data: bytes) -> Any:
    """What another reader shows, RGB turned to BGR."""
    with Pillow.open(io.BytesIO(data)) as opened:
        seen = np.asarray(ImageOps.exif_transpose(opened))
    return (
        seen[..., ::-1] if seen.ndim == 3 else seen.astype(np.uint16 if seen.dtype.itemsize > 1 else np.uint8)
    )


def random(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def written(folder: Path, data: bytes) -> Path:
    path = folder / "picture"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", FORMATS)
def test_8_bits_are_turned_in_every_format(tmp_path: Path, kind: str, orientation: int, order: str) -> None:
    stored = random((5, 7, 3), np.uint8)
    if kind == "jpg":  # smooth, so that its loss is small beside what a wrong turn makes
        stored = cv2.resize(random((2, 2, 3), np.uint8), (56, 40))
    data = FORMATS[kind](stored, orientation, order)
    seen = read_image(written(tmp_path, data))
    if kind == "jpg":
        assert seen.shape == shown(stored, orientation).shape
        assert np.abs(seen.astype(int) - shown(stored, orientation)).max() < 12
        # OpenCV turns a JPEG where it is not asked for what is stored.
        np.testing.assert_array_equal(seen, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    else:
        np.testing.assert_array_equal(seen, shown(stored, orientation))
        np.testing.assert_array_equal(seen, by_pillow(data))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", FORMATS)
def test_grey_is_turned_in_every_format(tmp_path: Path, kind: str, orientation: int, order: str) -> None:
    stored = random((5, 7), np.uint8) if kind != "jpg" else cv2.resize(random((2, 2), np.uint8), (56, 40))
    if kind == "webp":
        stored = cv2.merge([stored] * 3)
    seen = read_image(written(tmp_path, FORMATS[kind](stored, orientation, order)))
    assert seen.shape == shown(stored, orientation).shape
    assert np.abs(seen.astype(int) - shown(stored, orientation)).max() <= (12 if kind == "jpg" else 0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_16_bits_are_turned_as_8_are(tmp_path: Path, kind: str, orientation: int, order: str) -> None:
    stored = random((5, 7), np.uint16)
    data = FORMATS[kind](stored, orientation, order)
    seen = read_image(written(tmp_path, data))
    assert seen.dtype == np.uint16
    np.testing.assert_array_equal(seen, shown(stored, orientation))
    np.testing.assert_array_equal(seen, by_pillow(data))


@given(
    st.sampled_from(["png", "webp", "tif"]),
    st.integers(1, 8),
    st.sampled_from("<>"),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 99),
)
def test_any_size_is_shown_as_another_reader_shows_it(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str, orientation: int, order: str, height: int, width: int, seed: int,
) -> None:  # fmt: skip
    data = FORMATS[kind](random((height, width, 3), np.uint8, seed), orientation, order)
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    np.testing.assert_array_equal(read_image(path), by_pillow(data))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_no_orientation_turns_nothing(tmp_path: Path, kind: str, orientation: int) -> None:
    upright, stated = (FORMATS[kind](random((5, 7, 3), np.uint8), one, "<") for one in (1, orientation))
    np.testing.assert_array_equal(
        read_image(written(tmp_path, stated)), read_image(written(tmp_path, upright))
    )


def test_the_mark_that_some_write_before_exif_is_passed_over(tmp_path: Path) -> None:
    stored = random((5, 7), np.uint8)
    data = made.png_of(stored, 0, made.chunk(b"eXIf", b"Exif\0\0" + made.exif(6)))
    np.testing.assert_array_equal(read_image(written(tmp_path, data)), shown(stored, 6))


def test_each_page_is_turned_by_its_own_flag(tmp_path: Path) -> None:
    pages = [random((5, 7), np.uint16, seed) for seed in range(8)]
    data = made.tiff_of([(page, {274: seed + 1}) for seed, page in enumerate(pages)])
    file = PictureFile(written(tmp_path, data))
    assert len(file) == 8
    for number in (3, 0, 7, 7, 1, 2, 6, 5, 4):
        np.testing.assert_array_equal(file.picture(number), shown(pages[number], number + 1))
