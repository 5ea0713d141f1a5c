"""The hyper-gradient of the loss network: how L_t after one step of F changes with G.

Source: TDFusion, CVPR 2025 (arXiv 2412.03240), section 3.5 and 3.7. With

    thF' = thF - eta dL_f(meta-train; thF, thG)/dthF            the inner step
    v    = dL_t(meta-test; thF')/dthF'                          the outer gradient

the chain rule leaves one mixed derivative, along v:

    dL_t/dthG = -eta d/dthG < v, dL_f(meta-train; thF, thG)/dthF >

Three ways to it, which share everything else:

``exact``              the paper's: the inner gradient is differentiated again (double backward).
``finite-difference``  dL_f/dthG at thF + e v less that at thF - e v, over 2 e, e = epsilon / |v|: no graph
                       of a graph, at the price of a truncation error of order e^2.
``forward``            < v, dL_f/dthF > is the directional derivative of L_f along v. F's share of it is one
                       forward-mode pass, which needs no graph at all; what is left depends on G alone. Exact
                       like the first and as small as the second, for networks whose operations have
                       forward-mode derivatives (those of this package do).

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
Method: TypeAlias = Literal["exact", "finite-difference", "forward"]
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
    """The hyper-gradient by one of the three ways.

    Args:
        inner: L_f on the meta-train pairs.
        outer: thF' to L_t on the meta-test pairs, a scalar.
        fusion: thF; not changed.
        loss_network: thG; not changed.
        eta: Rate of the inner step.
        method: ``exact``, ``finite-difference`` or ``forward``.
        epsilon: Length of the finite difference's step along v.
        average: Averages gradients over processes.
    """
    at = _leaves(fusion)
    weights = _leaves(loss_network)
    exact = method == "exact"
    inner_loss = inner.loss(inner.weigh(weights if exact else _constant(weights)), inner.fuse(at))
    gradient = gradients(inner_loss, at, create_graph=exact)
    stepped = average(_constant(gradient))
    virtual = _leaves({name: at[name].detach() - eta * stepped[name] for name in at})
    outer_loss = outer(virtual)
    v = average(gradients(outer_loss, virtual))
    norm = torch.sqrt(torch.stack([part.square().sum() for part in v.values()]).sum())
    if exact:
        mixed = _second_backward(gradient, weights, v)
    elif method == "forward":
        mixed = _forward(inner, _constant(at), weights, v)
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
    value: Tensor, parameters: Parameters, along: Tensor | None = None, *, create_graph: bool = False
) -> Parameters:
    """Gradient of a scalar, or of a tensor ``along`` another, by name; zeros for what is not reached."""
    parts = torch.autograd.grad(
        value, list(parameters.values()), along, create_graph=create_graph, allow_unused=True
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


def _leaves(parameters: Mapping[str, Tensor]) -> Parameters:
    return {name: part.detach().requires_grad_() for name, part in parameters.items()}


def _constant(parameters: Mapping[str, Tensor]) -> Parameters:
    return {name: part.detach() for name, part in parameters.items()}
