"""The visible picture's colours on their way to a task network that sees them."""

from __future__ import annotations

import numpy as np
import torch

from tdfusion_edge.pairs import Boxes, LabelledPair
from tdfusion_edge.pairs.types import paired
from tdfusion_edge.train.data.feed import Feed
from tdfusion_edge.train.data.tensors import shown
from tdfusion_edge.train.data.types import TaskView
from tdfusion_edge.train.losses import intensity_loss
from tdfusion_edge.train.recipe import Augmentation, Task

RED = (0, 0, 200)


def pairs(count: int = 4) -> list[LabelledPair]:
    visible = np.full((96, 128, 3), RED, np.uint8)
    one = paired("red", np.zeros((96, 128), np.uint8), visible, colour=True)
    box = Boxes(np.array([[32, 24, 96, 72]], np.float32), np.array([0], np.int64))
    return [one._replace(name=f"red {number}", boxes=box) for number in range(count)]


def test_a_view_is_fused_large_and_seen_small_with_its_colours_and_labels() -> None:
    task = Task(network="yolox", classes=("car",), height=32, width=64, fused_height=96, fused_width=128)
    feed = Feed(pairs(), Augmentation(crop=32, flip=False), 2, 0, task=task)
    (batch,) = feed.take()
    view = batch.task
    assert view is not None
    assert view.chroma is not None
    assert not isinstance(view.targets, torch.Tensor)
    assert view.visible.shape == (2, 1, 96, 128)
    assert view.chroma.shape == (2, 2, 32, 64)
    assert view.targets.corners.tolist() == [[16, 8, 48, 24]] * 2
    cr, cb = (view.chroma * 255).mean(dim=(0, 2, 3)).tolist()  # 128 + .713 (R - Y), 128 + .564 (B - Y)
    assert abs(cr - 228) < 2
    assert abs(cb - 94) < 2
    assert shown(view.visible, view).shape == (2, 1, 32, 64)


def test_what_is_shown_is_the_mean_of_what_it_is_made_of() -> None:
    fused = torch.rand(1, 1, 64, 64)
    view = TaskView(fused, fused, torch.zeros(1, 16, 16), size=(16, 16))
    wanted = torch.nn.functional.avg_pool2d(fused, 4)
    halves = torch.nn.functional.interpolate(
        torch.nn.functional.avg_pool2d(fused, 2), (16, 16), mode="bilinear", align_corners=False
    )
    assert torch.equal(shown(fused, view), halves)
    assert torch.allclose(halves, wanted, atol=1e-6)


def test_the_additive_loss_is_least_between_its_two_sums() -> None:
    infrared, visible = torch.full((1, 1, 4, 4), 0.4), torch.full((1, 1, 4, 4), 0.6)
    sums = ((1.0, 0.5), (0.5, 0.9))
    fused = torch.tensor(0.0, requires_grad=True)
    for weight, least in ((1.0, 0.7), (0.0, 0.74), (0.5, 0.72)):
        picture = fused + torch.full_like(infrared, least)
        (slope,) = torch.autograd.grad(
            intensity_loss(picture, infrared, visible, weight, "additive", sums), fused
        )
        assert abs(float(slope)) < 1e-6
