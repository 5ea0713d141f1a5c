"""Metrics against numbers worked out by hand, and against other implementations of the definitions."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sewar
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.signal import convolve2d
from skimage.metrics import structural_similarity

from tdfusion_edge import metrics
from tdfusion_edge.errors import RequestError
from tdfusion_edge.metrics import Scores

U8 = npt.NDArray[np.uint8]

QABF_COPY = 0.9994 / (1 + math.exp(-7.5)) * 0.9879 / (1 + math.exp(-4.4))
"""Qabf of a copy: every edge keeps its whole strength and its angle."""


def noise(seed: int, shape: tuple[int, int] = (48, 57), low: int = 0, high: int = 256) -> U8:
    return np.random.default_rng(seed).integers(low, high, shape, dtype=np.uint8)


def scene(seed: int, shape: tuple[int, int]) -> U8:
    """Smooth shading, a hot rectangle with sharp edges, clipped sky and a little sensor noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    picture = 90 + 60 * np.sin(x / rng.uniform(5, 30)) + 50 * np.cos(y / rng.uniform(5, 30))
    top, left = rng.integers(0, 20, 2)
    picture[top : top + 15, left : left + 20] += 80
    picture += rng.normal(0, 2, shape)
    picture[: shape[0] // 4] = 255
    return np.clip(picture, 0, 255).astype(np.uint8)


def ramp(shape: tuple[int, int], step_x: int, step_y: int) -> U8:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (step_x * x + step_y * y).astype(np.uint8)


def flat(value: int, shape: tuple[int, int] = (48, 57)) -> U8:
    return np.full(shape, value, np.uint8)


def qabf_by_definition(fused: U8, infrared: U8, visible: U8) -> float:
    """Xydeas and Petrovic's sums pixel by pixel, on Sobel responses of scipy's convolution."""
    kernel = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]], float)

    def edge(picture: U8) -> tuple[Any, Any]:
        sx = convolve2d(picture.astype(float), -kernel.T, mode="same")
        sy = convolve2d(picture.astype(float), kernel, mode="same")
        angle = [math.pi / 2 if h == 0 else math.atan(v / h) for h, v in zip(sx.flat, sy.flat, strict=True)]
        return np.hypot(sx, sy).ravel(), angle

    above = below = 0.0
    for source in (infrared, visible):
        for gs, as_, gf, af in zip(*edge(source), *edge(fused), strict=True):
            if gs == 0:
                continue
            strength = gf / gs if gs > gf else gs / gf
            angle = 1 - abs(as_ - af) / (math.pi / 2)
            kept = 0.9994 / (1 + math.exp(-15 * (strength - 0.5)))
            kept *= 0.9879 / (1 + math.exp(-22 * (angle - 0.8)))
            above += kept * gs
            below += gs
    return above / below if below else 0.0


# Numbers worked out by hand


def test_entropy_counts_bits() -> None:
    assert metrics.entropy(np.array([[3, 200], [200, 3]], np.uint8)) == 1
    assert metrics.entropy(np.array([[3, 200, 200, 200]], np.uint8)) == pytest.approx(0.8112781244591328)
    assert metrics.entropy(np.arange(256, dtype=np.uint8).reshape(16, 16)) == 8
    assert str(metrics.entropy(flat(9))) == "0.0"


def test_spatial_frequency_of_ramps() -> None:
    assert metrics.spatial_frequency(ramp((10, 12), 3, 4)) == 5
    # One pair of neighbours in a row, two in a column: the means must not run over all six pixels.
    assert metrics.spatial_frequency(np.array([[0, 3], [0, 3], [0, 3]], np.uint8)) == 3
    # A fall counts as a rise does: bytes must not wrap around.
    assert metrics.spatial_frequency(np.array([[255, 0], [255, 0]], np.uint8)) == 255


def test_average_gradient_of_ramps() -> None:
    assert metrics.average_gradient(ramp((10, 12), 3, 4)) == pytest.approx(math.sqrt(12.5))
    # Central differences in the middle, one-sided at the border: 0, 5, 10 along each row.
    assert metrics.average_gradient(np.array([[0, 0, 10]] * 2, np.uint8)) == pytest.approx(
        5 / math.sqrt(2), abs=1e-12
    )


