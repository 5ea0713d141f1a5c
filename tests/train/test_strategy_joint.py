"""Strategy ``joint``: F steps on both losses, T on its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from tiny import learned, recipe

from tdfusion_edge.errors import ConfigError
from tdfusion_edge.train.losses import fusion_loss
from tdfusion_edge.train.setup import setup
from tdfusion_edge.train.strategies.joint import Joint

WEIGHT = 3.0


def test_each_network_is_given_the_gradient_of_its_own_loss(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(learned(), strategy="joint", strategy_options={"task_weight": WEIGHT})
    training, again = (setup(settings, made, made / name) for name in ("one", "two"))
    strategy, given = training.strategy, {}
    assert isinstance(strategy, Joint)
    for role, stepper in (("fusion", strategy._f), ("task", strategy._t)):
        monkeypatch.setattr(stepper, "apply", lambda parts, role=role: given.update({role: parts}))
    (batch,) = again.feed.take()
    view = batch.task
    assert view is not None
    strategy.step(0, training.feed)
    fusion, task = strategy.fusion, strategy.task
    pair = batch.infrared, batch.visible
    looks = fusion_loss(fusion(*pair).fused, *pair, settings.loss.weight_infrared, settings.loss)["loss"]
    found = task.loss(task(fusion(view.infrared, view.visible).fused), view.targets)["loss"]
    for role, network, loss in (("fusion", fusion, looks + WEIGHT * found), ("task", task, found)):
        wanted = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
        for part, one in zip(given[role].values(), wanted, strict=True):
            torch.testing.assert_close(part, one)


def test_both_move(made: Path) -> None:
    training = setup(replace(learned(), strategy="joint", strategy_options={}), made, made / "nothing")
    before = {
        role: [part.detach().clone() for part in network.parameters()]
        for role, network in training.strategy.networks.items()
    }
    training.strategy.step(0, training.feed)
    for role, network in training.strategy.networks.items():
        assert any(not torch.equal(*pair) for pair in zip(before[role], network.parameters(), strict=True)), (
            role
        )


def test_it_needs_a_task() -> None:
    with pytest.raises(ConfigError, match="joint trains for one"):
        Joint(recipe(strategy="joint"))
