"""What a training begins from: other checkpoints, other pictures, its options, its pairs."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import torch
from test_task_strategy import task_recipe
from tiny import CLASSES, MASKS, learned, recipe, sources, trained
from torch import nn

from tdfusion_edge import checkpoint
from tdfusion_edge.errors import ConfigError, RequestError
from tdfusion_edge.pairs import LabelledPair, Labels
from tdfusion_edge.train.data.feed import Feed
from tdfusion_edge.train.fusing import fuse
from tdfusion_edge.train.loop import fit
from tdfusion_edge.train.models.base import FusionOutput
from tdfusion_edge.train.recipe import Augmentation, DataSource, Optimiser
from tdfusion_edge.train.recipe_file import load_recipe
from tdfusion_edge.train.setup import setup
from tdfusion_edge.train.strategies.tdfusion import TDFusionStrategy

FLAT = np.zeros((64, 80), np.uint8)


def test_a_start_with_other_classes_is_refused(made: Path, tmp_path: Path) -> None:
    """The order counts: the head's channels would be permuted without a word."""
    first = trained(task_recipe({"picture": "mean"}), made, tmp_path / "first")
    header, weights = checkpoint.read(first)
    assert header.task is not None
    swapped = msgspec.structs.replace(header.task, classes=CLASSES[::-1])
    checkpoint.write(tmp_path / "swapped.safetensors", weights, msgspec.structs.replace(header, task=swapped))
    again = task_recipe({"picture": "mean"}, start=str(tmp_path / "swapped.safetensors"))
    with pytest.raises(RequestError, match=r"other classes .*expected ground, disc, got disc"):
        setup(again, made, tmp_path / "second")


def test_a_start_without_a_task_network_is_refused_in_one_line(made: Path, tmp_path: Path) -> None:
    fusion = trained(recipe(), made, tmp_path / "fusion", steps=1)
    with pytest.raises(RequestError, match="holds no task network: got fusion"):
        setup(task_recipe({"picture": "mean"}, start=str(fusion)), made, tmp_path / "second")


def test_what_a_start_was_trained_on_binds_the_new_weights(made: Path, tmp_path: Path) -> None:
    first = trained(task_recipe({"picture": "mean"}), made, tmp_path / "first")
    header, weights = checkpoint.read(first)
    bound = tuple(
        msgspec.structs.replace(one, name="elsewhere", terms="not for sale") for one in header.training_data
    )
    bound_path = tmp_path / "bound.safetensors"
    checkpoint.write(bound_path, weights, msgspec.structs.replace(header, training_data=bound))
    training = setup(task_recipe({"picture": "mean"}, start=str(bound_path)), made, tmp_path / "second")
    assert [(one.name, one.terms) for one in training.training_data] == [
        ("made", "made up"),
        ("elsewhere", "not for sale"),
    ]


def meta_test(labels: Labels) -> tuple[DataSource, ...]:
    """All pairs but every fourth to train on, those for the meta-test."""
    train, validation = sources(labels)
    held_out = msgspec.structs.replace(train, part="meta-test", every=4)
    return (msgspec.structs.replace(train, without_every=4), held_out, validation)


def test_the_upper_level_is_measured_on_pairs_held_out_and_they_bind_the_weights(
    made: Path, tmp_path: Path
) -> None:
    training = setup(learned(data=meta_test(MASKS)), made, tmp_path / "run")
    assert [(one.name, one.pairs) for one in training.training_data] == [("made", 8)]
    assert training.feed.batches_per_epoch == 6 // training.recipe.optimiser.batch
    fit(training)
    assert setup(training.recipe, made, tmp_path / "run", resume=True).feed.identity()


def test_a_strategy_without_an_upper_level_takes_no_meta_test(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'made' is for a meta-test: expected a strategy with one, got"):
        setup(recipe(data=meta_test(MASKS)), made, tmp_path / "run")


def test_pictures_of_another_size_than_the_pairs_are_refused(made: Path, tmp_path: Path) -> None:
    for number in range(8):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((32, 40), np.uint8))
    options = {"picture": "folder", "folder": str(tmp_path)}
    with pytest.raises(RequestError, match=r"has another size than its pair.*expected 80x64, got 40x32"):
        setup(task_recipe(options), made, tmp_path / "run")


