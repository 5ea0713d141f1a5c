"""Fusion losses: what a fused picture should keep of its two sources.

Source: TDFusion, CVPR 2025 (arXiv 2412.03240), section 3.2: L_f = L_int + alpha * L_grad.

    L_int  = mean over pixels of  w_ir (I_f - I_ir)^2 + w_vis (I_f - I_vis)^2
    L_grad = mean over pixels of  | grad I_f - strongest grad of the sources |     (Sobel)

The released code differs: its weights enter squared (``intensity = "squared"``), and its gradient
target is the *signed* Sobel response of the source with the larger magnitude, x and y apart
(``gradient = "signed"``). The paper's formula leaves the sign open and reads as magnitudes
(``"magnitude"``); with the signed target an edge keeps its polarity, and it is the default. The code's
zero padding (``border = "zero"``) draws a strong artificial edge around the picture; the default
replicates the border.

``intensity = "additive"`` is ours. The minimiser of the paper's L_int is w_ir I_ir + w_vis I_vis: what draws
the picture towards one sensor switches the other one off, and by day, where infrared's median is a quarter of
visible's, makes it dark. Here w weighs two sums of both, and moves the gains of both sensors between them.

Pictures are (B, 1, H, W) float in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from tdfusion_edge.train.recipe import Loss

Intensity: TypeAlias = Literal["linear", "squared", "max", "additive"]
Gains: TypeAlias = tuple[float, float]
"""Of infrared and of visible."""
Gradient: TypeAlias = Literal["signed", "magnitude"]
Border: TypeAlias = Literal["replicate", "zero"]


def sobel(image: Tensor, border: Border = "replicate") -> tuple[Tensor, Tensor]:
    """Horizontal and vertical Sobel responses, un-normalised (1, 2, 1), each of the image's shape."""
    padded = F.pad(image, (1, 1, 1, 1), mode="constant" if border == "zero" else border)
    smooth_y = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    smooth_x = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return smooth_y[..., 2:] - smooth_y[..., :-2], smooth_x[..., 2:, :] - smooth_x[..., :-2, :]


def stronger(a: Tensor, b: Tensor) -> Tensor:
    """Element by element the value of larger magnitude, with its sign; ``a`` where they are equal."""
    return torch.where(a.abs() >= b.abs(), a, b)


def intensity_loss(
    fused: Tensor,
    infrared: Tensor,
    visible: Tensor,
    weight_infrared: Tensor | float,
    form: Intensity = "linear",
    sums: tuple[Gains, Gains] = ((1.0, 0.0), (0.0, 1.0)),
    alone: Tensor | None = None,
) -> Tensor:
    """L_int, a scalar.

    Args:
        fused: (B, 1, H, W).
        infrared: (B, 1, H, W).
        visible: (B, 1, H, W).
        weight_infrared: w_ir, a number or (B, 1, H, W), in [0, 1]; w_vis = 1 - w_ir.
        form: ``linear`` as in the paper, ``squared`` as in the released code (its minimiser selects
            more sharply), ``max``: the brighter source is the target and the weights are not used,
            ``additive``: as ``linear``, and the targets are two sums of both sources in place of each alone.
        sums: Gains of the two sums that ``additive`` weighs by w_ir and by w_vis.
        alone: (B, 1, 1, 1) bool, True where one sensor is gone and both pictures are the other one's: there
            the target is that picture, and no sum. None: nowhere.
    """
    if form == "max":
        return (fused - torch.maximum(infrared, visible)).square().mean()
    if form == "additive":
        both = [(a * infrared + b * visible).clamp(max=1) for a, b in sums]
        infrared, visible = both if alone is None else (torch.where(alone, visible, one) for one in both)
    weight_visible = 1 - weight_infrared
    if form == "squared":
        weight_infrared, weight_visible = weight_infrared**2, weight_visible**2
    to_infrared = weight_infrared * (fused - infrared).square()
    to_visible = weight_visible * (fused - visible).square()
    return (to_infrared + to_visible).mean()


def gradient_loss(
    fused: Tensor, infrared: Tensor, visible: Tensor, form: Gradient = "signed", border: Border = "replicate"
) -> Tensor:
    """L_grad, a scalar: L1 distance to the stronger source gradient, x and y summed."""
    losses: list[Tensor] = []
    for parts in zip(*(sobel(image, border) for image in (fused, infrared, visible)), strict=True):
        of_fused, of_infrared, of_visible = parts
        if form == "magnitude":
            target, of_fused = torch.maximum(of_infrared.abs(), of_visible.abs()), of_fused.abs()
        else:
            target = stronger(of_infrared, of_visible)
        losses.append((of_fused - target).abs().mean())
    return losses[0] + losses[1]


def fusion_loss(
    fused: Tensor,
    infrared: Tensor,
    visible: Tensor,
    weight_infrared: Tensor | float,
    options: Loss,
    alone: Tensor | None = None,
) -> Mapping[str, Tensor]:
    """L_f as ``loss``, and its parts ``intensity`` and ``gradient``, scalars.

    Args:
        fused: (B, 1, H, W).
        infrared: (B, 1, H, W).
        visible: (B, 1, H, W).
        weight_infrared: w_ir, a number or (B, 1, H, W) in [0, 1].
        options: ``[loss]`` of the recipe.
        alone: (B, 1, 1, 1) bool, True where one sensor is gone and both pictures are the other one's; None:
            nowhere. As :class:`~tdfusion_edge.train.data.types.Sources` has it.
    """
    sums = options.towards_infrared, options.towards_visible
    intensity = intensity_loss(fused, infrared, visible, weight_infrared, options.intensity, sums, alone)
    gradient = gradient_loss(fused, infrared, visible, options.gradient, options.border)
    return {"loss": intensity + options.alpha * gradient, "intensity": intensity, "gradient": gradient}
