"""The fixed fusion loss: golden numbers, its minimisers, and what each term punishes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tdfusion_edge.train.losses import gradient_loss, intensity_loss, sobel, stronger


def pair(seed: int, height: int = 12, width: int = 15) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    fused, infrared, visible = torch.rand(3, 1, 1, height, width, generator=generator, dtype=torch.float64)
    return fused, infrared, visible


def test_sobel_equals_scipy_with_repeated_border() -> None:
    image, _, _ = pair(0)
    across, down = sobel(image)
    picture = image[0, 0].numpy()
    np.testing.assert_allclose(across[0, 0], ndimage.sobel(picture, axis=1, mode="nearest"), atol=1e-12)
    np.testing.assert_allclose(down[0, 0], ndimage.sobel(picture, axis=0, mode="nearest"), atol=1e-12)


def test_a_flat_picture_has_no_gradient_at_its_border() -> None:
    across, down = sobel(torch.full((1, 1, 5, 5), 0.7))
    assert not across.any()
    assert not down.any()


def test_the_stronger_gradient_keeps_its_sign() -> None:
    a, b = torch.tensor([-3.0, 1.0, 2.0]), torch.tensor([2.0, -4.0, -2.0])
    assert stronger(a, b).tolist() == [-3.0, -4.0, 2.0]


def test_intensity_golden_numbers() -> None:
    infrared, visible, fused = (
        torch.tensor([[[[1.0, 0.0]]]]),
        torch.zeros(1, 1, 1, 2),
        torch.full((1, 1, 1, 2), 0.5),
    )
    # First pixel: 0.8 * 0.25 + 0.2 * 0.25; second: the same. Squared weights: 0.68 * 0.25.
    assert intensity_loss(fused, infrared, visible, 0.8).item() == pytest.approx(0.25)
    assert intensity_loss(fused, infrared, visible, 0.8, "squared").item() == pytest.approx(0.17)
    assert intensity_loss(fused, infrared, visible, 0.8, "max").item() == pytest.approx(0.25)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), weight=st.floats(0.05, 0.95))
def test_the_minimiser_of_each_form(seed: int, weight: float) -> None:
    _, infrared, visible = pair(seed)
    share = weight**2 / (weight**2 + (1 - weight) ** 2)
    expected = {
        "linear": weight * infrared + (1 - weight) * visible,
        "squared": share * infrared + (1 - share) * visible,
        "max": torch.maximum(infrared, visible),
    }
    for form, minimiser in expected.items():
        fused = minimiser.clone().requires_grad_()
        intensity_loss(fused, infrared, visible, weight, form).backward()  # type: ignore[arg-type]
        assert fused.grad is not None
        assert fused.grad.abs().max() < 1e-12, form


def test_a_weight_map_gives_each_pixel_its_own_weight() -> None:
    _, infrared, visible = pair(3)
    weights = (torch.arange(infrared.numel()).reshape(infrared.shape) % 2).double()
    chosen = torch.where(weights == 1, infrared, visible)
    assert intensity_loss(chosen, infrared, visible, weights).item() == 0


def test_gradient_loss_is_zero_for_the_source_that_has_all_edges() -> None:
    _, infrared, _ = pair(5)
    flat = torch.full_like(infrared, 0.4)
    assert gradient_loss(infrared + 0.1, infrared, flat).item() == pytest.approx(0, abs=1e-12)
    assert gradient_loss(flat, infrared, flat).item() > 0.5
