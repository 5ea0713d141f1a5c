"""Mini: the network of MMDRFuse's student, by its formula."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from tdfusion_edge.train.models.mini import Mini


def test_it_has_the_113_published_parameters() -> None:
    sizes = {name: part.numel() for name, part in Mini().named_parameters()}
    assert sizes == {"first.weight": 72, "first.bias": 4, "second.weight": 36, "second.bias": 1}
    assert sum(sizes.values()) == 113


def by_formula(network: Mini, infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Reflect, convolve, ReLU, reflect, convolve, tanh, and the cut at 0, written in NumPy."""
    weights = {name: part.detach().double().numpy() for name, part in network.named_parameters()}

    def layer(planes: np.ndarray, name: str) -> np.ndarray:
        padded = np.pad(planes, ((0, 0), (1, 1), (1, 1)), mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        sums = np.einsum("chwij,ocij->ohw", windows, weights[f"{name}.weight"])
        return np.asarray(sums + weights[f"{name}.bias"][:, None, None])

    hidden = np.maximum(layer(np.stack((infrared, visible)), "first"), 0)
    return np.asarray(np.maximum(np.tanh(layer(hidden, "second")[0]), 0))


def test_it_computes_the_published_formula() -> None:
    torch.manual_seed(0)
    network = Mini().eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    infrared, visible = torch.rand(2, 1, 1, 33, 46)
    with torch.inference_mode():
        fused = network(infrared, visible).fused[0, 0].numpy()
    expected = by_formula(network, infrared[0, 0].double().numpy(), visible[0, 0].double().numpy())
    assert (expected == 0).any()  # the cut is tried
    assert (expected > 0.5).any()
    np.testing.assert_allclose(fused, expected, atol=1e-5)


def test_it_begins_as_a_sum_of_both_sensors_behind_the_tanh() -> None:
    infrared, visible = torch.rand(2, 1, 1, 40, 40)
    with torch.inference_mode():
        fused = Mini(start=(0.5, 0.9))(infrared, visible).fused
    torch.testing.assert_close(fused, torch.tanh(0.5 * infrared + 0.9 * visible))


def test_all_its_layers_can_learn_from_the_start() -> None:
    torch.manual_seed(0)
    network = Mini()
    step = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(2):  # what is behind a weight of zero waits for it
        step.zero_grad()
        network(torch.rand(1, 1, 40, 40), torch.rand(1, 1, 40, 40)).fused.square().mean().backward()
        step.step()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert (parameter.grad != 0).any(dim=tuple(range(1, parameter.ndim))).all(), name
