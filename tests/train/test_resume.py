"""A training that was stopped and resumed is the training that was not, to the last bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from safetensors.numpy import load_file
from tiny import CLASSES, MASKS, TEACHER, bilevel, distilled, learned, recipe, sources, trained

from tdfusion_edge import checkpoint
from tdfusion_edge.cli import main
from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.train import state
from tdfusion_edge.train.data.feed import Feed
from tdfusion_edge.train.recipe import Augmentation, Optimiser, Recipe, Task
from tdfusion_edge.train.setup import setup

AUGMENTED = Augmentation(crop=32, gain=0.1, zoom=1.3, mosaic=0.4)
NORMED = "tiny:NormTask"


class Stopped(BaseException):
    """As sudden as KeyboardInterrupt."""


RECIPES: Mapping[str, Recipe] = {
    "fixed": recipe(
        augmentation=AUGMENTED, optimiser=Optimiser(steps=8, batch=2, learning_rate=5e-3), validate_every=4
    ),
    "task": recipe(
        strategy="task",
        strategy_options={"picture": "mean", "average": 0.9, "weight_decay": 0.1},
        task=Task(network=NORMED, classes=CLASSES, height=32, width=40),
        data=sources(MASKS),
        augmentation=AUGMENTED,
        optimiser=Optimiser(steps=8, batch=2, learning_rate=5e-3, amp="bfloat16"),
        validate_every=4,
    ),
    "distill": distilled(Path(TEACHER), augmentation=AUGMENTED),
    "tdfusion": learned(task=NORMED, augmentation=AUGMENTED),
    "bdlfusion": bilevel(
        {"discriminator": "patch", "lipschitz": "penalty"}, task=NORMED, augmentation=AUGMENTED
    ),
    "random": bilevel(
        {"discriminator": "pixel", "aggregation": "random", "optimiser": "sgd", "weight_decay": 1e-3},
        augmentation=AUGMENTED,
    ),
    "degraded": learned(task=NORMED, augmentation=replace(AUGMENTED, degraded=0.5)),
    "normalised": learned(
        {
            "outer": "normalised",
            "task_step": "adam",
            "statistics": "batch",
            "switch": True,
            "fusion_steps": 1,
        },
        NORMED,
        augmentation=AUGMENTED,
    ),
}


def stop_at(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """End the training where it asks for its ``batch``-th portion, counted from 1."""
    take, asked = Feed.take, [0]

    def stopping(self: Feed, count: int = 1) -> Any:
        asked[0] += 1
        if asked[0] == batch:
            raise Stopped
        return take(self, count)

    monkeypatch.setattr(Feed, "take", stopping)


def content(folder: Path) -> dict[str, Any]:
    """Weights, state and log of a training."""
    kept: dict[str, Any] = {
        name: load_file(folder / name)
        for name in ("last.safetensors", "best.safetensors", "state.safetensors")
    }
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    kept["log"] = [row for row in rows if "begun" not in row]
    kept["csv"] = {file.name: file.read_text() for file in folder.glob("*.csv")}
    kept["sheets"] = {file.name: file.read_bytes() for file in (folder / "sheets").iterdir()}
    return kept


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the trainings are that were not stopped."""
    return tmp_path_factory.mktemp("wholes")


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("stop", [6, 8])
def test_stopped_and_resumed_is_as_if_it_had_not_been(
    name: str, stop: int, wholes: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = wholes / name, tmp_path / "parts"
    monkeypatch.chdir(made)  # where TEACHER is
    if not whole.exists():
        trained(RECIPES[name], made, whole)
    with monkeypatch.context() as patch:
        stop_at(patch, stop)
        with pytest.raises(Stopped):
            trained(RECIPES[name], made, parts)
    assert state.read_position(parts / "state.safetensors").step == 4
    torch.manual_seed(99)  # another process has other random numbers
    trained(RECIPES[name], made, parts, resume=True)
    expected, found = content(whole), content(parts)
    for file in ("last.safetensors", "best.safetensors", "state.safetensors"):
        assert expected[file].keys() == found[file].keys()
        for key, value in expected[file].items():
            assert np.array_equal(value, found[file][key]), f"{file}: {key}"
    assert {key: found[key] for key in ("log", "csv", "sheets")} == {
        key: expected[key] for key in ("log", "csv", "sheets")
    }
    before, after = (state.read_position(folder / "state.safetensors") for folder in (whole, parts))
    assert before == after


def test_a_finished_training_can_be_resumed_and_stays_as_it_is(made: Path, tmp_path: Path) -> None:
    trained(RECIPES["fixed"], made, tmp_path / "run")
    before = content(tmp_path / "run")
    trained(RECIPES["fixed"], made, tmp_path / "run", resume=True)
    after = content(tmp_path / "run")
    assert after["log"] == before["log"]
    assert (tmp_path / "run" / "best.safetensors").is_file()


def test_a_run_that_was_stopped_before_its_first_state_cannot_be_resumed_but_begun_again(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(Stopped):
            trained(RECIPES["fixed"], made, run)
    with pytest.raises(InputMissing, match="holds no training that could be resumed"):
        trained(RECIPES["fixed"], made, run, resume=True)
    assert trained(RECIPES["fixed"], made, run).is_file()


def test_nothing_is_made_where_there_is_nothing_to_resume(made: Path, tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match=r"holds no training(?s:.*)Start it without --resume"):
        trained(RECIPES["fixed"], made, tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_another_training_is_not_gone_on_with(made: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained(RECIPES["fixed"], made, run, steps=1)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    changed = recipe(
        augmentation=AUGMENTED,
        optimiser=Optimiser(steps=8, batch=4, learning_rate=5e-3),
        validate_every=4,
        seed=3,
    )
    with pytest.raises(RequestError, match=r"seed \(was 0, is 3\), optimiser.batch \(was 2, is 4\)"):
        trained(changed, made, run, steps=1, resume=True)
    with pytest.raises(RequestError, match=r"steps \(was 1, is 8\)"):
        trained(RECIPES["fixed"], made, run, resume=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "state.safetensors").write_bytes((run / "last.safetensors").read_bytes())
    with pytest.raises(RequestError, match="no state of a training"):
        trained(RECIPES["fixed"], made, tmp_path / "other", resume=True)
    (tmp_path / "other" / "state.safetensors").write_bytes(b"cut")
    with pytest.raises(RequestError, match="no state of a training"):
        trained(RECIPES["fixed"], made, tmp_path / "other", resume=True)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_an_interrupt_says_what_is_left_and_the_command_goes_on(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        'name="t"\nnetwork="edge"\nvalidate_every=2\n[augmentation]\ncrop=32\n[optimiser]\nsteps=4\nbatch=2\n'
        '[[data]]\nfolder="made"\nterms="x"\n[[data]]\nfolder="made"\nterms="x"\npart="validation"\n'
    )
    (tmp_path / "t.toml").write_text(text)
    words = ["train", str(tmp_path / "t.toml"), "--data", str(made), "-o", str(tmp_path / "run")]
    take, asked = Feed.take, [0]

    def interrupted(self: Feed, count: int = 1) -> Any:
        asked[0] += 1
        if asked[0] == 4:
            raise KeyboardInterrupt
        return take(self, count)

    monkeypatch.setattr(Feed, "take", interrupted)
    assert main([*words, "--device", "cpu"]) == 130
    said = capsys.readouterr().err
    assert "last.safetensors" in said
    assert "--resume" in said
    assert checkpoint.read(tmp_path / "run" / "last.safetensors")[0].step == 2
    assert main([*words, "--device", "cpu", "--resume"]) == 0
    assert checkpoint.read(tmp_path / "run" / "last.safetensors")[0].step == 4


def test_a_state_of_other_networks_is_refused(made: Path, tmp_path: Path) -> None:
    trained(recipe(data=sources(MASKS)), made, tmp_path / "run", steps=1)
    strategy = setup(recipe(network_options={"width": 4, "depth": 1}), made, tmp_path / "x").strategy
    with pytest.raises(RequestError, match="does not fit"):
        state.restore(tmp_path / "run" / "state.safetensors", strategy.networks, strategy.optimisers)
