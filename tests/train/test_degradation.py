"""One sensor of a pair degraded: what happens to it, what F is to make of it, and what T sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tiny import BOXES, CLASSES, MASKS, learned, recipe, sources, trained

from tdfusion_edge.errors import ConfigError, InputMissing
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.train.data.alignment import estimate_shift
from tdfusion_edge.train.data.degradation.kinds import (
    GONE,
    KINDS,
    NOISE,
    SENSORS,
    STRIPES,
    Kind,
    Sensor,
    degrade,
)
from tdfusion_edge.train.data.feed import Feed
from tdfusion_edge.train.data.tensors import shown
from tdfusion_edge.train.data.types import Batch
from tdfusion_edge.train.losses import fusion_loss
from tdfusion_edge.train.recipe import Augmentation, Loss, Optimiser, Recipe, Task
from tdfusion_edge.train.recipe_file import load_recipe
from tdfusion_edge.train.setup import setup

WILD = Augmentation(crop=32, gain=0.2, zoom=1.5, mosaic=0.5)
PLAIN = Augmentation(crop=32, flip=False)
OTHER: dict[Sensor, Sensor] = {"infrared": "visible", "visible": "infrared"}


def textured(number: int, height: int = 96, width: int = 128) -> LabelledPair:
    random = np.random.default_rng(number)
    colour = random.integers(40, 200, (height, width, 3), dtype=np.uint8)
    infrared, visible = random.integers(40, 200, (2, height, width), dtype=np.uint8)
    return LabelledPair(str(number), infrared, visible, colour=colour)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), st.sampled_from(SENSORS), st.floats(0, 1), st.integers(0, 99), st.booleans())
def test_one_sensor_alone_changes_and_by_the_generator_alone(
    kind: Kind, sensor: Sensor, strength: float, seed: int, coloured: bool
) -> None:
    pair = textured(1) if coloured else textured(1)._replace(colour=None)
    kept = [part.copy() for part in (pair.infrared, pair.visible)]
    first, again = (degrade(pair, kind, sensor, strength, generator(seed), textured(2)) for _ in range(2))
    other = OTHER[sensor]
    assert getattr(first, other) is getattr(pair, other)
    changed = getattr(first, sensor)
    assert np.array_equal(changed, getattr(again, sensor))
    assert (changed.dtype, changed.shape) == (np.uint8, pair.visible.shape)
    assert (first.colour is None) == (pair.colour is None or (sensor == "visible" and kind in GONE[:2]))
    assert all(map(np.array_equal, kept, (pair.infrared, pair.visible)))
    if strength == 0 and kind not in GONE and not (coloured and sensor == "visible"):
        assert np.array_equal(changed, getattr(pair, sensor))


def test_a_missing_sensor_gives_nothing_and_a_dead_one_a_level() -> None:
    pair = textured(1)
    assert not degrade(pair, "missing", "visible", 1, generator()).visible.any()
    dead = [degrade(pair, "dead", "infrared", 1, generator(seed)).infrared for seed in range(20)]
    assert all(one.min() == one.max() for one in dead)
    levels = {int(one[0, 0]) for one in dead}
    assert 0 in levels
    assert len(levels) > 5


def test_a_frozen_sensor_shows_the_other_moment_at_the_pairs_size() -> None:
    pair, small = textured(1), textured(2, 48, 64)
    assert np.array_equal(
        degrade(pair, "frozen", "infrared", 1, generator(), textured(2)).infrared, textured(2).infrared
    )
    assert degrade(pair, "frozen", "visible", 1, generator(), small).visible.shape == pair.visible.shape
    with pytest.raises(ValueError, match="another moment"):
        degrade(pair, "frozen", "visible", 1, generator())


def test_noise_has_the_deviation_it_says_and_stripes_in_infrared_alone() -> None:
    level = np.full((400, 400), 128, np.uint8)
    pair = LabelledPair("grey", level, level)
    for sensor, stripes in (("infrared", STRIPES), ("visible", 0)):
        noise = getattr(degrade(pair, "noise", sensor, 0.5, generator()), sensor).astype(float) - 128
        columns = noise.mean(axis=0).std()
        expected = np.hypot(stripes / 2, NOISE / 2 / np.sqrt(400))
        assert columns == pytest.approx(expected, rel=0.15)
        assert noise.std() == pytest.approx(np.hypot(NOISE, stripes) / 2, rel=0.05)


@pytest.mark.parametrize("strength", [0.25, 0.55, 1.0])
def test_a_shift_is_as_long_as_it_says(strength: float) -> None:
    import cv2

    # structure of several pixels, which the estimator (of `dataset check`) looks for
    image = cv2.GaussianBlur(textured(3, 240, 320).visible, (0, 0), 3).astype(float)
    image = np.clip((image - image.mean()) * 8 + 128, 0, 255).astype(np.uint8)
    pair = LabelledPair("scene", image, image)
    moved = degrade(pair, "shift", "infrared", strength, generator(4))
    found = estimate_shift(moved.infrared, moved.visible)
    assert found.trusted
    assert np.hypot(found.dx, found.dy) == pytest.approx(8 * strength, abs=0.6)


def test_a_strength_beyond_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        degrade(textured(1), "blur", "visible", 1.5, generator())


def feeds(made: Path, share: float, *kinds: Kind, base: Augmentation = WILD, **changes: Any) -> Feed:
    """The feed of a training with so many degraded pairs."""
    given = replace(base, degraded=share, **({"degradations": kinds} if kinds else {}))
    return setup(learned(augmentation=given, **changes), made, made / "nothing").feed


def test_without_degraded_pairs_nothing_is_kept_beside_the_batch(made: Path) -> None:
    batch = feeds(made, 0.0).take()[0]
    assert batch.reference is None
    assert batch.task is not None
    assert batch.task.alone is None
    assert batch.sources.infrared is batch.infrared


def test_pairs_that_are_not_degraded_stay_what_they_are_to_the_last_bit(made: Path) -> None:
    clean, some = feeds(made, 0.0), feeds(made, 0.4)
    untouched = 0
    for _ in range(12):
        was, now = clean.take()[0], some.take()[0]
        assert was.task is not None
        assert now.task is not None
        right = now.sources
        for one in range(2):
            if right.alone is None or not right.alone[one]:  # what the loss refers to never changes
                assert torch.equal(right.infrared[one], was.infrared[one])
                assert torch.equal(right.visible[one], was.visible[one])
            same = torch.equal(now.infrared[one], was.infrared[one])
            if same and torch.equal(now.visible[one], was.visible[one]):
                untouched += 1
                assert torch.equal(now.task.infrared[one], was.task.infrared[one])
                assert torch.equal(now.task.visible[one], was.task.visible[one])
    assert 6 <= untouched <= 22


@pytest.mark.parametrize("kind", KINDS)
def test_what_f_sees_is_degraded_and_what_it_is_to_make_of_it_is_not(made: Path, kind: Kind) -> None:
    whole = replace(PLAIN, crop=0)
    clean, worse = feeds(made, 0.0, base=whole), feeds(made, 1.0, kind, base=whole)
    count = 0
    for _ in range(4):
        was, now = clean.take()[0], worse.take()[0]
        right = now.reference
        assert right is not None
        assert (right.alone is not None) == (kind in GONE)
        for one in range(2):
            changed = [not torch.equal(a[one], b[one]) for a, b in zip(now[:2], was[:2], strict=True)]
            assert sum(changed) <= 1
            count += sum(changed)
            for sensor in range(2):
                expected = was[1 - changed.index(True)] if kind in GONE else was[sensor]
                assert torch.equal(right[sensor][one], expected[one])
    assert count >= 6  # a blur by a hundredth of a pixel changes nothing


def test_the_degraded_pair_is_cut_mirrored_and_gained_as_the_clean_one(made: Path) -> None:
    clean, worse = feeds(made, 0.0), feeds(made, 1.0, "missing")
    for _ in range(4):
        was, now = clean.take()[0], worse.take()[0]
        for one in range(2):
            assert [torch.equal(a[one], b[one]) for a, b in zip(now[:2], was[:2], strict=True)] in (
                [True, False],
                [False, True],
            )


def test_t_sees_the_remaining_sensor_alone_where_the_other_is_missing(made: Path) -> None:
    clean, missing = feeds(made, 0.0, base=PLAIN), feeds(made, 1.0, "missing", base=PLAIN)
    sides = set()
    for _ in range(6):
        was, now = clean.take()[0].task, missing.take()[0].task
        assert was is not None
        assert now is not None
        assert now.alone is not None
        assert now.alone.all()
        seen = shown(torch.zeros_like(now.visible), now)  # whatever F makes of it
        for one in range(2):
            is_visible = torch.equal(seen[one], was.visible[one])
            assert is_visible or torch.equal(seen[one], was.infrared[one])
            sides.add(is_visible)
    assert sides == {True, False}


def test_a_sensor_that_is_dead_is_fused_for_t_as_it_is_until_it_is_left_out(made: Path) -> None:
    now = feeds(made, 1.0, "dead", base=PLAIN).take()[0].task
    assert now is not None
    assert now.alone is None
    constant = [bool((side == side[0, 0, 0]).all()) for side in (*now.infrared, *now.visible)]
    assert sum(constant) == 2


def losses_by_hand(batch: Batch, fused: torch.Tensor, weight: Any, options: Loss) -> float:
    right = batch.sources
    return float(
        fusion_loss(fused, right.infrared, right.visible, weight, options, right.alone)["loss"].detach()
    )


@pytest.mark.parametrize("intensity", ["linear", "squared", "max", "additive"])
def test_the_loss_of_a_sensor_that_is_gone_is_zero_at_the_other_one(made: Path, intensity: Any) -> None:
    options = Loss(intensity=intensity)
    batch = feeds(made, 1.0, "dead", base=PLAIN).take()[0]
    right = batch.sources
    assert losses_by_hand(batch, right.visible, 0.7, options) == 0
    assert losses_by_hand(batch, right.visible * 0.9, 0.7, options) > 0.001


MAKERS: dict[str, Callable[[Augmentation], Recipe]] = {
    "fixed": lambda given: recipe(
        augmentation=given, optimiser=Optimiser(steps=4, batch=2), loss=Loss(intensity="additive")
    ),
    "joint": lambda given: learned(strategy="joint", augmentation=given, loss=Loss(intensity="additive")),
    "tdfusion": lambda given: learned(augmentation=given, loss=Loss(intensity="additive")),
}


@pytest.mark.parametrize("strategy", MAKERS)
def test_every_strategy_fuses_what_is_degraded_and_refers_to_what_is_right(made: Path, strategy: str) -> None:
    given = replace(PLAIN, degraded=1.0)
    settings = MAKERS[strategy](given)
    if strategy == "joint":
        settings = replace(settings, strategy_options={})
    training = setup(settings, made, made / "nothing")
    (batch,) = setup(settings, made, made / "nothing").feed.take()
    fusion = training.strategy.networks["fusion"]
    weight: Any = 0.5
    if strategy == "tdfusion":
        weight = training.strategy.networks["loss"].eval()(*batch.sources.pair).infrared
    fused = fusion(batch.infrared, batch.visible).fused
    expected = losses_by_hand(batch, fused, weight, settings.loss)
    # a step of the fusion phase, for those that have phases
    figures = training.strategy.step(2, training.feed)
    assert figures["loss"] == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(
        fusion_loss(fused, *batch[:2], weight, settings.loss)["loss"].item(), rel=1e-3
    )


def test_the_meta_step_fuses_what_is_degraded_and_refers_to_what_is_right(made: Path) -> None:
    settings = MAKERS["tdfusion"](replace(PLAIN, degraded=1.0))
    training = setup(settings, made, made / "nothing")
    batch, _ = setup(settings, made, made / "nothing").feed.take(2)
    networks = training.strategy.networks
    weight = networks["loss"](*batch.sources.pair).infrared
    expected = losses_by_hand(batch, networks["fusion"](*batch[:2]).fused, weight, settings.loss)
    assert training.strategy.step(0, training.feed)["meta inner"] == pytest.approx(expected, rel=1e-5)


def test_swapped_pairs_keep_what_is_right(made: Path) -> None:
    feed = feeds(
        made, 1.0, "missing", base=PLAIN, strategy_options={"loss_network": "tiny:TinyLoss", "switch": True}
    )
    from tdfusion_edge.train.strategies.tdfusion import switched

    batch = feed.take()[0]
    twice = switched(batch)
    assert batch.reference is not None
    assert twice.reference is not None
    assert torch.equal(
        twice.reference.infrared, torch.cat((batch.reference.infrared, batch.reference.visible))
    )
    assert twice.reference.alone is not None
    assert twice.reference.alone.shape == (4, 1, 1, 1)
    assert twice.task is not None
    assert twice.task.alone is not None
    assert twice.task.alone.shape == (4, 1, 1, 1)


def task_recipe(options: dict[str, Any], given: Augmentation, **changes: Any) -> Recipe:
    task = Task(network="tiny:TinyTask", classes=CLASSES, height=64, width=80)
    return recipe(
        strategy="task", strategy_options=options, task=task, data=sources(MASKS), augmentation=given,
        optimiser=Optimiser(steps=2, batch=2), **changes,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["missing", "dead"])
def test_a_task_network_alone_sees_f_s_picture_of_the_degraded_pair(
    made: Path, tmp_path: Path, kind: Kind
) -> None:
    fusion = trained(recipe(), made, tmp_path / "fusion", steps=2)
    given = replace(PLAIN, degraded=1.0, degradations=(kind,))
    training = setup(
        task_recipe({"picture": "fused", "checkpoint": str(fusion)}, given), made, tmp_path / "n"
    )
    whole = setup(recipe(), made, tmp_path / "n")
    raw = {sample.name: sample for sample in whole.feed._samples}
    network: Any = whole.strategy.networks["fusion"]
    from tdfusion_edge.train.fusing import fuse, load_weights

    load_weights(network, fusion, "fusion")
    network.eval()
    batch = training.feed.take()[0]
    assert batch.task is not None
    for luma in (batch.task.visible * 255).round().to(torch.uint8).numpy()[:, 0]:
        if kind == "missing":
            assert any(
                np.array_equal(luma, side) for one in raw.values() for side in (one.infrared, one.visible)
            )
            continue
        degraded = [
            one._replace(**{sensor: np.full_like(one.visible, level)})
            for one in raw.values() for sensor in SENSORS for level in range(256)
        ]  # fmt: skip
        # F's pictures of all pairs with any dead level; one of them is it
        assert any(np.array_equal(luma, fuse(network, one)) for one in degraded)


def test_a_missing_visible_sensor_leaves_t_no_colours() -> None:
    from tdfusion_edge.train.data.degradation.kinds import alone

    pair = textured(1)
    assert alone(pair, "visible").colour is None
    assert alone(pair, "infrared").colour is pair.colour


def test_pictures_that_were_fused_elsewhere_cannot_be_degraded(made: Path) -> None:
    with pytest.raises(ConfigError, match="degraded"):
        setup(
            task_recipe({"picture": "folder", "folder": "x"}, replace(PLAIN, degraded=0.1)), made, made / "n"
        )


def test_labels_of_the_remaining_sensor_are_those_of_a_pair_whose_other_one_is_gone(
    made: Path, tmp_path: Path
) -> None:
    import shutil

    import cv2

    data = tmp_path / "data"
    shutil.copytree(made, data)
    for sensor, value in (("infrared", 0), ("visible", 1)):
        (data / "made" / sensor).mkdir()
        for number in range(8):
            cv2.imwrite(str(data / "made" / sensor / f"{number}.png"), np.full((64, 80), value, np.uint8))
    own = {f"labels_{sensor}": replace(MASKS, path=sensor) for sensor in SENSORS}
    parts = tuple(replace(one, **own) for one in sources(MASKS))

    def values(*kinds: Kind) -> set[tuple[int, ...]]:
        given = replace(PLAIN, degraded=1.0, degradations=kinds)
        feed = setup(learned(augmentation=given, data=parts), data, tmp_path / "n").feed
        batches = [feed.take()[0].task for _ in range(6)]
        return {tuple(one.unique().tolist()) for batch in batches if batch for one in batch.targets}

    for kind in GONE:
        assert values(kind) == {(0,), (1,)}
    assert values("noise", "shift") == {(0, 1)}
    (data / "made" / "visible" / "3.png").unlink()
    with pytest.raises(InputMissing, match=r"3\.png"):
        values("missing")


def test_labels_of_one_sensor_are_of_the_same_kind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="labels of one sensor"):
        replace(sources(MASKS)[0], labels_visible=BOXES)


@pytest.mark.parametrize("change", ["degraded=1.5", "degradations=[]", 'degradations=["rain"]'])
def test_a_recipe_that_asks_for_what_there_is_not_is_refused(change: str) -> None:
    with pytest.raises(ConfigError, match=r"augmentation"):
        load_recipe("edge_fixed", [f"augmentation.{change}"])
