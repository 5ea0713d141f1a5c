"""Strategy ``distill-task``: a small detector learns from a large one's findings, beside the labels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import save
from tiny import BOXES, CLASSES, MASKS, recipe, sources, trained
from torch import Tensor, nn

from tdfusion_edge import checkpoint
from tdfusion_edge.errors import ConfigError, RequestError
from tdfusion_edge.train.models.task import BoxPrediction, MaskPrediction
from tdfusion_edge.train.models.yolox.network import YOLOX
from tdfusion_edge.train.recipe import Augmentation, Optimiser, Recipe, Task
from tdfusion_edge.train.setup import setup
from tdfusion_edge.train.strategies.distill.findings import box_terms, mask_terms
from tdfusion_edge.train.strategies.distill.task import TaskDistill

SIZE = 32
DISC = CLASSES[1:]


def write_detector(path: Path, classes: tuple[str, ...] = DISC, **options: Any) -> Path:
    """A checkpoint of a detector that finds something everywhere."""
    torch.manual_seed(3)
    options = {"size": "pico", "norm": False, **options}
    network = YOLOX(len(classes), **options)
    for name, parameter in network.named_parameters():
        nn.init.normal_(parameter, std=0.3 if "heads" in name else 0.15)
    view = checkpoint.TaskView(classes=classes, height=SIZE, width=SIZE)
    return save(path, {"task": (network, "yolox", options)}, task=view)


def taught(teacher: Path | None, options: dict[str, Any] | None = None, **task: Any) -> Recipe:
    settings: dict[str, Any] = {
        "network": "yolox",
        "network_options": {"size": "pico", "norm": False},
        "classes": DISC,
        "height": SIZE,
        "width": SIZE,
    }
    named = {} if teacher is None else {"teacher": str(teacher)}
    return recipe(
        strategy="distill-task",
        strategy_options={"picture": "mean", **named, **(options or {})},
        task=Task(**{**settings, **task}),
        data=sources(BOXES),
        augmentation=Augmentation(crop=32, flip=False),
        optimiser=Optimiser(steps=2, batch=2, learning_rate=2e-3, schedule="constant"),
    )


def boxes(*corners: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor([corners])


def test_the_teachers_own_findings_cost_nothing() -> None:
    box = BoxPrediction(boxes((0, 0, 4, 4), (1, 1, 3, 5)), torch.tensor([[[0.9, 0.1], [0.0, 1.0]]]))
    for term in box_terms(box, box).values():
        assert term.abs() < 1e-4
    mask = MaskPrediction(torch.randn(2, 3, 4, 4))
    assert mask_terms(mask, mask)["classes"].abs() < 1e-6
    assert mask_terms(mask, MaskPrediction(mask.logits + 5))["classes"].abs() < 1e-5  # the same probabilities


def test_scores_and_boxes_are_compared_anchor_by_anchor() -> None:
    """By hand: one anchor that the teacher is sure of to .8, one that it sees nothing at, in two samples."""
    sure = torch.tensor([[[0.8], [0.0]]])
    teacher = BoxPrediction(boxes((0, 0, 4, 4), (0, 0, 1, 1)), sure)
    student = BoxPrediction(boxes((2, 0, 6, 4), (9, 9, 10, 10)), torch.tensor([[[0.3], [0.5]]]))
    found = box_terms(student, teacher)
    # 2 of 4 columns in common: 8 of 24 pixels. The box at the other anchor does not count.
    assert found["boxes"].item() == pytest.approx(0.8 * (1 - 8 / 24), rel=1e-5)
    first = (0.8 - 0.3) ** 2 * -(0.8 * math.log(0.3) + 0.2 * math.log(0.7))
    second = 0.5**2 * -math.log(0.5)
    assert found["scores"].item() == pytest.approx(first + second, rel=1e-5)
    # What there is to be found divides: four times as much counts a quarter each.
    many = BoxPrediction(teacher.boxes.repeat(1, 4, 1), sure.repeat(1, 4, 1))
    again = box_terms(BoxPrediction(student.boxes.repeat(1, 4, 1), student.scores.repeat(1, 4, 1)), many)
    assert again["boxes"].item() == pytest.approx(found["boxes"].item() / 0.8, rel=1e-4)


def test_a_mask_is_compared_by_the_divergence_of_its_classes() -> None:
    teacher = torch.tensor([0.9, 0.1]).log().view(1, 2, 1, 1).expand(1, 2, 3, 3)
    student = torch.tensor([0.5, 0.5]).log().view(1, 2, 1, 1).expand(1, 2, 3, 3)
    expected = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    found = mask_terms(MaskPrediction(student), MaskPrediction(teacher))["classes"]
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_loss_has_the_labels_and_the_teachers_part(made: Path, tmp_path: Path) -> None:
    teacher = write_detector(tmp_path / "t.safetensors")
    training = setup(taught(teacher, {"teacher_weight": 3.0}), made, tmp_path / "nothing")
    strategy = training.strategy
    assert isinstance(strategy, TaskDistill)
    (batch,) = training.feed.take()
    assert batch.task is not None
    luma = batch.task.visible
    losses = strategy.losses(luma, batch.task)
    labelled = strategy._live.loss(strategy._live(luma), batch.task.targets)["loss"]
    decoded = [net.decode(net(luma)) for net in (strategy._live, strategy.teacher)]
    told = sum(box_terms(*decoded).values())
    torch.testing.assert_close(losses["loss"], labelled + 3.0 * told)
    assert losses["teacher scores"] > 0


def test_a_student_finds_what_its_teacher_finds(made: Path, tmp_path: Path) -> None:
    teacher = write_detector(tmp_path / "t.safetensors")
    training = setup(taught(teacher, {"teacher_weight": 50.0}), made, tmp_path / "nothing")
    strategy: Any = training.strategy
    before = [part.clone() for part in strategy.teacher.parameters()]
    (batch,) = training.feed.take()
    strategy.set_rate(3)
    figures = []
    for _ in range(20):
        losses = strategy.losses(batch.task.visible, batch.task)
        strategy._stepper.step(losses["loss"])
        figures.append(losses["teacher scores"].item() + losses["teacher boxes"].item())
    assert figures[-1] < 0.6 * figures[0]
    assert all(map(torch.equal, before, strategy.teacher.parameters()))


def test_the_student_alone_is_handed_on(made: Path, tmp_path: Path) -> None:
    teacher = write_detector(tmp_path / "t.safetensors")
    best = trained(taught(teacher, {"average": 0.9}), made, tmp_path / "run")
    header, weights = checkpoint.read(best)
    assert {name.split(".")[0] for name in weights} == set(header.networks) == {"task"}
    assert {row.terms for row in header.training_data} == {"made up", "public domain"}


def test_a_teacher_that_does_not_fit_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names no teacher"):
        TaskDistill(taught(None))
    with pytest.raises(RequestError, match="holds no task network"):
        TaskDistill(taught(made / "teacher.safetensors"))
    other = write_detector(tmp_path / "other.safetensors", ("cat", "dog"))
    with pytest.raises(ConfigError, match=r"other classes(?s:.*)disc(?s:.*)cat"):
        TaskDistill(taught(other))
    coloured = write_detector(tmp_path / "colour.safetensors", colour=True)
    with pytest.raises(ConfigError, match="sees colours"):
        TaskDistill(taught(coloured))
    plain = write_detector(tmp_path / "plain.safetensors")
    assert TaskDistill(taught(plain, network="yolo", network_options={"size": "p"}))
    masks = {"network": "tiny:TinyTask", "network_options": {}}
    with pytest.raises(ConfigError, match=r"not one by one(?s:.*)logits(?s:.*)boxes"):
        TaskDistill(taught(plain, **masks))


def test_masks_are_taught_too(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``segformer`` needs an optional library; a small network of the tests stands in its place."""
    from tiny import TinyTask

    from tdfusion_edge.train import fusing

    monkeypatch.setattr(fusing, "TASK_NETWORKS", {"tiny:TinyTask": "tiny:TinyTask"})
    view = checkpoint.TaskView(classes=CLASSES, height=32, width=40)
    teacher = save(tmp_path / "t.safetensors", {"task": (TinyTask(2), "tiny:TinyTask", {})}, task=view)
    settings = recipe(
        strategy="distill-task",
        strategy_options={"picture": "mean", "teacher": str(teacher)},
        task=Task(network="tiny:TinyTask", classes=CLASSES, height=32, width=40),
        data=sources(MASKS),
        augmentation=Augmentation(crop=32),
        optimiser=Optimiser(steps=2, batch=2),
    )
    training = setup(settings, made, tmp_path / "nothing")
    assert "teacher classes" in training.strategy.step(0, training.feed)
