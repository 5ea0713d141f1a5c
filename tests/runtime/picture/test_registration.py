"""Registration: where infrared pixels land in the visible picture, against OpenCV and by hand."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge.errors import ConfigError, RequestError, SourceError
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.picture.registration import Warp

TILTED = ((0.98, 0.03, 12.0), (-0.02, 1.01, -7.0), (2e-5, -3e-5, 1.0))
IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
SIXTEENTH = 1 / 16
"""Pixels. OpenCV before 4.12 rounds coordinates to 1/32, newer ones do not."""


def registration(
    homography: Any, infrared: tuple[int, int] = (320, 256), visible: tuple[int, int] = (320, 256)
) -> rig.Registration:
    return rig.Registration(homography=homography, infrared_size=infrared, visible_size=visible)


def ramps(width: int, height: int, step: int = 64) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """Two 16-bit pictures whose values are their own x and y, in 1 / step pixels."""
    y, x = np.mgrid[:height, :width]
    return (x * step).astype(np.uint16), (y * step).astype(np.uint16)


def source_points(homography: npt.NDArray[np.float64], visible: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Infrared x, y for every visible pixel, (2, H, W)."""
    y, x = np.mgrid[: visible[1], : visible[0]]
    points = np.linalg.inv(homography) @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    return (points[:2] / points[2]).reshape(2, visible[1], visible[0])


# --- without a registration ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_equal_sizes_without_registration_pass_the_very_same_array(dtype: type) -> None:
    warp = Warp(None, (320, 256), (320, 256))
    image = np.zeros((256, 320), dtype)
    assert warp.apply(image) is image
    assert warp.valid is None


@pytest.mark.parametrize(
    ("size", "method"), [((640, 480), cv2.INTER_LINEAR), ((80, 64), cv2.INTER_AREA)], ids=["grows", "shrinks"]
)
def test_other_sizes_without_registration_are_resized(size: tuple[int, int], method: int) -> None:
    image = np.random.default_rng(0).integers(7000, 9000, (256, 320), dtype=np.uint16)
    warp = Warp(None, (320, 256), size)
    found = warp.apply(image)
    assert found.shape == size[::-1]
    assert np.array_equal(found, cv2.resize(image, size, interpolation=method))
    assert warp.valid is None


# --- with a homography ---------------------------------------------------------------------------


def test_identity_is_exact() -> None:
    rng = np.random.default_rng(0)
    warp = Warp(registration(IDENTITY), (320, 256), (320, 256))
    assert warp.valid is None
    for dtype in (np.uint8, np.uint16):
        image = rng.integers(0, np.iinfo(dtype).max, (256, 320), dtype, endpoint=True)
        assert np.array_equal(warp.apply(image), image)


def test_a_shift_by_whole_pixels_moves_pixels_and_repeats_the_border() -> None:
    image = np.random.default_rng(0).integers(0, 65535, (256, 320), dtype=np.uint16)
    warp = Warp(registration(((1, 0, 10), (0, 1, 5), (0, 0, 1))), (320, 256), (320, 256))
    found = warp.apply(image)
    assert np.array_equal(found[5:, 10:], image[:-5, :-10])
    assert np.array_equal(found[5:, :10], np.repeat(image[:-5, :1], 10, axis=1))
    assert warp.valid is not None
    expected = np.zeros((256, 320), np.uint8)
    expected[5:, 10:] = 255
    assert np.array_equal(warp.valid, expected)


