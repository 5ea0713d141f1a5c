"""Folding: the same numbers from fewer layers, and nothing folded that another call reads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.fold import conv_norm_pairs, folded
from tdfusion_edge.export.keep_float import leaves
from tdfusion_edge.train.models.segformer import SegFormer
from tdfusion_edge.train.models.yolo import YOLO


def seasoned(network: nn.Module, seed: int = 0) -> nn.Module:
    """With running statistics and affine parameters that are far from the fresh ones."""
    random = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_var is not None:
            assert module.running_mean is not None
            module.running_mean.normal_(0, 0.3, generator=random)
            module.running_var.uniform_(0.3, 3, generator=random)
            if module.affine:
                nn.init.normal_(module.weight, 1, 0.3, generator=random)
                nn.init.normal_(module.bias, 0, 0.3, generator=random)
    return network


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def differ(one: nn.Module, other: nn.Module, *inputs: Tensor) -> float:
    with torch.inference_mode():
        pairs = zip(leaves(one(*inputs)), leaves(other(*inputs)), strict=True)
        return max(float((a - b).abs().max() / a.abs().max().clamp(min=1)) for a, b in pairs)


def picture(height: int = 64, width: int = 96, seed: int = 1) -> Tensor:
    return torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [pytest.param("n", marks=pytest.mark.slow), "p"])
def test_yolo_keeps_its_numbers_and_loses_every_batch_norm(size: str) -> None:
    torch.manual_seed(0)
    network = seasoned(YOLO(3, size)).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    plain = folded(network, (picture(32, 32),))
    assert norms(plain) == 0
    assert norms(network) == 57
    assert network.training
    assert not plain.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    # Another size and picture than those of the example.
    assert 0 < differ(network.eval(), plain, picture()) < 1e-5
    boxes, scores = plain.decode(plain(picture()))  # type: ignore[operator]
    assert (boxes.shape[-1], scores.shape[-1]) == (4, 3)


def test_the_one_batch_norm_of_segformer_is_folded() -> None:
    torch.manual_seed(0)
    network = seasoned(SegFormer(3)).eval()
    plain = folded(network, (picture(32, 32),))
    assert (norms(network), norms(plain)) == (1, 0)
    assert 0 < differ(network, plain, picture()) < 1e-5


class Branches(nn.Module):
    """A 3x3 and a 1x1 convolution, each with its batch norm, and a skip: trained apart, deployed as one."""

    def __init__(self, channels: int, *, wrong: bool = False) -> None:
        super().__init__()
        self.wide = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.wide_norm = nn.BatchNorm2d(channels)
        self.narrow = nn.Conv2d(channels, channels, 1)
        self.wrong = wrong

    def forward(self, x: Tensor) -> Tensor:
        return self.wide_norm(self.wide(x)) + self.narrow(x) + x

    def reparameterised(self) -> nn.Module:
        merged = nn.utils.fusion.fuse_conv_bn_eval(self.wide, self.wide_norm)
        with torch.no_grad():
            merged.weight += F.pad(self.narrow.weight, (1, 1, 1, 1))
            assert merged.bias is not None
            assert self.narrow.bias is not None
            merged.bias += self.narrow.bias
            if not self.wrong:
                merged.weight[:, :, 1, 1] += torch.eye(len(merged.weight))
        return merged


def test_training_branches_are_merged_where_a_module_offers_it() -> None:
    torch.manual_seed(0)
    network = seasoned(nn.Sequential(nn.Conv2d(1, 4, 3), Branches(4), nn.ReLU(), nn.Conv2d(4, 1, 1))).eval()
    plain = folded(network, (picture(),))
    assert [type(module) for module in plain] == [nn.Conv2d, nn.Conv2d, nn.ReLU, nn.Conv2d]  # type: ignore[attr-defined]
    assert isinstance(network[1], Branches)  # type: ignore[index]
    assert 0 < differ(network, plain, picture(seed=2)) < 1e-5
    alone = folded(seasoned(Branches(1)), (picture(),))
    assert type(alone) is nn.Conv2d


def test_a_branch_that_is_merged_wrongly_is_refused() -> None:
    torch.manual_seed(0)
    network = seasoned(nn.Sequential(nn.Conv2d(1, 4, 3), Branches(4, wrong=True)))
    with pytest.raises(ExportError, match=r"output 0 of the folded network differs(?s:.*)reparameterised"):
        folded(network, (picture(),))


class Reused(nn.Module):
    """Convolutions that a batch norm follows, in ways in which folding it would change something."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(1, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2, track_running_stats=way != "no statistics")
        self.way = way

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        y = self.first(x)
        if self.way == "convolution twice":
            return self.norm(y) + self.first(x * 2)
        if self.way == "norm twice":
            return self.norm(y) + self.norm(self.second(x))
        if self.way == "given out":
            return self.norm(y), y
        if self.way == "changed before":
            y.clamp_(min=0)
        out = self.norm(y)
        return out + y if self.way == "skip" else out


@pytest.mark.parametrize(
    ("way", "left"),
    [
        ("plain", 0),
        ("skip", 1),
        ("convolution twice", 1),
        ("norm twice", 1),
        ("given out", 1),
        ("changed before", 1),
        ("no statistics", 1),
    ],
)
def test_only_what_nothing_else_reads_is_folded(way: str, left: int) -> None:
    torch.manual_seed(0)
    network = seasoned(Reused(way)).eval()
    assert len(conv_norm_pairs(network, (picture(),))) == 1 - left
    plain = folded(network, (picture(),))
    assert norms(plain) == left
    assert differ(network, plain, picture(seed=3)) < 1e-5


class Standardised(nn.Conv2d):
    """Its weights are not those that it multiplies by."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias)


def test_a_users_own_kind_of_convolution_is_left_alone() -> None:
    torch.manual_seed(0)
    own = seasoned(nn.Sequential(Standardised(1, 2, 3), nn.BatchNorm2d(2))).eval()
    weighted = nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 2, 3))
    for network in (own, seasoned(nn.Sequential(weighted, nn.BatchNorm2d(2))).eval()):
        plain = folded(network, (picture(),))
        assert norms(plain) == 1
        assert differ(network, plain, picture(seed=3)) < 1e-6


def test_transposed_convolutions_are_folded_where_they_can_be() -> None:
    torch.manual_seed(0)
    for groups, left in ((1, 0), (2, 1)):
        layer = nn.ConvTranspose2d(2, 4, 2, stride=2, groups=groups)
        network = seasoned(nn.Sequential(nn.Conv2d(1, 2, 3), layer, nn.BatchNorm2d(4))).eval()
        plain = folded(network, (picture(),))
        assert norms(plain) == left
        assert differ(network, plain, picture(seed=3)) < 1e-5


def test_one_module_under_two_names_is_replaced_under_both() -> None:
    torch.manual_seed(0)

    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.alias = nn.Conv2d(1, 2, 3)
            self.parts = nn.Sequential(self.alias, nn.BatchNorm2d(2))

        def forward(self, x: Tensor) -> Tensor:
            return self.parts[1](self.alias(x))

    made = seasoned(Holder()).eval()
    plain = folded(made, (picture(),))
    assert norms(plain) == 0
    assert differ(made, plain, picture(seed=3)) < 1e-5