def test_standard_deviation_of_two_levels() -> None:
    assert metrics.standard_deviation(np.array([[10, 30], [30, 10]], np.uint8)) == 10
    assert metrics.standard_deviation(flat(200)) == 0


def test_scd_of_sum_and_of_negative() -> None:
    a, b = noise(1, high=128), noise(2, high=128)
    # The difference to one source is the other one, so both correlations are 1.
    assert metrics.scd(a + b, a, b) == pytest.approx(2)
    # Here it is the other one's negative: visible + (127 - infrared) - visible falls as infrared rises.
    falling = metrics.scd(b + (127 - a), a, b)
    assert falling == pytest.approx(-1 + np.corrcoef((b - 2.0 * a).ravel(), b.ravel())[0, 1])


def test_scd_by_numpy() -> None:
    f, a, b = (scene(seed, (61, 53)).astype(float).ravel() for seed in (1, 2, 3))
    expected = np.corrcoef(f - b, a)[0, 1] + np.corrcoef(f - a, b)[0, 1]
    got = metrics.scd(scene(1, (61, 53)), scene(2, (61, 53)), scene(3, (61, 53)))
    assert got == pytest.approx(expected, abs=1e-12)


def test_constant_correlation_counts_as_zero() -> None:
    a, b = noise(1), noise(2)
    # fused - visible is constant, fused - infrared is not.
    assert metrics.scd(b, a, b) == pytest.approx(np.corrcoef((b.astype(float) - a).ravel(), b.ravel())[0, 1])
    assert metrics.scd(b, flat(7), b) == pytest.approx(1)
    assert metrics.scd(flat(3), flat(7), flat(9)) == 0


def test_ssim_of_flat_pictures() -> None:
    c1 = 2.55**2
    expected = (2 * 100 * 50 + c1) / (100**2 + 50**2 + c1)
    assert metrics.ssim(flat(100), flat(50), flat(50)) == pytest.approx(expected, abs=1e-12)
    assert metrics.ssim(flat(100), flat(100), flat(50)) == pytest.approx((1 + expected) / 2, abs=1e-12)


def test_copy_of_both_sources() -> None:
    a = scene(1, (64, 65))
    assert metrics.vif(a, a, a) == pytest.approx(1, abs=1e-6)
    assert metrics.ssim(a, a, a) == pytest.approx(1, abs=1e-12)
    assert metrics.qabf(a, a, a) == pytest.approx(QABF_COPY, abs=1e-12)


def test_vif_exceeds_one_when_contrast_doubles_and_is_zero_for_a_negative() -> None:
    a = noise(1, (60, 60), high=128)
    assert metrics.vif(2 * a, a, a) > 1.05
    assert metrics.vif(255 - a, a, a) == 0


def test_vif_source_without_information_counts_as_zero() -> None:
    a = noise(1)
    # The variance of black comes out as 0 exactly, that of other levels as a rounding error.
    for level in (0, 77, 200, 255):
        assert metrics.vif(a, flat(level), a) == pytest.approx(0.5, abs=1e-6)
        assert metrics.vif(a, flat(level), flat(level)) == 0
    assert metrics.vif(flat(200), a, a) == 0


def test_qabf_of_half_the_contrast() -> None:
    # Every gradient is halved, the strength's sigmoid is in its middle; angles stay.
    a = noise(1, high=128)
    expected = 0.9994 / 2 * 0.9879 / (1 + math.exp(-4.4))
    assert metrics.qabf(a, 2 * a, 2 * a) == pytest.approx(expected, abs=1e-12)
    assert metrics.qabf(2 * a, a, a) == pytest.approx(expected, abs=1e-12)


def test_qabf_without_edges() -> None:
    a, black = noise(1), flat(0)
    assert metrics.qabf(a, black, black) == 0
    assert metrics.qabf(black, black, black) == 0
    # A black source has no weight, and a black fused picture keeps next to nothing.
    assert metrics.qabf(a, a, black) == pytest.approx(QABF_COPY, abs=1e-12)
    assert 0 < metrics.qabf(black, a, a) < 6e-4
    # Any other constant picture has the edge to the zeros around it.
    assert metrics.qabf(flat(9), flat(9), flat(9)) == pytest.approx(QABF_COPY, abs=1e-12)


