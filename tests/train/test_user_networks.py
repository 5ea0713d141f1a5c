"""A user's own networks, named as "module:Class", train, are kept and come back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny import CLASSES, MASKS, learned, recipe, sources, trained

from tdfusion_edge import checkpoint
from tdfusion_edge.errors import ConfigError
from tdfusion_edge.train.loop import fit
from tdfusion_edge.train.recipe import Recipe, Task
from tdfusion_edge.train.setup import setup

OWN = '''
import torch
from torch import nn

from tdfusion_edge.train.models.base import FusionNetwork, FusionOutput
from tdfusion_edge.train.models.loss_network import LossWeights
from tdfusion_edge.train.models.task import MaskNetwork, MaskPrediction
from tdfusion_edge.train.strategies.base import Strategy


class MyFusion(FusionNetwork):
    def __init__(self, width=3):
        super().__init__()
        self.layer = nn.Conv2d(2, width, 1)
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, infrared, visible):
        x = self.out(torch.tanh(self.layer(torch.cat((infrared, visible), 1))))
        return FusionOutput(torch.sigmoid(x))


class MyLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(2, 1, 1)

    def forward(self, infrared, visible):
        weight = torch.sigmoid(self.layer(torch.cat((infrared, visible), 1)))
        return LossWeights(weight, 1 - weight)


class MyTask(MaskNetwork):
    stride = 4

    def __init__(self, classes):
        super().__init__()
        self.layer = nn.Conv2d(1, classes, 1)

    def forward(self, luma):
        return self.layer(luma)

    def loss(self, output, targets):
        return {"loss": nn.functional.cross_entropy(output, targets, ignore_index=255)}

    def decode(self, output):
        return MaskPrediction(output)


class NoLoss(MaskNetwork):
    def __init__(self, classes):
        super().__init__()

    def forward(self, luma):
        return luma

    def decode(self, output):
        return MaskPrediction(output)


class DuckTask(nn.Module):
    """All the methods, and no base class."""

    labels, stride = "mask", 1
    forward, loss, decode = MyTask.forward, MyTask.loss, MyTask.decode


class DuckStrategy:
    def __init__(self, recipe):
        pass


class NoStep(Strategy):
    pass


class OddTask(Strategy):
    """Its task network is any module."""

    def __init__(self, recipe):
        self.networks, self.named, self.optimisers = {"task": nn.Conv2d(1, 1, 1)}, {}, {}

    def step(self, number, feed):
        return {}


class OnlyFusion(Strategy):
    """A strategy of one's own."""

    def __init__(self, recipe):
        from tdfusion_edge.checkpoint import Network

        self.network = MyFusion()
        self.networks = {"fusion": self.network}
        self.named = {"fusion": Network(name="own_networks:MyFusion")}
        self.optimiser = torch.optim.SGD(self.network.parameters(), 0.1, momentum=0.9)
        self.optimisers = {"fusion": self.optimiser}

    def step(self, number, feed):
        (batch,) = feed.take()
        fused = self.network(batch.infrared, batch.visible).fused
        loss = (fused - batch.infrared).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"own": loss.item()}


def not_a_class():
    return None
'''


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_networks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)


def own(network: str = "own_networks:MyFusion", task: str = "own_networks:MyTask") -> Recipe:
    return learned(
        {"loss_network": "own_networks:MyLoss"},
        network=network,
        network_options={"width": 5},
        task=Task(network=task, classes=CLASSES, height=32, width=40),
    )


def test_own_f_g_and_t_train_together(made: Path, tmp_path: Path) -> None:
    start = setup(own(), made, tmp_path / "run").strategy.networks
    best = trained(own(), made, tmp_path / "run")
    header, weights = checkpoint.read(best)
    assert {role: one.name for role, one in header.networks.items()} == {
        "fusion": "own_networks:MyFusion",
        "loss": "own_networks:MyLoss",
        "task": "own_networks:MyTask",
    }
    assert header.networks["fusion"].options == {"width": 5}
    assert weights["fusion.layer.weight"].shape == (5, 2, 1, 1)
    for role, network in start.items():
        for name, part in network.state_dict().items():
            assert not np.array_equal(weights[f"{role}.{name}"], part.numpy()), f"{role}.{name} did not move"


def test_an_own_strategy_trains_and_is_resumed(made: Path, tmp_path: Path) -> None:
    settings = recipe(strategy="own_networks:OnlyFusion", validate_every=60)
    whole = trained(settings, made, tmp_path / "whole", steps=120)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    losses = [row["losses"]["own"] for row in rows if "losses" in row]
    assert losses[-1] < 0.8 * losses[0]
    training = setup(settings, made, whole.parent, steps=120, resume=True)
    fit(training)
    momentum = training.strategy.optimisers["fusion"].state_dict()["state"][0]["momentum_buffer"]
    assert momentum.abs().max() > 0


@pytest.mark.parametrize(
    ("network", "task", "message"),
    [
        ("own_networks:Nothing", "own_networks:MyTask", "cannot be imported"),
        ("no_such_module:F", "own_networks:MyTask", "PYTHONPATH"),
        ("own_networks:not_a_class", "own_networks:MyTask", "is no fusion network"),
        ("own_networks:MyTask", "own_networks:MyTask", "expected a subclass of .*models.base.FusionNetwork"),
        ("own_networks:MyFusion", "own_networks:NoLoss", "no whole task network.*got no loss"),
        ("own_networks:MyFusion", "own_networks:DuckTask", "subclass of .*task.BoxNetwork or MaskNetwork"),
        ("tdfusion", "own_networks:MyTask", "does not take these options"),
    ],
)
def test_what_cannot_be_one_is_refused(
    network: str, task: str, message: str, made: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        trained(own(network, task), made, tmp_path / "run")


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("own_networks:DuckStrategy", "no strategy: expected a subclass of .*strategies.base.Strategy"),
        ("own_networks:NoStep", "no whole strategy.*got no step"),
        ("own_networks:OddTask", "task network of a strategy.*BoxNetwork or MaskNetwork, got torch.*Conv2d"),
        ("fixd", "unknown strategy 'fixd'.*'fixed'"),
    ],
)
def test_what_is_no_strategy_is_refused(strategy: str, message: str, made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        setup(recipe(strategy=strategy), made, tmp_path / "run")


def test_an_own_strategy_steps_at_the_schedules_rate(made: Path, tmp_path: Path) -> None:
    strategy = setup(recipe(strategy="own_networks:OnlyFusion"), made, tmp_path / "run").strategy
    rates = []
    for factor in (0.5, 0.25, 1.0):
        strategy.set_rate(factor)
        rates.append(strategy.optimisers["fusion"].param_groups[0]["lr"])
    assert rates == pytest.approx([0.05, 0.025, 0.1])
    assert (strategy.batches, strategy.based_on, strategy.trained_on) == (1, None, None)


def test_the_stride_of_an_own_task_network_is_kept_to(made: Path, tmp_path: Path) -> None:
    task = Task(network="own_networks:MyTask", classes=CLASSES, height=30, width=40)
    with pytest.raises(ConfigError, match="multiples of 4, got 40x30"):
        trained(learned(task=task, data=sources(MASKS)), made, tmp_path / "run")
