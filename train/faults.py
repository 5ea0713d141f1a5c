"""What ends a training: no memory, or numbers that are none; each says what is left of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from tdfusion_edge.errors import TrainingError
from tdfusion_edge.train.state import STATE


@contextmanager
def clear_out_of_memory(output: Path, device: str) -> Iterator[None]:
    """Make a clear error of a lack of memory.

    Raises:
        TrainingError: the memory does not suffice.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        if not (known or "DefaultCPUAllocator" in str(error)):  # the CPU's allocator has no class of its own
            raise
        first = str(error).splitlines()[0] if str(error) else "no details"
        raise TrainingError(
            f"out of memory on {device}: {first}",
            hint="Lower [optimiser] batch, [augmentation] crop or the size in [task], or set "
            "[strategy_options] hyper_gradient = 'forward', in a new folder (-o). " + _what_is_left(output),
        ) from error


def refuse_infinite(output: Path, step: int, losses: Mapping[str, float]) -> None:
    """Raise a :class:`TrainingError` where a loss of a step is NaN or infinite."""
    if not all(math.isfinite(value) for value in losses.values()):
        raise TrainingError(
            f"the loss became {dict(losses)} at step {step}",
            hint=f"Lower [optimiser] learning_rate; {_what_is_left(output)}",
        )


def refuse_infinite_weights(output: Path, step: int, networks: Mapping[str, nn.Module]) -> None:
    """Raise a :class:`TrainingError` where a weight or a running statistic is NaN or infinite."""
    for role, network in networks.items():
        for name, part in network.state_dict().items():
            if part.is_floating_point() and not bool(part.isfinite().all()):
                raise TrainingError(
                    f"'{name}' of the {role} network became NaN or infinite by step {step}",
                    hint=f"Lower [optimiser] learning_rate; {_what_is_left(output)}",
                )


def _what_is_left(output: Path) -> str:
    if (output / STATE).exists():
        return f"what was reached before is in {output} and can be resumed."
    return "no checkpoint was written yet."
