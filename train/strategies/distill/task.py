"""Strategy ``distill-task``: a small task network learns from a large one's findings, and from the labels.

As the strategy ``task``, on the same pictures, with a second opinion; ``findings.py`` has its terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, cast

import torch
from torch import Tensor

from tdfusion_edge.errors import ConfigError
from tdfusion_edge.text import CLASSES, few
from tdfusion_edge.train.data.tensors import seen_by
from tdfusion_edge.train.data.types import TaskView
from tdfusion_edge.train.fusing import task_network
from tdfusion_edge.train.models.task import BoxPrediction, MaskPrediction, TaskNetwork
from tdfusion_edge.train.modes import in_mode
from tdfusion_edge.train.recipe import Recipe
from tdfusion_edge.train.strategies.distill.findings import box_terms, mask_terms
from tdfusion_edge.train.strategies.distill.options import Weight
from tdfusion_edge.train.strategies.task import Options as TaskOptions
from tdfusion_edge.train.strategies.task import TaskOnly


class Options(TaskOptions, frozen=True, kw_only=True):
    """``[strategy_options]`` of the strategy ``distill-task``: those of ``task``, and the teacher's."""

    teacher: str | None = None
    """Checkpoint with the task network that teaches. It has the student's classes."""
    teacher_weight: Weight = 1.0
    """Of what the teacher finds, beside the loss of the labels."""


class TaskDistill(TaskOnly):
    """T on fixed pictures, their labels, and what a frozen T finds in them."""

    options_type: ClassVar[type[TaskOptions]] = Options

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        options = cast("Options", self.options)
        if options.teacher is None:
            raise ConfigError(
                f"recipe '{recipe.name}' names no teacher",
                expected="a checkpoint with a task network",
                hint="Name one: --set strategy_options.teacher=runs/detector/last.safetensors",
            )
        self.teacher, view = task_network(Path(options.teacher))
        self.teacher.requires_grad_(False)
        self._weight, self.taught_by = options.teacher_weight, options.teacher
        self.networks = {**self.networks, "teacher": self.teacher}
        task = recipe.task
        assert task is not None  # the base class refuses a recipe without
        if view.classes != task.classes:
            raise ConfigError(
                "the teacher tells other classes apart than the recipe's [task]",
                expected=few(task.classes, CLASSES),
                got=few(view.classes, CLASSES),
            )
        _refuse_other_findings(self._live, self.teacher, (task.height, task.width))

    def losses(self, luma: Tensor, view: TaskView) -> Mapping[str, Tensor]:
        """The labels' losses, and the teacher's terms as ``teacher ...``; ``loss`` has all of them."""
        output = self._live(*seen_by(self._live, luma, view))
        labelled = self._live.loss(output, view.targets)
        with torch.no_grad():
            taught = self.teacher.decode(self.teacher(*seen_by(self.teacher, luma, view)))
        with torch.autocast(luma.device.type, enabled=False):  # logarithms of probabilities
            found = self._live.decode(output)
            told = box_terms(found, taught) if isinstance(found, BoxPrediction) else mask_terms(found, taught)
        loss = labelled["loss"] + self._weight * torch.stack(list(told.values())).sum()
        return {**labelled, **{f"teacher {name}": term for name, term in told.items()}, "loss": loss}


def _refuse_other_findings(student: TaskNetwork, teacher: TaskNetwork, size: tuple[int, int]) -> None:
    """Refuse a teacher whose findings cannot be compared, one by one, with the student's.

    Raises:
        ConfigError: it needs colours that the student is not shown, or finds something else or elsewhere.
    """
    if teacher.colour and not student.colour:
        raise ConfigError(
            "the teacher sees colours and the student none",
            hint="Set [task.network_options] colour = true, or take another teacher.",
        )
    if teacher.infrared and not student.infrared:
        raise ConfigError(
            "the teacher sees infrared beside the picture and the student does not",
            hint="Give [task.network_options] infrared a share, or take another teacher.",
        )
    found = []
    for network in (student, teacher):
        chroma = torch.full((1, 2, *size), 128 / 255) if network.colour else None
        with torch.no_grad(), in_mode([network], training=False):
            prediction = network.decode(network.look(torch.zeros(1, 1, *size), chroma))
        if not isinstance(prediction, BoxPrediction | MaskPrediction):
            raise ConfigError(
                "what a task network finds that teaches or is taught",
                expected="boxes or a mask",
                got=type(prediction).__name__,
            )
        shapes = ", ".join(f"{name} {tuple(part.shape)}" for name, part in prediction._asdict().items())
        found.append(shapes)
    if found[0] != found[1]:
        raise ConfigError(
            "the teacher's findings are not one by one the student's", expected=found[0], got=found[1]
        )
