"""The rank-one hyper-gradient of a fusion network over a constraint that learns.

Source: BDLFusion, IJCAI 2023 (arXiv 2305.06720). F is the upper level; a constraint phi (a discriminator, a
task network) is learned below it:

    min over thF of U(thF, phi*)      where phi* minimises l(thF, phi)

By the implicit function theorem, with both mixed and second derivatives of l,

    dU/dthF = a - (d2l / dthF dphi) (d2l / dphi2)^-1 u      a = @U/@thF  (direct),  u = @U/@phi

Take l as half the square of one residual, l = r^2 / 2, and leave out what r's own second derivatives give
(Gauss-Newton). Then g = @l/@phi = r @r/@phi and p = @l/@thF = r @r/@thF, so that both second derivatives
have rank one and the same factor, 2 l = r^2:

    d2l/dphi2 = g g' / 2l          d2l/dthF dphi = p g' / 2l

The factor cancels. The pseudo-inverse of g g' is g g' / (g.g)^2, and what is left is one number:

    h = a - c p          c = (u.g) / (g.g)

**The scale is one.** c p has the units of a: U per unit of thF, whatever those of phi and l are. A learning
rate has no place in it: it belongs to an unrolled step, where -eta (u.g) p would stand *without* the
division. The released code has both, eta c p with eta <= 2e-4, so that its implicit term does nothing. And
it takes c with a minus and subtracts the product again, so that it would have the wrong sign if it did
something: for a lower level that can follow F without loss, h = a - c p is the exact gradient
(``tests/train/test_bdl_hypergradient.py`` solves such a level by brute force), and a + c p is not.

**What it is not.** Where l is no square of one residual, one number stands for a matrix. At a minimum of l
with l > 0, u.g and g.g both vanish or are noise of the batch; if U = l there, the exact implicit term is
zero, while c is 0 / 0. The direct term is always exact. So c is damped, (u.g) / (g.g + d), which is 0 where
g is nothing (Levenberg-Marquardt with d, which changes nothing elsewhere), and cut at a limit.

**What l must be.** Of the lower loss only what phi enters: a term that depends on F alone has no mixed
derivative, but the model would give it one.

Gradients are asked for as values (``torch.autograd.grad``), never accumulated in ``.grad``: the released code
reads there what its last training step left, and adds the second constraint's gradient to the first's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from tdfusion_edge.train.meta import Average, Parameters, gradients

DAMPING = 1e-24
"""Added to g.g: far below the square of any gradient that says something, and above that of none."""


class Constraint(NamedTuple):
    """One learned constraint as two functions of thF and phi.

    They must be the same at every call: no dropout, no batch statistics.
    """

    upper: Callable[[Parameters, Parameters], Tensor]
    """U on the upper level's pairs, a scalar."""
    lower: Callable[[Parameters, Parameters], Tensor]
    """l on the training pairs, a scalar: what of it phi enters."""
    learned: Parameters
    """phi; empty for a constraint that does not learn, whose implicit term is nothing."""


class HyperGradient(NamedTuple):
    """What one constraint wants of F."""

    gradient: Parameters
    """Of F's parameters by name: h."""
    upper: Tensor
    """U, a scalar."""
    coefficient: Tensor
    """c as it was used, a scalar."""


def hyper_gradient(
    constraint: Constraint,
    fusion: Parameters,
    *,
    implicit: float = 1.0,
    limit: float = 10.0,
    average: Average = lambda gradient: gradient,
) -> HyperGradient:
    """The rank-one h = a - implicit * c * p, by first-order derivatives alone.

    Args:
        constraint: U, l and phi.
        fusion: thF; not changed, phi neither.
        implicit: Share of the implicit term; 1 is the derivation's, 0 leaves it out.
        limit: Largest ``|c|``.
        average: Averages gradients over processes; c is made of the averages.
    """
    at, learned = _leaves(fusion), _leaves(constraint.learned)
    upper = constraint.upper(at, learned)
    found = _both(upper, at, learned, "upper")
    if learned and implicit:
        found |= _both(constraint.lower(at, learned), at, learned, "lower")
    found = average(found)
    direct = _of(found, "upper fusion ")
    zero = torch.zeros_like(upper.detach())
    if not (learned and implicit):
        return HyperGradient(direct, upper.detach(), zero)
    coefficient = rank_one(_of(found, "upper learned "), _of(found, "lower learned "), limit)
    pull = _of(found, "lower fusion ")
    whole = {name: part - implicit * coefficient * pull[name] for name, part in direct.items()}
    return HyperGradient(whole, upper.detach(), coefficient)


def rank_one(vector: Parameters, slope: Parameters, limit: float) -> Tensor:
    """The coefficient (u.g) / (g.g + d), cut at ``limit``: a scalar.

    Args:
        vector: u.
        slope: g, of the same names.
        limit: Largest absolute value.
    """
    return (dot(vector, slope) / (dot(slope, slope) + DAMPING)).clamp(-limit, limit)


def dot(a: Parameters, b: Parameters) -> Tensor:
    """Inner product of two gradients of the same names, a scalar."""
    return torch.stack([(part * b[name]).sum() for name, part in a.items()]).sum()


def _leaves(parameters: Parameters) -> Parameters:
    return {name: part.detach().requires_grad_() for name, part in parameters.items()}


def _both(value: Tensor, fusion: Parameters, learned: Parameters, level: str) -> Parameters:
    """The gradients with respect to thF and phi from one backward pass."""
    parts = {f"{level} fusion {name}": part for name, part in fusion.items()}
    parts |= {f"{level} learned {name}": part for name, part in learned.items()}
    return gradients(value, parts)


def _of(found: Parameters, prefix: str) -> Parameters:
    return {name[len(prefix) :]: part for name, part in found.items() if name.startswith(prefix)}
