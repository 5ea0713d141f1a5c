"""What goes wrong in the middle of a training: it ends clearly or goes on, and what was written is whole."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import BOXES, CLASSES, MASKS, learned, recipe, sources, trained, write_pairs

from tdfusion_edge import checkpoint, files
from tdfusion_edge.errors import SourceError, TrainingError
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.pairs.lazy import LazyPairs
from tdfusion_edge.pairs.reader import load_pairs
from tdfusion_edge.train import loop, state
from tdfusion_edge.train.recipe import Augmentation, DataSource, Optimiser, Task
from tdfusion_edge.train.setup import setup
from tdfusion_edge.train.strategies.fixed import Fixed


def rows(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{"step": line["step"], **line[kind]} for line in lines if kind in line]


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
    assert not list(run.rglob(".*"))


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_the_checkpoint(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    broken_after(monkeypatch, run / "last.safetensors")
    with pytest.raises(TrainingError, match=r"at step 3(?s:.*)can be resumed"):
        trained(recipe(validate_every=2), made, run, steps=6)
    assert_whole(run, 2)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"
        ),
    ],
)
def test_too_little_memory_says_what_to_lower(
    error: Exception, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    broken_after(monkeypatch, run / "last.safetensors", error)
    with pytest.raises(TrainingError, match=r"out of memory on cpu(?s:.*)batch(?s:.*)hyper_gradient"):
        trained(recipe(validate_every=2), made, run, steps=6)
    assert_whole(run, 2)


def test_the_allocator_of_the_cpu_is_recognised(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fixed, "step", lambda self, number, feed: torch.empty(1 << 50))
    with pytest.raises(TrainingError, match="out of memory"):
        trained(recipe(), made, tmp_path / "run", steps=1)


def test_another_fault_is_not_taken_for_it(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fixed, "step", lambda self, number, feed: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="size"):
        trained(recipe(), made, tmp_path / "run", steps=1)


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
            trained(settings, made, run, steps=4)
    assert checkpoint.read(run / "last.safetensors")[0].step in (2, 4)
    assert checkpoint.read(run / "best.safetensors")[0].step in (2, 4)
    assert not list(run.rglob(".*"))
    trained(settings, made, run, steps=4, resume=True)
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
        trained(recipe(), made, tmp_path / "run", steps=1)
    assert not list((tmp_path / "run").glob("*.safetensors"))


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
    trained(settings, tmp_path, tmp_path / "run")
    assert rows(tmp_path / "run", "validation")[0]["map"] >= 0


def lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read every pair when it is asked for, and keep none: as with a set that does not fit into memory."""

    def load(root: Path, source: DataSource, task: Task | None = None, **options: Any) -> Any:
        pairs = load_pairs(root, source, task, memory=0, **options)
        return LazyPairs(len(pairs), pairs.__getitem__, cached=1)

    monkeypatch.setattr("tdfusion_edge.train.setup.load_pairs", load)


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
    trained(settings, tmp_path, tmp_path / "run", steps=6)
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
    trained(settings, tmp_path, whole, steps=6)
    with monkeypatch.context() as patch:
        broken_after(patch, parts / "last.safetensors")
        with pytest.raises(TrainingError):
            trained(settings, tmp_path, parts, steps=6)
    trained(settings, tmp_path, parts, steps=6, resume=True)
    assert (parts / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()


def test_too_many_damaged_pictures_end_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(tmp_path)
    for number in range(3):
        (tmp_path / "made" / "ir" / f"{number}.png").write_bytes(b"")
    lazy(monkeypatch)
    with pytest.raises(SourceError, match=r"\.png"):
        trained(recipe(validate_every=2), tmp_path, tmp_path / "run", steps=30)


def test_a_damaged_validation_picture_is_refused_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pairs(tmp_path)
    (tmp_path / "made" / "ir" / "7.png").write_bytes(b"")
    lazy(monkeypatch)
    with pytest.raises(SourceError, match=r"7\.png"):
        trained(recipe(), tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_large_set_is_not_read_at_the_start(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def load(root: Path, source: DataSource, task: Task | None = None, **options: Any) -> Any:
        pairs = load_pairs(root, source, task, **options)
        if source.part == "validation":
            return pairs

        def read(index: int) -> LabelledPair:
            asked.append(index)
            return pairs[index]

        return LazyPairs(len(pairs), read)

    monkeypatch.setattr("tdfusion_edge.train.setup.load_pairs", load)
    setup(learned(), made, tmp_path / "run")
    assert len(asked) <= 1
