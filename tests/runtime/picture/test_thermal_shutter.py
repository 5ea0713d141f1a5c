"""All counts jump at once, as behind a thermal camera's shutter: the picture stays, objects still count."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.picture.range import (
    MIN_SPAN_16BIT,
    SNAP_FRACTION,
    ThermalRange,
    percentiles,
    scale_to_8bit,
    subsample,
)
from tdfusion_edge.runtime.simulation.mark import read_mark
from tdfusion_edge.runtime.sources.simulated import from_uri

FRAME_NS = 33_333_333
SETTLED_S = 1.5
"""Three time constants of half a second."""

Counts = npt.NDArray[np.uint16]


class Plain:
    """Limits that follow the percentiles and know of no shutter: written again, as the measure."""

    def __init__(self) -> None:
        self.limits: tuple[float, float] | None = None

    def apply(self, image: Counts) -> npt.NDArray[np.uint8]:
        sample = subsample(image)
        low, high = percentiles(sample, 1, 99)
        grow = max(0.0, MIN_SPAN_16BIT - (high - low)) / 2
        target = low - grow, high + grow
        if self.limits is not None:
            outside = float(np.mean((sample < self.limits[0]) | (sample > self.limits[1])))
            share = 1.0 if outside > SNAP_FRACTION else -math.expm1(-FRAME_NS / 0.5e9)
            target = tuple(old + share * (new - old) for old, new in zip(self.limits, target, strict=True))  # type: ignore[assignment]
        self.limits = target
        return scale_to_8bit(image, *self.limits)


def street(seed: int, offset: float = 0.0, gain: float = 1.0) -> Counts:
    """A cool background of 160 counts with a few hot things in it, and new noise for each seed."""
    y, x = np.mgrid[:120, :160]
    scene = 7000 + 60 * np.sin(x / 19) + 20 * np.cos(y / 11)
    scene[30:60, 30:42] += 1400
    scene[90:96] += 1300
    noise = np.random.default_rng(seed).normal(0, 4, scene.shape)
    return (gain * (scene - 7000) + 7000 + noise + offset).round().clip(0, 65535).astype(np.uint16)


def largest_jump(means: list[float]) -> float:
    return float(np.abs(np.diff(means)).max())


def test_the_simulated_camera_s_shutter_does_not_show() -> None:
    """+900 counts from the second second on: 74 grey levels from one frame to the next without this."""
    source = from_uri("ir", "sim://ir?depth=16&realtime=0&frames=90&gain_jump=1:1:900&mark=1")
    thermal, plain = ThermalRange(rig.ThermalRange()), Plain()
    counts, shown, without = [], [], []
    while (frame := source.read()) is not None:
        assert frame.image.dtype == np.uint16
        picture = thermal.apply(frame.image, frame.time_ns)
        counts.append(float(frame.image.mean()))
        shown.append(float(picture.mean()))
        without.append(float(plain.apply(frame.image).mean()))
    assert read_mark(picture) == 89, "it is still a picture"
    assert int(np.argmax(np.diff(counts))) == 29
    assert largest_jump(counts) == pytest.approx(900, abs=60)
    assert largest_jump(without) == pytest.approx(74, abs=3)
    assert largest_jump(shown) < 2


@pytest.mark.parametrize("step", [900, -900, 120, 9000, -5000])
def test_a_step_of_all_counts_moves_the_limits_in_the_same_frame(step: int) -> None:
    thermal, plain = ThermalRange(rig.ThermalRange()), Plain()
    shown, without, limits = [], [], []
    for number in range(120):
        image = street(number, step if number >= 60 else 0)
        shown.append(float(thermal.apply(image, number * FRAME_NS).mean()))
        without.append(float(plain.apply(image).mean()))
        limits.append(thermal.limits or (0.0, 0.0))
    assert largest_jump(shown) < 1, "130 without, for +900"
    assert largest_jump(shown) <= largest_jump(without)
    assert np.subtract(limits[60], limits[59]) == pytest.approx((step, step), abs=8)
    assert limits[60] == pytest.approx(limits[119], abs=8), "settled at once"


@pytest.mark.parametrize(("step", "gain"), [(900, 1.15), (900, 0.85), (-700, 1.1)])
def test_what_is_more_than_a_step_settles_in_three_time_constants(step: int, gain: float) -> None:
    thermal, shown = ThermalRange(rig.ThermalRange()), []
    settled = 60 + round(SETTLED_S * 1e9 / FRAME_NS)
    for number in range(settled + 1):
        image = street(number, *((step, gain) if number >= 60 else ()))
        shown.append(float(thermal.apply(image, number * FRAME_NS).mean()))
    assert thermal.limits is not None
    assert thermal.limits == pytest.approx(percentiles(subsample(image), 1, 99), abs=0.05 * 1600)
    assert largest_jump(shown) < 6


def test_a_shutter_that_freezes_first_and_drifts_back_does_not_show() -> None:
    """Half a second of one picture, +900, and 300 of them lost again within a second."""
    thermal, shown = ThermalRange(rig.ThermalRange()), []
    for number in range(150):
        drift = 600 + 300 * math.exp(-(number - 60) / 10) if number >= 60 else 0
        image = street(45 if 45 <= number < 60 else number, drift)
        shown.append(float(thermal.apply(image, number * FRAME_NS).mean()))
    assert largest_jump(shown) < 3
    assert max(shown) - min(shown) < 20


def test_an_object_that_enters_with_the_step_is_hot_and_the_background_stays() -> None:
    thermal = ThermalRange(rig.ThermalRange())
    for number in range(30):
        before = thermal.apply(street(number), number * FRAME_NS)
    image = street(30, 900)
    image[70:90, 100:150] += 1200  # 5 % of the picture
    after = thermal.apply(image, 30 * FRAME_NS)
    assert float(after[:25].mean()) == pytest.approx(float(before[:25].mean()), abs=3)
    assert float(after[72:88, 102:148].mean()) > float(before[72:88, 102:148].mean()) + 100


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 3000),
    st.floats(0.0, 0.45),
    st.integers(-3000, 6000),
    st.integers(1, 4),
)
def test_an_object_is_never_taken_for_a_shutter(
    seed: int, spread: int, share: float, warmer: int, parts: int
) -> None:
    """Whatever covers less than half of whatever scene, the limits follow as if there were no shutters."""
    rng = np.random.default_rng(seed)
    levels = 8000 + spread * rng.random(parts)
    scene: Any = np.repeat(levels, 128 * 96 // parts + parts)[: 128 * 96].reshape(96, 128)
    scene = (scene + rng.normal(0, 3, scene.shape)).round()
    entered = scene.copy()
    column, width = int(rng.integers(0, 128)), round(share * 128)
    entered[:, (column + np.arange(width)) % 128] += warmer
    thermal, plain = ThermalRange(rig.ThermalRange()), Plain()
    for number, image in enumerate((scene, scene, entered, entered, entered)):
        thermal.apply(image.astype(np.uint16), number * FRAME_NS)
        plain.apply(image.astype(np.uint16))
    assert thermal.limits == pytest.approx(plain.limits, abs=1e-6)


def test_a_source_that_changes_its_depth_begins_anew() -> None:
    """Limits in levels mean nothing in counts, and the other way round."""
    dark = np.linspace(20, 120, 4800).reshape(60, 80)
    for mode in ("auto", "percentile", "clahe"):
        thermal = ThermalRange(rig.ThermalRange(mode=mode))
        frames: list[Any] = [dark.astype(np.uint8), (dark + 100).astype(np.uint16), dark.astype(np.uint8)]
        for number, image in enumerate(frames):
            picture = thermal.apply(image, number * FRAME_NS)
            fresh = ThermalRange(rig.ThermalRange(mode=mode)).apply(image, number * FRAME_NS)
            assert np.array_equal(picture, fresh), (mode, number)
