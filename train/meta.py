"""The hyper-gradient of the loss network: how L_t after one step of F changes with G.

Source: TDFusion, CVPR 2025 (arXiv 2412.03240), section 3.5 and 3.7. With

    thF' = thF - eta dL_f(meta-train; thF, thG)/dthF            the inner step
    v    = dL_t(meta-test; thF')/dthF'                          the outer gradient

the chain rule leaves one mixed derivative, along v:

    dL_t/dthG = -eta d/dthG < v, dL_f(meta-train; thF, thG)/dthF >

Four ways to it, which share everything else; three find it, the last one only guesses:

``exact``              the paper's: the inner gradient is differentiated again (double backward).
``finite-difference``  dL_f/dthG at thF + e v less that at thF - e v, over 2 e, e = epsilon / |v|: no graph
                       of a graph, at the price of a truncation error of order e^2.
``forward``            < v, dL_f/dthF > is the directional derivative of L_f along v. F's share of it is one
                       forward-mode pass, which needs no graph at all; what is left depends on G alone. Exact
                       like the first and as small as the second, for networks whose operations have
                       forward-mode derivatives (those of this package do).
``rank-one``           BDLFusion's coefficient (IJCAI 2023, arXiv 2305.06720) for the mixed derivative. Were
                       L_f half the square of one residual r, then without r's own second derivatives
                       (Gauss-Newton) d2L_f/dthG dthF = r_G r_F' = g_G g_F' / 2 L_f, with L_f's first
                       derivatives g_G and g_F, and so

                           dL_t/dthG ~ -eta (v.g_F) / (2 L_f)  g_G

                       First derivatives alone, and G's comes with the inner step's own: the cheapest. But L_f
                       is a mean over pixels, and no such square. T has one number in this; *where* G should
                       move its weights L_f alone decides, which has never seen T. It is a guess, and its sign
                       is often wrong (``docs/measurements.md`` has its cosine). With g_F.g_F for 2 L_f / eta
                       it is -c g_G, BDLFusion's c = (v.g_F) / (g_F.g_F): the same direction, and the length
                       of an F that has converged instead of one that takes one step.

Everything is a pure function of parameter dictionaries through ``torch.func``: no second set of layers,
nothing to restore. The functions that are passed in must be the same at every call: no dropout, no batch
statistics, no running ones that they change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import jvp

from tdfusion_edge.errors import ConfigError

Parameters: TypeAlias = dict[str, Tensor]
Method: TypeAlias = Literal["exact", "finite-difference", "forward", "rank-one"]
Average: TypeAlias = Callable[[Parameters], Parameters]
"""Mean of gradients over all processes; the identity in a single one."""


class Inner(NamedTuple):
    """L_f on the meta-train pairs, in three parts."""

    fuse: Callable[[Parameters], Tensor]
    """thF to the fused pictures."""
    weigh: Callable[[Parameters], Tensor]
    """thG to the weights that it gives the sources."""
    loss: Callable[[Tensor, Tensor], Tensor]
    """Weights and fused pictures to L_f, a scalar."""


class HyperGradient(NamedTuple):
    """What one meta-step found."""

    gradient: Parameters
    """dL_t/dthG by name."""
    inner: Tensor
    """L_f at thF, a scalar."""
    outer: Tensor
    """L_t at thF', a scalar."""
    outer_norm: Tensor
    """|v|."""


def hyper_gradient(
    inner: Inner,
    outer: Callable[[Parameters], Tensor],
    fusion: Parameters,
    loss_network: Parameters,
    eta: float,
    *,
    method: Method = "exact",
    epsilon: float = 0.01,
    average: Average = lambda gradient: gradient,
) -> HyperGradient:
    """The hyper-gradient by one of the four ways.

    Args:
        inner: L_f on the meta-train pairs.
        outer: thF' to L_t on the meta-test pairs, a scalar.
        fusion: thF; not changed.
        loss_network: thG; not changed.
        eta: Rate of the inner step.
        method: ``exact``, ``finite-difference``, ``forward``, or ``rank-one``, which is a rough guess.
        epsilon: Length of the finite difference's step along v.
        average: Averages gradients over processes.
    """
    at = _leaves(fusion)
    weights = _leaves(loss_network)
    exact, guessed = method == "exact", method == "rank-one"
    weighed = inner.weigh(weights if exact or guessed else _constant(weights))
    inner_loss = inner.loss(weighed, inner.fuse(at))
    gradient = gradients(inner_loss, at, create_graph=exact, retain_graph=exact or guessed)
    stepped = average(_constant(gradient))
    virtual = _leaves({name: at[name].detach() - eta * stepped[name] for name in at})
    outer_loss = outer(virtual)
    v = average(gradients(outer_loss, virtual))
    norm = torch.sqrt(torch.stack([part.square().sum() for part in v.values()]).sum())
    if exact:
        mixed = _second_backward(gradient, weights, v)
    elif method == "forward":
        mixed = _forward(inner, _constant(at), weights, v)
    elif guessed:
        mixed = _rank_one(inner_loss, average({"": inner_loss.detach()})[""], stepped, weights, v)
    elif norm > 0:
        mixed = _difference(inner, _constant(at), weights, v, epsilon / float(norm))
    else:  # there is no direction to step along
        mixed = {name: torch.zeros_like(part) for name, part in weights.items()}
    found = average({name: -eta * part for name, part in mixed.items()})
    return HyperGradient(found, inner_loss.detach(), outer_loss.detach(), norm)


