"""The rank-one hyper-gradient against the bi-level gradient itself, by brute force in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from tdfusion_edge.train.meta import Parameters
from tdfusion_edge.train.strategies.bdlfusion.hyper_gradient import (
    Constraint,
    HyperGradient,
    hyper_gradient,
    rank_one,
)

FUSION, LEARNED = 4, 6
Function = Callable[[Tensor, Tensor], Tensor]


def chance(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Problem(NamedTuple):
    """U(x, p) and l(x, p) of vectors x (F) and p (what is learned), both as they stand."""

    upper: Function
    lower: Function
    x: Tensor
    p: Tensor

    def found(self, **options: float) -> Tensor:
        """What the package says."""
        return self.whole(**options).gradient["x"]

    def whole(self, **options: float) -> HyperGradient:
        def as_one(function: Function) -> Callable[[Parameters, Parameters], Tensor]:
            return lambda fusion, learned: function(fusion["x"], learned["p"])

        constraint = Constraint(as_one(self.upper), as_one(self.lower), {"p": self.p})
        return hyper_gradient(constraint, {"x": self.x}, **options)

    def solved(self, x: Tensor) -> Tensor:
        """The minimiser of l(x, .) that Newton steps reach from p; of a line of them the nearest."""
        p = self.p
        for _ in range(20):
            slope = torch.func.grad(self.lower, 1)(x, p)
            if slope.norm() < 1e-14:
                break
            curvature: Tensor = torch.func.hessian(self.lower, 1)(x, p)
            p = p - torch.linalg.pinv(curvature, rtol=1e-9, hermitian=True) @ slope
        return p

    def truth(self) -> Tensor:
        """Central differences of U(x, p*(x)): the lower level is solved again for every component of x."""
        step = 1e-5
        parts = []
        for index in range(len(self.x)):
            ahead, behind = self.x.clone(), self.x.clone()
            ahead[index] += step
            behind[index] -= step
            values = (self.upper(x, self.solved(x)) for x in (ahead, behind))
            parts.append((next(values) - next(values)) / (2 * step))
        return torch.stack(parts)


def one_residual(p: Tensor | None = None) -> Problem:
    """l = (b.p - q(x))^2 / 2: linear in p, so that p can follow x without loss."""
    b, q, wanted = chance(1, LEARNED), chance(2, FUSION), chance(3, LEARNED)
    mix = chance(4, LEARNED, FUSION)

    def lower(x: Tensor, p: Tensor) -> Tensor:
        return (b @ p - (q * x).sum() - 0.3 * (q @ x) ** 2) ** 2 / 2

    def upper(x: Tensor, p: Tensor) -> Tensor:
        return (p - wanted).square().sum() / 2 + (mix @ x) @ p + x.square().sum()

    return Problem(upper, lower, chance(5, FUSION), chance(6, LEARNED) if p is None else p)


def near_its_minimum(problem: Problem, length: float) -> Problem:
    """The same problem with p a little off the minimiser; the pictures' batches never let it be there."""
    p = problem.solved(problem.x)
    return problem._replace(p=p + length * chance(7, len(p)))


def test_for_one_residual_that_can_vanish_it_is_the_exact_gradient() -> None:
    problem = near_its_minimum(one_residual(), 1e-5)
    exact = problem.truth()
    torch.testing.assert_close(problem.found(limit=1e9), exact, rtol=1e-4, atol=1e-4)
    direct = problem.found(implicit=0.0)
    # The implicit term is no ornament here, nor is its sign or its scale.
    assert (direct - exact).norm() > 0.1 * exact.norm()
    implicit = direct - problem.found(limit=1e9)
    for wrong in (direct + implicit, direct - 2e-4 * implicit, direct + 2e-4 * implicit):
        assert (wrong - exact).norm() > 0.1 * exact.norm()


def test_for_a_nonlinear_constraint_the_error_falls_with_the_distance_from_the_minimum() -> None:
    """One learned number and a residual that is nonlinear in both: Gauss-Newton leaves out r times r''."""
    q, x = chance(2, FUSION), chance(5, FUSION)

    def lower(x: Tensor, p: Tensor) -> Tensor:
        residual = torch.sinh(p).sum() + 0.4 * (p * (q @ x)).sum() - torch.tanh(q @ x)
        return residual**2 / 2

    def upper(x: Tensor, p: Tensor) -> Tensor:
        return (p - 2).square().sum() * (1 + x.square().sum()) / 2 + torch.sin(x).sum()

    whole = Problem(upper, lower, x, torch.zeros(1, dtype=torch.float64))
    exact = whole.truth()
    errors = [
        (near_its_minimum(whole, length).found(limit=1e9) - exact).norm().item()
        for length in (1e-2, 1e-3, 1e-4)
    ]
    assert errors[0] < 0.1 * exact.norm()
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(10, rel=0.1)
    assert (whole.found(implicit=0.0) - exact).norm() > 0.1 * exact.norm()


def general(seed: int) -> Problem:
    """A lower level of full rank, with a minimum above zero: one number stands for a matrix of 6 x 6."""
    root, mix, wanted = chance(seed, LEARNED, LEARNED), chance(seed + 1, LEARNED, FUSION), chance(8, LEARNED)
    curvature = root @ root.T + 0.1 * torch.eye(LEARNED, dtype=torch.float64)

    def lower(x: Tensor, p: Tensor) -> Tensor:
        return p @ curvature @ p / 2 - p @ mix @ x + 3

    def upper(x: Tensor, p: Tensor) -> Tensor:
        return (p - wanted).square().sum() / 2 + x.square().sum() / 2

    return Problem(upper, lower, chance(seed + 2, FUSION), chance(seed + 3, LEARNED))


