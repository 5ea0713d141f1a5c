"""SSIM and GMSD that a gradient goes through, against what scores 8-bit pictures and against NumPy."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge import metrics
from tdfusion_edge.train.similarity import gmsd, ssim


def pictures(seed: int, count: int = 2) -> tuple[np.ndarray, ...]:
    """Smooth 8-bit pictures with a little noise, (45, 52)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:45, :52]
    waves = [128 + 90 * np.sin(x / random.uniform(2, 9) + y / random.uniform(2, 9)) for _ in range(count)]
    return tuple((one + random.normal(0, 8, one.shape)).clip(0, 255).astype(np.uint8) for one in waves)


def tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).double()[None, None] / 255


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_ssim_is_the_one_that_scores(seed: int) -> None:
    fused, infrared, visible = pictures(seed, 3)
    expected = metrics.ssim(fused, infrared, visible)
    found = (ssim(tensor(fused), tensor(infrared)) + ssim(tensor(fused), tensor(visible))).item() / 2
    assert abs(found - expected) < 1e-9


def gmsd_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    """The paper's definition on levels of 0 to 255, c = 170, written with slices."""

    def magnitude(levels: np.ndarray) -> np.ndarray:
        height, width = (side // 2 * 2 for side in levels.shape)
        even = levels[:height, :width].astype(float)
        half = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
        rows = half[:-2] + half[1:-1] + half[2:]
        columns = half[:, :-2] + half[:, 1:-1] + half[:, 2:]
        across, down = (rows[:, 2:] - rows[:, :-2]) / 3, (columns[2:] - columns[:-2]) / 3
        return np.hypot(across, down)

    of_a, of_b = magnitude(a), magnitude(b)
    return float(((2 * of_a * of_b + 170) / (of_a**2 + of_b**2 + 170)).std())


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_gmsd_is_the_papers(seed: int) -> None:
    a, b = pictures(seed)
    assert abs(gmsd(tensor(a), tensor(b)).item() - gmsd_by_hand(a, b)) < 1e-6


def test_each_picture_of_a_batch_is_compared_by_itself() -> None:
    a, b = pictures(0)
    first, second = torch.cat((tensor(a), tensor(a))), torch.cat((tensor(a), tensor(b)))
    torch.testing.assert_close(ssim(first, second), torch.cat((torch.ones(1), ssim(tensor(a), tensor(b)))))
    assert gmsd(first, second)[0] < 1e-6 < gmsd(first, second)[1]


def test_a_flat_picture_gives_finite_gradients() -> None:
    flat = torch.full((1, 1, 16, 16), 0.3, requires_grad=True)
    other = torch.rand(1, 1, 16, 16)
    for value in (1 - ssim(flat, other), gmsd(flat, other)):
        (gradient,) = torch.autograd.grad(value.sum(), flat)
        assert torch.isfinite(gradient).all()
