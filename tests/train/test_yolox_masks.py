"""Masks on YOLOX's features: shapes, loss by hand, COCO's weights, and the exported graph."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from tdfusion_edge.checkpoint import TaskView
from tdfusion_edge.errors import ConfigError, InputMissing, RequestError
from tdfusion_edge.export.fold import folded
from tdfusion_edge.export.fp16 import half
from tdfusion_edge.export.graph import LEGACY
from tdfusion_edge.export.heads import mask
from tdfusion_edge.export.heads.graph import head_onnx
from tdfusion_edge.export.lint import lint
from tdfusion_edge.export.ranges import hard_inputs, require_in_range
from tdfusion_edge.train.models.mask_logits import MaskLogits
from tdfusion_edge.train.models.yolox.masks import DETECTION, YOLOXMasks
from tdfusion_edge.train.models.yolox.network import YOLOX
from tdfusion_edge.train.strategies.steps import Stepper

CLASSES = 3
VIEW = TaskView(classes=("ground", "person", "car"), height=64, width=96)


def pico(**options: object) -> YOLOXMasks:
    torch.manual_seed(0)
    return YOLOXMasks(CLASSES, "pico", norm=False, **options)  # type: ignore[arg-type]


def telling(network: YOLOXMasks) -> YOLOXMasks:
    """As a trained one: the classes differ."""
    with torch.no_grad():
        network.last.weight.mul_(500)
    return network.eval()


def luma(batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 1, VIEW.height, VIEW.width, generator=torch.Generator().manual_seed(1))


def chroma(batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 2, VIEW.height, VIEW.width, generator=torch.Generator().manual_seed(2))


def some_mask(batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, CLASSES, (batch, VIEW.height, VIEW.width), generator=generator)


@pytest.mark.parametrize("size", ["pico", "nano", "tiny"])
def test_every_pixel_is_scored(size: str) -> None:
    network = YOLOXMasks(CLASSES, size).eval()
    with torch.inference_mode():
        output = network(luma(1)[..., :64])
    assert output.logits.shape == (1, CLASSES, 16, 16)
    assert network.decode(output).logits.shape == (1, CLASSES, 64, 64)


def test_each_stride_is_seen() -> None:
    """Without any one of the four levels the scores are others."""
    network = telling(pico())
    for level in range(4):
        with torch.no_grad():
            before = network(luma(1)).logits
            kept = network.levels[level].weight.clone()
            network.levels[level].weight.zero_()
            assert not torch.equal(network(luma(1)).logits, before)
            network.levels[level].weight.copy_(kept)


def test_colours_are_seen() -> None:
    network = telling(pico(colour=True))
    assert network.arguments(luma(), chroma())[1] is not None
    with torch.inference_mode():
        assert not torch.equal(network(luma(), chroma()).logits, network(luma()).logits)


def test_at_first_all_classes_are_alike_and_every_parameter_learns() -> None:
    network = pico()
    loss = network.loss(network(luma()), some_mask())["loss"]
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(CLASSES), abs=0.02)
    idle = [name for name, one in network.named_parameters() if one.grad is None or not one.grad.any()]
    assert idle == []


def test_the_loss_by_hand() -> None:
    """Logits of four columns, each as wide as one: the classes' weights weigh sum and count."""
    logits = torch.zeros(1, CLASSES, 1, 1)
    logits[0, 0] = 2.0
    given = torch.tensor([[[0, 0, 255, 1], [2, 255, 255, 255]]])
    right, wrong = math.log(math.e**2 + 2) - 2, math.log(math.e**2 + 2)
    plain = pico().loss(MaskLogits(logits), given)["loss"]
    assert float(plain) == pytest.approx((2 * right + 2 * wrong) / 4, abs=1e-6)
    weighted = pico(class_weights=[0.2, 1, 3]).loss(MaskLogits(logits), given)["loss"]
    assert float(weighted) == pytest.approx((0.4 * right + wrong + 3 * wrong) / 4.4, abs=1e-6)


@pytest.mark.parametrize("weights", [None, [0.02, 0.5, 3.0]])
def test_the_loss_agrees_with_torchs_own_mean(weights: list[float] | None) -> None:
    logits = torch.randn(2, CLASSES, 8, 8, generator=torch.Generator().manual_seed(4))
    given = torch.randint(0, CLASSES, (2, 32, 32), generator=torch.Generator().manual_seed(5))
    given[:, :10] = 255
    large = F.interpolate(logits, (32, 32), mode="bilinear", align_corners=False)
    wanted = F.cross_entropy(
        large, given, None if weights is None else torch.tensor(weights), ignore_index=255
    )
    assert torch.allclose(
        pico(class_weights=weights).loss(MaskLogits(logits), given)["loss"], wanted, atol=1e-6
    )