# Other implementations

SIZES = [(41, 41), (41, 58), (64, 64), (83, 61), (100, 77)]


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("make", [noise, scene])
def test_agrees_with_sewar_and_skimage(make: Any, shape: tuple[int, int]) -> None:
    f, a, b = (make(seed, shape) for seed in (1, 2, 3))
    assert_agrees((f // 2 + a // 2).astype(np.uint8), a, b)


def assert_agrees(fused: U8, infrared: U8, visible: U8) -> None:
    vif = [sewar.vifp(source, fused) for source in (infrared, visible)]
    ssim = [structural_similarity(source, fused, data_range=255) for source in (infrared, visible)]
    assert metrics.vif(fused, infrared, infrared) == pytest.approx(vif[0], abs=1e-6)
    assert metrics.vif(fused, visible, visible) == pytest.approx(vif[1], abs=1e-6)
    assert metrics.ssim(fused, infrared, infrared) == pytest.approx(ssim[0], abs=1e-6)
    assert metrics.ssim(fused, visible, visible) == pytest.approx(ssim[1], abs=1e-6)
    scores = metrics.evaluate(fused, infrared, visible)
    assert scores.vif == pytest.approx(sum(vif) / 2, abs=1e-6)
    assert scores.ssim == pytest.approx(sum(ssim) / 2, abs=1e-6)
    assert scores.qabf == pytest.approx(qabf_by_definition(fused, infrared, visible), abs=1e-9)


# Frame and crop: MSRS at night and by day, TNO, and RoadScene's odd sizes.
@pytest.mark.parametrize(
    ("ir", "vi", "crop"),
    [
        ("msrs/ir/01198N.webp", "msrs/vi/01198N.webp", (slice(200, 401), slice(100, 285))),
        ("msrs/ir/00303D.webp", "msrs/vi/00303D.webp", (slice(100, 250), slice(201, 400))),
        ("tno/ir/01.webp", "tno/vi/01.webp", (slice(0, 160), slice(0, 161))),
        ("roadscene/ir/FLIR_00006.jpg", "roadscene/vi/FLIR_00006.jpg", (slice(None), slice(150))),
    ],
)
def test_agrees_on_real_pictures(data: Path, ir: str, vi: str, crop: tuple[slice, slice]) -> None:
    import cv2

    pictures = [cv2.imread(str(data / name), cv2.IMREAD_GRAYSCALE) for name in (ir, vi)]
    assert all(picture is not None for picture in pictures), f"{ir} or {vi} cannot be read"
    infrared, visible = (picture[crop] for picture in pictures)
    assert_agrees(np.maximum(infrared, visible), infrared, visible)


@settings(deadline=None, max_examples=80)
@given(st.data(), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 255]))
def test_qabf_by_definition(draw: st.DataObject, height: int, width: int, top: int) -> None:
    # Few grey levels make equal gradients and gradients without a horizontal part common.
    pixels = hnp.arrays(np.uint8, (height, width), elements=st.integers(0, top))
    f, a, b = (draw.draw(pixels) for _ in range(3))
    assert metrics.qabf(f, a, b) == pytest.approx(qabf_by_definition(f, a, b), abs=1e-9)


