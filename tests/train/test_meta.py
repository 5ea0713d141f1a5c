"""The hyper-gradient against what it is the gradient of, and its four ways against each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from tiny import TinyFusion, TinyLoss
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cosine_similarity

from tdfusion_edge.train.losses import gradient_loss, intensity_loss
from tdfusion_edge.train.meta import HyperGradient, Inner, Method, Parameters, gradients, hyper_gradient
from tdfusion_edge.train.models.tables import build, build_loss

ETA = 0.05
SIDE = 32
PAIRS = (("edge", "light"), ("tdfusion", "lpn"), ("tiny", "tiny"))


class Problem(NamedTuple):
    """F, G, L_f and L_t on fixed random pictures, float64."""

    inner: Inner
    outer: Callable[[Parameters], Tensor]
    fusion: Parameters
    weights: Parameters

    def found(self, method: Method, **options: Any) -> HyperGradient:
        return hyper_gradient(*self, ETA, method=method, **options)

    def truth(self, weights: Parameters) -> float:
        """The outer objective itself: L_t after one step of F on the loss that these weights of G define."""
        at = {name: part.detach().requires_grad_() for name, part in self.fusion.items()}
        step = gradients(self.inner.loss(self.inner.weigh(weights), self.inner.fuse(at)), at)
        with torch.no_grad():
            return self.outer({name: at[name] - ETA * step[name] for name in at}).item()


def problem(fusion_name: str, loss_name: str, seed: int = 0, *, eased: bool = True) -> Problem:
    """``eased`` leaves the gradient loss out, whose kinks a difference over a finite step may cross."""
    torch.manual_seed(seed)
    fusion: nn.Module = TinyFusion() if fusion_name == "tiny" else build(fusion_name, {})
    loss_network: nn.Module = TinyLoss() if loss_name == "tiny" else build_loss(loss_name, {})
    for network in (fusion, loss_network):
        network.double()
        with torch.no_grad():
            for part in network.parameters():  # light begins with zeros in its last layer
                part += 0.05 * torch.randn_like(part)
    infrared, visible, other_infrared, other_visible = torch.rand(4, 1, 1, SIDE, SIDE).double()
    task = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Conv2d(4, 1, 3)).double().requires_grad_(False)

    def loss(weight: Tensor, fused: Tensor) -> Tensor:
        total = intensity_loss(fused, infrared, visible, weight)
        return total if eased else total + gradient_loss(fused, infrared, visible)

    def outer(parameters: Parameters) -> Tensor:
        fused = functional_call(fusion, parameters, (other_infrared, other_visible)).fused
        return (task(fused) - 0.3).square().mean()

    return Problem(
        Inner(
            fuse=lambda at: functional_call(fusion, at, (infrared, visible)).fused,
            weigh=lambda weights: functional_call(loss_network, weights, (infrared, visible)).infrared,
            loss=loss,
        ),
        outer,
        dict(fusion.named_parameters()),
        dict(loss_network.named_parameters()),
    )


def flat(parameters: Parameters) -> Tensor:
    return torch.cat([part.flatten() for part in parameters.values()])


@pytest.mark.parametrize(("fusion", "loss"), PAIRS)
def test_it_is_the_slope_of_the_outer_objective(fusion: str, loss: str) -> None:
    """Numerical differentiation of L_t(F - eta dL_f(F; G)) along random directions of G."""
    made = problem(fusion, loss)
    gradient = flat(made.found("exact").gradient)
    random = torch.Generator().manual_seed(1)
    step = 1e-4
    for _ in range(2):
        chance = torch.randn(gradient.shape, generator=random, dtype=torch.float64)
        # Half of it along the gradient: in 44,529 dimensions hardly anything changes along chance alone.
        direction = gradient / gradient.norm() + chance / chance.norm()
        ahead, behind = (made.truth(moved(made.weights, sign * step * direction)) for sign in (1, -1))
        expected = (gradient @ direction).item()
        assert (ahead - behind) / (2 * step) == pytest.approx(expected, rel=5e-5)


def moved(weights: Parameters, by: Tensor) -> Parameters:
    parts = by.split([part.numel() for part in weights.values()])
    return {n: w.detach() + p.view_as(w) for (n, w), p in zip(weights.items(), parts, strict=True)}


@pytest.mark.parametrize("eased", [True, False])
@pytest.mark.parametrize(("fusion", "loss"), PAIRS)
def test_the_three_ways_that_find_it_agree(fusion: str, loss: str, eased: bool) -> None:
    made = problem(fusion, loss, eased=eased)
    exact = flat(made.found("exact").gradient)
    assert exact.norm() > 0
    # The finite step along v crosses kinks of ReLU, which the other two do not see.
    for method, tolerance in (("forward", 1e-9), ("finite-difference", 1e-4)):
        other = flat(made.found(method, epsilon=1e-6).gradient)  # type: ignore[arg-type]
        assert cosine_similarity(exact, other, dim=0) >= 0.9999, method
        assert (other.norm() / exact.norm()).item() == pytest.approx(1, abs=tolerance), method


def test_rank_one_is_exact_where_the_loss_is_the_square_of_one_linear_residual() -> None:
    random = torch.Generator().manual_seed(0)
    q, x, wanted, k, s = torch.randn(5, 5, generator=random, dtype=torch.float64)
    inner = Inner(
        fuse=lambda at: q @ at["x"],
        weigh=lambda weights: k @ weights["s"],
        loss=lambda weight, fused: (fused + weight - 3) ** 2 / 2,
    )

    def found(method: Method) -> Tensor:
        def outer(at: Parameters) -> Tensor:
            return (at["x"] - wanted).square().sum()

        return hyper_gradient(inner, outer, {"x": x}, {"s": s}, ETA, method=method).gradient["s"]

    assert found("exact").norm() > 0
    torch.testing.assert_close(found("rank-one"), found("exact"), rtol=1e-12, atol=0)


def test_rank_one_is_what_its_formula_says_and_has_the_slope_of_the_inner_loss() -> None:
    made = problem("tiny", "tiny")
    found = flat(made.found("rank-one").gradient)
    fusion, weights = (
        {n: w.detach().requires_grad_() for n, w in part.items()} for part in (made.fusion, made.weights)
    )
    loss = made.inner.loss(made.inner.weigh(weights), made.inner.fuse(fusion))
    of_fusion = gradients(loss, fusion, retain_graph=True)
    of_weights = flat(gradients(loss, weights))
    virtual = {n: (fusion[n] - ETA * of_fusion[n]).detach().requires_grad_() for n in fusion}
    v = gradients(made.outer(virtual), virtual)
    share = flat(v) @ flat(of_fusion) / (2 * loss)
    torch.testing.assert_close(found, -ETA * share.detach() * of_weights)


def test_the_error_of_the_finite_difference_falls_with_the_square_of_its_step() -> None:
    made = problem("tiny", "tiny")
    exact = flat(made.found("exact").gradient)
    errors = [
        (flat(made.found("finite-difference", epsilon=epsilon).gradient) - exact).norm().item()
        for epsilon in (0.2, 0.1, 0.05)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("method", ["exact", "finite-difference", "forward", "rank-one"])
def test_what_is_reported_and_that_nothing_is_changed(method: Method) -> None:
    made = problem("tiny", "tiny")
    before = {name: part.detach().clone() for name, part in {**made.fusion, **made.weights}.items()}
    found = made.found(method)
    assert found.outer.item() == pytest.approx(made.truth(made.weights), rel=1e-12)
    assert found.inner.item() == pytest.approx(
        made.inner.loss(made.inner.weigh(made.weights), made.inner.fuse(made.fusion)).item()
    )
    assert found.outer_norm > 0
    assert not any(part.requires_grad for part in (found.inner, found.outer, found.outer_norm))
    for name, part in {**made.fusion, **made.weights}.items():
        assert torch.equal(part, before[name])
        assert part.grad is None


def test_a_gradient_of_nothing_is_zero() -> None:
    made = problem("tiny", "tiny")
    blind = made._replace(outer=lambda parameters: 0 * sum(part.sum() for part in parameters.values()))
    for method in ("exact", "finite-difference", "forward", "rank-one"):
        assert not flat(blind.found(method).gradient).any()  # type: ignore[arg-type]
