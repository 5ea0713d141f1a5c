"""The visual constraint: SSIM against scikit-image, the target, and both discriminators."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from tdfusion_edge.train.models.discriminator import PatchDiscriminator, PixelDiscriminator
from tdfusion_edge.train.models.tables import build_discriminator
from tdfusion_edge.train.recipe import Loss
from tdfusion_edge.train.ssim import ssim
from tdfusion_edge.train.strategies.bdlfusion.visual import content_loss, slope_penalty, target


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_ssim_is_scikit_images() -> None:
    a = random(0, 2, 1, 40, 33)
    b = (a + 0.2 * random(1, 2, 1, 40, 33)).clamp(0, 1)
    expected = []
    for x, y in zip(a[:, 0].numpy(), b[:, 0].numpy(), strict=True):
        _, whole = structural_similarity(
            x, y, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )
        expected.append(whole[5:-5, 5:-5].mean())
    assert ssim(a, b).item() == pytest.approx(np.mean(expected), rel=1e-9)
    assert ssim(a, a).item() == pytest.approx(1)


def test_the_target_is_the_published_sum_or_the_recipes() -> None:
    infrared, visible, m = random(2, 1, 1, 4, 4), random(3, 1, 1, 4, 4), random(4, 1, 1, 4, 4)
    convex = target(infrared, visible, m, Loss(intensity="linear"))
    torch.testing.assert_close(convex, m * infrared + (1 - m) * visible)
    sums = Loss(intensity="additive", towards_infrared=(1.0, 0.5), towards_visible=(0.5, 0.9))
    expected = m * (infrared + 0.5 * visible).clamp(max=1)
    expected += (1 - m) * (0.5 * infrared + 0.9 * visible).clamp(max=1)
    torch.testing.assert_close(target(infrared, visible, m, sums), expected)


def test_where_one_sensor_is_gone_the_target_is_the_other_one() -> None:
    left, m = random(2, 2, 1, 4, 4), random(4, 2, 1, 4, 4)
    alone = torch.tensor([True, False]).view(2, 1, 1, 1)
    sums = Loss(intensity="additive", towards_infrared=(1.0, 0.5), towards_visible=(0.5, 0.9))
    found = target(left, left, m, sums, alone)
    assert torch.equal(found[0], left[0])
    torch.testing.assert_close(found[1], target(left, left, m, sums)[1])


def test_the_content_loss_is_least_at_the_target_and_has_the_recipes_gradient_loss() -> None:
    fused, wanted, pair = random(5, 1, 1, 16, 16), random(6, 1, 1, 16, 16), random(7, 2, 1, 1, 16, 16)
    there = content_loss(wanted, wanted, *pair, Loss(alpha=0.0), 1.1)
    assert there["loss"].item() == pytest.approx(0, abs=1e-12)
    assert "gradient" not in there
    found = content_loss(fused, wanted, *pair, Loss(alpha=0.15), 1.1)
    whole = found["intensity"] + 1.1 * found["structure"] + 0.15 * found["gradient"]
    assert found["loss"].item() == pytest.approx(whole.item())
    assert found["structure"].item() == pytest.approx(1 - ssim(fused, wanted).item())


def test_the_discriminators_have_the_sizes_that_are_stated() -> None:
    def count(network: torch.nn.Module) -> int:
        return sum(part.numel() for part in network.parameters())

    assert count(build_discriminator("pixel")) == 128 + 8192 + 256 + 128 == 8704
    assert count(build_discriminator("patch")) == 272 + 8224 + 289 == 8785


def test_pixel_sees_pixels_and_patch_sees_texture() -> None:
    """The same grey levels in another order are the same to the one and not to the other."""
    torch.manual_seed(0)
    picture = random(8, 1, 1, 32, 32).float()
    shuffled = picture.flatten()[torch.randperm(32 * 32)].view_as(picture)
    for network, same in ((PixelDiscriminator(), True), (PatchDiscriminator(), False)):
        network.eval()
        with torch.no_grad():
            scores = [network(one).mean().item() for one in (picture, shuffled)]
        assert (scores[0] == pytest.approx(scores[1], abs=1e-6)) is same
    moved = picture.clone().requires_grad_()
    PatchDiscriminator()(moved)[0, 0, 4, 4].backward()
    assert moved.grad is not None
    rows = moved.grad[0, 0].abs().sum(1).nonzero()
    assert rows.max() - rows.min() + 1 == 18


def test_the_penalty_is_on_slopes_above_one_grey_level_a_grey_level() -> None:
    class Linear(torch.nn.Module):
        def __init__(self, slope: float) -> None:
            super().__init__()
            self.slope = slope

        def forward(self, luma: torch.Tensor) -> torch.Tensor:
            return self.slope * luma

    a, b = random(9, 2, 3, 1, 8, 8)
    assert slope_penalty(Linear(0.9), a, b).item() == 0
    assert slope_penalty(Linear(3.0), a, b).item() == pytest.approx(4.0)
    # Whatever the size of the picture.
    assert slope_penalty(Linear(3.0), a[..., :4], b[..., :4]).item() == pytest.approx(4.0)
