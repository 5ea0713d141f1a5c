"""Strategy ``distill``: what a student is told, what it remembers, and what stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import save
from tiny import TEACHER, TinyFusion, TinyLoss, distilled, recipe, trained, write_teacher
from torch import Tensor

from tdfusion_edge import checkpoint
from tdfusion_edge.errors import ConfigError, InputMissing, RequestError
from tdfusion_edge.train.data.types import Batch, Sources
from tdfusion_edge.train.losses import fusion_loss, sobel
from tdfusion_edge.train.models.mini import Mini
from tdfusion_edge.train.recipe import Loss
from tdfusion_edge.train.setup import setup
from tdfusion_edge.train.similarity import gmsd, ssim
from tdfusion_edge.train.strategies.distill import memory, terms
from tdfusion_edge.train.strategies.distill.strategy import Distill

WEIGHTS = {
    "output_weight": 2.0,
    "structure_weight": 0.3,
    "feature_weight": 0.7,
    "fusion_weight": 1.5,
    "source_weight": 0.4,
    "memory_weight": 0.0,
}


class Once:
    """A feed that gives one batch, again and again."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def take(self, count: int = 1) -> tuple[Batch, ...]:
        return (self.batch,) * count


def begun(made: Path, **options: Any) -> tuple[Distill, Any]:
    """A strategy before its first step, and a feed with one batch of it."""
    training = setup(distilled(made / TEACHER, options), made, made / "nothing")
    assert isinstance(training.strategy, Distill)
    return training.strategy, Once(*training.feed.take())


def loss_by_hand(strategy: Distill, batch: Batch, options: Loss) -> Tensor:
    """The weighted sum of all terms but the memory's, from the networks' own outputs."""
    pair = batch.infrared, batch.visible
    student, teacher = strategy.student, strategy.teacher
    fused, taught = student(*pair).fused, teacher(*pair).fused
    gains, wanted = student.features(*pair).flatten(1), teacher.features(*pair).flatten(1)
    apart = gains / gains.norm(dim=1, keepdim=True) - wanted / wanted.norm(dim=1, keepdim=True)
    assert strategy.weigher is not None
    looks = fusion_loss(fused, *pair, strategy.weigher(*pair).infrared, options)["loss"]
    return (
        2.0 * (fused - taught).abs().mean()
        + 0.3 * (1 - ssim(fused, taught)).mean()
        + 0.7 * apart.square().sum(dim=1).mean() / 2
        + 1.5 * looks
        + 0.4 * (1 - (ssim(fused, batch.infrared) + ssim(fused, batch.visible)) / 2).mean()
    )