def test_the_strategy_fixed_has_no_options(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown key 'wieght'"):
        setup(recipe(strategy_options={"wieght": 3}), made, tmp_path / "run")


def test_changes_lie_over_the_preset_too() -> None:
    """Another strategy does not inherit the options that the recipe has for the preset's."""
    assert load_recipe("tdfusion_detection", ["strategy=task"]).strategy_options == {}
    assert (
        load_recipe("tdfusion_detection", ["strategy_options.meta_steps=7"]).strategy_options["outer"]
        == "adam"
    )


def test_too_few_pairs_for_a_meta_step_are_refused_at_the_start(made: Path, tmp_path: Path) -> None:
    greedy = learned(optimiser=Optimiser(steps=4, batch=5, learning_rate=1e-3))
    with pytest.raises(ConfigError, match="8 pairs do not make 2 disjoint batches: expected 10"):
        setup(greedy, made, tmp_path / "run")


def test_pairs_that_stand_twice_are_mentioned(
    made: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    twice = (*recipe().data, DataSource(folder="made", names=("1", "2"), terms="made up"))
    with caplog.at_level(logging.WARNING):
        setup(recipe(data=twice), made, tmp_path / "run")
    assert "2 training pairs have the name of another one" in caplog.text
    assert "2 validation pairs have the name of a training pair" in caplog.text


def test_a_training_on_other_pairs_is_not_resumed(made: Path, tmp_path: Path) -> None:
    short = recipe(optimiser=Optimiser(steps=4, batch=2), validate_every=2)
    trained(short, made, tmp_path / "run")
    state = tmp_path / "run" / "state.safetensors"
    training = setup(short, made, tmp_path / "run", resume=True)
    samples = [LabelledPair(f"new{number}", FLAT, FLAT) for number in range(8)]
    other = Feed(samples, Augmentation(crop=32), 2, 0)
    with pytest.raises(RequestError, match="was trained on other pairs"):
        fit(replace(training, feed=other))
    assert state.exists()


class Beyond(nn.Module):
    """A fusion network of a user's whose output leaves [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.1))

    def forward(self, infrared: torch.Tensor, visible: torch.Tensor) -> FusionOutput:
        """Brighter than white, darker than black."""
        return FusionOutput((infrared - 0.5) * 2 * self.scale + 0.5 + 0 * visible)


def test_what_leaves_the_range_is_cut_and_does_not_wrap() -> None:
    ramp = np.linspace(0, 255, 64 * 80).astype(np.uint8).reshape(64, 80)
    fused = fuse(Beyond().eval(), LabelledPair("ramp", ramp, ramp)).ravel().astype(int)
    assert (fused[0], fused[-1]) == (0, 255)
    assert (np.diff(fused) >= 0).all()


def test_t_steps_in_every_nth_fusion_step_whatever_the_round(made: Path, tmp_path: Path) -> None:
    """Rounds of five with a task step in every fourth fusion step: numbers of all steps would never meet."""
    options = {"meta_steps": 3, "fusion_steps": 2, "task_every": 4, "warm_up": 1}
    training = setup(learned(options), made, tmp_path / "run")
    strategy = training.strategy
    assert isinstance(strategy, TDFusionStrategy)
    kinds = []
    for number in range(21):
        losses = strategy.step(number, training.feed)
        kinds.append("meta" if "meta inner" in losses else "task" if "task loss" in losses else "fusion")
    fusion = [kind for kind in kinds if kind != "meta"]
    assert kinds[:6] == ["task", "meta", "meta", "meta", "fusion", "fusion"]
    assert fusion == ["task", "fusion", "fusion", "fusion"] * 2 + ["task"]


def test_a_fusion_phase_without_a_number_is_one_pass(made: Path, tmp_path: Path) -> None:
    """It begins with the first batch of a new shuffle, wherever the meta phase ended."""
    training = setup(learned({"meta_steps": 1, "fusion_steps": None}), made, tmp_path / "run")
    feed = training.feed
    epochs = []
    for number in range(1 + feed.batches_per_epoch):
        training.strategy.step(number, feed)
        epochs.append((feed.epoch, feed.drawn))
    assert epochs[0] == (0, 2)
    assert epochs[1:] == [(1, drawn) for drawn in range(1, feed.batches_per_epoch + 1)]
