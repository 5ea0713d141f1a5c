"""The virtual step of T is the step that the optimiser would take, and leaves no trace."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tiny import NormTask, TinyTask
from torch import Tensor

from tdfusion_edge.train.meta import Parameters
from tdfusion_edge.train.strategies.steps import Stepper
from tdfusion_edge.train.strategies.virtual import virtual_task

LUMA = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(5))
TARGETS = (LUMA[:, 0] > 0.5).long()


def same(gradient: Parameters) -> Parameters:
    return gradient


def trained(steps: int, rate: float = 0.01) -> tuple[TinyTask, Stepper]:
    """T with an optimiser that has taken some steps already."""
    torch.manual_seed(3)
    task = TinyTask(2)
    stepper = Stepper(task, rate)
    for _ in range(steps):
        stepper.step(task.loss(task(LUMA), TARGETS)["loss"])
    return task, stepper


def snapshot(task: torch.nn.Module, optimiser: torch.optim.Optimizer) -> list[Tensor]:
    moments = [part for state in optimiser.state.values() for part in state.values()]
    return [part.detach().clone() for part in (*task.state_dict().values(), *moments)]


@pytest.mark.parametrize("steps", [0, 1, 7])
def test_adam_is_the_step_of_pytorchs_adam(steps: int) -> None:
    task, stepper = trained(steps)
    virtual = virtual_task(task, stepper.optimiser, (LUMA,), TARGETS, step="adam", average=same)
    reference = torch.optim.Adam(task.parameters(), 0.01)
    reference.load_state_dict(
        {**reference.state_dict(), "state": copy.deepcopy(stepper.optimiser.state_dict()["state"])}
    )
    # Two groups there, one here: the moments belong to the parameters in the groups' order.
    order = [part for group in stepper.optimiser.param_groups for part in group["params"]]
    for part in order:
        if part in stepper.optimiser.state:
            reference.state[part] = copy.deepcopy(stepper.optimiser.state[part])
    reference.zero_grad()
    task.loss(task(LUMA), TARGETS)["loss"].backward()
    reference.step()
    for name, part in task.named_parameters():
        torch.testing.assert_close(virtual[name], part.detach(), rtol=1e-5, atol=1e-7)


def test_sgd_is_one_plain_step_down_the_gradient() -> None:
    task, stepper = trained(2)
    virtual = virtual_task(task, stepper.optimiser, (LUMA,), TARGETS, step="sgd", average=same)
    task.loss(task(LUMA), TARGETS)["loss"].backward()
    for name, part in task.named_parameters():
        assert part.grad is not None
        torch.testing.assert_close(virtual[name], (part - 0.01 * part.grad).detach())


@pytest.mark.parametrize("step", ["sgd", "adam", "none"])
def test_nothing_of_t_changes(step: Any) -> None:
    torch.manual_seed(0)
    task = NormTask(2)
    stepper = Stepper(task, 0.1)
    stepper.step(task.loss(task(LUMA), TARGETS)["loss"])
    before = snapshot(task, stepper.optimiser)
    virtual = virtual_task(task, stepper.optimiser, (LUMA,), TARGETS, step=step, average=same)
    after = snapshot(task, stepper.optimiser)
    assert len(before) == len(after)
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    assert not any(part.requires_grad and part.grad_fn for part in virtual.values())
    assert torch.equal(virtual["norm.running_mean"], task.norm.running_mean)
    moved = [name for name, part in task.named_parameters() if not torch.equal(virtual[name], part)]
    assert bool(moved) == (step != "none")


def test_the_gradient_is_averaged_before_the_step() -> None:
    task, stepper = trained(0)
    still = virtual_task(
        task,
        stepper.optimiser,
        LUMA,
        TARGETS,
        step="sgd",
        average=lambda gradient: {name: torch.zeros_like(part) for name, part in gradient.items()},
    )
    assert all(torch.equal(still[name], part) for name, part in task.named_parameters())