def test_the_student_is_given_the_gradient_of_all_terms(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy, feed = begun(made, **WEIGHTS)
    expected = loss_by_hand(strategy, feed.batch, Loss())
    wanted = torch.autograd.grad(expected, list(strategy.student.parameters()))
    given: dict[str, Tensor] = {}
    monkeypatch.setattr(strategy._stepper, "apply", given.update)
    figures = strategy.step(0, feed)
    assert figures["loss"] == pytest.approx(expected.item(), rel=1e-5)
    for found, one in zip(given.values(), wanted, strict=True):
        torch.testing.assert_close(found, one, rtol=1e-4, atol=1e-6)


def test_the_teachers_own_loss_network_weighs_the_fusion_loss(made: Path, tmp_path: Path) -> None:
    strategy, feed = begun(made)
    assert strategy.weigher is not None
    weight = strategy._weight(feed.batch)
    assert isinstance(weight, Tensor)
    assert torch.equal(weight, strategy.weigher(feed.batch.infrared, feed.batch.visible).infrared)
    assert weight.std() > 0.01
    alone = distilled(
        write_teacher(tmp_path / "t.safetensors", weigher=False), loss=Loss(weight_infrared=0.3)
    )
    assert Distill(alone)._weight(feed.batch) == 0.3


def test_where_a_sensor_is_degraded_the_teacher_sees_the_whole_pair(made: Path) -> None:
    """And where one is gone, which no teacher was trained for, the other one's picture is what is right."""
    strategy, feed = begun(made, memory_weight=0, feature_weight=1)
    whole = feed.batch
    noisy = torch.rand_like(whole.infrared)
    degraded = whole._replace(infrared=noisy, reference=whole.sources)
    figures = strategy.step(0, Once(degraded))  # type: ignore[arg-type]
    strategy, _ = begun(made, memory_weight=0, feature_weight=1)
    with torch.no_grad():
        fused = strategy.student(noisy, whole.visible).fused
        taught = strategy.teacher(whole.infrared, whole.visible).fused
    assert figures["output"] == pytest.approx((fused - taught).abs().mean().item(), rel=1e-5)
    gone = Sources(whole.visible, whole.visible, torch.tensor([True, True]).view(2, 1, 1, 1))
    black = torch.zeros_like(noisy)
    figures = strategy.step(0, Once(whole._replace(infrared=black, reference=gone)))  # type: ignore[arg-type]
    with torch.no_grad():
        fused = begun(made)[0].student(black, whole.visible).fused
    assert figures["output"] == pytest.approx((fused - whole.visible).abs().mean().item(), rel=1e-5)
    assert figures["feature"] == 0


def test_only_the_student_moves(made: Path) -> None:
    strategy, feed = begun(made, memory_weight=0)
    assert set(strategy.networks) == {"fusion", "teacher", "teacher_loss"}
    before = {
        role: [part.clone() for part in network.state_dict().values()]
        for role, network in strategy.networks.items()
    }
    for number in range(3):
        strategy.step(number, feed)
    for role, parts in before.items():
        now = strategy.networks[role].state_dict().values()
        moved = any(not torch.equal(*pair) for pair in zip(parts, now, strict=True))
        assert moved == (role == "fusion"), role


def test_a_student_becomes_like_its_teacher(made: Path) -> None:
    strategy, feed = begun(made, source_weight=0, fusion_weight=0, memory_weight=0)
    strategy.set_rate(4)
    figures = [strategy.step(number, feed) for number in range(80)]
    for term in ("output", "structure", "feature"):
        assert figures[-1][term] < figures[0][term] / 2, term


def test_the_student_alone_is_handed_on_with_the_terms_of_all_data(made: Path, tmp_path: Path) -> None:
    best = trained(distilled(made / TEACHER), made, tmp_path / "run", steps=1)
    header, weights = checkpoint.read(best)
    assert set(header.networks) == {"fusion"}
    assert {name.split(".")[0] for name in weights} == {"fusion"}
    assert {row.terms for row in header.training_data} == {"made up", "public domain"}


def picture(seed: int, count: int = 3) -> Tensor:
    return torch.rand(count, 1, 24, 24, generator=torch.Generator().manual_seed(seed))


def test_the_score_is_ssim_less_gmsd_with_both_sources() -> None:
    fused, infrared, visible = (picture(seed) for seed in range(3))
    expected = ssim(fused, infrared) + ssim(fused, visible) - gmsd(fused, infrared) - gmsd(fused, visible)
    torch.testing.assert_close(memory.score(fused, infrared, visible), expected)


def test_only_the_samples_that_lost_pay_and_by_as_much_as_they_lost() -> None:
    now, before = picture(0).requires_grad_(), picture(1)
    gap = torch.tensor([0.2, -0.5, 0.0])
    term = memory.memory_term(now, before, gap)
    first = now[:1], before[:1]
    edges = [(a - b).abs() for a, b in zip(*(sobel(one) for one in first), strict=True)]
    apart = (first[0] - first[1]).abs().mean() + sum(one.mean() for one in edges) / 4
    torch.testing.assert_close(term, 0.2 * apart / 3)
    (gradient,) = torch.autograd.grad(term, now)
    assert [bool(one.any()) for one in gradient] == [True, False, False]


def test_the_memory_is_the_best_student_so_far(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It becomes the student that was measured, before its step, where most of the samples gained."""
    strategy, feed = begun(made)
    assert strategy.memory is not None

    def weights(network: torch.nn.Module) -> list[Tensor]:
        return [part.detach().clone() for part in network.parameters()]

    beginning = weights(strategy.memory)
    strategy.step(0, feed)  # both are the same yet, so nobody gained
    assert all(map(torch.equal, weights(strategy.memory), beginning))
    for gains, refreshed in (([1.0, -1.0], False), ([1.0, 1.0], True)):
        remembered, student = weights(strategy.memory), weights(strategy.student)
        scores = iter((torch.tensor(gains), torch.zeros(2)))
        with monkeypatch.context() as patch:
            patch.setattr(memory, "score", lambda *_, scores=scores: next(scores))
            assert strategy.step(1, feed)["refreshed"] == refreshed
        assert all(map(torch.equal, weights(strategy.memory), student if refreshed else remembered))


def test_a_student_that_got_worse_is_drawn_back(made: Path) -> None:
    strategy, feed = begun(made)
    with torch.no_grad():
        strategy.student.get_parameter("head.bias").fill_(-5.0)  # nearly black
    figures = strategy.step(0, feed)
    assert figures["memory"] > 0.05
    assert figures["refreshed"] == 0


def test_gains_are_compared_one_by_one_and_activations_in_sum() -> None:
    features = picture(0, 4).reshape(2, 2, 24, 24)
    swapped = features.flip(1)
    assert terms.feature_term(features, 3 * features, "gains") < 1e-9
    assert terms.feature_term(features, swapped, "gains") > 0.05
    assert terms.feature_term(features, swapped, "activations") < 1e-9
    assert terms.feature_term(features, features.sum(1, keepdim=True), "activations") < 1e-9
    # Orthogonal maps of length 1 are a squared distance of 2 apart.
    one, other = torch.zeros(2, 1, 1, 2, 2)
    one[..., 0, 0], other[..., 1, 1] = 5.0, 0.1
    assert terms.feature_term(one, other, "gains").item() == pytest.approx(1.0)


def test_features_of_networks_that_dead_units_silence_have_a_gradient() -> None:
    silent = torch.zeros(1, 4, 5, 5, requires_grad=True)
    term = terms.feature_term(silent, picture(0, 1)[..., :5, :5].expand(1, 4, 5, 5), "activations")
    (gradient,) = torch.autograd.grad(term, silent)
    assert torch.isfinite(gradient).all()


def of_teacher(teacher: Path, changes: dict[str, Any], **options: Any) -> Distill:
    return Distill(distilled(teacher, options, **changes))


def test_features_that_cannot_be_compared_are_refused(made: Path, tmp_path: Path) -> None:
    mini = {"network": "mini", "network_options": {}}
    with pytest.raises(
        ConfigError, match=r"no features in common(?s:.*)activations \(Mini\) and gains \(Edge\)"
    ):
        of_teacher(made / TEACHER, mini)
    plain = {"network": "tiny:TinyFusion", "network_options": {}}
    with pytest.raises(ConfigError, match=r"none \(TinyFusion\)(?s:.*)feature_weight to 0"):
        of_teacher(made / TEACHER, plain)
    for student in (mini, plain):
        assert of_teacher(made / TEACHER, student, feature_weight=0)
    taught = save(tmp_path / "mini.safetensors", {"fusion": (Mini(), "mini", {})})
    strategy = of_teacher(taught, mini)
    pair = picture(0, 1).repeat(1, 1, 2, 2), picture(1, 1).repeat(1, 1, 2, 2)
    strategy.student.load_state_dict(strategy.teacher.state_dict())
    assert strategy.step(0, Once(Batch(*pair)))["feature"] < 1e-9  # type: ignore[arg-type]


def test_a_recipe_that_cannot_teach_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"names no teacher(?s:.*)--set strategy_options.teacher="):
        Distill(recipe(strategy="distill"))
    with pytest.raises(ConfigError, match="every weight"):
        of_teacher(made / TEACHER, {}, **dict.fromkeys(WEIGHTS, 0))
    with pytest.raises(ConfigError, match="output_weight"):
        of_teacher(made / TEACHER, {}, output_weight=-1)
    with pytest.raises(InputMissing, match="no checkpoint"):
        of_teacher(tmp_path / "none.safetensors", {})
    loss = save(tmp_path / "g.safetensors", {"loss": (TinyLoss(), "tiny:TinyLoss", {})})
    with pytest.raises(RequestError, match="holds no fusion network"):
        of_teacher(loss, {})
    users = save(tmp_path / "f.safetensors", {"fusion": (TinyFusion(), "tiny:TinyFusion", {})})
    with pytest.raises(RequestError, match="names the network 'tiny:TinyFusion'"):
        of_teacher(users, {})
    both = {"fusion": (Mini(), "mini", {}), "loss": (TinyLoss(), "tiny:TinyLoss", {})}
    users = save(tmp_path / "fg.safetensors", both)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="names the network 'tiny:TinyLoss'"):
        of_teacher(users, {}, feature_weight=0)
    assert of_teacher(users, {}, feature_weight=0, fusion_weight=0).weigher is None
