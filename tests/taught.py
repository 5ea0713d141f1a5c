"""The fusion network edge as after a training: a new one gives the same two gains at every pixel."""

from __future__ import annotations

import torch
from torch import nn

from tdfusion_edge.train.models.edge import Edge


def taught_edge(seed: int = 0, **options: int) -> Edge:
    """One whose every layer says something; the same for the same seed."""
    torch.manual_seed(seed)
    network = Edge(**options)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    return network.eval()
