"""Strategy ``task``: T alone, on whatever picture it is to see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tiny import CLASSES, MASKS, PAIRS, learned, recipe, sources, trained
from torch import nn

from tdfusion_edge import checkpoint
from tdfusion_edge.errors import ConfigError, InputMissing, RequestError
from tdfusion_edge.train.command import exported_from
from tdfusion_edge.train.data.types import Batch
from tdfusion_edge.train.recipe import Augmentation, Optimiser, Recipe, Task
from tdfusion_edge.train.setup import setup


def task_recipe(options: dict[str, Any], *, start: str | None = None, **changes: Any) -> Recipe:
    settings: dict[str, Any] = {
        "strategy": "task",
        "strategy_options": options,
        "task": Task(network="tiny:TinyTask", classes=CLASSES, height=32, width=40, start=start),
        "data": sources(MASKS),
        "augmentation": Augmentation(crop=32, flip=False),
        "optimiser": Optimiser(steps=4, batch=2, learning_rate=0.02, schedule="constant"),
        **changes,
    }
    return recipe(**settings)


def shown(options: dict[str, Any], made: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], Any]:
    """Infrared and visible of the first pair, and what T is shown in its place."""
    training = setup(task_recipe(options), made, made / "nothing")
    plain = setup(learned(), made, made / "nothing")
    original = plain.validation[0]
    return original.infrared, original.visible, training.validation[0]


def test_each_picture(made: Path, tmp_path: Path) -> None:
    fusion = trained(recipe(), made, tmp_path / "fusion", steps=2)
    for number in range(PAIRS):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((64, 80), 100 + number, np.uint8))
    for options, expected in (
        ({"picture": "infrared"}, lambda infrared, visible: infrared),
        ({"picture": "visible"}, lambda infrared, visible: visible),
        ({"picture": "mean"}, lambda infrared, visible: (infrared.astype(float) + visible) / 2),
        ({"picture": "additive"}, lambda infrared, visible: np.minimum(0.5 * infrared + 0.9 * visible, 255)),
        ({"picture": "maximum"}, np.maximum),
        ({"picture": "folder", "folder": str(tmp_path)}, lambda infrared, visible: np.full((64, 80), 106)),
    ):
        infrared, visible, seen = shown(options, made)
        assert np.abs(seen.visible - expected(infrared, visible)).max() <= 0.5  # type: ignore[no-untyped-call]
        assert seen.infrared is seen.visible
        assert seen.mask is not None
    infrared, visible, seen = shown({"picture": "fused", "checkpoint": str(fusion)}, made)
    network = setup(recipe(), made, tmp_path / "nothing").strategy.networks["fusion"]
    weights = checkpoint.of_role(checkpoint.read(fusion)[1], "fusion")
    network.load_state_dict({name: torch.from_numpy(part) for name, part in weights.items()})
    pair = (torch.from_numpy(one)[None, None].float() / 255 for one in (infrared, visible))
    with torch.no_grad():
        expected_fused = network.eval()(*pair).fused[0, 0].numpy() * 255
    assert np.abs(seen.visible - expected_fused).max() <= 0.501


def test_it_knows_which_fusion_network_it_was_trained_on(made: Path, tmp_path: Path) -> None:
    fusion = trained(recipe(), made, tmp_path / "fusion", steps=1)
    digest = checkpoint.weights_sha256(checkpoint.of_role(checkpoint.read(fusion)[1], "fusion"))
    for options, expected in (
        ({"picture": "fused", "checkpoint": str(fusion)}, digest),
        ({"picture": "mean"}, None),
    ):
        strategy: Any = setup(task_recipe(options), made, tmp_path / "nothing").strategy
        assert strategy.trained_on == expected


def test_what_is_exported_next_has_a_fusion_network(made: Path, tmp_path: Path) -> None:
    fusion_recipe = recipe()
    fusion = trained(fusion_recipe, made, tmp_path / "fusion", steps=1)
    seeing = task_recipe({"picture": "fused", "checkpoint": str(fusion)})
    blind = task_recipe({"picture": "mean"})
    task = trained(seeing, made, tmp_path / "task", steps=1)
    assert exported_from(fusion, fusion_recipe) == str(fusion)
    assert exported_from(task, seeing) == f"{fusion} {task}"
    assert exported_from(task, blind) == f"FUSION_CHECKPOINT {task}"


def test_a_blend_is_drawn_for_every_picture_anew(made: Path) -> None:
    training = setup(task_recipe({"picture": "blend"}), made, made / "nothing")
    seen: list[torch.Tensor] = []
    training.strategy.networks["task"].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    batch: Batch = setup(task_recipe({"picture": "blend"}), made, made / "x").feed.take()[0]
    assert batch.task is not None
    torch.manual_seed(5)
    training.strategy.step(0, training.feed)
    infrared, visible = batch.task.infrared, batch.task.visible
    shares = ((seen[0] - visible) / (infrared - visible)).flatten(1)
    shares = shares.nanmedian(dim=1).values
    assert shares[0] != pytest.approx(shares[1].item(), abs=1e-3)
    assert (shares > 0).all()
    assert (shares < 1).all()
    torch.testing.assert_close(
        seen[0], torch.lerp(visible, infrared, shares.view(-1, 1, 1, 1)), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("picture", ["mean", "blend"])
def test_t_is_trained_at_its_own_size_where_the_recipe_fuses_larger_ones(made: Path, picture: str) -> None:
    task = Task(
        network="tiny:TinyTask", classes=CLASSES, height=32, width=40, fused_height=64, fused_width=80
    )
    training = setup(task_recipe({"picture": picture}, task=task), made, made / "nothing")
    seen: list[torch.Tensor] = []
    training.strategy.networks["task"].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    training.strategy.step(0, training.feed)
    assert seen[0].shape == (2, 1, 32, 40)


def test_t_learns_and_the_checkpoint_holds_t_alone(made: Path, tmp_path: Path) -> None:
    settings = task_recipe(
        {"picture": "infrared"},
        optimiser=Optimiser(steps=80, batch=4, learning_rate=0.05, schedule="constant"),
        validate_every=40,
    )
    best = trained(settings, made, tmp_path / "run")
    header, weights = checkpoint.read(best)
    assert header.metrics["miou"] > 0.8
    assert set(header.networks) == {"task"}
    assert header.task is not None
    assert header.task.classes == CLASSES
    assert {name.split(".")[0] for name in weights} == {"task"}


def test_the_mean_of_the_weights_is_what_is_kept(made: Path) -> None:
    """Against the recursion of the docstring, kept beside it."""
    training = setup(task_recipe({"picture": "mean", "average": 0.5}), made, made / "nothing")
    strategy: Any = training.strategy
    live: nn.Module = strategy.networks["live"]
    expected = {name: part.clone() for name, part in live.state_dict().items()}
    for number in range(4):
        strategy.step(number, training.feed)
        decay = min(0.5, (1 + number) / (10 + number))
        for name, part in live.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * part
    for name, part in strategy.networks["task"].state_dict().items():
        torch.testing.assert_close(part, expected[name])
        assert not torch.equal(part, live.state_dict()[name])


def test_it_starts_where_another_training_ended(made: Path, tmp_path: Path) -> None:
    before = trained(task_recipe({"picture": "mean"}), made, tmp_path / "one")
    settings = task_recipe({"picture": "mean"}, start=str(before))
    task = setup(settings, made, tmp_path / "two").strategy.networks["task"]
    for name, part in checkpoint.of_role(checkpoint.read(before)[1], "task").items():
        assert np.array_equal(task.state_dict()[name].numpy(), part)
    other = Task(network="tiny:NormTask", classes=CLASSES, height=32, width=40, start=str(before))
    with pytest.raises(RequestError, match="does not fit the task network"):
        setup(task_recipe({"picture": "mean"}, task=other), made, tmp_path / "two")
    with pytest.raises(InputMissing, match="no checkpoint"):
        setup(task_recipe({"picture": "mean"}, start="nowhere"), made, tmp_path / "two")


def test_weight_decay_shrinks_matrices_alone(made: Path) -> None:
    found = {}
    for decay in (0.0, 0.5):
        training = setup(task_recipe({"picture": "mean", "weight_decay": decay}), made, made / "x")
        task = training.strategy.networks["task"]
        before = {name: part.detach().clone() for name, part in task.named_parameters()}
        training.strategy.step(0, training.feed)
        found[decay] = {name: part.detach() - before[name] for name, part in task.named_parameters()}
    for name, change in found[0.5].items():
        expected = 0.02 * 0.5 * before[name] if before[name].ndim > 1 else 0 * before[name]
        torch.testing.assert_close(found[0.0][name] - change, expected, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ConfigError, "needs 'checkpoint'"),
        ({"picture": "folder"}, ConfigError, "needs 'folder'"),
        ({"picture": "fused", "checkpoint": "nowhere"}, InputMissing, "no checkpoint"),
        ({"picture": "folder", "folder": "nowhere"}, InputMissing, "nowhere"),
        ({"picture": "both"}, ConfigError, "picture"),
    ],
)
def test_what_it_cannot_show_is_refused(
    options: dict[str, Any], error: type[Exception], message: str, made: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        trained(task_recipe(options), made, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_picture_that_the_folder_lacks_is_named(made: Path, tmp_path: Path) -> None:
    (tmp_path / "fused").mkdir()
    cv2.imwrite(str(tmp_path / "fused" / "0.png"), np.zeros((64, 80), np.uint8))
    with pytest.raises(InputMissing, match="has no picture '1'"):
        trained(task_recipe({"picture": "folder", "folder": str(tmp_path / "fused")}), made, tmp_path / "run")


def test_a_checkpoint_without_a_fusion_network_is_refused(made: Path, tmp_path: Path) -> None:
    task = trained(task_recipe({"picture": "mean"}), made, tmp_path / "task")
    with pytest.raises(RequestError, match="holds no fusion network"):
        trained(task_recipe({"picture": "fused", "checkpoint": str(task)}), made, tmp_path / "run")
    own = trained(learned(), made, tmp_path / "own")
    with pytest.raises(RequestError, match="names the network 'tiny:TinyFusion'"):
        trained(task_recipe({"picture": "fused", "checkpoint": str(own)}), made, tmp_path / "run")
