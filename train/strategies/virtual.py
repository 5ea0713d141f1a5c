"""The virtual step of the task network: T' as new tensors, while T stays as it is.

Source: TDFusion, CVPR 2025 (arXiv 2412.03240), section 3.5. The released code steps T itself with Adam,
keeps its weights on disk meanwhile and leaves the moments changed; here nothing has to be put back.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.func import functional_call

from tdfusion_edge.train.meta import Average, Parameters, gradients, trainable
from tdfusion_edge.train.models.task import TaskNetwork


def virtual_task(
    task: TaskNetwork,
    optimiser: torch.optim.Optimizer,
    seen: tuple[Tensor | None, ...],
    targets: Any,
    *,
    step: Literal["sgd", "adam", "none"],
    average: Average,
) -> Parameters:
    """Parameters and buffers of T after one step on what it sees.

    Args:
        task: T; in training mode it normalises by this batch, and its running statistics stay.
        optimiser: T's; its rate is taken, and for ``adam`` its moments.
        seen: What T is called with, as :func:`~tdfusion_edge.train.data.tensors.seen_by` gives it.
        targets: Their labels.
        step: Which step.
        average: Averages gradients over processes.
    """
    parameters = {name: part.detach() for name, part in trainable(task).items()}
    buffers = {name: part.clone() for name, part in task.named_buffers()}
    if step == "none":
        return {**parameters, **buffers}
    at = {name: part.requires_grad_() for name, part in parameters.items()}
    # The running statistics would be updated in place: in a copy that is thrown away.
    spare = {name: part.clone() for name, part in buffers.items()}
    output = functional_call(task, {**at, **spare}, seen)
    gradient = average(gradients(task.loss(output, targets)["loss"], at))
    owners = trainable(task)
    move = _adam if step == "adam" else _plain
    stepped = {
        name: at[name].detach() - move(optimiser, owners[name], gradient[name].detach()) for name in at
    }
    return {**stepped, **buffers}


def _plain(optimiser: torch.optim.Optimizer, owner: Tensor, gradient: Tensor) -> Tensor:
    return _group(optimiser, owner)["lr"] * gradient  # type: ignore[no-any-return]


def _adam(optimiser: torch.optim.Optimizer, owner: Tensor, gradient: Tensor) -> Tensor:
    """What Adam would subtract next (Kingma and Ba, arXiv 1412.6980, algorithm 1), its moments unchanged."""
    group = _group(optimiser, owner)
    beta1, beta2 = group["betas"]
    state = optimiser.state.get(owner, {})
    first = state.get("exp_avg", torch.zeros_like(gradient))
    second = state.get("exp_avg_sq", torch.zeros_like(gradient))
    count = float(state.get("step", 0)) + 1
    first = beta1 * first + (1 - beta1) * gradient
    second = beta2 * second + (1 - beta2) * gradient.square()
    scale = (second / (1 - beta2**count)).sqrt() + group["eps"]
    return group["lr"] * (first / (1 - beta1**count)) / scale  # type: ignore[no-any-return]


def _group(optimiser: torch.optim.Optimizer, owner: Tensor) -> dict[str, Any]:
    for group in optimiser.param_groups:
        if any(one is owner for one in group["params"]):
            return group
    raise AssertionError("the optimiser does not own this parameter")
