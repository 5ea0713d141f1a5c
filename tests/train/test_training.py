"""The whole training on small made-up pairs: it learns, repeats itself, and refuses what it cannot use."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import BOXES, CLASSES, MASKS, PAIRS, learned, recipe, sources, write_pairs

from tdfusion_edge import checkpoint, files
from tdfusion_edge.cli import main
from tdfusion_edge.errors import RequestError, SourceError, TrainingError
from tdfusion_edge.train import loop, setup, state
from tdfusion_edge.train.data.lazy import LazyPairs
from tdfusion_edge.train.data.pairs import load_pairs
from tdfusion_edge.train.data.types import Sample
from tdfusion_edge.train.recipe import Augmentation, DataSource, Loss, Optimiser, Task
from tdfusion_edge.train.schedule import rate_factor
from tdfusion_edge.train.strategies.fixed import Fixed

TINY = (
    'name="t"\nnetwork="edge"\nvalidate_every=2\n[augmentation]\ncrop=32\n[optimiser]\nsteps=2\nbatch=2\n'
    '[[data]]\nfolder="made"\nterms="x"\n[[data]]\nfolder="made"\nterms="x"\npart="validation"\n'
)


def rows(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{"step": line["step"], **line[kind]} for line in lines if kind in line]


def test_training_learns_and_writes_checkpoints_that_say_what_they_are(made: Path, tmp_path: Path) -> None:
    best = loop.train(recipe(), made, tmp_path / "run")
    losses, figures = rows(tmp_path / "run", "losses"), rows(tmp_path / "run", "validation")
    assert [row["step"] for row in figures] == [20, 40, 60]
    assert losses[-1]["loss"] < 0.8 * losses[0]["loss"]
    header, weights = checkpoint.read(best)
    assert header.recipe == "tiny"
    assert header.networks["fusion"].name == "edge"
    assert header.networks["fusion"].options == {"width": 8, "depth": 1}
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
    runs = [
        loop.train(recipe(seed=seed), made, tmp_path / str(i), steps=3) for i, seed in enumerate((1, 1, 2))
    ]
    first, second, other = (checkpoint.read(path)[1]["fusion.head.weight"] for path in runs)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def broken_after(monkeypatch: pytest.MonkeyPatch, last: Path, error: BaseException | None = None) -> None:
    """Make the first step after a checkpoint raise, or give a loss that is no number."""
    step = Fixed.step

    def breaking(self: Fixed, number: int, feed: Any) -> Mapping[str, float]:
        losses = dict(step(self, number, feed))
        if last.exists():
            if error is not None:
                raise error
            losses["loss"] = float("nan")
        return losses

    monkeypatch.setattr(Fixed, "step", breaking)


def assert_whole(run: Path, step: int) -> None:
    """The checkpoint and the state of this step can be read, and nothing half-written lies about."""
    assert checkpoint.read(run / "last.safetensors")[0].step == step
    assert checkpoint.read(run / "best.safetensors")[0].step <= step
    assert state.read_position(run / "state.safetensors").step == step
    assert not [path for path in run.rglob(".*")]


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_the_checkpoint(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    broken_after(monkeypatch, run / "last.safetensors")
    with pytest.raises(TrainingError, match=r"at step 3(?s:.*)can be resumed"):
        loop.train(recipe(validate_every=2), made, run, steps=6)
    assert_whole(run, 2)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_too_little_memory_says_what_to_lower(
    error: Exception, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    broken_after(monkeypatch, run / "last.safetensors", error)
    with pytest.raises(TrainingError, match=r"out of memory on cpu(?s:.*)batch(?s:.*)hyper_gradient"):
        loop.train(recipe(validate_every=2), made, run, steps=6)
    assert_whole(run, 2)


def test_the_allocator_of_the_cpu_is_recognised(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fixed, "step", lambda self, number, feed: torch.empty(1 << 50))
    with pytest.raises(TrainingError, match="out of memory"):
        loop.train(recipe(), made, tmp_path / "run", steps=1)


def test_another_fault_is_not_taken_for_it(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fixed, "step", lambda self, number, feed: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="size"):
        loop.train(recipe(), made, tmp_path / "run", steps=1)


@pytest.mark.parametrize("victim", ["last.safetensors", "best.safetensors", "state.safetensors", ".png"])
def test_a_full_disk_leaves_the_files_that_were_there(
    victim: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    settings = recipe(validate_every=2)
    with monkeypatch.context() as patch:
        fsync, written = files.os.fsync, [0]

        def full(handle: int) -> None:
            name = Path(f"/proc/self/fd/{handle}").readlink().name
            written[0] += victim in name
            if victim in name and written[0] == 2:
                raise OSError(28, "No space left on device")
            fsync(handle)

        patch.setattr(files.os, "fsync", full)
        patch.setattr(loop, "selection_score", lambda figures, choose_by: written[0])
        with pytest.raises(OSError, match="No space"):
            loop.train(settings, made, run, steps=4)
    assert checkpoint.read(run / "last.safetensors")[0].step in (2, 4)
    assert checkpoint.read(run / "best.safetensors")[0].step in (2, 4)
    assert not list(run.rglob(".*"))
    loop.train(settings, made, run, steps=4, resume=True)
    assert_whole(run, 4)


def test_weights_that_are_no_numbers_are_never_written(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Fixed.step

    def poisoning(self: Fixed, number: int, feed: Any) -> Mapping[str, float]:
        losses = step(self, number, feed)
        with torch.no_grad():
            next(iter(self.fusion.parameters())).fill_(float("inf"))
        return losses

    monkeypatch.setattr(Fixed, "step", poisoning)
    with pytest.raises(TrainingError, match="of the fusion network became NaN or infinite by step 1"):
        loop.train(recipe(), made, tmp_path / "run", steps=1)
    assert not list((tmp_path / "run").glob("*.safetensors"))


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
            loop.train(wrong, made, tmp_path / "other")
        assert not (tmp_path / "other").exists()


def test_a_pair_smaller_than_the_crop_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"smaller than the crop: expected 128x128 or more, got 80x64"):
        loop.train(recipe(augmentation=Augmentation(crop=128)), made, tmp_path / "run")


def test_nothing_is_touched_where_a_training_is(made: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    loop.train(recipe(), made, output, steps=1)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    with pytest.raises(RequestError, match="holds a training already"):
        loop.train(recipe(), made, output, steps=1)
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


def test_validation_pairs_without_an_object_cannot_choose(made: Path, tmp_path: Path) -> None:
    write_pairs(tmp_path)
    for number in (6, 7):
        (tmp_path / "made" / "boxes" / f"{number}.txt").write_text("")
    task = Task(network="yolo", network_options={"size": "p"}, classes=CLASSES[1:], height=32, width=32)
    with pytest.raises(RequestError, match="no validation pair shows an object"):
        loop.train(
            recipe(strategy="tdfusion", task=task, data=sources(BOXES)), tmp_path, tmp_path / "run", steps=1
        )


def test_a_training_with_pairs_without_objects_goes_on(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    for number in range(6):
        (tmp_path / "made" / "boxes" / f"{number}.txt").write_text("")
    task = Task(network="yolo", network_options={"size": "p"}, classes=CLASSES[1:], height=32, width=32)
    settings = recipe(
        strategy="tdfusion",
        strategy_options={"loss_network": "light", "meta_steps": 1, "fusion_steps": 1},
        task=task,
        data=sources(BOXES),
        optimiser=Optimiser(steps=4, batch=2, learning_rate=1e-3),
    )
    loop.train(settings, tmp_path, tmp_path / "run")
    assert rows(tmp_path / "run", "validation")[0]["map"] >= 0


def lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read every pair when it is asked for, and keep none: as with a set that does not fit into memory."""

    def load(root: Path, source: DataSource, task: Task | None = None) -> Any:
        pairs = load_pairs(root, source, task, memory=0)
        return LazyPairs(len(pairs), pairs.__getitem__, cached=1)

    monkeypatch.setattr(setup, "load_pairs", load)


