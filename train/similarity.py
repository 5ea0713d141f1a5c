"""How alike two pictures are, as functions that a gradient goes through: SSIM and GMSD.

SSIM is that of :mod:`tdfusion_edge.metrics`, which scores 8-bit pictures: uniform 7x7 windows that lie wholly
inside, sample covariance. GMSD is the gradient magnitude similarity deviation of Xue et al., IEEE TIP 23(2),
2014: pictures halved by a mean of 2x2, Prewitt gradients, and the standard deviation of their similarity.

Pictures are (B, 1, H, W) float in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tdfusion_edge.metrics import SSIM_C1, SSIM_C2, SSIM_WINDOW

GMSD_C = 170 / 255**2
"""Keeps the similarity of flat pictures from being 0/0: 170 of 255 levels squared in the paper."""


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of each two pictures, (B,), -1 to 1; H and W at least 7."""
    unbias = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)
    mean_a, mean_b = _box(a), _box(b)
    var_a = unbias * (_box(a * a) - mean_a * mean_a)
    var_b = unbias * (_box(b * b) - mean_b * mean_b)
    covariance = unbias * (_box(a * b) - mean_a * mean_b)
    c1, c2 = SSIM_C1 / 255**2, SSIM_C2 / 255**2
    above = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    below = (mean_a * mean_a + mean_b * mean_b + c1) * (var_a + var_b + c2)
    return (above / below).mean(dim=(1, 2, 3))


def gmsd(a: Tensor, b: Tensor) -> Tensor:
    """Gradient magnitude similarity deviation of each two pictures, (B,), 0 where they are equal.

    H and W at least 6.
    """
    of_a, of_b = _gradient_magnitude(a), _gradient_magnitude(b)
    similarity = (2 * of_a * of_b + GMSD_C) / (of_a * of_a + of_b * of_b + GMSD_C)
    return similarity.flatten(1).std(dim=1, correction=0)


def _box(picture: Tensor) -> Tensor:
    return F.avg_pool2d(picture, SSIM_WINDOW, stride=1)


def _gradient_magnitude(picture: Tensor) -> Tensor:
    halved = F.avg_pool2d(picture, 2)
    across = torch.tensor([[1.0, 0.0, -1.0]] * 3, dtype=picture.dtype, device=picture.device) / 3
    kernels = torch.stack((across, across.T))[:, None]
    gradients = F.conv2d(halved, kernels)
    # The root has no gradient at 0.
    return (gradients.square().sum(dim=1) + 1e-12).sqrt()
