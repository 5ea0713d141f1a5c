"""Strategy ``tdfusion``: first steps against a second implementation, what moves and what does not."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, cast

import pytest
import step_by_hand as by_hand
import torch
from msgspec import structs
from tiny import TinyFusion, TinyTask, learned, trained
from torch import Tensor

from tdfusion_edge.errors import ConfigError
from tdfusion_edge.train.data.types import Batch, BoxTargets, TaskView
from tdfusion_edge.train.models.base import FusionOutput
from tdfusion_edge.train.recipe import Augmentation, Loss, Optimiser, Recipe
from tdfusion_edge.train.recipe_file import load_recipe
from tdfusion_edge.train.setup import setup
from tdfusion_edge.train.strategies.tdfusion import OUTER_EPS, TDFusionStrategy, switched

SIDE = 16
METHODS = ("exact", "finite-difference", "forward")


def waves(count: int, phase: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """(count, 1, 16, 16) in [0, 1], by a formula: the same with every version of PyTorch."""
    n = torch.arange(count * SIDE * SIDE, dtype=torch.float64)
    return (
        (0.5 + 0.5 * torch.sin(phase + 0.37 * n + 0.011 * n * phase)).reshape(count, 1, SIDE, SIDE).to(dtype)
    )


def batch(phase: float, count: int = 2, dtype: torch.dtype = torch.float64) -> Batch:
    infrared, visible = waves(count, phase, dtype), waves(count, phase + 1, dtype)
    task = waves(count, phase + 2, dtype), waves(count, phase + 3, dtype)
    return Batch(infrared, visible, TaskView(*task, (task[0][:, 0] > 0.6).long()))


def fill(strategy: TDFusionStrategy, dtype: torch.dtype = torch.float64) -> None:
    """Weights by a formula."""
    with torch.no_grad():
        for role, network in enumerate(strategy.networks.values()):
            network.to(dtype)
            for index, part in enumerate(network.parameters()):
                n = torch.arange(part.numel(), dtype=torch.float64)
                part.copy_((0.4 * torch.sin(1.3 * n + index + 10 * role)).reshape(part.shape))


def strategy(options: dict[str, Any] | None = None, **changes: Any) -> TDFusionStrategy:
    torch.manual_seed(0)
    made = TDFusionStrategy(learned(options or {}, **changes))
    made.set_rate(1.0)
    return made


def preset(name: str, folder: Path) -> Recipe:
    """A shipped preset on the tiny networks, with a rate that shows in the numbers."""
    (folder / "r.toml").write_text(
        f'preset = "{name}"\nname = "t"\nnetwork = "tiny:TinyFusion"\n'
        '[task]\nnetwork = "tiny:TinyTask"\nclasses = ["a", "b"]\nheight = 32\nwidth = 32\n'
        '[strategy_options]\nloss_network = "tiny:TinyLoss"\n'
        '[optimiser]\nsteps = 8\nlearning_rate = 0.01\n[[data]]\nfolder = "."\nterms = "x"\n'
    )
    return load_recipe(str(folder / "r.toml"))


GOLDEN = {
    "paper": {
        "meta inner": 0.96170984,
        "meta outer": 0.71975389,
        "meta norm": 0.0030823885,
        "loss": 0.96287565,
        "task loss": 0.71706615,
    },
    "released-code": {
        "meta inner": 1.1165323,
        "meta outer": 0.71266210,
        "meta norm": 0.00078227354,
        "loss": 1.1176303,
        "task loss": 0.71608942,
    },
}
"""What ``step_by_hand.py`` gives as well, which the test below holds it to."""


@pytest.mark.parametrize(("name", "rules"), [("paper", by_hand.PAPER), ("released-code", by_hand.CODE)])
@pytest.mark.parametrize("method", METHODS)
def test_the_first_steps_of_the_presets(name: str, rules: by_hand.Rules, method: str, tmp_path: Path) -> None:
    recipe = preset(name, tmp_path)
    options = recipe.strategy_options | {"hyper_gradient": method, "epsilon": 1e-4}
    made = TDFusionStrategy(structs.replace(recipe, strategy_options=options))
    fill(made)
    f, g, t = (
        [part.detach().clone().requires_grad_() for part in made.networks[role].parameters()]
        for role in ("fusion", "loss", "task")
    )
    batches = [batch(0.3), batch(2.1)]
    train, test = (
        by_hand.Pictures(
            (b.infrared, b.visible), (b.task.infrared, b.task.visible), cast(Tensor, b.task.targets)
        )
        for b in batches
        if b.task is not None
    )
    if options["switch"]:
        train, test = train.with_swapped(), test.with_swapped()
    inner, outer, slope = by_hand.meta(f, g, t, train, test, 0.01, rules)
    found = made.meta_step(*batches)
    assert found["meta inner"] == pytest.approx(inner.item(), rel=1e-9)
    assert found["meta outer"] == pytest.approx(outer.item(), rel=1e-9)
    if name == "paper":
        moved = by_hand.first_adam(g, slope, 0.01, OUTER_EPS)
    else:
        largest = max(float(part.abs().max()) for part in slope)
        moved = [w - 0.01 / largest * s for w, s in zip(g, slope, strict=True)]
    tolerance = 1e-5 if method == "finite-difference" else 1e-9
    for part, expected in zip(made.loss_network.parameters(), moved, strict=True):
        torch.testing.assert_close(part.detach(), expected.detach(), rtol=0, atol=tolerance)
    g = [part.detach() for part in made.loss_network.parameters()]
    of_fusion, of_task, f, t = by_hand.fusion(f, g, t, train, 0.01, rules)
    found = {**found, **made.fusion_step(batches[0])}
    assert found["loss"] == pytest.approx(of_fusion.item(), rel=1e-6)
    assert found["task loss"] == pytest.approx(of_task.item(), rel=1e-6)
    for role, expected_parts in (("fusion", f), ("task", t)):
        for part, expected in zip(made.networks[role].parameters(), expected_parts, strict=True):
            torch.testing.assert_close(part.detach(), expected.detach(), rtol=0, atol=1e-7)
    assert {key: found[key] for key in GOLDEN[name]} == pytest.approx(GOLDEN[name], rel=1e-5)


def everything(made: TDFusionStrategy, roles: tuple[str, ...]) -> list[Tensor]:
    """Weights, buffers, moments and rates."""
    kept = [part for role in roles for part in made.networks[role].state_dict().values()]
    for role in roles:
        state = made.optimisers[role].state_dict()
        kept += [part for moments in state["state"].values() for part in moments.values()]
        kept += [torch.tensor(group["lr"]) for group in state["param_groups"]]
    return [part.clone() for part in kept]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task_step", ["sgd", "adam", "none"])
@pytest.mark.parametrize("statistics", ["frozen", "batch"])
def test_a_meta_step_moves_g_and_nothing_else(method: str, task_step: str, statistics: str) -> None:
    options = {"hyper_gradient": method, "task_step": task_step, "statistics": statistics}
    made = strategy(options, task="tiny:NormTask")
    first, second = batch(0.3, dtype=torch.float32), batch(2.1, dtype=torch.float32)
    made.fusion_step(first)  # so that there are moments
    before, g = everything(made, ("fusion", "task")), everything(made, ("loss",))
    training = {role: network.training for role, network in made.networks.items()}
    made.meta_step(first, second)
    after = everything(made, ("fusion", "task"))
    assert len(before) == len(after)
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    assert not all(torch.equal(*pair) for pair in zip(g, everything(made, ("loss",)), strict=False))
    assert {role: network.training for role, network in made.networks.items()} == training
    for role in ("fusion", "task"):
        assert all(part.grad is None for part in made.networks[role].parameters())


def test_frozen_statistics_are_those_of_evaluation() -> None:
    outers = {}
    for statistics in ("frozen", "batch"):
        made = strategy({"statistics": statistics, "task_step": "none"}, task="tiny:NormTask")
        first, second = batch(0.3, dtype=torch.float32), batch(2.1, dtype=torch.float32)
        found = made.hyper_gradient(first, second)
        fused = made.fusion(second.task.infrared, second.task.visible).fused  # type: ignore[union-attr]
        made.task.eval()
        with torch.no_grad():
            near = made.task.loss(made.task(fused), second.task.targets)["loss"]  # type: ignore[union-attr, operator]
        outers[statistics] = abs(float(found.outer - near))
    # The step of F in between is small; normalising by the batch instead is not.
    assert 5 * outers["frozen"] < outers["batch"]


def test_the_normalised_outer_step_is_as_long_as_the_rate() -> None:
    made = strategy({"outer": "normalised", "outer_rate": 0.03})
    made.set_rate(0.5)
    before = [part.detach().clone() for part in made.loss_network.parameters()]
    found = made.hyper_gradient(batch(0.3, dtype=torch.float32), batch(2.1, dtype=torch.float32)).gradient
    made.meta_step(batch(0.3, dtype=torch.float32), batch(2.1, dtype=torch.float32))
    changes = [now.detach() - then for now, then in zip(made.loss_network.parameters(), before, strict=True)]
    assert max(float(change.abs().max()) for change in changes) == pytest.approx(0.015, rel=1e-4)
    flat = torch.cat([change.flatten() for change in changes])
    slope = torch.cat([part.flatten() for part in found.values()])
    assert torch.nn.functional.cosine_similarity(flat, -slope, dim=0) > 0.9999


def test_switching_doubles_the_batch_with_its_labels() -> None:
    masks = batch(0.3, dtype=torch.float32)
    both = switched(masks)
    assert torch.equal(both.infrared, torch.cat((masks.infrared, masks.visible)))
    assert torch.equal(both.visible, torch.cat((masks.visible, masks.infrared)))
    assert both.task is not None
    assert masks.task is not None
    assert torch.equal(both.task.infrared, torch.cat((masks.task.infrared, masks.task.visible)))
    assert torch.equal(cast(Tensor, both.task.targets), torch.cat([cast(Tensor, masks.task.targets)] * 2))
    boxes = BoxTargets(torch.tensor([0, 1, 1]), torch.tensor([2, 0, 1]), torch.arange(12.0).reshape(3, 4))
    both = switched(masks._replace(task=masks.task._replace(targets=boxes)))
    assert both.task is not None
    image, classes, corners = cast(BoxTargets, both.task.targets)
    assert image.tolist() == [0, 1, 1, 2, 3, 3]
    assert classes.tolist() == [2, 0, 1, 2, 0, 1]
    assert torch.equal(corners[3:], boxes.corners)
    assert switched(Batch(masks.infrared, masks.visible)).task is None


def test_a_round_is_meta_steps_and_one_pass(made: Path, tmp_path: Path) -> None:
    training = setup(learned({"meta_steps": 3, "fusion_steps": None}), made, tmp_path)
    kinds = [
        "meta" if "meta outer" in training.strategy.step(n, training.feed) else "fusion" for n in range(9)
    ]
    assert training.feed.batches_per_epoch == 4
    assert kinds == ["meta"] * 3 + ["fusion"] * 4 + ["meta"] * 2


SEEN: list[tuple[str, torch.dtype]] = []


class RecordingFusion(TinyFusion):
    """Notes in which precision its convolution was computed."""

    def forward(self, infrared: Tensor, visible: Tensor) -> FusionOutput:
        SEEN.append(("fusion", self.body(torch.cat((infrared, visible), dim=1)).dtype))
        return super().forward(infrared, visible)


class RecordingTask(TinyTask):
    """The same."""

    def forward(self, luma: Tensor) -> Tensor:
        SEEN.append(("task", self.body(luma).dtype))
        return super().forward(luma)


def test_mixed_precision_stays_out_of_the_meta_step() -> None:
    here = RecordingFusion.__module__
    made = TDFusionStrategy(
        learned(
            network=f"{here}:RecordingFusion",
            task=f"{here}:RecordingTask",
            optimiser=Optimiser(steps=4, batch=2, amp="bfloat16"),
        )
    )
    first, second = batch(0.3, dtype=torch.float32), batch(2.1, dtype=torch.float32)
    SEEN.clear()
    made.meta_step(first, second)
    assert {role for role, _ in SEEN} == {"fusion", "task"}
    assert {dtype for _, dtype in SEEN} == {torch.float32}
    SEEN.clear()
    losses = made.fusion_step(first)
    assert SEEN[0] == ("fusion", torch.bfloat16)
    assert ("task", torch.bfloat16) in SEEN
    assert all(torch.isfinite(torch.tensor(value)) for value in losses.values())
    for network in made.networks.values():
        assert all(part.dtype == torch.float32 for part in network.parameters())


def test_g_learns_a_loss_that_is_better_for_the_task_than_the_fixed_one() -> None:
    """F and T stand still; G alone is trained. T knows what is bright in infrared; visible says nothing."""
    torch.manual_seed(0)
    made = strategy(
        {"loss_network": "light", "inner_rate": 20.0, "outer_rate": 0.02, "task_step": "none"},
        loss=Loss(alpha=0.0),
    )
    with torch.no_grad():
        for part in (*made.task.parameters(), *made.fusion.head.parameters()):  # type: ignore[union-attr]
            part.zero_()
        made.task.body.weight[0, 0, 1, 1] = 4.0  # type: ignore[union-attr, index]
        made.task.body.bias[0] = -2.0  # type: ignore[union-attr, index]
        made.task.head.weight[1, 0] = 2.0  # type: ignore[union-attr, index]
        made.task.head.weight[0, 0] = -2.0  # type: ignore[union-attr, index]
    batches = [batch(0.7 * number, dtype=torch.float32) for number in range(12)]
    held_out = batch(30.0, dtype=torch.float32), batch(31.0, dtype=torch.float32)
    fixed = made.hyper_gradient(*held_out).outer.item()  # light begins with w = 1/2 everywhere
    for number in range(60):
        made.meta_step(batches[number % 12], batches[(number + 5) % 12])
    learnt = made.hyper_gradient(*held_out).outer.item()
    assert learnt < 0.6 * fixed
    with torch.no_grad():
        weight = made.loss_network(held_out[0].infrared, held_out[0].visible).infrared
    assert weight.mean() > 0.7  # what T knows is in infrared


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no weights that G could learn"):
        strategy(loss=Loss(intensity="max"))
    with pytest.raises(ConfigError, match=r"has no \[task\]"):
        TDFusionStrategy(structs.replace(learned(), task=None))
    with pytest.raises(ConfigError, match=r"unknown key 'meta_step'(?s:.*)'meta_steps'"):
        strategy({"meta_step": 3})


@pytest.mark.slow
def test_the_whole_training_lowers_what_it_is_for(made: Path, tmp_path: Path) -> None:
    trained(
        learned(
            {"meta_steps": 5, "fusion_steps": 5},
            augmentation=Augmentation(crop=32),
            optimiser=Optimiser(steps=100, batch=2, learning_rate=0.02, schedule="constant"),
            validate_every=10,
        ),
        made,
        tmp_path / "run",
    )
    with (tmp_path / "run" / "losses.csv").open(newline="") as stream:
        outer = [float(row["meta outer"]) for row in csv.DictReader(stream)]
    assert len(outer) == 10
    assert sum(outer[-3:]) < 0.7 * sum(outer[:3])
