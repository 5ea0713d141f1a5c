"""Thermal range: what 8 bits are made of counts, and how the limits move in time."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge.config import parse
from tdfusion_edge.errors import ConfigError, RequestError
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.picture.range import (
    MIN_SPAN_16BIT,
    ThermalRange,
    percentiles,
    scale_to_8bit,
    subsample,
)

FRAME_NS = 33_333_333
untimed = settings(deadline=None)


def scene(low: int, high: int, shape: tuple[int, int] = (120, 160)) -> npt.NDArray[np.uint16]:
    """A ramp that uses all counts from low to high evenly."""
    return np.linspace(low, high, shape[0] * shape[1]).reshape(shape).round().astype(np.uint16)


def ramp_limits(low: int, high: int) -> Any:
    """Its 1 and 99 percentiles."""
    return pytest.approx((low + 0.01 * (high - low), high - 0.01 * (high - low)), abs=0.01 * (high - low))


# --- scaling -------------------------------------------------------------------------------------


@untimed
@given(
    st.integers(0, 65535),
    st.floats(1, 70000),
    st.floats(-100, 70000),
    st.sampled_from([np.uint8, np.uint16]),
)
def test_scaling_is_the_formula(seed: int, span: float, low: float, dtype: type) -> None:
    image = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (8, 9), dtype, endpoint=True)
    exact = np.clip(255 * (image.astype(np.float64) - low) / span, 0, 255)
    assert np.abs(scale_to_8bit(image, low, low + span) - exact).max() <= 0.51


def test_scaling_floats_clips_both_ends() -> None:
    image = np.array([[-1.0, 0.0, 0.25, 0.5, 3.0]], np.float32)
    assert scale_to_8bit(image, 0.0, 0.5).tolist() == [[0, 0, 128, 255, 255]]


@untimed
@given(st.integers(0, 1000), st.floats(0, 100), st.floats(0, 100))
def test_percentiles_are_numpys_to_the_nearest_rank(seed: int, one: float, other: float) -> None:
    sample = np.random.default_rng(seed).integers(0, 60000, 777, dtype=np.uint16)
    low, high = sorted((one, other))
    expected = np.percentile(sample, [low, high], method="nearest")
    ordered = np.sort(sample).astype(float)
    for found, exact in zip(percentiles(sample, low, high), expected, strict=True):
        # Halfway between two ranks either is the nearest.
        assert abs(np.searchsorted(ordered, found) - np.searchsorted(ordered, exact)) <= 1


def test_the_subsample_sees_every_kind_of_column() -> None:
    columns = np.tile(np.arange(640, dtype=np.uint16) % 4, (512, 1))
    share = np.bincount(subsample(columns), minlength=4) / subsample(columns).size
    assert share == pytest.approx([0.25] * 4, abs=0.01)


# --- modes ---------------------------------------------------------------------------------------


def test_auto_ranges_16_bits_and_leaves_8_bits_alone() -> None:
    thermal = ThermalRange(rig.ThermalRange())
    deep = thermal.apply(scene(7000, 8000), 0)
    assert (deep.dtype, deep.min(), deep.max()) == (np.uint8, 0, 255)
    assert thermal.limits == ramp_limits(7000, 8000)
    assert deep.mean() == pytest.approx(127.5, abs=1)
    flat = np.full((40, 40), 100, np.uint8)
    assert thermal.apply(flat, FRAME_NS) is flat


def test_percentile_ranges_8_bits_where_asked() -> None:
    thermal = ThermalRange(rig.ThermalRange(mode="percentile"))
    picture = thermal.apply(scene(100, 160).astype(np.uint8), 0)
    assert (picture.min(), picture.max()) == (0, 255)


def test_linear_keeps_its_counts() -> None:
    thermal = ThermalRange(rig.ThermalRange(mode="linear", low=1000, high=1255))
    ramp = np.array([[0, 1000, 1001, 1128, 1255, 60000]], np.uint16)
    for time_ns in (0, 10**9):
        assert thermal.apply(ramp, time_ns).tolist() == [[0, 0, 1, 128, 255, 255]]
    assert thermal.limits == (1000, 1255)
    assert not thermal.apply(np.full((32, 32), 255, np.uint8), 0).any()


def test_clahe_brings_out_local_detail() -> None:
    rng = np.random.default_rng(0)
    image = scene(7000, 9000, (256, 320)) + rng.integers(0, 60, (256, 320), dtype=np.uint16)
    plain = ThermalRange(rig.ThermalRange(mode="percentile")).apply(image, 0)
    local = ThermalRange(rig.ThermalRange(mode="clahe")).apply(image, 0)
    assert np.array_equal(local, cv2.createCLAHE(2.0, (8, 8)).apply(plain))
    assert cv2.Laplacian(local, cv2.CV_64F).std() > 1.2 * cv2.Laplacian(plain, cv2.CV_64F).std()


def test_camera_passes_8_bits_and_refuses_16() -> None:
    thermal = ThermalRange(rig.ThermalRange(mode="camera"), "ir0")
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert thermal.apply(image, 0) is image
    assert thermal.limits is None
    with pytest.raises(RequestError, match=r'ir0.*expected uint8.*\n.*mode = "auto"'):
        thermal.apply(image.astype(np.uint16), 0)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32)], ids=["colour", "float"]
)
def test_other_pictures_are_refused(image: Any) -> None:
    with pytest.raises(ValueError, match=r"uint8 or uint16 \(H, W\), got"):
        ThermalRange(rig.ThermalRange()).apply(image, 0)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('mode = "linear"', "needs low and high in counts"),
        ('mode = "linear"\nlow = 9\nhigh = 9', "low must be below high"),
        ('mode = "linear"\nlow = 0\nhigh = inf', "expected a finite number, got inf"),
        ("low = 99\nhigh = 1", "low must be below high"),
        ("low = -1", r"percentiles lie in 0..100, got -1 and 99"),
        ("high = 8000", r"percentiles lie in 0..100"),
        ('mode = "histogram"', "Invalid enum value 'histogram'"),
    ],
)
def test_a_rig_with_impossible_limits_is_refused_when_it_is_read(table: str, message: str) -> None:
    raw = f'[cameras.ir0]\nuri = "sim://ir"\n[cameras.ir0.range]\n{table}\n'.encode()
    with pytest.raises(ConfigError, match=message):
        parse(raw, rig.Rig, name="rig.toml", toml=True)


# --- limits in time ------------------------------------------------------------------------------


def test_a_flat_scene_is_not_blown_up_into_noise() -> None:
    noise = np.random.default_rng(0).normal(8000, 3, (120, 160)).round().astype(np.uint16)
    thermal = ThermalRange(rig.ThermalRange())
    picture = thermal.apply(noise, 0)
    assert thermal.limits is not None
    assert thermal.limits[1] - thermal.limits[0] == MIN_SPAN_16BIT
    assert picture.std() == pytest.approx(3 * 255 / MIN_SPAN_16BIT, rel=0.05)
    assert picture.mean() == pytest.approx(127.5, abs=4)


def test_limits_follow_exponentially_in_capture_time_whatever_the_frame_rate() -> None:
    reached = []
    for frames in (5, 60):
        thermal = ThermalRange(rig.ThermalRange(smoothing_s=0.5))
        thermal.apply(scene(7000, 8000), 0)
        for n in range(1, frames + 1):
            thermal.apply(scene(7000, 8500), round(n * 0.5e9 / frames))
        assert thermal.limits is not None
        reached.append(thermal.limits[1])
    # One time constant covers 1 - 1/e of the step of 495 counts.
    assert reached == pytest.approx([7990 + 495 * 0.632] * 2, abs=5)


def test_time_that_stands_still_moves_nothing_and_no_smoothing_follows_at_once() -> None:
    still, prompt = ThermalRange(rig.ThermalRange()), ThermalRange(rig.ThermalRange(smoothing_s=0))
    for thermal in (still, prompt):
        thermal.apply(scene(7000, 8000), 0)
    still.apply(scene(7000, 8300), 0)
    prompt.apply(scene(7000, 8300), 1)
    assert still.limits == ramp_limits(7000, 8000)
    assert prompt.limits == ramp_limits(7000, 8300)


def test_a_slow_warming_is_followed_without_a_jump() -> None:
    thermal = ThermalRange(rig.ThermalRange())
    means = [thermal.apply(scene(7000 + 3 * n, 8000 + 3 * n), n * FRAME_NS).mean() for n in range(120)]
    # 90 counts a second at a time constant of half a second lag by 45 of 1000 counts.
    assert means[-1] == pytest.approx(127.5 + 255 * 45 / 980, abs=2)
    assert np.abs(np.diff(means)).max() < 1


def test_a_gain_jump_snaps_once() -> None:
    thermal = ThermalRange(rig.ThermalRange())
    for n in range(30):
        before = thermal.apply(scene(7000, 8000), n * FRAME_NS)
    after = [thermal.apply(scene(20000, 26000), n * FRAME_NS) for n in range(30, 60)]
    assert thermal.limits == ramp_limits(20000, 26000)
    assert all(picture.mean() == pytest.approx(before.mean(), abs=1) for picture in after)


def test_a_hot_object_does_not_make_the_background_jump() -> None:
    thermal = ThermalRange(rig.ThermalRange())
    cold = scene(7000, 7400)
    hot = cold.copy()
    hot[40:80, 60:100] = 9000  # 8 % of the picture
    background = [thermal.apply(cold, 0)[:30].mean()]
    background += [thermal.apply(hot, n * FRAME_NS)[:30].mean() for n in range(1, 60)]
    changes = np.abs(np.diff(background))
    assert background[-1] < background[0] / 2  # in the end the object has its place in the range
    assert changes.max() < 0.3 * (background[0] - background[-1])


def steady(smoothing_s: float = 0.5) -> ThermalRange:
    return ThermalRange(rig.ThermalRange(mode="steady", smoothing_s=smoothing_s))


def street(seed: int) -> npt.NDArray[np.uint8]:
    """A picture with a wide histogram and new noise for each seed, uint8 (48, 64)."""
    y, x = np.mgrid[:48, :64]
    scene = 60 + 40 * np.sin(x / 9) * np.cos(y / 7) + np.where((x - 30) ** 2 + (y - 20) ** 2 < 40, 70, 0)
    return (scene + np.random.default_rng(seed).normal(0, 1.5, scene.shape)).clip(0, 255).astype(np.uint8)


def test_steady_passes_a_first_frame_and_an_equal_one_as_they_are() -> None:
    thermal, picture = steady(), street(0)
    assert thermal.apply(picture, 0) is picture
    assert thermal.apply(picture, 33_000_000) is picture


def test_steady_turns_the_jumps_of_a_gain_control_into_a_glide() -> None:
    thermal = steady()
    gains = [1.0] * 10 + [1.6, 1.0, 1.0, 1.6, 1.6, 0.7, 1.6] + [1.6] * 60
    shown, given = [], []
    for number, gain in enumerate(gains):
        picture = (street(number).astype(np.float64) * gain + 20 * (gain - 1)).clip(0, 255).astype(np.uint8)
        given.append(float(picture.mean()))
        shown.append(float(thermal.apply(picture, number * 33_000_000).mean()))
    assert np.abs(np.diff(given)).max() > 40
    assert np.abs(np.diff(shown)).max() < 5
    assert shown[-1] == pytest.approx(given[-1], abs=3), "a change that stays is followed"


def test_steady_leaves_the_background_alone_when_a_hot_object_enters() -> None:
    thermal = steady()
    for number in range(10):
        thermal.apply(street(number), number * 33_000_000)
    entered = street(10)
    entered[10:25, 5:25] = 250
    shown = thermal.apply(entered, 330_000_000)
    background = np.s_[30:, 30:]
    assert abs(float(shown[background].mean()) - float(entered[background].mean())) < 6
    assert shown[12, 10] > 200


def test_auto_steadies_eight_bits_and_camera_does_not() -> None:
    auto, camera = ThermalRange(rig.ThermalRange()), ThermalRange(rig.ThermalRange(mode="camera"))
    dark, bright = street(0), street(0) + np.uint8(60)
    for thermal in (auto, camera):
        thermal.apply(dark, 0)
    assert float(auto.apply(bright, 33_000_000).mean()) < float(dark.mean()) + 8
    assert camera.apply(bright, 33_000_000) is bright


def test_steady_takes_flat_pictures() -> None:
    thermal = steady()
    thermal.apply(np.full((40, 40), 10, np.uint8), 0)
    assert (thermal.apply(np.full((40, 40), 200, np.uint8), 33_000_000) < 30).all()


def test_steady_refuses_sixteen_bits() -> None:
    with pytest.raises(RequestError, match="mode 'steady' shows the camera's own 8 bits"):
        steady().apply(np.zeros((40, 40), np.uint16), 0)
