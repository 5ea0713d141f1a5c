"""A second implementation of one step of ``bdlfusion`` for the networks of ``tiny.py``: plain autograd alone.

Written from the formulas (BDLFusion, arXiv 2305.06720; SSIM, Wang et al., 2004), without the package's code.
It can have each of the released code's faults, so that a test sees what difference each of them makes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from step_by_hand import Weights, fuse, task_loss
from torch import Tensor
from torch.nn import functional as F


class Faults(NamedTuple):
    """Of the released code."""

    aliased: bool = False
    """Both hyper-gradients are their sum."""
    stale: bool = False
    """The vector has what the last training step left."""
    inert: bool = False
    """The implicit term is scaled by the learning rate."""
    signed: bool = False
    """F is to look unlike the target."""


class Pictures(NamedTuple):
    """One batch: crops, their saliency, the task's view and its mask."""

    crops: tuple[Tensor, Tensor]
    saliency: Tensor
    view: tuple[Tensor, Tensor]
    mask: Tensor

    @property
    def target(self) -> Tensor:
        infrared, visible = self.crops
        return self.saliency * infrared + (1 - self.saliency) * visible


def tell(d: Weights, luma: Tensor) -> Tensor:
    """Scores of a discriminator of two convolutions."""
    return F.conv2d(torch.tanh(F.conv2d(luma, d[0], d[1], padding=1)), d[2], d[3])


def likeness(a: Tensor, b: Tensor) -> Tensor:
    """SSIM window by window, each weighed by a Gaussian."""
    place = torch.arange(11, dtype=a.dtype) - 5
    bell = torch.exp(-(place[:, None] ** 2 + place[None] ** 2) / (2 * 1.5**2)).flatten()
    bell = (bell / bell.sum())[None, :, None]
    x, y = (F.unfold(picture, 11) for picture in (a, b))
    mean_x, mean_y = ((bell * windows).sum(1, keepdim=True) for windows in (x, y))
    x, y = x - mean_x, y - mean_y
    xx, yy, xy = ((bell * product).sum(1, keepdim=True) for product in (x * x, y * y, x * y))
    top = (2 * mean_x * mean_y + 1e-4) * (2 * xy + 9e-4)
    return (top / ((mean_x**2 + mean_y**2 + 1e-4) * (xx + yy + 9e-4))).mean()


def apart(f: Weights, d: Weights, pictures: Pictures) -> Tensor:
    """What D lowers."""
    return tell(d, fuse(f, *pictures.crops)).mean() - tell(d, pictures.target).mean()


def vision(f: Weights, d: Weights, pictures: Pictures, weight: float, structure: float) -> Tensor:
    """What F lowers for the eyes."""
    fused = fuse(f, *pictures.crops)
    content = (fused - pictures.target).abs().mean() + structure * (1 - likeness(fused, pictures.target))
    return content - weight * apart(f, d, pictures)


def semantics(f: Weights, t: Weights, pictures: Pictures) -> Tensor:
    """What F and T lower for the task."""
    return task_loss(t, fuse(f, *pictures.view), pictures.mask)


def hyper(
    direct: Tensor, below: Tensor, f: Weights, learned: Weights, left: Weights, scale: float
) -> Weights:
    """The direct term less the implicit one, from upper and lower loss as they stand."""
    u = [
        part + old
        for part, old in zip(torch.autograd.grad(direct, learned, retain_graph=True), left, strict=True)
    ]
    a = torch.autograd.grad(direct, f)
    g = torch.autograd.grad(below, learned, retain_graph=True)
    p = torch.autograd.grad(below, f)
    c = sum((x * y).sum() for x, y in zip(u, g, strict=True)) / sum((y * y).sum() for y in g)
    return [x - scale * c * y for x, y in zip(a, p, strict=True)]


def step(
    networks: tuple[Weights, Weights, Weights],
    train: Pictures,
    upper: Pictures,
    shares: tuple[float, float],
    rate: float,
    *,
    weight: float = 0.5,
    structure: float = 1.1,
    faults: Faults = Faults(),  # noqa: B008 (immutable)
) -> tuple[Weights, Weights, Weights]:
    """F, D and T after one step of all by gradient descent."""
    f, d, t = networks
    of_d = torch.autograd.grad(apart([part.detach() for part in f], d, train), d)
    of_t = torch.autograd.grad(semantics([part.detach() for part in f], t, train), t)
    d = [(w - rate * s).detach().requires_grad_() for w, s in zip(d, of_d, strict=True)]
    t = [(w - rate * s).detach().requires_grad_() for w, s in zip(t, of_t, strict=True)]
    left = [[part if faults.stale else 0 * part for part in of] for of in (of_d, of_t)]
    scale = rate if faults.inert else 1.0
    weight = -weight if faults.signed else weight
    eyes = hyper(vision(f, d, upper, weight, structure), apart(f, d, train), f, d, left[0], scale)
    task = hyper(semantics(f, t, upper), semantics(f, t, train), f, t, left[1], scale)
    if faults.aliased:
        eyes = task = [x + y for x, y in zip(eyes, task, strict=True)]
    moved = [w - rate * (shares[0] * x + shares[1] * y) for w, x, y in zip(f, eyes, task, strict=True)]
    return moved, d, t
