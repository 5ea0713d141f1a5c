"""Output stretch: the paper's formula, and steadiness where a stream needs it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from flicker import temporal_instability
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.picture.stretch import Stretch

FRAME_NS = 33_333_333
F32 = npt.NDArray[np.float32]
untimed = settings(deadline=None)


def ramp(low: float, high: float, shape: tuple[int, int] = (120, 160)) -> F32:
    return np.linspace(low, high, shape[0] * shape[1], dtype=np.float32).reshape(shape)


def noisy_sequence(count: int = 40) -> list[F32]:
    """A still scene between 0.2 and 0.7 with sensor noise; in every third picture pixels are hot."""
    rng = np.random.default_rng(0)
    sequence = []
    for n in range(count):
        picture = ramp(0.2, 0.7) + rng.normal(0, 0.01, (120, 160)).astype(np.float32)
        if n % 3 == 0:
            picture.flat[rng.integers(0, picture.size, 4)] = 1.0
        sequence.append(picture.astype(np.float32))
    return sequence


def stretched(mode: Any, sequence: list[F32]) -> list[npt.NDArray[np.uint8]]:
    stretch = Stretch(mode)
    return [stretch.apply(picture, n * FRAME_NS) for n, picture in enumerate(sequence)]


# --- none and image ------------------------------------------------------------------------------


@untimed
@given(st.integers(0, 10_000))
def test_none_rounds_and_clips(seed: int) -> None:
    fused = np.random.default_rng(seed).uniform(-0.3, 1.3, (9, 7)).astype(np.float32)
    exact = np.clip(255 * fused.astype(np.float64), 0, 255)
    stretch = Stretch("none")
    assert np.abs(stretch.apply(fused, 0) - exact).max() <= 0.501
    assert stretch.limits == (0, 1)


@untimed
@given(st.integers(0, 10_000), st.floats(-0.5, 0.5), st.floats(0.01, 2))
def test_image_is_the_papers_minimum_to_maximum(seed: int, low: float, span: float) -> None:
    fused = (low + span * np.random.default_rng(seed).random((9, 7))).astype(np.float32)
    wide = fused.astype(np.float64)
    exact = 255 * (wide - wide.min()) / (wide.max() - wide.min())
    stretch = Stretch("image")
    picture = stretch.apply(fused, 0)
    assert np.abs(picture - exact).max() <= 0.51
    assert (picture.min(), picture.max()) == (0, 255)
    assert stretch.limits == (fused.min(), fused.max())


@pytest.mark.parametrize("mode", ["none", "image", "temporal"])
@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_a_constant_picture_stays_what_it_is(mode: Any, value: float) -> None:
    picture = Stretch(mode).apply(np.full((32, 32), value, np.float32), 0)
    assert picture.min() == picture.max()
    if mode != "temporal":
        assert picture[0, 0] == round(255 * value)


@pytest.mark.parametrize("mode", ["none", "image", "temporal"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_spoils_its_pixel_only(mode: Any, bad: float) -> None:
    fused = ramp(0, 1)
    fused[60, 80] = bad
    expected = stretched("none", [ramp(0, 1)])[0].astype(int)
    difference = np.abs(Stretch(mode).apply(fused, 0).astype(int) - expected)
    difference[60, 80] = 0
    assert difference.max() <= 1


# --- temporal ------------------------------------------------------------------------------------


def test_temporal_uses_the_range_that_is_there() -> None:
    stretch = Stretch("temporal")
    picture = stretch.apply(ramp(0.2, 0.7), 0)
    assert stretch.limits == pytest.approx((0.2, 0.7), abs=0.001)
    assert (picture.min(), picture.max()) == (0, 255)


@untimed
@given(
    st.lists(st.tuples(st.floats(-0.2, 1.2), st.floats(0, 1), st.integers(-1, 300)), min_size=1, max_size=20)
)
def test_limits_never_move_faster_than_the_slew_nor_come_nearer_than_the_gain(
    steps: list[tuple[float, float, int]],
) -> None:
    stretch = Stretch("temporal", slew_per_s=0.2, max_gain=4)
    now_ns, limits = 0, None
    for low, span, wait_ms in steps:
        elapsed_s = max(0.0, wait_ms / 1e3)
        now_ns += wait_ms * 1_000_000
        stretch.apply(ramp(low, low + span, (32, 32)), now_ns)
        assert stretch.limits[1] - stretch.limits[0] >= 0.25 - 1e-9
        if limits is not None:
            moved = np.abs(np.subtract(stretch.limits, limits))
            assert moved.max() <= 0.2 * elapsed_s + 1e-9
        limits = stretch.limits


def test_a_hot_pixel_changes_no_other_pixel() -> None:
    plain = [ramp(0.2, 0.7) for _ in range(3)]
    hot = [picture.copy() for picture in plain]
    hot[1][50, 50] = 5.0
    expected, found = stretched("temporal", plain), stretched("temporal", hot)
    found[1][50, 50] = expected[1][50, 50]
    assert np.abs(np.array(found).astype(int) - np.array(expected)).max() <= 1


def test_percentiles_that_tremble_do_not_move_the_limits() -> None:
    stretch = Stretch("temporal")
    limits = []
    for n in range(40):
        stretch.apply(ramp(0.2, 0.7 + 0.01 * (n % 2)), n * FRAME_NS)
        limits.append(stretch.limits)
    assert np.abs(np.diff(limits[1:], axis=0)).max() < 0.0008


def test_a_gain_jump_glides_within_the_slew_and_arrives() -> None:
    sequence = [ramp(0.1, 0.5)] * 10 + [ramp(0.3, 0.9)] * 150
    stretch = Stretch("temporal", slew_per_s=0.25)
    limits = []
    for n, picture in enumerate(sequence):
        stretch.apply(picture, n * FRAME_NS)
        limits.append(stretch.limits)
    assert np.abs(np.diff(limits, axis=0)).max() <= 0.25 * FRAME_NS / 1e9 + 1e-9
    assert limits[-1] == pytest.approx((0.3, 0.9), abs=0.01)


@pytest.mark.parametrize(
    ("low", "high", "limits"),
    [(0.45, 0.55, (0.375, 0.625)), (0.0, 0.02, (0.0, 0.25)), (0.97, 1.0, (0.75, 1.0))],
)
def test_the_gain_is_bounded_and_black_stays_black(low: float, high: float, limits: Any) -> None:
    stretch = Stretch("temporal", max_gain=4)
    stretch.apply(ramp(low, high), 0)
    assert stretch.limits == pytest.approx(limits, abs=0.001)


def test_temporal_flickers_less_than_the_papers_stretch() -> None:
    sequence = noisy_sequence()
    sources = stretched("none", sequence)
    flicker = {
        mode: temporal_instability(stretched(mode, sequence), sources) for mode in ("image", "temporal")
    }
    assert flicker["image"] > 0.05
    assert flicker["temporal"] < 0.05 * flicker["image"]


@pytest.mark.parametrize("name", ["0111_1716", "0117_1605"])
def test_temporal_flickers_less_on_real_scenes(data: Path, name: str) -> None:
    streams = [_luma_of_video(data / "m3svd" / kind / f"{name}.mp4", 60) for kind in ("ir", "vi")]
    sequence = [
        (one.astype(np.float32) + other) / np.float32(510) for one, other in zip(*streams, strict=True)
    ]
    sources = stretched("none", sequence)
    flicker = {
        mode: temporal_instability(stretched(mode, sequence), sources) for mode in ("image", "temporal")
    }
    assert flicker["temporal"] < 0.5 * flicker["image"]


def _luma_of_video(path: Path, count: int) -> list[npt.NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [
            frame.to_ndarray(format="gray") for frame in itertools.islice(container.decode(video=0), count)
        ]


# --- the flicker score ---------------------------------------------------------------------------


def test_instability_is_the_change_in_units_of_contrast() -> None:
    ramp_8bit = (100 * ramp(0, 1)).round().astype(np.uint8)
    steps = [ramp_8bit + level for level in (0, 10, 0, 10)]
    assert temporal_instability(steps) == pytest.approx(10 / 98)
    assert temporal_instability([2 * picture for picture in steps]) == pytest.approx(10 / 98)
    assert temporal_instability(steps, steps) == 0
    assert temporal_instability(steps, [ramp_8bit] * 4) == pytest.approx(10 / 98)
    assert temporal_instability([ramp_8bit] * 4, steps) == 0


def test_instability_sees_a_change_of_contrast_at_constant_mean() -> None:
    ramp_8bit = (255 * ramp(0, 1)).round().astype(np.uint8)
    weak = (127.5 + (ramp_8bit - 127.5) / 2).round().astype(np.uint8)
    # Two of the four places move by a quarter of the range, the contrast is three quarters of it.
    assert temporal_instability([ramp_8bit, weak]) == pytest.approx(1 / 6, abs=0.01)


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(RequestError, match=r"none \| image \| temporal, got 'minmax'"):
        Stretch("minmax")  # type: ignore[arg-type]
    for wrong in ({"slew_per_s": 0.0}, {"max_gain": 0.5}, {"max_gain": float("inf")}):
        with pytest.raises(RequestError, match="max_gain of 1 or more"):
            Stretch("temporal", **wrong)
    with pytest.raises(ValueError, match=r"float32 \(H, W\), got float64"):
        Stretch("none").apply(np.zeros((4, 4)), 0)  # type: ignore[arg-type]
    picture = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="two pictures or more, got 1"):
        temporal_instability([picture])
    with pytest.raises(ValueError, match="as many sources as pictures"):
        temporal_instability([picture] * 2, [picture] * 3)
