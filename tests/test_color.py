from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdfusion_edge.color import is_coloured, is_grey, luma, merge, split

U8 = npt.NDArray[np.uint8]

# Blue, green, red -> Y, Cr, Cb. Worked out by hand from Rec. ITU-R BT.601-7, section 2.5.1:
# E'Y = 0.299 E'R + 0.587 E'G + 0.114 E'B, E'CR = (E'R - E'Y) / 1.402, E'CB = (E'B - E'Y) / 1.772,
# with 255 steps over the whole range and 128 for zero colour difference; 255.5 is clipped to 255.
GOLDEN = [
    ((0, 0, 0), (0, 128, 128)),
    ((255, 255, 255), (255, 128, 128)),
    ((0, 0, 255), (76.245, 255.5, 84.972)),
    ((0, 255, 0), (149.685, 21.234, 43.527)),
    ((255, 0, 0), (29.07, 107.265, 255.5)),
    ((255, 255, 0), (178.755, 0.5, 171.027)),
    ((255, 0, 255), (105.315, 234.766, 212.473)),
    ((0, 255, 255), (225.93, 148.735, 0.5)),
    ((30, 60, 90), (65.55, 145.439, 107.937)),
    ((200, 100, 50), (96.45, 94.869, 186.437)),
]


def every_colour(blue: int) -> U8:
    """All 65536 colours with this blue, as a picture of 256 x 256."""
    green, red = np.mgrid[:256, :256].astype(np.uint8)
    return np.stack((np.full_like(green, blue), green, red), axis=-1)


@pytest.mark.parametrize(("bgr", "ycrcb"), GOLDEN)
def test_golden_numbers(bgr: tuple[int, ...], ycrcb: tuple[float, ...]) -> None:
    image = np.array([[bgr, (1, 2, 3)]], np.uint8)  # the second pixel keeps grey ones from being told apart
    y, chroma = split(image)
    assert chroma is not None
    assert y[0, 0] == pytest.approx(ycrcb[0], abs=0.51)  # rounding, and 16-bit weights
    # Chroma is computed from the rounded luma, which adds up to 0.4.
    assert chroma[:, 0, 0] == pytest.approx(np.clip(ycrcb[1:], 0, 255), abs=0.9)


def test_luma_of_every_colour_is_the_standard_s() -> None:
    worst = 0.0
    for blue in range(256):
        image = every_colour(blue)
        exact = image.astype(np.float64) @ (0.114, 0.587, 0.299)
        worst = max(worst, float(np.abs(luma(image) - exact).max()))
    assert worst <= 0.51


@pytest.mark.parametrize("blue", [0, 1, 77, 128, 254, 255])
def test_there_is_one_luma(blue: int) -> None:
    """The networks are trained on luma() and run on split()."""
    image = every_colour(blue)
    y, chroma = split(image)
    assert chroma is not None
    assert np.array_equal(y, luma(image))


def test_opencv_has_two() -> None:
    """Why split() does not take the Y of BGR2YCrCb; if this fails, it may."""
    image = every_colour(77)
    assert not np.array_equal(cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)[..., 0], luma(image))


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_a_pixel_is_the_same_wherever_it_stands(width: int, height: int, seed: int) -> None:
    """Vector instructions and the few pixels left over at the end of a row must agree."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    expected = [luma(pixel[None, None])[0, 0] for pixel in image.reshape(-1, 3)]
    assert luma(image).ravel().tolist() == expected


@pytest.mark.parametrize("blue", range(0, 256, 15))
def test_round_trip(blue: int) -> None:
    image = every_colour(blue)
    back = merge(*split(image)).astype(int)
    assert np.abs(back - image).max() <= 2


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_shapes(width: int, height: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    image[0, 0] = (1, 2, 3)
    y, chroma = split(image)
    assert chroma is not None
    assert y.shape == (height, width)
    assert chroma.shape == (2, height, width)
    assert y.dtype == chroma.dtype == np.uint8
    assert merge(y, chroma).shape == image.shape


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_stays_grey_to_the_last_bit(channels: int) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = grey if channels == 1 else np.repeat(grey[..., None], 3, axis=2)
    y, chroma = split(image)
    assert chroma is None
    assert np.array_equal(y, grey)
    assert np.array_equal(merge(y, chroma), grey)
    assert np.array_equal(luma(image), grey)


def test_grey_parts_of_a_colour_picture_stay_grey() -> None:
    image = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    image[5, 5] = (0, 0, 255)
    back = merge(*split(image))
    back[5, 5] = image[5, 5]
    assert np.array_equal(back, image)


def test_chroma_survives_another_luma() -> None:
    """What the pipeline does: the fused luma replaces the visible one."""
    image = np.full((8, 8, 3), (90, 100, 110), np.uint8)
    y, chroma = split(image)
    brighter = merge(np.full_like(y, 150), chroma).astype(int)
    assert luma(brighter.astype(np.uint8)) == pytest.approx(150, abs=1)
    assert np.abs((brighter - brighter[..., 1:2]) - (image.astype(int) - 100)).max() <= 2


@pytest.mark.parametrize("place", [(0, 0), (1, 1), (33, 65), (99, 99)])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_one_coloured_pixel_makes_a_colour_picture(place: tuple[int, int], channel: int) -> None:
    image = np.full((100, 100, 3), 90, np.uint8)
    assert is_grey(image)
    image[(*place, channel)] += 1
    assert not is_grey(image)


def test_counts_of_16_bits_pass_unchanged() -> None:
    counts = np.array([[0, 40000], [65535, 1]], np.uint16)
    assert luma(counts) is counts
    assert is_grey(counts)


def test_views_are_taken_too() -> None:
    image = np.random.default_rng(1).integers(0, 256, (20, 40, 3), np.uint8)
    for view in (image[::2, ::2], image[:, ::-1], image[3:9, 5:]):
        assert np.array_equal(merge(*split(view)), merge(*split(view.copy())))


def test_real_night_and_day_pictures_come_back(data: Path) -> None:
    for path in sorted((data / "msrs" / "vi").glob("*.webp"))[:6]:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        assert image is not None
        back = merge(*split(image))
        assert np.abs(back.astype(int) - (image if back.ndim == 3 else image[..., 0])).max() <= 2


@pytest.mark.parametrize("share", [0.0, 0.005, 0.02, 1.0])
@pytest.mark.parametrize("span", [0, 16, 17, 255])
def test_a_picture_is_coloured_where_enough_of_it_is(share: float, span: int) -> None:
    """By some of its pixels, whose colours reach far enough apart."""
    picture = np.zeros((1600, 1600, 3), np.uint8)
    rows = round(1600 * share)
    picture[:rows] = (0, span, span // 2)
    assert is_coloured(picture) == (share > 0.01 and span > 16)
    assert not is_coloured(picture[..., 0])
