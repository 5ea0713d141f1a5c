"""Networks in another mode for a while, and steps that must not move what they do not train."""

from __future__ import annotations

import torch
from torch import nn

from tdfusion_edge.train.modes import in_mode


def test_every_module_gets_its_own_mode_back() -> None:
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(), nn.Sequential(nn.BatchNorm2d(1)))
    network.train()
    network[2].eval()  # frozen by its user
    try:
        with in_mode([network], training=False):
            assert not any(module.training for module in network.modules())
            raise RuntimeError
    except RuntimeError:
        pass
    assert [network[0].training, network[1].training, network[2].training, network[2][0].training] == [
        True,
        True,
        False,
        False,
    ]
    with torch.no_grad(), in_mode([network], training=True):
        assert network[2][0].training