@pytest.mark.parametrize("strategy", ["fixed", "task"])
def test_a_damaged_picture_is_left_out_counted_and_remembered(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_pairs(tmp_path)
    picture = tmp_path / "made" / "vi" / "3.png"
    picture.write_bytes(picture.read_bytes()[:200])
    lazy(monkeypatch)
    options: dict[str, Any] = {"augmentation": Augmentation(crop=32, mosaic=0.3), "validate_every": 2}
    if strategy == "task":
        task = Task(network="tiny:TinyTask", classes=CLASSES, height=32, width=40)
        options |= {"task": task, "data": sources(MASKS), "strategy_options": {"picture": "mean"}}
    settings = recipe(strategy=strategy, **options)
    caplog.set_level(logging.INFO)
    loop.train(settings, tmp_path, tmp_path / "run", steps=6)
    assert caplog.text.count("left out: ") == 1
    assert "3.png" in caplog.text
    assert "1 pairs could not be read and are left out" in caplog.text
    assert rows(tmp_path / "run", "validation")[-1]["damaged"] == 1
    assert state.read_position(tmp_path / "run" / "state.safetensors").damaged == (3,)


def test_a_resumed_training_with_a_damaged_picture_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pairs(tmp_path)
    (tmp_path / "made" / "vi" / "3.png").write_bytes(b"nothing")
    lazy(monkeypatch)
    settings = recipe(augmentation=Augmentation(crop=32), validate_every=2)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    loop.train(settings, tmp_path, whole, steps=6)
    with monkeypatch.context() as patch:
        broken_after(patch, parts / "last.safetensors")
        with pytest.raises(TrainingError):
            loop.train(settings, tmp_path, parts, steps=6)
    loop.train(settings, tmp_path, parts, steps=6, resume=True)
    assert (parts / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()


def test_too_many_damaged_pictures_end_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(tmp_path)
    for number in range(3):
        (tmp_path / "made" / "ir" / f"{number}.png").write_bytes(b"")
    lazy(monkeypatch)
    with pytest.raises(SourceError, match=r"\.png"):
        loop.train(recipe(validate_every=2), tmp_path, tmp_path / "run", steps=30)


def test_a_damaged_validation_picture_is_refused_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pairs(tmp_path)
    (tmp_path / "made" / "ir" / "7.png").write_bytes(b"")
    lazy(monkeypatch)
    with pytest.raises(SourceError, match=r"7\.png"):
        loop.train(recipe(), tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_large_set_is_not_read_at_the_start(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def load(root: Path, source: DataSource, task: Task | None = None) -> Any:
        pairs = load_pairs(root, source, task)
        if source.part == "validation":
            return pairs

        def read(index: int) -> Sample:
            asked.append(index)
            return pairs[index]

        return LazyPairs(len(pairs), read)

    monkeypatch.setattr(setup, "load_pairs", load)
    loop.setup(learned(), made, tmp_path / "run")
    assert len(asked) <= 1


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
    words = ["train", str(tmp_path / "t.toml"), *data, "-o", str(tmp_path / "out")]
    assert main([*words, "--device", "none"]) == 2
    assert "--device none cannot be used" in capsys.readouterr().err
    assert main([*words, "--steps", "0"]) == 2
    assert main(words) == 0
    assert "best checkpoint" in capsys.readouterr().out
    assert (tmp_path / "out" / "best.safetensors").is_file()


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
        best = loop.train(recipe(loss=loss), made, tmp_path / str(number), steps=3)
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
        best = loop.train(
            learned(choose_by=choose_by, validate_every=2), made, tmp_path / choose_by, steps=6
        )
        assert checkpoint.read(best)[0].step == step
        assert checkpoint.read(best.parent / "last.safetensors")[0].step == 6


