"""Networks that were never trained, and yet tell pictures apart."""

from __future__ import annotations

from typing import TypeVar, cast

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def telling(network: Network) -> Network:
    """In evaluation mode, with weights by which what differs in a picture neither fades nor grows inside."""
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    with torch.no_grad():
        for layer in layers:
            nn.init.normal_(layer.weight, std=1.5 / layer.weight[0].numel() ** 0.5)
            if layer.bias is not None:
                nn.init.zeros_(cast(Tensor, layer.bias))
        layers[0].weight.div_(100)  # of levels
    return network.eval()
