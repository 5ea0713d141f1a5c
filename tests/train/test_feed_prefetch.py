"""Batches that are prefetched in a thread are the ones that would have been made without it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_feed import PLAIN, TASK, WILD, same, sample, textured
from tiny import MASKS, learned, sources, trained

from tdfusion_edge.errors import SourceError
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.pairs.lazy import LazyPairs
from tdfusion_edge.train.data.feed import Feed

LONG = 60.0
"""Seconds after which something that should have happened has not."""


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("feed")]


def feed_of(
    pairs: Sequence[LabelledPair], held_out: Sequence[LabelledPair] = (), device: str = "cpu"
) -> Feed:
    return Feed(pairs, WILD, batch=2, seed=3, task=TASK, held_out=held_out, device=device)


def broken(*damaged: int) -> LazyPairs:
    """Twenty pairs, some of which cannot be read."""
    pairs = textured(20)

    def read(index: int) -> LabelledPair:
        if index in damaged:
            raise SourceError(f"{index}.png is cut short")
        return pairs[index]

    return LazyPairs(20, read, cached=0)


@given(st.lists(st.sampled_from(["one", "two", "epoch"]), max_size=12), st.booleans(), st.booleans())
@settings(max_examples=25, deadline=None)
def test_the_batches_the_counters_and_the_damage_are_the_same(
    calls: list[str], held_out: bool, resumed: bool
) -> None:
    pairs, held = broken(4, 9), textured(3) if held_out else []
    plain, prefetched = feed_of(pairs, held), feed_of(pairs, held)
    if resumed:
        for feed in (plain, prefetched):
            feed.epoch, feed.drawn = 2, 3
            feed.damaged |= {4}
    with prefetched.prefetching(True):
        for call in calls:
            if call == "epoch":
                plain.begin_epoch()
                prefetched.begin_epoch()
            else:
                taken = [feed.take(1 + (call == "two")) for feed in (plain, prefetched)]
                assert all(same(*both) for both in zip(*taken, strict=True))
            assert (plain.epoch, plain.drawn) == (prefetched.epoch, prefetched.drawn)
            assert plain.damaged == prefetched.damaged  # none that is of a batch which was not taken
    assert not threads()


def test_the_next_batch_is_made_while_the_last_one_is_used() -> None:
    readers: list[str] = []
    second = threading.Event()

    def read(index: int) -> LabelledPair:
        readers.append(threading.current_thread().name)
        if len(readers) == 2:
            second.set()
        return sample(index)

    feed = Feed(LazyPairs(6, read, cached=0), PLAIN, batch=1, seed=0)
    with feed.prefetching(True):
        feed.take()
        assert second.wait(LONG)
        feed.take()
    assert readers[0] == threading.current_thread().name
    assert readers[1].startswith("feed")


def test_a_cpu_has_no_thread_unless_it_is_asked_for() -> None:
    feed = feed_of(textured(4))
    with feed.prefetching():
        feed.take()
        assert not threads()
    feed.take()
    assert not threads()


@pytest.mark.parametrize("error", [SourceError("3.png is cut short"), ZeroDivisionError("in a reader")])
def test_an_error_of_the_thread_is_raised_where_its_batch_is_taken(error: Exception) -> None:
    healthy = threading.Event()
    healthy.set()

    def read(index: int) -> LabelledPair:
        if healthy.is_set():
            return sample(index)
        raise error

    feed = Feed(LazyPairs(20, read, cached=0), PLAIN, batch=4, seed=0)

    def take_some() -> None:
        with feed.prefetching(True):
            feed.take()
            healthy.clear()
            for _ in range(3):  # the batch behind the first may have been made before
                feed.take()

    with pytest.raises(type(error), match=str(error)):
        take_some()
    assert not threads()
    assert (feed.epoch, feed.drawn) in [(0, 1), (0, 2)]


def test_who_stops_early_waits_for_no_batch_but_the_one_in_the_making() -> None:
    begun, go_on = threading.Event(), threading.Event()
    main = threading.current_thread()

    def read(index: int) -> LabelledPair:
        if threading.current_thread() is not main:
            begun.set()
            assert go_on.wait(LONG)
        return sample(index)

    feed = Feed(LazyPairs(8, read, cached=0), PLAIN, batch=2, seed=0)

    def stop_early() -> None:
        with feed.prefetching(True):
            feed.take()
            assert begun.wait(LONG)
            go_on.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_early()
    assert not threads()


def test_batches_are_given_on_the_feeds_device() -> None:
    batch = feed_of(textured(4), device="meta").take()[0]
    assert batch.task is not None
    assert not isinstance(batch.task.targets, torch.Tensor)
    parts = (batch.infrared, batch.visible, batch.task.infrared, batch.task.visible, *batch.task.targets)
    assert {part.device.type for part in parts} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_batches_on_a_gpu_are_those_on_a_cpu() -> None:
    plain, prefetched = feed_of(textured(7)), feed_of(textured(7), device="cuda")
    with prefetched.prefetching():
        for count in (1, 1, 2, 2, 1):
            moved = [batch.map(torch.Tensor.cpu) for batch in prefetched.take(count)]
            assert all(same(*both) for both in zip(plain.take(count), moved, strict=True))


def test_a_training_with_a_thread_is_the_same(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = learned(data=sources(MASKS))
    plain = trained(recipe, made, tmp_path / "plain")
    prefetching: Callable[..., object] = Feed.prefetching
    monkeypatch.setattr(Feed, "prefetching", lambda self: prefetching(self, True))
    prefetched = trained(recipe, made, tmp_path / "prefetched")
    for name in ("last.safetensors", "state.safetensors"):
        assert (plain.parent / name).read_bytes() == (prefetched.parent / name).read_bytes()
    assert not threads()