def test_for_a_general_quadratic_the_reference_is_right_and_rank_one_is_not() -> None:
    """The brute force equals the implicit function theorem; rank one is what its docstring says it is not."""
    problem = general(11)
    curvature = torch.func.hessian(problem.lower, 1)(problem.x, problem.p)
    mixed = torch.func.jacrev(torch.func.grad(problem.lower, 1), 0)(problem.x, problem.p)
    solved = problem.solved(problem.x)
    direct = torch.func.grad(problem.upper, 0)(problem.x, solved)
    vector = torch.func.grad(problem.upper, 1)(problem.x, solved)
    exact = direct - mixed.T @ torch.linalg.solve(curvature, vector)
    torch.testing.assert_close(problem.truth(), exact, rtol=1e-6, atol=1e-6)
    found = problem.found(limit=1e9)
    assert cosine_similarity(found, exact, dim=0) < 0.99


def test_where_the_lower_loss_is_at_its_minimum_nothing_is_divided_by_nothing() -> None:
    problem = one_residual()
    solved = problem._replace(p=problem.solved(problem.x))
    found = solved.whole()
    assert torch.isfinite(found.gradient["x"]).all()
    zero = {"p": torch.zeros(3)}
    assert rank_one({"p": torch.ones(3)}, zero, 10.0) == 0
    assert rank_one({"p": torch.ones(3)}, {"p": torch.full((3,), 1e-20)}, 10.0).isfinite()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_coefficient_is_cut_at_its_limit(sign: float) -> None:
    vector, slope = {"p": torch.tensor([30.0 * sign, 1.0])}, {"p": torch.tensor([1.0, 0.0])}
    assert rank_one(vector, slope, 10.0) == 10 * sign
    assert rank_one(vector, slope, 100.0) == pytest.approx(30 * sign)
    problem = near_its_minimum(one_residual(), 1e-5)
    free, cut = problem.whole(limit=1e9), problem.whole(limit=0.5)
    assert free.coefficient.abs() > 0.5
    assert cut.coefficient.abs() == 0.5
    assert not torch.equal(free.gradient["x"], cut.gradient["x"])


def test_the_coefficient_has_the_units_of_upper_over_lower() -> None:
    """The gradient does not depend on the unit of what is learned, nor on that of the lower loss."""
    problem = near_its_minimum(one_residual(), 0.1)
    found = problem.found(limit=1e9)
    scaled = Problem(
        lambda x, p: problem.upper(x, 100 * p),
        lambda x, p: 7 * problem.lower(x, 100 * p),
        problem.x,
        problem.p / 100,
    )
    torch.testing.assert_close(scaled.found(limit=1e9), found, rtol=1e-9, atol=1e-9)


def test_gradients_left_behind_by_another_step_do_not_enter() -> None:
    """The fault "stale gradients": the released code reads its vector from ``.grad``."""
    problem = near_its_minimum(one_residual(), 0.1)
    clean = problem.found()
    x, p = problem.x.clone().requires_grad_(), problem.p.clone().requires_grad_()
    x.grad, p.grad = torch.full_like(x, 5.0), torch.full_like(p, -3.0)
    assert torch.equal(problem._replace(x=x, p=p).found(), clean)
    assert torch.equal(x.grad, torch.full_like(x, 5.0))
    assert torch.equal(p.grad, torch.full_like(p, -3.0))


def test_two_gradients_share_no_memory() -> None:
    """The fault "aliasing": the released code's second gradient is added into the tensors of its first."""
    first, second = near_its_minimum(one_residual(), 0.1), general(11)
    alone = first.found()
    x = first.x.clone().requires_grad_()
    kept = first._replace(x=x).found()
    other = second._replace(x=x).found()
    assert kept.data_ptr() != other.data_ptr()
    assert torch.equal(kept, alone)
    assert not torch.allclose(kept, other)


def test_a_constraint_that_does_not_learn_has_its_direct_term() -> None:
    def upper(fusion: Parameters, learned: Parameters) -> Tensor:
        assert learned == {}
        return fusion["x"].square().sum()

    found = hyper_gradient(Constraint(upper, upper, {}), {"x": torch.ones(3)})
    assert torch.equal(found.gradient["x"], torch.full((3,), 2.0))
    assert found.coefficient == 0


def test_the_coefficient_is_made_of_the_averages_over_processes() -> None:
    """Two halves of a batch: c of the mean gradients, which is not the mean of the two c."""
    halves = [near_its_minimum(one_residual(), 0.1), near_its_minimum(one_residual(), 0.7)]
    seen: list[Parameters] = []

    def note(gradient: Parameters) -> Parameters:
        seen.append(gradient)
        return gradient

    for half in halves:
        half.whole(average=note)  # type: ignore[arg-type]
    mean = {name: (part + seen[1][name]) / 2 for name, part in seen[0].items()}
    found = [half.whole(limit=1e9, average=lambda gradient: mean) for half in halves]  # type: ignore[arg-type]
    u, g = mean["upper learned p"], mean["lower learned p"]
    for one in found:
        assert one.coefficient.item() == pytest.approx(((u @ g) / (g @ g)).item())
        expected = mean["upper fusion x"] - one.coefficient * mean["lower fusion x"]
        torch.testing.assert_close(one.gradient["x"], expected)
