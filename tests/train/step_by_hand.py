"""A second implementation of one step of ``tdfusion`` for the networks of ``tiny.py``: plain autograd alone.

Written from the formulas (TDFusion, arXiv 2412.03240, sections 3.2 and 3.5; Adam, arXiv 1412.6980), without
a line of the package: it differentiates by ``create_graph`` and knows networks only as lists of tensors.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

Weights = list[Tensor]


class Rules(NamedTuple):
    """Where the paper and the released code differ."""

    squared: bool
    signed: bool
    zero_border: bool
    adam: bool
    """Of T's virtual step."""


PAPER = Rules(squared=False, signed=False, zero_border=False, adam=False)
CODE = Rules(squared=True, signed=True, zero_border=True, adam=True)


class Pictures(NamedTuple):
    """Meta-train or meta-test: crops, the task's view and its mask."""

    crops: tuple[Tensor, Tensor]
    view: tuple[Tensor, Tensor]
    mask: Tensor

    def with_swapped(self) -> Pictures:
        a, b = self.crops
        c, d = self.view
        both = torch.cat((a, b)), torch.cat((b, a))
        return Pictures(both, (torch.cat((c, d)), torch.cat((d, c))), torch.cat((self.mask, self.mask)))


def fuse(f: Weights, infrared: Tensor, visible: Tensor) -> Tensor:
    body, body_bias, head, head_bias = f
    x = torch.tanh(F.conv2d(torch.cat((infrared, visible), 1), body, body_bias, padding=1))
    share = torch.sigmoid(F.conv2d(x, head, head_bias))
    return visible + share * (infrared - visible)


def weigh(g: Weights, infrared: Tensor, visible: Tensor) -> Tensor:
    return torch.sigmoid(F.conv2d(torch.cat((infrared, visible), 1), g[0], g[1], padding=1))


def task_loss(t: Weights, fused: Tensor, mask: Tensor) -> Tensor:
    logits = F.conv2d(torch.tanh(F.conv2d(fused, t[0], t[1], padding=1)), t[2], t[3])
    chosen = logits.log_softmax(1).gather(1, mask[:, None])
    return -chosen.mean()


def slopes(image: Tensor, rules: Rules) -> list[Tensor]:
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=image.dtype)
    if not rules.zero_border:
        image = torch.cat((image[..., :1], image, image[..., -1:]), -1)
        image = torch.cat((image[..., :1, :], image, image[..., -1:, :]), -2)
    padding = 1 if rules.zero_border else 0
    return [F.conv2d(image, k[None, None], padding=padding) for k in (kernel, kernel.T)]


def fusion_loss(fused: Tensor, infrared: Tensor, visible: Tensor, weight: Tensor, rules: Rules) -> Tensor:
    power = 2 if rules.squared else 1
    intensity = weight**power * (fused - infrared) ** 2 + (1 - weight) ** power * (fused - visible) ** 2
    total = intensity.mean()
    for of_fused, a, b in zip(*(slopes(x, rules) for x in (fused, infrared, visible)), strict=True):
        if rules.signed:
            target = a * (a.abs() >= b.abs()) + b * (a.abs() < b.abs())
            total = total + (of_fused - target).abs().mean()
        else:
            target = torch.stack((a.abs(), b.abs())).amax(0)
            total = total + (of_fused.abs() - target).abs().mean()
    return total


def first_adam(weights: Weights, slope: Weights, rate: float, eps: float = 1e-8) -> Weights:
    """Adam's first step: both moments, freed from their bias, are the gradient itself."""
    return [w - rate * s / (s.abs() + eps) for w, s in zip(weights, slope, strict=True)]


def meta(
    f: Weights, g: Weights, t: Weights, train: Pictures, test: Pictures, rate: float, rules: Rules
) -> tuple[Tensor, Tensor, Weights]:
    """L_f, L_t after the virtual steps, and the gradient of the latter with respect to G."""
    inner = fusion_loss(fuse(f, *train.crops), *train.crops, weigh(g, *train.crops), rules)
    slope = torch.autograd.grad(inner, f, create_graph=True)
    stepped = [w - rate * s for w, s in zip(f, slope, strict=True)]
    of_task = torch.autograd.grad(task_loss(t, fuse(f, *train.view).detach(), train.mask), t)
    if rules.adam:
        virtual = first_adam(t, list(of_task), rate)
    else:
        virtual = [w - rate * s for w, s in zip(t, of_task, strict=True)]
    outer = task_loss([part.detach() for part in virtual], fuse(stepped, *test.view), test.mask)
    return inner, outer, list(torch.autograd.grad(outer, g))


def fusion(
    f: Weights, g: Weights, t: Weights, train: Pictures, rate: float, rules: Rules
) -> tuple[Tensor, Tensor, Weights, Weights]:
    """L_f and L_t of a fusion step, and F and T after it (Adam's first)."""
    weight = weigh(g, *train.crops).detach()
    of_fusion = fusion_loss(fuse(f, *train.crops), *train.crops, weight, rules)
    f = first_adam(f, list(torch.autograd.grad(of_fusion, f)), rate)
    of_task = task_loss(t, fuse(f, *train.view).detach(), train.mask)
    t = first_adam(t, list(torch.autograd.grad(of_task, t)), rate)
    return of_fusion, of_task, f, t
