"""Strategy ``bdlfusion``: its step against a second implementation, which can have the released faults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import bdl_by_hand as by_hand
import numpy as np
import pytest
import torch
from msgspec.structs import replace
from step_by_hand import Weights
from test_strategy_tdfusion import SIDE, waves
from test_strategy_tdfusion import batch as pair_batch
from tiny import BOXES, CLASSES, bilevel, sources, trained
from torch import Tensor

from tdfusion_edge.errors import ConfigError
from tdfusion_edge.train.data.types import Batch
from tdfusion_edge.train.meta import gradients, trainable
from tdfusion_edge.train.recipe import Augmentation, Loss, Optimiser, Task
from tdfusion_edge.train.setup import setup
from tdfusion_edge.train.strategies.bdlfusion.hyper_gradient import hyper_gradient
from tdfusion_edge.train.strategies.bdlfusion.strategy import BDLFusionStrategy

RATE = 0.05
WEIGHT = 10.0
"""Of the discriminator in these tests: as large as to show beside the rest."""
ROLES = ("fusion", "discriminator", "task")
CONVEX = Loss(intensity="linear", alpha=0.0)


def batch(phase: float, dtype: torch.dtype = torch.float64) -> Batch:
    return pair_batch(phase, dtype=dtype)._replace(saliency=waves(2, phase + 4, dtype))


def strategy(options: Mapping[str, Any] = {}, **changes: Any) -> BDLFusionStrategy:
    """Networks with weights by a formula, in float64, gradient descent."""
    options = {
        "optimiser": "sgd",
        "upper_every": 1,
        "aggregation": "random",
        "limit": 1e6,
        "discriminator_weight": WEIGHT,
        **options,
    }
    changes = {"loss": CONVEX, "optimiser": Optimiser(steps=4, batch=2, learning_rate=RATE), **changes}
    made = BDLFusionStrategy(bilevel(options, **changes))
    made.set_rate(1.0)
    with torch.no_grad():
        for role, network in enumerate(made.networks.values()):
            network.double()
            for index, part in enumerate(network.parameters()):
                n = torch.arange(part.numel(), dtype=torch.float64)
                part.copy_((0.4 * torch.sin(1.3 * n + index + 10 * role)).reshape(part.shape))
    return made


class Given:
    """A feed that gives these batches."""

    def __init__(self, *batches: Batch) -> None:
        self.batches, self.asked = batches, list[int]()

    def take(self, count: int = 1) -> tuple[Batch, ...]:
        self.asked.append(count)
        return self.batches[:count]


def weights(made: BDLFusionStrategy) -> list[Weights]:
    """Copies of all weights by role."""
    return [
        [part.detach().clone().requires_grad_() for part in made.networks[role].parameters()]
        for role in ROLES
    ]


def pictures(one: Batch) -> by_hand.Pictures:
    assert one.task is not None
    view = one.task.infrared, one.task.visible
    return by_hand.Pictures(
        (one.infrared, one.visible), cast(Tensor, one.saliency), view, cast(Tensor, one.task.targets)
    )


def reference(made: BDLFusionStrategy, faults: by_hand.Faults) -> tuple[Weights, Weights, Weights]:
    """F, D and T after step 3 by hand."""
    normal = np.random.default_rng(np.random.SeedSequence((0, 3))).standard_normal(2)
    first, second = np.exp(normal) / np.exp(normal).sum()
    given = cast(tuple[Weights, Weights, Weights], tuple(weights(made)))
    both = pictures(batch(0.3)), pictures(batch(2.1))
    return by_hand.step(given, *both, (float(first), float(second)), RATE, weight=WEIGHT, faults=faults)


def test_a_step_is_that_of_a_second_implementation() -> None:
    made = strategy()
    expected = reference(made, by_hand.Faults())
    figures = made.step(3, cast(Any, Given(batch(0.3), batch(2.1))))
    for role, parts in zip(ROLES, expected, strict=True):
        for part, wanted in zip(made.networks[role].parameters(), parts, strict=True):
            torch.testing.assert_close(part.detach(), wanted.detach(), rtol=0, atol=1e-12, msg=role)
    # No coefficient was cut, and none is nothing: what is compared has all its terms.
    assert all(0.01 < abs(figures[f"coefficient {name}"]) < 1e6 for name in ("vision", "semantics"))


@pytest.mark.parametrize("fault", by_hand.Faults._fields)
def test_every_fault_of_the_released_code_would_show(fault: str) -> None:
    """The test above fails with any of them planted: the step would be another one."""
    made = strategy()
    before = weights(made)[0]
    right = reference(made, by_hand.Faults())[0]
    wrong = reference(made, by_hand.Faults(**{fault: True}))[0]
    length, error = (
        sum((x - y).square().sum().item() for x, y in zip(one, other, strict=True)) ** 0.5
        for one, other in ((right, before), (right, wrong))
    )
    assert error > 0.05 * length


def test_what_another_step_left_in_the_gradients_does_not_enter() -> None:
    clean, left = strategy(), strategy()
    for network in left.networks.values():
        for part in network.parameters():
            part.grad = torch.full_like(part, 7.0)
    found = [made.hyper_gradients(batch(0.3), batch(2.1)) for made in (clean, left)]
    for one, other in zip(*found, strict=True):
        assert all(torch.equal(part, other.gradient[name]) for name, part in one.gradient.items())


def test_the_two_gradients_are_two() -> None:
    made = strategy()
    vision, semantics = made.hyper_gradients(batch(0.3), batch(2.1))
    alone = hyper_gradient(made.vision(batch(0.3), batch(2.1)), trainable(made.fusion), limit=1e6)
    for name, part in vision.gradient.items():
        assert part.data_ptr() != semantics.gradient[name].data_ptr()
        assert torch.equal(part, alone.gradient[name])


@pytest.mark.parametrize("adversarial", ["wasserstein", "hinge"])
def test_the_discriminator_draws_the_fused_picture_towards_the_target(adversarial: str) -> None:
    """The sign: what D adds to F's gradient raises D's score of the fused picture, when F steps down it."""
    pair = batch(0.3), batch(2.1)
    found = [
        strategy({"discriminator_weight": weight, "implicit": 0.0, "adversarial": adversarial})
        for weight in (0.5, 0.0)
    ]
    with_it, without = (made.hyper_gradients(*pair)[0].gradient for made in found)
    added = {name: part - without[name] for name, part in with_it.items()}
    made = found[0]
    fused = made.fusion(pair[1].infrared, pair[1].visible).fused
    assert made.discriminator is not None
    rises = gradients(made.discriminator(fused).mean(), trainable(made.fusion))
    assert sum((-added[name] * part).sum() for name, part in rises.items()) > 0
    for name, part in rises.items():
        torch.testing.assert_close(added[name], -0.5 * part, rtol=1e-8, atol=1e-12)


def everything(made: BDLFusionStrategy, role: str) -> list[Tensor]:
    return [part.clone() for part in made.networks[role].state_dict().values()]


def test_f_moves_in_its_own_steps_alone_and_d_and_t_in_every() -> None:
    made = strategy({"upper_every": 3})
    feed = Given(batch(0.3), batch(2.1))
    moved = []
    for number in range(6):
        before = {role: everything(made, role) for role in ROLES}
        made.step(number, cast(Any, feed))
        moved.append([not all(map(torch.equal, before[role], everything(made, role))) for role in ROLES])
    assert moved == [[number % 3 == 2, True, True] for number in range(6)]
    assert feed.asked == [1, 1, 2] * 2
    assert all(part.grad is None for network in made.networks.values() for part in network.parameters())


def test_before_its_first_step_f_warms_up_on_the_target() -> None:
    made = strategy({"warm_up": 2, "upper_every": 2})
    feed = Given(batch(0.3), batch(2.1))
    figures = [made.step(number, cast(Any, feed)) for number in range(4)]
    assert ["structure" in one for one in figures] == [True, True, False, False]
    assert ["upper vision" in one for one in figures] == [False, False, False, True]
    assert figures[1]["loss"] < figures[0]["loss"]


def test_an_upper_step_leaves_d_and_t_and_their_modes() -> None:
    made = strategy({"discriminator": "pixel"})
    made.task.train()
    before = [everything(made, role) for role in ("discriminator", "task")]
    made.upper_step(batch(0.3), batch(2.1), 0)
    after = [everything(made, role) for role in ("discriminator", "task")]
    assert all(
        torch.equal(*pair) for role in zip(before, after, strict=True) for pair in zip(*role, strict=True)
    )
    assert all(network.training for network in made.networks.values())


def test_the_ablations_leave_out_what_they_say() -> None:
    pair = batch(0.3), batch(2.1)
    whole, direct = strategy(), strategy({"implicit": 0.0})
    vision, semantics = direct.hyper_gradients(*pair)
    assert vision.coefficient == semantics.coefficient == 0
    assert any(
        not torch.equal(part, vision.gradient[name])
        for name, part in whole.hyper_gradients(*pair)[0].gradient.items()
    )
    none = strategy({"discriminator": "none"})
    assert "discriminator" not in none.networks
    assert "discriminator loss" not in none.step(0, cast(Any, Given(*pair)))


def told_apart(lipschitz: str) -> tuple[float, BDLFusionStrategy]:
    """What D says of grey pictures against white targets after 80 steps of it alone."""
    torch.manual_seed(0)
    options = {"discriminator": "patch", "lipschitz": lipschitz, "discriminator_rate": 5e-3}
    made = BDLFusionStrategy(bilevel(options, loss=Loss(intensity="additive", towards_visible=(0, 2))))
    for _ in range(80):
        found = made.discriminator_step(grey_and_white())
    return -found["discriminator loss"], made


def grey_and_white() -> Batch:
    """Black infrared and grey visible, twice which is the target: white."""
    white = torch.ones(2, 1, SIDE, SIDE)
    return Batch(0 * white, 0.5 * white, saliency=0 * white)


def test_with_the_penalty_the_discriminator_measures_the_distance_in_grey_levels() -> None:
    apart, made = told_apart("penalty")
    with torch.no_grad():
        fused = made.fusion(*grey_and_white()[:2]).fused
    assert apart == pytest.approx((1 - fused).square().mean().sqrt().item(), rel=0.05)


def test_without_a_guard_the_discriminator_has_no_bounds_and_clipping_gives_it_some() -> None:
    unguarded, (clipped, made) = told_apart("none")[0], told_apart("clip")
    assert unguarded > 100
    assert 0 < clipped < 0.01 * unguarded
    assert made.discriminator is not None
    assert max(part.abs().max().item() for part in made.discriminator.parameters()) == pytest.approx(0.05)


def test_it_trains_from_recipe_to_checkpoint_on_boxes_too(made: Path, tmp_path: Path) -> None:
    task = Task(network="yolo", network_options={"size": "p"}, classes=CLASSES[1:], height=32, width=32)
    recipe = bilevel({"discriminator": "patch", "lipschitz": "penalty"}, task=task, data=sources(BOXES))
    best = trained(replace(recipe, validate_every=8), made, tmp_path / "run")
    assert best.is_file()


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        ({}, {"loss": Loss(intensity="max")}, "linear or additive"),
        ({"discriminator": "pixel", "lipschitz": "penalty"}, {}, "batch norm"),
        ({"discriminator": "pixl"}, {}, r"unknown discriminator(?s:.*)'pixel'"),
        ({"aggregation": "mdga"}, {}, "aggregation"),
        ({"upper_evry": 2}, {}, "'upper_every'"),
    ],
)
def test_what_it_cannot_do_is_refused(options: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BDLFusionStrategy(bilevel(options, **changes))
    with pytest.raises(ConfigError, match="bdlfusion trains for one"):
        BDLFusionStrategy(replace(bilevel(), task=None))


def test_of_a_degraded_pair_the_target_is_the_clean_ones(made: Path, tmp_path: Path) -> None:
    batches = []
    for degraded in (0.0, 1.0):
        bad = Augmentation(crop=32, degraded=degraded, degradations=("noise",))
        training = setup(bilevel(augmentation=bad), made, tmp_path / str(degraded))
        batches.append(training.feed.take(2))
        strategy = training.strategy
    assert isinstance(strategy, BDLFusionStrategy)
    for clean, bad in zip(*batches, strict=True):
        assert not (torch.equal(clean.infrared, bad.infrared) and torch.equal(clean.visible, bad.visible))
        assert torch.equal(strategy._target(clean), strategy._target(bad))
    assert np.isfinite(strategy.step(1, training.feed)["upper vision"])


def test_saliency_of_files_reaches_the_crops(made: Path, tmp_path: Path) -> None:
    import cv2

    for stem in range(8):
        cv2.imwrite(str(tmp_path / f"{stem}.png"), np.full((64, 80), 10 * stem, np.uint8))
    recipe = bilevel({"saliency_folder": str(tmp_path)})
    training = setup(recipe, made, tmp_path / "run")
    (one,) = training.feed.take()
    assert one.saliency is not None
    assert set((one.saliency.amax((1, 2, 3)) * 255).round().int().tolist()) <= set(range(0, 80, 10))
    assert torch.equal(one.saliency.amax((1, 2, 3)), one.saliency.amin((1, 2, 3)))
