"""Batches follow from the seed and two counters, whatever process, pause or damage comes between."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tdfusion_edge.errors import ConfigError, RequestError, SourceError
from tdfusion_edge.pairs import Boxes, LabelledPair
from tdfusion_edge.pairs.lazy import LazyPairs
from tdfusion_edge.pairs.reader import load_pairs
from tdfusion_edge.train.data.augment import View
from tdfusion_edge.train.data.feed import Feed, Share
from tdfusion_edge.train.data.tensors import box_targets, collate
from tdfusion_edge.train.data.types import Batch, BoxTargets
from tdfusion_edge.train.recipe import Augmentation, DataSource, Task

TASK = Task(network="any", classes=("thing",), height=32, width=48)
PLAIN = Augmentation(crop=32, flip=False)
WILD = Augmentation(crop=32, gain=0.2, zoom=1.5, mosaic=0.5)


def sample(number: int, height: int = 40, width: int = 56) -> LabelledPair:
    """A pair whose level is its number: infrared 2 n, visible 2 n + 1; one box, of class 0."""
    level = np.full((height, width), 2 * number, np.uint8)
    boxes = Boxes(np.array([[4, 4, 30, 20]], np.float32), np.zeros(1, np.int64))
    return LabelledPair(str(number), level, level + np.uint8(1), boxes)


def numbers(batch: Batch) -> list[int]:
    """Which pairs a batch of unaltered levels is made of."""
    assert torch.equal(
        (batch.visible * 255).round()[:, 0, 0, 0], (batch.infrared * 255).round()[:, 0, 0, 0] + 1
    )
    return [round(float(level)) // 2 for level in batch.infrared[:, 0, 0, 0] * 255]


def flat(batch: Batch) -> list[torch.Tensor]:
    """Every tensor of a batch with boxes."""
    assert batch.task is not None
    assert isinstance(batch.task.targets, BoxTargets)
    return [batch.infrared, batch.visible, batch.task.infrared, batch.task.visible, *batch.task.targets]


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(*pair) for pair in zip(flat(first), flat(second), strict=True))


def textured(count: int) -> list[LabelledPair]:
    random = np.random.default_rng(0)
    made = random.integers(0, 256, (2, count, 40, 56), dtype=np.uint8)
    return [sample(n)._replace(infrared=made[0, n], visible=made[1, n]) for n in range(count)]


def test_a_pass_takes_each_pair_once_and_the_next_one_in_another_order() -> None:
    feed = Feed([sample(n) for n in range(12)], PLAIN, batch=3, seed=5)
    assert feed.batches_per_epoch == 4
    passes = [[n for _ in range(4) for n in numbers(feed.take()[0])] for _ in range(2)]
    assert [sorted(one) for one in passes] == [list(range(12))] * 2
    assert passes[0] != passes[1]
    assert (feed.epoch, feed.drawn) == (1, 4)


def test_a_pair_is_cropped_elsewhere_in_each_pass() -> None:
    feed = Feed(textured(1), PLAIN, batch=1, seed=0)
    crops = [feed.take()[0].infrared for _ in range(12)]
    assert feed.epoch == 11
    assert sum(torch.equal(first, second) for first, second in pairwise(crops)) < 3


def test_batches_taken_together_are_of_one_pass() -> None:
    feed = Feed([sample(n) for n in range(7)], PLAIN, batch=2, seed=0)
    assert feed.batches_per_epoch == 3
    passes = [[n for batch in feed.take(2) for n in numbers(batch)] for _ in range(3)]
    assert (feed.epoch, feed.drawn) == (2, 2)
    assert all(len(set(one)) == 4 for one in passes)


@given(st.integers(0, 100), st.integers(0, 12), st.booleans(), st.sampled_from([0, 3]))
@settings(max_examples=15)
def test_a_feed_that_is_resumed_goes_on_with_the_same_batches(
    seed: int, steps: int, twice: bool, held_out: int
) -> None:
    pairs, held, count = textured(7), textured(held_out), 1 + twice
    feed = Feed(pairs, WILD, batch=2, seed=seed, task=TASK, held_out=held)
    for _ in range(steps):
        feed.take(count)
    resumed = Feed(pairs, WILD, batch=2, seed=seed, task=TASK, held_out=held)
    resumed.epoch, resumed.drawn = feed.epoch, feed.drawn
    for _ in range(3):
        assert all(same(*pair) for pair in zip(feed.take(count), resumed.take(count), strict=True))


def test_pairs_held_out_are_in_the_second_of_two_batches_alone() -> None:
    feed = Feed([sample(n) for n in range(7)], PLAIN, 3, 0, held_out=[sample(n) for n in range(50, 54)])
    assert feed.batches_per_epoch == 2
    pairs = [feed.take(2) for _ in range(8)]
    assert (feed.epoch, feed.drawn) == (3, 2)
    own, held = ([n for pair in pairs for n in numbers(pair[place])] for place in (0, 1))
    assert (set(own), set(held)) == (set(range(7)), set(range(50, 54)))
    assert all(len(set(numbers(second))) == 3 for _, second in pairs)
    assert all(len({*own[at : at + 6]}) == 6 for at in range(0, 24, 6))  # each pass has each pair once
    assert {n for _ in range(20) for n in numbers(feed.take()[0])} == set(range(7))


def test_no_pair_held_out_comes_into_a_mosaic_of_the_others() -> None:
    always = Augmentation(crop=32, flip=False, mosaic=1.0)
    levels = [
        sample(n)._replace(visible=np.full((40, 56), level, np.uint8)) for n, level in enumerate((0, 255))
    ]
    feed = Feed(levels[:1], always, 1, 0, task=TASK, held_out=levels[1:])
    for _ in range(5):
        own, held = (batch.task for batch in feed.take(2))
        assert own is not None
        assert held is not None
        assert own.visible.max() == 0
        assert held.visible.min() == 1


def test_another_seed_gives_other_batches() -> None:
    first, second = (Feed(textured(6), WILD, batch=2, seed=seed, task=TASK).take()[0] for seed in (1, 2))
    assert not torch.equal(first.infrared, second.infrared)


@given(st.integers(0, 100), st.sampled_from([2, 3]))
@settings(max_examples=10)
def test_the_shares_of_several_processes_are_the_batch_of_one(seed: int, world: int) -> None:
    pairs = textured(12)
    alone = Feed(pairs, WILD, batch=6, seed=seed, task=TASK)
    shares = [Feed(pairs, WILD, 6, seed, task=TASK, share=Share(rank, world)) for rank in range(world)]
    for _ in range(3):
        whole = alone.take()[0]
        for rank, feed in enumerate(shares):
            part = feed.take()[0]
            assert torch.equal(part.infrared, whole.infrared[rank::world])
            assert part.task is not None
            assert whole.task is not None
            assert torch.equal(part.task.visible, whole.task.visible[rank::world])
            assert isinstance(part.task.targets, BoxTargets)
            assert isinstance(whole.task.targets, BoxTargets)
            mine = whole.task.targets.image % world == rank
            assert torch.equal(part.task.targets.corners, whole.task.targets.corners[mine])
            assert torch.equal(part.task.targets.image, whole.task.targets.image[mine] // world)


@given(st.integers(0, 1000), st.integers(4, 15), st.integers(1, 2))
@settings(max_examples=25)
def test_batches_taken_together_have_no_pair_in_common(seed: int, count: int, batch: int) -> None:
    feed = Feed([sample(n) for n in range(count)], PLAIN, batch, seed)
    for _ in range(8):
        first, second = feed.take(2)
        assert not set(numbers(first)) & set(numbers(second))


def test_a_damaged_pair_is_left_out_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[int] = []

    def read(index: int) -> LabelledPair:
        asked.append(index)
        if index in (4, 9):
            raise SourceError(f"{index}.png is cut short")
        return sample(index)

    feed = Feed(LazyPairs(20, read, cached=0), PLAIN, batch=4, seed=0)
    with caplog.at_level(logging.WARNING):
        seen = [n for _ in range(10) for n in numbers(feed.take()[0])]
    assert len(seen) == 40
    assert set(seen) == set(range(20)) - {4, 9}
    assert feed.damaged == {4, 9}
    assert sorted(record.getMessage() for record in caplog.records) == [
        f"left out: {n}.png is cut short" for n in (4, 9)
    ]
    assert [asked.count(n) for n in (4, 9)] == [1, 1]


def test_a_set_with_much_damage_ends_the_training() -> None:
    def read(index: int) -> LabelledPair:
        if index % 3 == 0:
            raise SourceError(f"{index}.png is cut short")
        return sample(index)

    feed = Feed(LazyPairs(20, read), PLAIN, batch=4, seed=0)
    with pytest.raises(SourceError, match="is cut short"):
        [feed.take() for _ in range(5)]


def test_a_damaged_file_of_a_lazy_set_is_left_out(tmp_path: Path) -> None:
    for part in ("ir", "vi"):
        (tmp_path / part).mkdir()
        for number in range(5):
            cv2.imwrite(str(tmp_path / part / f"{number}.png"), getattr(sample(number), SIDES[part]))
    (tmp_path / "vi" / "3.png").write_bytes(b"no picture")
    pairs = load_pairs(tmp_path, DataSource(folder=".", terms=""), memory=0)
    feed = Feed(pairs, PLAIN, batch=5, seed=0)
    assert set(numbers(feed.take()[0])) == {0, 1, 2, 4}
    assert feed.damaged == {3}


SIDES = {"ir": "infrared", "vi": "visible"}


def test_what_cannot_be_fed_is_refused() -> None:
    pairs: Sequence[LabelledPair] = [sample(n) for n in range(5)]
    with pytest.raises(RequestError, match="there is no pair to train on"):
        Feed([], PLAIN, 1, 0)
    with pytest.raises(RequestError, match="cannot be shared out: expected a multiple of 2, got 3"):
        Feed(pairs, PLAIN, 3, 0, share=Share(0, 2))
    with pytest.raises(ConfigError, match="5 pairs do not make 2 disjoint batches: expected 6 pairs or more"):
        Feed(pairs, PLAIN, 3, 0).take(2)
    with pytest.raises(RequestError, match="'4' is smaller than the crop: expected 64x64 or more, got 56x40"):
        Feed([sample(4)], Augmentation(crop=64), 1, 0).take()


def test_fewer_pairs_than_a_batch_are_repeated() -> None:
    assert sorted(numbers(Feed([sample(n) for n in range(2)], PLAIN, 5, 0).take()[0])) in (
        [0, 0, 0, 1, 1],
        [0, 0, 1, 1, 1],
    )


def test_the_task_sees_the_pair_of_the_crop() -> None:
    feed = Feed([sample(n) for n in range(6)], PLAIN, batch=3, seed=1, task=TASK)
    batch = feed.take()[0]
    assert batch.task is not None
    assert batch.task.infrared.shape == (3, 1, 32, 48)
    assert torch.equal(batch.task.infrared[:, 0, 16, 24], batch.infrared[:, 0, 0, 0])


def test_boxes_of_several_views_are_flat() -> None:
    empty = np.zeros((4, 6), np.float32)
    two = Boxes(np.array([[0, 0, 2, 2], [1, 1, 3, 3]], np.float32), np.array([1, 0]))
    views = [View(empty, empty, one, None) for one in (two, Boxes.none(), None, two)]
    targets = box_targets(views)
    assert targets.image.tolist() == [0, 0, 3, 3]
    assert targets.classes.tolist() == [1, 0, 1, 0]
    assert targets.corners.tolist() == two.corners.tolist() * 2
    assert (targets.image.dtype, targets.classes.dtype) == (torch.int64, torch.int64)
    nothing = box_targets(views[1:3])
    assert nothing.corners.shape == (0, 4)
    assert nothing.corners.dtype == torch.float32


def test_masks_are_the_targets_where_every_view_has_one() -> None:
    picture, mask = np.zeros((4, 6), np.float32), np.full((4, 6), 255, np.uint8)
    targets = collate([View(picture, picture, None, mask)] * 2).targets
    assert isinstance(targets, torch.Tensor)
    assert targets.dtype == torch.int64
    assert targets.tolist() == np.full((2, 4, 6), 255).tolist()