@pytest.mark.parametrize("weights", [None, [0.2, 1, 1]])
def test_a_mask_in_which_nothing_counts_costs_nothing(weights: list[float] | None) -> None:
    logits = torch.randn(1, CLASSES, 8, 8, requires_grad=True)
    loss = pico(class_weights=weights).loss(MaskLogits(logits), torch.full((1, 32, 32), 255))["loss"]
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_a_meta_gradient_reaches_the_input() -> None:
    network = pico()
    picture = luma(1).requires_grad_()
    parameters = dict(network.named_parameters())
    inner = network.loss(functional_call(network, parameters, (picture,)), some_mask(1))["loss"]
    gradients = torch.autograd.grad(inner, list(parameters.values()), create_graph=True)
    stepped = {
        name: value - 0.1 * gradient
        for (name, value), gradient in zip(parameters.items(), gradients, strict=True)
    }
    outer = network.loss(functional_call(network, stepped, (luma()[1:],)), some_mask()[1:])["loss"]
    (through_step,) = torch.autograd.grad(outer, picture)
    assert torch.isfinite(through_step).all()
    assert through_step.abs().max() > 0


def test_a_frozen_trunk_stays_and_lets_gradients_through() -> None:
    network = pico(frozen=True)
    before = {name: one.detach().clone() for name, one in network.named_parameters()}
    picture = luma().requires_grad_()
    loss = network.loss(network(picture), some_mask())["loss"]
    (through,) = torch.autograd.grad(loss, picture, retain_graph=True)
    assert through.abs().max() > 0
    Stepper(network, 1e-2).step(loss)
    moved = {name for name, one in network.named_parameters() if not torch.equal(one, before[name])}
    assert moved == {name for name in before if not name.startswith("trunk.")}


def test_it_begins_with_what_coco_taught(published: Path) -> None:
    network = YOLOXMasks(9, pretrained=str(published), norm=False)
    whole = YOLOX(80, pretrained=str(published), norm=False).state_dict()
    taken = network.trunk.state_dict()
    assert taken
    assert all(torch.equal(value, whole[name]) for name, value in taken.items())
    assert {name.partition(".")[0] for name in whole.keys() - taken.keys()} == set(DETECTION)


@pytest.mark.parametrize("opset", [pytest.param(None, marks=pytest.mark.slow), LEGACY])
def test_the_graph_is_the_network_in_colour(opset: int | None) -> None:
    network = telling(pico(colour=True))
    raw = head_onnx(network, VIEW) if opset is None else head_onnx(network, VIEW, opset)
    assert [one.name for one in onnx.load_from_string(raw).graph.input] == ["luma", "chroma"]
    row = mask.compare(network, raw, VIEW)
    assert row.max_error <= mask.SCORE_TOLERANCE
    assert row.figures["pixels_equal"] > 0.999
    held = sum(
        math.prod(one.dims) for one in onnx.load_from_string(raw).graph.initializer if len(one.dims) == 4
    )
    convolutions = [one for one in network.modules() if isinstance(one, nn.Conv2d)]
    assert held == sum(one.weight.numel() for one in convolutions)


@pytest.mark.slow
def test_half_holds_what_it_computes() -> None:
    network = telling(pico(colour=True))
    low = onnx.load_from_string(head_onnx(half(network), VIEW))
    assert lint(low) == []
    shapes = {"luma": (1, 1, VIEW.height, VIEW.width), "chroma": (1, 2, VIEW.height, VIEW.width)}
    require_in_range(low, hard_inputs(shapes))


def test_batch_norm_is_folded() -> None:
    torch.manual_seed(0)
    network = telling(YOLOXMasks(CLASSES, "pico"))
    plain = folded(copy.deepcopy(network), (luma(1),))
    assert not [one for one in plain.modules() if isinstance(one, nn.BatchNorm2d)]
    with torch.inference_mode():
        assert torch.allclose(plain(luma()).logits, network(luma()).logits, atol=1e-3)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    for classes in (1, 256):
        with pytest.raises(ConfigError, match=f"expected 2 to 255, got {classes}"):
            YOLOXMasks(classes)
    for weights in ([1.0, 1.0], [0.0, 1.0, 1.0], [float("nan"), 1.0, 1.0], [float("inf"), 1.0, 1.0]):
        with pytest.raises(ConfigError, match="expected 3 numbers above 0, one a class"):
            pico(class_weights=weights)
    with pytest.raises(ConfigError, match="norm = false"):
        YOLOXMasks(CLASSES, pretrained=str(tmp_path / "nano.onnx"))
    with pytest.raises(InputMissing, match="there is no file"):
        YOLOXMasks(CLASSES, pretrained=str(tmp_path / "nano.onnx"), norm=False)
    with pytest.raises(RequestError, match="multiples of 32"):
        pico()(torch.zeros(1, 1, 40, 64))