@pytest.mark.parametrize(
    ("infrared", "visible"),
    [((320, 256), (640, 480)), ((160, 128), (640, 480)), ((320, 256), (1280, 960)), ((640, 512), (320, 240))],
)
def test_every_pixel_comes_from_where_the_homography_says(
    infrared: tuple[int, int], visible: tuple[int, int]
) -> None:
    """Measured at 320x256 and 640x480; other sizes of the same shape see the same scene."""
    measured = np.array(((1.9, 0.05, 12), (-0.04, 1.8, 7), (3e-5, -4e-5, 1)))
    warp = Warp(registration(measured.tolist(), (320, 256), (640, 480)), infrared, visible)
    # By hand: pixel centre -> share of the picture -> measured pixel -> through H, and back.
    y, x = np.mgrid[: visible[1], : visible[0]]
    u, v = (x + 0.5) / visible[0] * 640 - 0.5, (y + 0.5) / visible[1] * 480 - 0.5
    points = np.linalg.inv(measured) @ np.stack([u.ravel(), v.ravel(), np.ones(u.size)])
    share_x = (points[0] / points[2] + 0.5) / 320
    share_y = (points[1] / points[2] + 0.5) / 256
    expected_x = (share_x * infrared[0] - 0.5).reshape(u.shape)
    expected_y = (share_y * infrared[1] - 0.5).reshape(u.shape)
    inner = (
        (expected_x > 0) & (expected_x < infrared[0] - 1) & (expected_y > 0) & (expected_y < infrared[1] - 1)
    )
    assert inner.mean() > 0.5
    for ramp, expected in zip(ramps(*infrared), (expected_x, expected_y), strict=True):
        found = warp.apply(ramp) / 64
        assert np.abs(found - expected)[inner].max() < SIXTEENTH


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(*[st.floats(-0.15, 0.15) for _ in range(4)]),
    st.tuples(*[st.floats(-30, 30) for _ in range(2)]),
    st.tuples(*[st.floats(-3e-4, 3e-4) for _ in range(2)]),
    st.sampled_from([1.0, -2.5e-12, 3e12]),
)
def test_any_moderate_homography_agrees_with_warp_perspective(
    linear: tuple[float, ...], shift: tuple[float, ...], tilt: tuple[float, ...], scale: float
) -> None:
    matrix = scale * np.array(
        [[1 + linear[0], linear[1], shift[0]], [linear[2], 1 + linear[3], shift[1]], [tilt[0], tilt[1], 1]]
    )
    size = (160, 128)
    image = cv2.GaussianBlur(np.random.default_rng(0).random((128, 160)) * 60000, (0, 0), 4).astype(np.uint16)
    warp = Warp(registration(matrix.tolist(), size, size), size, size)
    expected = cv2.warpPerspective(
        image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    steepest = max(np.abs(np.diff(image.astype(float), axis=axis)).max() for axis in (0, 1))
    found = warp.apply(image)
    assert np.abs(found.astype(float) - expected).max() <= 2 * SIXTEENTH * steepest + 1

    x, y = source_points(matrix, size)
    inside = (x >= -0.5) & (x <= 159.5) & (y >= -0.5) & (y <= 127.5)
    valid = np.ones((128, 160), bool) if warp.valid is None else warp.valid == 255
    clear = np.minimum.reduce([abs(x + 0.5), abs(x - 159.5), abs(y + 0.5), abs(y - 127.5)]) > 1e-6
    assert np.array_equal(valid[clear], inside[clear])


def test_a_point_lands_where_the_homography_sends_it() -> None:
    image = np.zeros((256, 320), np.uint8)
    cv2.circle(image, (100, 80), 6, 255, -1, cv2.LINE_AA)
    found = Warp(registration(TILTED), (320, 256), (320, 256)).apply(image).astype(float)
    y, x = np.mgrid[:256, :320]
    centre = np.array([(x * found).sum(), (y * found).sum()]) / found.sum()
    u, v, w = np.array(TILTED) @ (100, 80, 1)
    assert centre == pytest.approx((u / w, v / w), abs=0.05)


def test_16_bits_keep_their_depth() -> None:
    image = np.full((256, 320), 51241, np.uint16)
    found = Warp(registration(TILTED), (320, 256), (320, 256)).apply(image)
    assert found.dtype == np.uint16
    assert (found == 51241).all()


def test_a_strong_tilt_has_no_infrared_behind_the_horizon() -> None:
    """The visible picture sees over the horizon of the plane: nothing of infrared may be mirrored there."""
    steep = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.003, 1.0))
    warp = Warp(registration(steep, (320, 256), (320, 512)), (320, 256), (320, 512))
    assert warp.valid is not None
    # Row 255 of infrared lands on 255 / (1 + 0.003 * 255) = 144.5; the horizon is at 1 / 0.003 = 333.
    assert warp.valid[140, 50] == 255
    assert not warp.valid[150:].any()
    assert np.isfinite(warp.apply(np.full((256, 320), 9, np.uint8))).all()


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("homography", "message"),
    [
        (((1, 2, 0), (2, 4, 0), (0, 0, 1)), "cannot be inverted"),
        (((0, 0, 0), (0, 0, 0), (0, 0, 0)), "cannot be inverted"),
        (((1, 0, float("nan")), (0, 1, 0), (0, 0, 1)), "cannot be inverted"),
        (((1e-5, 0, 9), (0, 1, 0), (0, 0, 1)), "cannot be inverted"),
        (((1, 0, 0), (0, 1, 0), (-0.01, 0, 1)), "folds the infrared picture"),
        (((1, 0, 4000), (0, 1, 0), (0, 0, 1)), "outside of the visible one"),
    ],
)
def test_a_useless_homography_is_refused(homography: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"homography .*{message}(.|\n)*in the rig file"):
        Warp(registration(homography), (320, 256), (320, 256))


@pytest.mark.parametrize(
    ("infrared", "visible", "message"),
    [
        ((320, 240), (640, 480), "infrared camera: expected 320x256 or the same aspect ratio, got 320x240"),
        ((320, 256), (640, 360), "visible camera: expected 640x480 or the same aspect ratio, got 640x360"),
    ],
)
def test_another_aspect_ratio_is_refused(
    infrared: tuple[int, int], visible: tuple[int, int], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        Warp(registration(TILTED, (320, 256), (640, 480)), infrared, visible)


def test_a_frame_of_another_size_is_refused() -> None:
    with pytest.raises(SourceError, match=r"expected \(H, W\) = \(256, 320\), got \(320, 256\)"):
        Warp(None, (320, 256), (640, 480)).apply(np.zeros((320, 256), np.uint8))
