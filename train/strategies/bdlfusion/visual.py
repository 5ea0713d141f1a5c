"""The visual constraint: what a fused picture is to look like, and a discriminator for the difference.

Source: BDLFusion, IJCAI 2023 (arXiv 2305.06720); figures are facts of the released code. With the saliency m,

    M    = m infrared + (1 - m) visible
    L_c  = mean |M - F| + 1.1 (1 - SSIM(F, M))
    l    = mean D(F) - mean D(M)                       the lower level: D tells them apart
    U    = L_c + 0.5 (mean D(M) - mean D(F))           the upper one: F is to look *like* the target to D

mean D(M) in U has no gradient for F, but one for D: without it, U would follow what D says of all pictures
alike, which l leaves open. The released code's upper level has the bracket with the other sign, which
drives F to look *unlike* the target, and bounds neither D's weights nor its slope, so that l has no
minimum. Here ``lipschitz`` bounds D: ``penalty`` on slopes above one (Gulrajani et al., arXiv 1704.00028;
one-sided as in Petzka et al., arXiv 1709.08894), ``clip`` on its weights (Arjovsky et al., arXiv
1701.07875). A slope is counted per root mean square of a picture's change, whatever its size: D then
measures a distance in grey levels, and its weight in U can be compared with that of L_c. ``hinge`` (Lim and
Ye, arXiv 1705.02894) gives D nothing for pictures that it tells apart well.

M follows ``[loss]``: ``intensity = "linear"`` is the published sum above, which by day goes dark where
infrared does; ``"additive"`` weighs two sums of both sensors instead (see
:mod:`tdfusion_edge.train.losses`). ``alpha`` adds the gradient loss to L_c; the paper has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from tdfusion_edge.train.losses import gradient_loss
from tdfusion_edge.train.recipe import Loss
from tdfusion_edge.train.ssim import ssim

Adversarial: TypeAlias = Literal["wasserstein", "hinge"]
Lipschitz: TypeAlias = Literal["penalty", "clip", "none"]


def target(
    infrared: Tensor, visible: Tensor, saliency: Tensor, options: Loss, alone: Tensor | None = None
) -> Tensor:
    """M, (B, 1, H, W) in [0, 1].

    Args:
        infrared: (B, 1, H, W) in [0, 1].
        visible: (B, 1, H, W) in [0, 1].
        saliency: m, (B, 1, H, W) in [0, 1].
        options: ``[loss]``; ``intensity`` is ``linear`` or ``additive``.
        alone: (B, 1, 1, 1) bool, True where one sensor is gone and both pictures are the other one's, which
            is then the target; None: nowhere.
    """
    left = visible
    if options.intensity == "additive":
        sums = options.towards_infrared, options.towards_visible
        infrared, visible = ((a * infrared + b * visible).clamp(max=1) for a, b in sums)
    mixed = visible + saliency * (infrared - visible)
    return mixed if alone is None else torch.where(alone, left, mixed)


def content_loss(
    fused: Tensor, wanted: Tensor, infrared: Tensor, visible: Tensor, options: Loss, structure: float
) -> Mapping[str, Tensor]:
    """L_c as ``loss``, and its parts, scalars.

    Args:
        fused: (B, 1, H, W).
        wanted: M.
        infrared: (B, 1, H, W).
        visible: (B, 1, H, W).
        options: ``[loss]``: ``alpha``, ``gradient`` and ``border``.
        structure: Weight of 1 - SSIM; 1.1 in the released code.
    """
    intensity, unlike = (fused - wanted).abs().mean(), 1 - ssim(fused, wanted)
    loss = intensity + structure * unlike
    parts = {"intensity": intensity, "structure": unlike}
    if options.alpha:
        parts["gradient"] = gradient_loss(fused, infrared, visible, options.gradient, options.border)
        loss = loss + options.alpha * parts["gradient"]
    return {"loss": loss, **parts}


def distance(of_fused: Tensor, of_target: Tensor | None = None) -> Tensor:
    """What D still tells apart, mean D(M) - mean D(F): what F lowers to look like the target, a scalar.

    Args:
        of_fused: Scores of fused pictures.
        of_target: Scores of targets; None: what they contribute to no gradient is left out.
    """
    return -of_fused.mean() if of_target is None else of_target.mean() - of_fused.mean()


def told_apart(of_fused: Tensor, of_target: Tensor, form: Adversarial) -> Tensor:
    """l: what D lowers to tell fused pictures from targets, a scalar."""
    if form == "hinge":
        return (1 + of_fused).relu().mean() + (1 - of_target).relu().mean()
    return of_fused.mean() - of_target.mean()


def slope_penalty(discriminator: nn.Module, fused: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared excess over one of D's slopes between fused pictures and targets, a scalar.

    Args:
        discriminator: Without batch statistics, which mix pictures.
        fused: (B, 1, H, W), detached.
        wanted: (B, 1, H, W).
    """
    share = torch.rand(len(fused), 1, 1, 1).to(fused)
    between = torch.lerp(wanted, fused, share).requires_grad_()
    score = discriminator(between).mean(dim=(1, 2, 3)).sum()
    (slope,) = torch.autograd.grad(score, between, create_graph=True)
    # Per root mean square of a picture's change: its norm times the root of its number of pixels.
    steepness = slope.flatten(1).norm(dim=1) * fused[0].numel() ** 0.5
    excess: Tensor = (steepness - 1).relu().square()
    return excess.mean()
