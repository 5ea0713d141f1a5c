"""How two gradients become one: bounds that hold for all of them, and MGDA against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tdfusion_edge.train.meta import Parameters
from tdfusion_edge.train.strategies.bdlfusion.aggregation import Aggregation, Rule, chance, shortest

RULES: tuple[Rule, ...] = ("equal", "random", "gradient-norm", "mgda")
vectors = st.lists(st.floats(-100, 100, width=32), min_size=6, max_size=6)


def gradient(values: list[float]) -> Parameters:
    """Six numbers as the gradients of two parameters."""
    flat = torch.tensor(values, dtype=torch.float64)
    return {"a": flat[:2], "b": flat[2:].reshape(2, 2)}


def flat(parts: Parameters) -> Tensor:
    return torch.cat([part.flatten() for part in parts.values()])


@settings(max_examples=60, deadline=None)
@given(vectors, vectors, st.integers(0, 10**6), st.sampled_from(RULES))
def test_weights_are_shares(one: list[float], other: list[float], step: int, rule: Rule) -> None:
    weights = Aggregation(rule, seed=3)([gradient(one), gradient(other)], step)
    assert weights.shape == (2,)
    assert weights.min() >= 0
    assert weights.sum().item() == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(vectors, vectors)
def test_mgda_is_the_shortest_of_all_mixtures(one: list[float], other: list[float]) -> None:
    a, b = gradient(one), gradient(other)
    shares = torch.linspace(0, 1, 2001, dtype=torch.float64)[:, None]
    lengths = (shares * flat(a) + (1 - shares) * flat(b)).norm(dim=1)
    weights = shortest(a, b)
    found = (weights[0] * flat(a) + weights[1] * flat(b)).norm()
    assert found <= lengths.min() + 1e-9


@settings(max_examples=60, deadline=None)
@given(vectors, vectors)
def test_a_step_by_mgda_raises_neither_loss(one: list[float], other: list[float]) -> None:
    a, b = flat(gradient(one)), flat(gradient(other))
    weights = shortest(gradient(one), gradient(other))
    mixed = weights[0] * a + weights[1] * b
    slack = 1e-9 * (1 + a.norm() + b.norm()) ** 2
    assert mixed @ a >= mixed @ mixed - slack
    assert mixed @ b >= mixed @ mixed - slack


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e6])
def test_by_their_norms_both_count_alike_whatever_their_size(scale: float) -> None:
    a, b = gradient([1, 2, 3, 4, 5, 6]), gradient([scale * x for x in (3, -1, 4, 1, -5, 9)])
    weights = Aggregation("gradient-norm", decay=0.0)([a, b], 0)
    lengths = [(share * flat(one).norm()).item() for share, one in zip(weights, (a, b), strict=True)]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-6)


def test_the_norms_are_a_running_mean_that_begins_with_the_first() -> None:
    rule = Aggregation("gradient-norm", decay=0.75)
    of = [gradient([1, 0, 0, 0, 0, 0]), gradient([0, 2, 0, 0, 0, 0])]
    rule(of, 0)
    assert rule.norms.tolist() == [1, 2]
    rule([of[0], gradient([0, 6, 0, 0, 0, 0])], 1)
    assert rule.norms.tolist() == [1, 3]
    other = Aggregation("gradient-norm", decay=0.75)
    other.load_state_dict(rule.state_dict())
    assert torch.equal(rule(of, 2), other(of, 2))


def test_a_gradient_of_nothing_does_not_take_all_the_weight() -> None:
    nothing, something = gradient([0.0] * 6), gradient([1.0] * 6)
    assert Aggregation("gradient-norm")([nothing, something], 0).tolist() == [0, 1]
    assert Aggregation("gradient-norm")([nothing, nothing], 0).tolist() == [0.5, 0.5]
    assert shortest(something, something).tolist() == [0.5, 0.5]


def test_chance_really_acts_and_follows_from_seed_and_step() -> None:
    """The released code's weights cancel; what they mean to be is a softmax of two normal numbers."""
    drawn = torch.stack([chance(7, step) for step in range(4000)])
    assert torch.equal(chance(7, 5), drawn[5])
    assert not torch.equal(chance(8, 5), drawn[5])
    logits = (drawn[:, 0] / drawn[:, 1]).log().numpy()
    # The difference of two standard normal numbers has variance 2.
    assert np.mean(logits) == pytest.approx(0, abs=0.08)
    assert np.std(logits) == pytest.approx(2**0.5, rel=0.05)
    state = torch.random.get_rng_state()
    Aggregation("random", seed=7)([gradient([1.0] * 6)] * 2, 5)
    assert torch.equal(torch.random.get_rng_state(), state)  # the other random numbers of a step stay


def test_mgda_leans_to_the_smaller_and_halves_what_is_alike() -> None:
    small, large = gradient([1, 0, 0, 0, 0, 0]), gradient([0, 100, 0, 0, 0, 0])
    assert shortest(small, large)[0] > 0.999
    assert shortest(small, gradient([0, 1, 0, 0, 0, 0])).tolist() == [0.5, 0.5]
