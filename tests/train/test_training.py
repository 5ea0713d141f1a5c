"""The whole training on small made-up pairs: it learns, repeats itself, and refuses what it cannot use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import BOXES, CLASSES, MASKS, PAIRS, learned, recipe, sources, trained, write_pairs

from tdfusion_edge import checkpoint
from tdfusion_edge.cli import main
from tdfusion_edge.errors import RequestError
from tdfusion_edge.locks import claimed
from tdfusion_edge.train import loop
from tdfusion_edge.train.recipe import Augmentation, Loss, Optimiser, Task
from tdfusion_edge.train.schedule import rate_factor

TINY = (
    'name="t"\nnetwork="edge"\nvalidate_every=2\n[augmentation]\ncrop=32\n[optimiser]\nsteps=2\nbatch=2\n'
    '[[data]]\nfolder="made"\nterms="x"\n[[data]]\nfolder="made"\nterms="x"\npart="validation"\n'
)


def rows(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{"step": line["step"], **line[kind]} for line in lines if kind in line]


def test_training_learns_and_writes_checkpoints_that_say_what_they_are(made: Path, tmp_path: Path) -> None:
    # It begins so dark that there is something to learn.
    options = {"width": 8, "depth": 1, "start": [0.1, 0.1]}
    best = trained(recipe(network_options=options), made, tmp_path / "run")
    losses, figures = rows(tmp_path / "run", "losses"), rows(tmp_path / "run", "validation")
    assert [row["step"] for row in figures] == [20, 40, 60]
    assert losses[-1]["loss"] < 0.8 * losses[0]["loss"]
    header, weights = checkpoint.read(best)
    assert header.recipe == "tiny"
    assert header.networks["fusion"].name == "edge"
    assert header.networks["fusion"].options == options
    assert header.metrics["ssim"] == pytest.approx(figures[header.step // 20 - 1]["ssim"], abs=1e-4)
    assert header.training_data[0].pairs == PAIRS
    assert weights["fusion.stem.weight"].shape == (8, 2, 3, 3)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "best.safetensors",
        "last.safetensors",
        "log.jsonl",
        "losses.csv",
        "sheets",
        "state.safetensors",
        "validation.csv",
    ]


def test_the_same_seed_gives_the_same_weights(made: Path, tmp_path: Path) -> None:
    runs = [trained(recipe(seed=seed), made, tmp_path / str(i), steps=3) for i, seed in enumerate((1, 1, 2))]
    first, second, other = (checkpoint.read(path)[1]["fusion.head.weight"] for path in runs)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_data_that_does_not_fit_the_recipe_is_refused_before_anything_is_written(
    made: Path, tmp_path: Path
) -> None:
    boxed = Task(network="yolo", network_options={"size": "p"}, classes=CLASSES[1:], height=32, width=32)
    cases = (
        (recipe(data=sources()[:1]), "names no validation data"),
        (recipe(network="egde"), "edge"),
        (recipe(network_options={"widht": 3}), "does not take these options"),
        (recipe(choose_by="task"), "choose_by = 'task' without a task network"),
        (learned(data=sources()), "expected labels in every"),
        (learned(task="yolo", data=sources(MASKS)), "multiples of 32, got 40x32"),
        (recipe(strategy="tdfusion", task=boxed, data=sources(MASKS)), "boxes, got mask"),
        (recipe(strategy="tdfusion", task=None, data=sources(MASKS)), "has no .task."),
    )
    for wrong, message in cases:
        with pytest.raises(RequestError, match=message):
            trained(wrong, made, tmp_path / "other")
        assert not (tmp_path / "other").exists()


def test_a_pair_smaller_than_the_crop_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"smaller than the crop: expected 128x128 or more, got 80x64"):
        trained(recipe(augmentation=Augmentation(crop=128)), made, tmp_path / "run")


def test_nothing_is_touched_where_a_training_is(made: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    trained(recipe(), made, output, steps=1)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    with pytest.raises(RequestError, match="holds a training already"):
        trained(recipe(), made, output, steps=1)
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("place", ["made/ir", "made/vi/run", "made"])
def test_a_training_never_writes_among_its_pairs(tmp_path: Path, place: str) -> None:
    write_pairs(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RequestError, match=r"is an input|lies in a folder|holds an input"):
        trained(recipe(), tmp_path, tmp_path / place, steps=1)
    assert sorted(tmp_path.rglob("*")) == before


def test_validation_pairs_without_an_object_cannot_choose(made: Path, tmp_path: Path) -> None:
    write_pairs(tmp_path)
    for number in (6, 7):
        (tmp_path / "made" / "boxes" / f"{number}.txt").write_text("")
    task = Task(network="yolo", network_options={"size": "p"}, classes=CLASSES[1:], height=32, width=32)
    with pytest.raises(RequestError, match="no validation pair shows an object"):
        trained(
            recipe(strategy="tdfusion", task=task, data=sources(BOXES)), tmp_path, tmp_path / "run", steps=1
        )


def test_the_schedules() -> None:
    cosine = Optimiser(steps=200)
    factors = [rate_factor(step, 200, cosine) for step in range(1, 201)]
    assert max(factors) == factors[9] == 1
    assert factors[:10] == sorted(factors[:10])
    assert factors[9:] == sorted(factors[9:], reverse=True)
    assert factors[-1] == pytest.approx(0)
    constant = Optimiser(steps=3, schedule="constant")
    assert [rate_factor(step, 3, constant) for step in (1, 2, 3)] == [1, 1, 1]
    stairs = Optimiser(steps=40, schedule="step")
    found = [rate_factor(step, 40, stairs) for step in range(1, 41)]
    assert found == pytest.approx([1.0] * 10 + [0.1] * 10 + [0.01] * 10 + [0.001] * 10)
    assert rate_factor(1, 10, Optimiser(steps=10, warm_up=0.0)) == 1


def test_the_command_trains_and_its_errors_are_of_the_right_kind(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(made)]
    assert main(["train", "no_such_recipe", *data]) == 2
    assert "edge_fixed" in capsys.readouterr().err
    assert main(["train", "edge_fixed", *data]) == 2
    assert "there is no folder" in capsys.readouterr().err
    (tmp_path / "t.toml").write_text(TINY)
    words = ["train", str(tmp_path / "t.toml"), *data, "-o", str(tmp_path / "the out")]
    assert main([*words, "--device", "none"]) == 2
    assert "--device none cannot be used" in capsys.readouterr().err
    assert main([*words, "--steps", "0"]) == 2
    with claimed([tmp_path / "the out"]):
        assert main(words) == 2
        assert "is being written by another run" in capsys.readouterr().err
    assert not (tmp_path / "the out").exists()
    assert main([*words, "--set", "seed=4"]) == 0
    best = tmp_path / "the out" / "best.safetensors"
    told = capsys.readouterr().out
    assert f"best checkpoint: {best}\nnext: tdfusion-edge export '{best}' -o BUNDLE\n" in told
    header, _ = checkpoint.read(best)
    assert (header.changes, header.seed) == (("seed=4",), 4)


def test_an_output_that_cannot_be_written_is_an_error_of_the_work(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "t.toml").write_text(TINY)
    arguments = ["train", str(tmp_path / "t.toml"), "--data", str(made)]
    assert main([*arguments, "-o", str(tmp_path / "file" / "run")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_each_option_of_the_loss_reaches_the_training(made: Path, tmp_path: Path) -> None:
    variants = (
        Loss(),
        Loss(alpha=0),
        Loss(intensity="squared"),
        Loss(intensity="max"),
        Loss(weight_infrared=0.8),
        Loss(gradient="magnitude"),
        Loss(border="zero"),
    )
    heads = []
    for number, loss in enumerate(variants):
        best = trained(recipe(loss=loss), made, tmp_path / str(number), steps=3)
        header, weights = checkpoint.read(best)
        assert header.settings["loss"]["intensity"] == loss.intensity
        heads.append(weights["fusion.head.weight"])
    for number, head in enumerate(heads):
        assert not any(np.array_equal(head, other) for other in heads[:number])


def test_the_best_checkpoint_is_chosen_by_what_the_recipe_says(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fusion is best at the first validation, the task at the second, neither at the third.
    made_up = iter([(0.9, 0.1), (0.5, 0.7), (0.1, 0.3)] * 2)

    def figures(*_: Any) -> dict[str, float]:
        fusion, task = next(made_up)
        return {"scd": fusion, "vif": fusion, "qabf": fusion, "ssim": fusion, "miou": task}

    monkeypatch.setattr(loop, "validate", figures)
    for choose_by, step in (("fusion", 2), ("task", 4)):
        best = trained(learned(choose_by=choose_by, validate_every=2), made, tmp_path / choose_by, steps=6)
        assert checkpoint.read(best)[0].step == step
        assert checkpoint.read(best.parent / "last.safetensors")[0].step == 6