def trainable(network: nn.Module) -> Parameters:
    """The parameters of a network that learn, by name."""
    return {name: part for name, part in network.named_parameters() if part.requires_grad}


def gradients(
    value: Tensor,
    parameters: Parameters,
    along: Tensor | None = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> Parameters:
    """Gradient of a scalar, or of a tensor ``along`` another, by name; zeros for what is not reached."""
    parts = torch.autograd.grad(
        value, list(parameters.values()), along, retain_graph, create_graph, allow_unused=True
    )
    return {
        name: torch.zeros_like(at) if part is None else part
        for (name, at), part in zip(parameters.items(), parts, strict=True)
    }


def _second_backward(gradient: Parameters, weights: Parameters, v: Parameters) -> Parameters:
    """d/dthG <v, dL_f/dthF> through the graph of the inner gradient."""
    product = torch.stack([(gradient[name] * v[name]).sum() for name in v]).sum()
    return gradients(product, weights)


def _forward(inner: Inner, at: Parameters, weights: Parameters, v: Parameters) -> Parameters:
    """d/dthG <v, dL_f/dthF> by forward mode: the fused pictures' change along v times dL_f/dfused."""
    with torch.no_grad():
        try:
            fused, change, *_ = jvp(inner.fuse, (at,), (v,))
        except NotImplementedError as error:
            raise ConfigError(
                f"an operation of the fusion network has no forward-mode derivative: {str(error)[:200]}",
                hint='Set [strategy_options] hyper_gradient = "finite-difference".',
            ) from error
    fused = fused.detach().requires_grad_()
    weighed = inner.weigh(weights)
    # G's graph is used once, at the end: what L_f makes of its weights is differentiated apart from it.
    there = weighed.detach().requires_grad_()
    (slope,) = torch.autograd.grad(inner.loss(there, fused), fused, create_graph=True)
    (along,) = torch.autograd.grad((slope * change.detach()).sum(), there)
    return gradients(weighed, weights, along)


def _difference(inner: Inner, at: Parameters, weights: Parameters, v: Parameters, step: float) -> Parameters:
    """d/dthG <v, dL_f/dthF> by a central difference of dL_f/dthG."""
    with torch.no_grad():
        sides = [inner.fuse({name: at[name] + sign * step * v[name] for name in at}) for sign in (1, -1)]
    weighed = inner.weigh(weights)
    there = weighed.detach().requires_grad_()
    difference = (inner.loss(there, sides[0]) - inner.loss(there, sides[1])) / (2 * step)
    (along,) = torch.autograd.grad(difference, there)
    return gradients(weighed, weights, along)


def _rank_one(
    inner_loss: Tensor, level: Tensor, slope: Parameters, weights: Parameters, v: Parameters
) -> Parameters:
    """The guess (v.g_F) / (2 L_f) g_G at d/dthG <v, dL_f/dthF>; ``level`` is L_f over all processes."""
    product = torch.stack([(part * slope[name]).sum() for name, part in v.items()]).sum()
    share = torch.where(level > 0, product / (2 * level), 0.0)  # where L_f is nothing, so is its slope
    return {name: share * part for name, part in gradients(inner_loss, weights).items()}


def _leaves(parameters: Mapping[str, Tensor]) -> Parameters:
    return {name: part.detach().requires_grad_() for name, part in parameters.items()}


def _constant(parameters: Mapping[str, Tensor]) -> Parameters:
    return {name: part.detach() for name, part in parameters.items()}
