"""Networks in training or evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_mode(networks: list[nn.Module], *, training: bool) -> Iterator[None]:
    """Put networks in a mode, and every module of theirs back in its own afterwards."""
    before = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        network.train(training)
    try:
        yield
    finally:
        for module, was_training in before:
            module.training = was_training
