"""The fixed fusion loss: golden numbers, its minimisers, and what each term punishes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tdfusion_edge.train.losses import (
    Border,
    Gradient,
    Intensity,
    fusion_loss,
    gradient_loss,
    intensity_loss,
    sobel,
    stronger,
)
from tdfusion_edge.train.recipe import Loss


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


def test_sobel_equals_scipy_with_a_border_of_zeros() -> None:
    """The released code's border, which draws an edge around a flat picture."""
    image, _, _ = pair(1)
    picture = image[0, 0].numpy()
    for found, axis in zip(sobel(image, "zero"), (1, 0), strict=True):
        expected = ndimage.sobel(picture, axis=axis, mode="constant")
        np.testing.assert_allclose(found[0, 0], expected, atol=1e-12)
    across, _ = sobel(torch.full((1, 1, 5, 5), 0.7), "zero")
    assert across[0, 0, 2, 0] == pytest.approx(4 * 0.7)
    assert across[0, 0, 2, 2] == 0


def test_gradient_golden_numbers() -> None:
    """A ramp of slope 1 a pixel has a Sobel response of 8 where it is not the border's."""
    ramp = torch.arange(6.0, dtype=torch.float64).expand(1, 1, 4, 6)
    flat = torch.zeros_like(ramp)
    # Replicated, the outer two of the six columns have 4: a mean of (2 * 4 + 4 * 8) / 6.
    assert gradient_loss(flat, ramp, flat).item() == pytest.approx(40 / 6)
    assert gradient_loss(ramp, ramp, flat).item() == 0
    # Falling instead of rising: twice as wrong by the signed target, not at all by the magnitudes.
    assert gradient_loss(-ramp, ramp, flat).item() == pytest.approx(80 / 6)
    assert gradient_loss(-ramp, ramp, flat, "magnitude").item() == 0
    assert gradient_loss(0.5 * ramp, flat, ramp, "magnitude").item() == pytest.approx(20 / 6)


@pytest.mark.parametrize("gradient", ["signed", "magnitude"])
@pytest.mark.parametrize("border", ["replicate", "zero"])
def test_the_whole_loss_is_the_sum_of_its_parts(gradient: Gradient, border: Border) -> None:
    fused, infrared, visible = pair(7)
    options = Loss(intensity="squared", gradient=gradient, border=border, alpha=0.7)
    losses = fusion_loss(fused, infrared, visible, 0.3, options)
    assert losses["intensity"] == intensity_loss(fused, infrared, visible, 0.3, "squared")
    assert losses["gradient"] == gradient_loss(fused, infrared, visible, gradient, border)
    assert losses["loss"].item() == pytest.approx(
        losses["intensity"].item() + 0.7 * losses["gradient"].item(), rel=1e-12
    )


@pytest.mark.parametrize("form", ["linear", "squared"])
def test_the_slope_with_respect_to_the_weights(form: Intensity) -> None:
    """What the loss network learns from, against the derivative by hand."""
    fused, infrared, visible = pair(9)
    weights = torch.rand(fused.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weights.requires_grad_()
    intensity_loss(fused, infrared, visible, weights, form).backward()
    to_infrared, to_visible = (fused - infrared) ** 2, (fused - visible) ** 2
    w = weights.detach()
    slope = to_infrared - to_visible if form == "linear" else 2 * (w * to_infrared - (1 - w) * to_visible)
    torch.testing.assert_close(weights.grad, slope / fused.numel())
