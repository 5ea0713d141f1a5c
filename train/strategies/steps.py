"""One optimisation step of one network, and the average of gradients over processes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import Tensor, distributed, nn

from tdfusion_edge.train.meta import Parameters, gradients, trainable


class Stepper:
    """Adam, or gradient descent, on one network.

    Args:
        network: What is trained.
        rate: Learning rate.
        amp: ``bfloat16`` lets :meth:`autocast` compute in it where PyTorch holds that safe. (Its range is
            that of float32, so that no gradient has to be scaled.)
        decay: Weight decay of weights with more than one axis; decoupled with ``adam``.
        eps: Adam's; below about this size of gradient it does not normalise.
        kind: ``adam`` or ``sgd``.
        momentum: Of ``sgd``.
    """

    def __init__(
        self,
        network: nn.Module,
        rate: float,
        *,
        amp: str = "none",
        decay: float = 0.0,
        eps: float = 1e-8,
        kind: Literal["adam", "sgd"] = "adam",
        momentum: float = 0.0,
    ) -> None:
        self.network, self._amp = network, amp
        learning = trainable(network).values()
        matrices = [p for p in learning if p.ndim > 1]
        others = [p for p in learning if p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
        groups = [group for group in groups if group["params"]]
        self.optimiser: torch.optim.Optimizer = (
            torch.optim.SGD(groups, rate, momentum=momentum)
            if kind == "sgd"
            else torch.optim.AdamW(groups, rate, eps=eps)
        )

    def autocast(self, like: Tensor) -> AbstractContextManager[object]:
        """Mixed precision for a forward pass on the device of ``like``, if it is asked for."""
        return torch.autocast(like.device.type, torch.bfloat16, enabled=self._amp == "bfloat16")

    def step(self, loss: Tensor) -> None:
        """One step down the gradient of ``loss``, averaged over all processes."""
        self.apply(gradients(loss, trainable(self.network)))

    def apply(self, gradient: Parameters) -> None:
        """One step with a gradient that is at hand, averaged over all processes."""
        averaged = average(gradient)
        for name, parameter in trainable(self.network).items():
            parameter.grad = averaged[name]
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    @property
    def current_rate(self) -> float:
        """The learning rate of now."""
        return float(self.optimiser.param_groups[0]["lr"])


def average(gradient: Parameters) -> Parameters:
    """Mean of a gradient over all processes; itself where there is one.

    DistributedDataParallel sees what ``.backward()`` puts into ``.grad`` and nothing else. A virtual step
    and a hyper-gradient pass through neither, so everything is averaged here, in one flat message.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return gradient
    flat = torch.cat([part.detach().flatten() for part in gradient.values()])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    parts = torch.split(flat, [part.numel() for part in gradient.values()])
    return {name: part.view_as(like) for (name, like), part in zip(gradient.items(), parts, strict=True)}


def average_buffers(networks: Mapping[str, nn.Module]) -> None:
    """Mean of the running statistics over all processes, so that all evaluate alike."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return
    buffers = {
        f"{role}.{name}": buffer
        for role, network in networks.items()
        for name, buffer in network.named_buffers()
        if buffer.is_floating_point()
    }
    for name, mean in average(buffers).items() if buffers else ():
        buffers[name].copy_(mean)
