"""Infrared beside the fused picture, on its way to a task network that sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from telling import telling
from tiny import CLASSES, MASKS, recipe, sources
from torch import Tensor

from tdfusion_edge.errors import ConfigError
from tdfusion_edge.pairs import Boxes, LabelledPair
from tdfusion_edge.train.data.tensors import seen_by, shown
from tdfusion_edge.train.data.types import TaskView
from tdfusion_edge.train.models.task import TaskNetwork
from tdfusion_edge.train.models.yolox.masks import YOLOXMasks
from tdfusion_edge.train.models.yolox.network import YOLOX
from tdfusion_edge.train.recipe import Augmentation, Optimiser, Recipe, Task
from tdfusion_edge.train.setup import setup
from tdfusion_edge.train.strategies.task import TaskOnly
from tdfusion_edge.train.validation import detect

SHARE = 0.3
SIZE = (32, 64)


def planes() -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(3)
    luma, infrared = (torch.rand(2, 1, *SIZE, generator=random) for _ in range(2))
    return luma, torch.rand(2, 2, *SIZE, generator=random), infrared


def pico(kind: type[YOLOX] | type[YOLOXMasks], **options: Any) -> TaskNetwork:
    torch.manual_seed(0)
    return telling(kind(3, size="pico", norm=False, **options))


@pytest.mark.parametrize("kind", [YOLOX, YOLOXMasks])
@pytest.mark.parametrize("colour", [False, True])
def test_it_looks_at_both_by_their_shares(kind: type[YOLOX] | type[YOLOXMasks], colour: bool) -> None:
    luma, chroma, infrared = planes()
    plain, seer = pico(kind, colour=colour), pico(kind, colour=colour, infrared=SHARE)
    assert (plain.infrared, seer.infrared) == (False, True)
    assert seer.planes == ("luma", *(("chroma",) if colour else ()), "infrared")
    with torch.no_grad():
        got = seer.look(luma, chroma, infrared)
        mixed = (1 - SHARE) * luma + SHARE * infrared
        for name, want in plain.look(mixed, chroma)._asdict().items():
            torch.testing.assert_close(getattr(got, name), want)
        # Where the luma is not of both sensors it stands in infrared's place, and the picture is as it is.
        for name, want in plain.look(luma, chroma, infrared)._asdict().items():
            torch.testing.assert_close(getattr(seer.look(luma, chroma), name), want)
        first = next(iter(got._asdict()))
        assert not torch.allclose(getattr(seer.look(luma, chroma), first), getattr(got, first))


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, float("nan"), True, ".5"])
def test_what_is_no_share_is_refused(share: Any) -> None:
    with pytest.raises(ConfigError, match="infrared of the network yolox"):
        YOLOX(3, infrared=share)


def test_a_view_gives_infrared_at_the_size_of_the_picture() -> None:
    fused, visible, infrared = (torch.rand(2, 1, 64, 128) for _ in range(3))
    alone = torch.tensor([False, True]).view(-1, 1, 1, 1)
    infrared[1] = visible[1]  # as a pair of which one sensor is missing comes
    view = TaskView(infrared, visible, torch.zeros(2, *SIZE), None, SIZE, alone)
    seen = seen_by(pico(YOLOX, infrared=SHARE), shown(fused, view), view)
    assert len(seen) == 3
    luma, chroma, beside = seen
    assert chroma is None
    assert luma is not None
    assert beside is not None
    assert torch.equal(beside, shown(infrared, view))
    assert torch.equal(beside[1], luma[1])
    assert not torch.equal(beside[0], luma[0])
    assert len(seen_by(pico(YOLOX), luma, view)) == 1


def seeing(picture: str, network: str, classes: tuple[str, ...]) -> Recipe:
    """A training of T that sees infrared beside the pictures."""
    options = {"size": "pico", "norm": False, "infrared": SHARE}
    return recipe(
        strategy="task",
        strategy_options={"picture": picture},
        task=Task(network=network, classes=classes, height=32, width=64, network_options=options),
        data=sources(MASKS),
        augmentation=Augmentation(crop=32, flip=False),
        optimiser=Optimiser(steps=2, batch=2, learning_rate=0.01),
    )


def pair() -> LabelledPair:
    random = np.random.default_rng(1)
    infrared, visible = (random.integers(0, 256, (64, 128), np.uint8) for _ in range(2))
    boxes = Boxes(np.array([[10, 10, 60, 50]], np.float32), np.array([0], np.int64))
    return LabelledPair("a", infrared, visible, boxes)


@pytest.mark.parametrize(("picture", "keeps"), [("mean", True), ("infrared", False), ("visible", False)])
def test_a_picture_of_both_keeps_infrared_beside_it_and_one_of_a_sensor_does_not(
    picture: str, keeps: bool
) -> None:
    one = pair()
    strategy = TaskOnly(seeing(picture, "yolox", ("car",)))
    (seen,) = strategy.prepare([one])
    want = {"mean": (one.infrared.astype(float) + one.visible) / 2, "infrared": one.infrared}
    assert np.abs(seen.visible - want.get(picture, one.visible)).max() <= 0.5
    assert strategy.picture(seen) is seen.visible
    assert np.array_equal(seen.infrared, one.infrared if keeps else seen.visible)


def test_validation_sees_infrared_beside_the_picture() -> None:
    network, one = pico(YOLOX, infrared=0.9), pair()
    task = Task(network="yolox", classes=("a", "b", "c"), height=32, width=64)
    boxes = [
        detect(network, one.visible, one._replace(infrared=infrared), task, 0.0).scores
        for infrared in (one.infrared, one.visible)
    ]
    plain = detect(pico(YOLOX), one.visible, one, task, 0.0)
    assert not np.allclose(boxes[0], boxes[1])
    np.testing.assert_allclose(boxes[1], plain.scores, rtol=1e-4)


def test_a_training_on_pictures_of_both_learns(made: Path, tmp_path: Path) -> None:
    """Through the loop's own parts, on the pairs of the street."""
    training = setup(seeing("mean", "yolox_masks", CLASSES), made, tmp_path / "nothing")
    seen: list[Any] = []
    training.strategy.networks["task"].register_forward_pre_hook(lambda module, args: seen.append(args))
    losses = training.strategy.step(0, training.feed)
    luma, chroma, infrared = seen[0]
    assert chroma is None
    assert infrared.shape == luma.shape == (2, 1, 32, 64)
    assert not torch.equal(luma, infrared)
    assert all(np.isfinite(value) for value in losses.values())
