"""Structural similarity as a loss: the same number as a metric of pictures in [0, 1], with a gradient.

Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP
2004, section III: 11 x 11 Gaussian windows of sigma 1.5, K1 = .01, K2 = .03. Windows lie wholly inside the
picture.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM of two batches of pictures, a scalar in -1 to 1.

    Args:
        a: (B, 1, H, W) in [0, 1], H and W at least 11.
        b: Of the same shape.
    """
    # All five averages in one pass over channels.
    blurred = _blurred(torch.cat((a, b, a * a, b * b, a * b), dim=1))
    mean_a, mean_b, square_a, square_b, product = blurred.unbind(1)
    variance_a, variance_b = square_a - mean_a**2, square_b - mean_b**2
    covariance = product - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return (likeness * (2 * covariance + C2) / (variance_a + variance_b + C2)).mean()


def _blurred(x: Tensor) -> Tensor:
    """Gaussian means of every channel, columns and then rows."""
    place = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    weight = torch.exp(-(place**2) / (2 * SIGMA**2))
    kernel = (weight / weight.sum()).expand(x.shape[1], 1, 1, WINDOW)
    x = F.conv2d(x, kernel, groups=x.shape[1])
    return F.conv2d(x, kernel.transpose(2, 3), groups=x.shape[1])
