"""One step of the fusion network from what two constraints want: how much each counts.

The norms of the two gradients differ by orders of magnitude (the task's is some hundred times the fusion
loss's), so that this decides what is trained at all.

``equal``          1/2 each: the larger gradient decides. It is what the released code of BDLFusion (IJCAI
                   2023, arXiv 2305.06720) does in fact: its two gradients are one object, their sum, and its
                   random weights, whose sum is 1, cancel.
``random``         what it means to do: softmax of two normal numbers, anew in every step (random loss
                   weighting, Lin et al., arXiv 2111.10603).
``gradient-norm``  each divided by its norm, by a running mean of its norms where ``decay`` is not 0: both
                   count alike over time. GradNorm (Chen et al., arXiv 1711.02257) aims at that too, with
                   weights that are learned.
``mgda``           the shortest vector between the two (Désidéri 2012; Sener and Koltun, arXiv 1810.04650): a
                   step that raises neither loss. It leans to the smaller gradient; where one is a hundred
                   times the other, it is nearly the smaller alone. Of two of one length it is the mean.

Weights are at least 0 and their sum is 1. What is remembered between steps is in buffers, for a training that
is resumed, and chance follows from seed and step, which several processes share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from tdfusion_edge.train.meta import Parameters
from tdfusion_edge.train.strategies.bdlfusion.hyper_gradient import dot

Rule: TypeAlias = Literal["equal", "random", "gradient-norm", "mgda"]
TINY = 1e-30
"""A shorter gradient is none."""


class Aggregation(nn.Module):
    """Weights of two gradients.

    Args:
        rule: How.
        decay: Of the running mean of the norms, in [0, 1); 0 takes this step's.
        seed: What chance follows from, beside the step.
    """

    norms: Tensor
    counted: Tensor

    def __init__(self, rule: Rule, *, decay: float = 0.9, seed: int = 0) -> None:
        super().__init__()
        self.rule, self.decay, self.seed = rule, decay, seed
        self.register_buffer("norms", torch.zeros(2))
        self.register_buffer("counted", torch.zeros(()))

    def forward(self, gradients: Sequence[Parameters], step: int) -> Tensor:
        """Weights (2,), at least 0, of sum 1.

        Args:
            gradients: Two, of the same names.
            step: Number of the training's step.
        """
        first, second = gradients
        like = next(iter(first.values()))
        if self.rule == "mgda":
            weights = shortest(first, second)
        elif self.rule == "gradient-norm":
            weights = self._by_norm(torch.stack([dot(one, one) for one in gradients]).sqrt())
        elif self.rule == "random":
            weights = chance(self.seed, step)
        else:
            weights = torch.full((2,), 0.5)
        return weights.to(like)

    def _by_norm(self, norms: Tensor) -> Tensor:
        """Of every gradient the inverse of its norm; counts this step's in."""
        keep = self.decay if self.counted > 0 else 0.0
        self.norms.lerp_(norms.to(self.norms), 1 - keep)
        self.counted += 1
        inverse = 1 / self.norms.double().clamp(min=TINY)
        # A gradient of nothing gets no weight, or it would take all of it.
        inverse = torch.where(self.norms > 0, inverse, 0.0)
        total = inverse.sum()
        return inverse / total if total > 0 else torch.full_like(inverse, 0.5)


def shortest(first: Parameters, second: Parameters) -> Tensor:
    """Weights of the shortest convex combination of two gradients, (2,).

    |w a + (1 - w) b|^2 is least at w = (b - a).b / |a - b|^2, cut at 0 and 1.
    """
    aa, ab, bb = dot(first, first), dot(first, second), dot(second, second)
    apart = aa - 2 * ab + bb
    share = torch.where(apart > 0, (bb - ab) / apart.clamp(min=TINY), 0.5).clamp(0, 1)
    return torch.stack((share, 1 - share))


def chance(seed: int, step: int) -> Tensor:
    """Softmax of two standard normal numbers that follow from seed and step, (2,) float64."""
    random = np.random.default_rng(np.random.SeedSequence((seed, step)))
    return torch.from_numpy(random.standard_normal(2)).softmax(0)