# Invariants


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(np.uint8, (41, 43)), st.integers(0, 2**32 - 1))
def test_ranges_and_symmetry(fused: U8, seed: int) -> None:
    a, b = noise(seed, (41, 43)), scene(seed, (41, 43))
    scores, swapped = metrics.evaluate(fused, a, b), metrics.evaluate(fused, b, a)
    assert scores == pytest.approx(swapped, abs=1e-9)
    assert all(type(value) is float and math.isfinite(value) for value in scores)
    assert 0 <= scores.en <= 8
    assert 0 <= scores.sd <= 127.5
    assert min(scores.sf, scores.ag, scores.vif) >= 0
    assert abs(scores.scd) <= 2 + 1e-12
    assert abs(scores.ssim) <= 1 + 1e-12
    assert 0 <= scores.qabf <= QABF_COPY + 1e-12


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(2, 60))
def test_contrast_alone(seed: int, height: int, width: int) -> None:
    a = noise(seed, (height, width), high=128)
    assert metrics.entropy(2 * a) == pytest.approx(metrics.entropy(a))
    assert metrics.entropy(255 - a) == pytest.approx(metrics.entropy(a))
    for metric in (metrics.spatial_frequency, metrics.average_gradient, metrics.standard_deviation):
        assert metric(2 * a) == pytest.approx(2 * metric(a))
        assert metric(a + 100) == pytest.approx(metric(a))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_more_noise_is_less_of_the_sources(seed: int) -> None:
    source = scene(seed, (64, 72))
    pattern = np.random.default_rng(seed).normal(size=source.shape)
    noisy = [np.clip(source + sigma * pattern, 0, 255).astype(np.uint8) for sigma in (0, 6, 20, 60)]
    for metric in (metrics.vif, metrics.ssim, metrics.qabf):
        values = [metric(picture, source, source) for picture in noisy]
        assert values == sorted(values, reverse=True)
        assert values[0] > values[-1] + 0.2


def test_pictures_are_left_as_they_are_and_may_be_views() -> None:
    big = [scene(seed, (96, 100)) for seed in (1, 2, 3)]
    before = [picture.copy() for picture in big]
    views = [picture[::2, 1::2] for picture in big]
    for picture in views:
        picture.flags.writeable = False
    assert metrics.evaluate(*views) == metrics.evaluate(*(view.copy() for view in views))
    assert all(np.array_equal(*pair) for pair in zip(big, before, strict=True))


# Means and refusals


def test_mean_is_per_metric() -> None:
    low, high = Scores(*range(8)), Scores(*range(10, 18))
    assert metrics.mean([low, high]) == Scores(5, 6, 7, 8, 9, 10, 11, 12)
    assert metrics.mean(iter([low])) == low
    assert Scores._fields == ("en", "sf", "sd", "ag", "scd", "vif", "qabf", "ssim")


def test_mean_of_nothing_is_refused() -> None:
    with pytest.raises(RequestError, match="at least one evaluated picture"):
        metrics.mean([])


@pytest.mark.parametrize(
    ("fused", "infrared", "visible", "message"),
    [
        ((48, 57), (48, 57), (48, 56), "visible picture is not of the fused.*expected 57x48, got 56x48"),
        ((48, 57), (57, 48), (48, 57), "infrared picture is not of the fused.*expected 57x48, got 48x57"),
        ((48, 57, 3), (48, 57), (48, 57), r"fused picture.*uint8 \(H, W\), got uint8 \(48, 57, 3\)"),
        ((48, 40), (48, 40), (48, 40), "too small: expected at least 41x41, got 40x48"),
        ((0, 57), (0, 57), (0, 57), "too small"),
    ],
)
def test_unfit_pictures_are_refused(fused: Any, infrared: Any, visible: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        metrics.evaluate(*(np.zeros(shape, np.uint8) for shape in (fused, infrared, visible)))


def test_other_ranges_than_bytes_are_refused() -> None:
    a = noise(1)
    with pytest.raises(RequestError, match=r"visible picture cannot be evaluated.*float64"):
        metrics.evaluate(a, a, a / 255)
    with pytest.raises(RequestError, match=r"fused picture cannot be evaluated.*uint16"):
        metrics.entropy(a.astype(np.uint16))


def test_each_metric_names_its_least_size() -> None:
    for metric, side in ((metrics.ssim, 7), (metrics.vif, 41)):
        metric(*[noise(seed, (side, side)) for seed in (1, 2, 3)])
        with pytest.raises(RequestError, match=f"at least {side}x{side}"):
            metric(*[noise(seed, (side, side - 1)) for seed in (1, 2, 3)])
    for single in (metrics.spatial_frequency, metrics.average_gradient):
        with pytest.raises(RequestError, match="at least 2x2"):
            single(noise(1, (1, 9)))


def test_importing_costs_numpy_only() -> None:
    program = "import sys, tdfusion_edge.metrics; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert "numpy" in loaded
    assert not loaded & {"cv2", "scipy", "skimage", "torch", "onnxruntime", "av"}
