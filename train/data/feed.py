"""Batches without hidden state: which they are follows from the seed and two counters.

So a training that is resumed goes on with the batches that it would have had, several processes cut the same
batch into shares without speaking to each other, and a batch can be made before it is asked for.
"""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from msgspec.structs import replace
from torch import Tensor

from tdfusion_edge.errors import ConfigError, RequestError, SourceError
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.pairs.lazy import joined
from tdfusion_edge.train.data.augment import F32, View, crop, require_crop, view
from tdfusion_edge.train.data.degradation.chance import Degraded, Degrader
from tdfusion_edge.train.data.readable import Readable
from tdfusion_edge.train.data.tensors import collate, flags
from tdfusion_edge.train.data.types import Batch, Sources
from tdfusion_edge.train.recipe import Augmentation, Task

logger = logging.getLogger(__name__)

Indices: TypeAlias = npt.NDArray[np.int64]
Crops: TypeAlias = tuple[F32, ...]
"""Of infrared, visible and, where the pair has it, saliency, (c, c) in [0, 1]."""

HELD_OUT = 1 << 31
"""Tells the chance of the pairs held out from that of the others, whose third number counts pairs."""
DEGRADED = 1 << 30
"""Tells the chance of what happens to one sensor from that of the rest, which stays what it is without."""


class Share(NamedTuple):
    """Which part of every batch this process gets."""

    rank: int = 0
    world: int = 1


class Place(NamedTuple):
    """Where in the passes batches are drawn, from which everything about them follows."""

    epoch: int
    """Passes over the pairs that have begun before this one."""
    drawn: int
    """Batches drawn of this pass."""
    batches: int
    """How many are drawn together, from there."""


class Prefetched(NamedTuple):
    """Batches that are made before they are asked for."""

    place: Place
    pairs: Readable
    batches: Future[tuple[Batch, ...]]


class Feed:
    """Endless random batches of labelled pairs.

    Args:
        samples: Pairs; a lazy sequence may raise :class:`SourceError` for one that is damaged, which is
            then counted in ``damaged`` and replaced.
        augmentation: What chance may change.
        batch: Pairs a batch, over all processes.
        seed: Two feeds of one seed give the same batches.
        task: What the task network sees; None leaves ``Batch.task`` out.
        share: This process's part of each batch.
        held_out: Pairs for the second of two batches alone (meta-test); none: it has pairs like the first.
        device: Where the batches are given.
        degrader: Degrades one sensor of some pairs, by their indices in ``samples`` and behind these
            ``held_out``; None: of none.

    Raises:
        RequestError: there is no pair, one is smaller than the crop, or the batch cannot be shared out.
    """

    def __init__(
        self,
        samples: Sequence[LabelledPair],
        augmentation: Augmentation,
        batch: int,
        seed: int,
        *,
        task: Task | None = None,
        share: Share = Share(),  # noqa: B008 (immutable)
        held_out: Sequence[LabelledPair] = (),
        device: str | torch.device = "cpu",
        degrader: Degrader | None = None,
    ) -> None:
        if not samples:
            raise RequestError("there is no pair to train on")
        self._count = len(samples)
        samples = joined([samples, held_out]) if len(held_out) else samples
        if isinstance(samples, list):  # of what is read at use, a pair that does not fit counts as damaged
            _refuse_sizes(samples, augmentation.crop)
        if batch % share.world:
            raise RequestError(
                "the batch cannot be shared out", expected=f"a multiple of {share.world}", got=str(batch)
            )
        self._samples, self._augmentation, self._batch, self._seed = samples, augmentation, batch, seed
        self._task_size = None if task is None else (task.height, task.width)
        self._task, self._share, self.device = task, share, torch.device(device)
        self._degrader = degrader
        self._thread: ThreadPoolExecutor | None = None
        self._prefetched: Prefetched | None = None
        self.damaged: set[int] = set()
        """Indices of the pairs that could not be read."""
        self.epoch = 0
        """Passes over the pairs that have begun before the current one."""
        self.drawn = 0
        """Batches drawn of the current pass."""

    @property
    def batches_per_epoch(self) -> int:
        """Batches of a pass; the pairs that do not fill one are left to another pass's shuffle."""
        return max(1, self._count // self._batch)

    @contextmanager
    def prefetching(self, enabled: bool | None = None) -> Iterator[None]:
        """Make the next batches in a thread while the last ones are used; it ends with the ``with``.

        The batches stay the same to the last bit. What is prefetched is as many batches as were taken last;
        where another number is asked for, those are made at once.

        Args:
            enabled: None: where the batches go to a GPU. A CPU that trains has no core left for it: on two, a
                step of a small network took 1.05 times as long.
        """
        if not (self.device.type == "cuda" if enabled is None else enabled):
            yield
            return
        with ThreadPoolExecutor(1, thread_name_prefix="feed") as self._thread:
            try:
                yield
            finally:
                self._taken_over(None)
                self._thread = None

    def take(self, count: int = 1) -> tuple[Batch, ...]:
        """The next ``count`` batches, all of one pass, so that no pair is in two of them.

        Two batches of a feed that holds pairs out are the next of its own and one of those.

        Raises:
            ConfigError: the pairs do not suffice for so many disjoint batches.
            RequestError: a pair is smaller than the crop.
            SourceError: more than a tenth of the pairs cannot be read.
        """
        self.require(count)
        place = self._next(count)
        prefetched = self._taken_over(place)
        pairs = self._readable() if prefetched is None else prefetched.pairs
        try:
            batches = self._make(place, pairs) if prefetched is None else prefetched.batches.result()
        finally:
            self._note(pairs.damaged)
        self.epoch, self.drawn = place.epoch, place.drawn + self._own(count)
        if self._thread is not None:
            self._begin(self._thread, count)
        return tuple(batch.map(self._moved) for batch in batches)

    def begin_epoch(self) -> None:
        """Leave what is left of the current pass and begin another."""
        if self.drawn:
            self.epoch, self.drawn = self.epoch + 1, 0

    def require(self, count: int) -> None:
        """Refuse a set from which :meth:`take` could not give ``count`` batches at once.

        Raises:
            ConfigError: the pairs do not suffice.
        """
        if count > 1 and self._holds_out:
            return  # a batch of them may have one twice
        if count > 1 and self._count < count * self._batch:
            raise ConfigError(
                f"{self._count} pairs do not make {count} disjoint batches",
                expected=f"{count * self._batch} pairs or more",
                got=str(self._count),
                hint="Set [optimiser] batch to a smaller number.",
            )

    def identity(self) -> str:
        """Digest of the pairs' names, empty where they are read at use."""
        if not isinstance(self._samples, list):
            return ""
        return hashlib.sha256("\n".join(sample.name for sample in self._samples).encode()).hexdigest()

    @property
    def _holds_out(self) -> bool:
        return len(self._samples) > self._count

    def _own(self, count: int) -> int:
        """How many of ``count`` batches are of pairs that are not held out."""
        return 1 if count > 1 and self._holds_out else count

    def _next(self, count: int) -> Place:
        """Where the next ``count`` batches are drawn: in this pass, or in another where it has too few."""
        if self.drawn + self._own(count) > self.batches_per_epoch:
            return Place(self.epoch + 1, 0, count)
        return Place(self.epoch, self.drawn, count)

    def _begin(self, thread: ThreadPoolExecutor, count: int) -> None:
        """Begin with the batches behind the ones that were taken last."""
        place, pairs = self._next(count), self._readable()
        self._prefetched = Prefetched(place, pairs, thread.submit(self._make, place, pairs))

    def _taken_over(self, place: Place | None) -> Prefetched | None:
        """The prefetched batches if they are of this place; those of another one are given up."""
        prefetched, self._prefetched = self._prefetched, None
        if prefetched is None or prefetched.place == place:
            return prefetched
        prefetched.batches.cancel()
        return None

    def _readable(self) -> Readable:
        return Readable(self._samples, self._augmentation.crop, self.damaged)

    def _note(self, damaged: Mapping[int, SourceError]) -> None:
        """Count pairs that were found damaged, and say so."""
        found = dict(damaged)  # a thread whose batches are not waited for may still add to it
        for error in found.values():
            logger.warning("left out: %s", error)
        self.damaged |= found.keys()

    def _make(self, place: Place, pairs: Readable) -> tuple[Batch, ...]:
        """The batches of a place, on the CPU. Reads nothing that changes, so that any thread may call it."""
        epoch, drawn, count = place
        own = self._own(count)
        order = np.random.default_rng((self._seed, epoch)).permutation(self._count)
        batches = [
            self._batch_of(pairs, self._pool(order, drawn, offset, own), (self._seed, epoch), drawn + offset)
            for offset in range(own)
        ]
        if own < count:
            chance = self._seed, epoch, HELD_OUT
            batches.append(self._batch_of(pairs, self._held_out_pool(epoch, drawn), chance, drawn))
        if self.device.type != "cuda":
            return tuple(batches)
        with torch.cuda.device(self.device):  # a new thread's is the first GPU, whichever this process has
            return tuple(batch.map(Tensor.pin_memory) for batch in batches)

    def _moved(self, part: Tensor) -> Tensor:
        """A tensor on the feed's device; to a GPU it may still be on its way, and kernels wait for it."""
        return part.to(self.device, non_blocking=True)

    def _batch_of(self, pairs: Readable, pool: list[int], entropy: tuple[int, ...], number: int) -> Batch:
        """Batch ``number`` of a pass, from the pairs of ``pool``, by chance that follows from ``entropy``."""
        start = number * self._batch
        crops: list[Crops] = []
        clean: list[Crops] = []
        views: list[View] = []
        found: list[Degraded | None] = []
        for place in range(self._batch)[self._share.rank :: self._share.world]:
            random = np.random.default_rng((*entropy, 1 + start + place))
            index, first = pairs.found(pool, place)
            degraded = self._degraded(index, pairs, pool, (*entropy, DEGRADED, 1 + start + place))
            if degraded is None:
                crops.append(crop(first, self._augmentation, random))
                clean.append(crops[-1])
            else:  # cut, mirrored and gained as the clean pair
                crops.append(crop(degraded.fused, self._augmentation, copy.deepcopy(random)))
                clean.append(crop(first, self._augmentation, random))
            if self._task is not None:
                pick = partial(_picked, [first], pairs, pool, random)
                views.append(self._view(self._task, pick, degraded, random))
            found.append(degraded)
        _refuse_mixed({one[0].shape for one in crops}, "make no batch")
        infrared, visible = _stacked([one[:2] for one in crops])
        saliency = _stacked([one[2:] for one in clean])
        alone = [one is not None and one.alone for one in found]
        task = collate(views, self._task_size, alone) if views else None
        return Batch(infrared, visible, task, _reference(clean, found), *saliency)

    def _degraded(
        self, index: int, pairs: Readable, pool: list[int], entropy: tuple[int, ...]
    ) -> Degraded | None:
        """The pair of an index with one sensor degraded, where chance wants it so."""
        if self._degrader is None:
            return None

        def other(random: np.random.Generator) -> int:
            others = [one for one in pool if one != index] or pool
            return pairs.found(others, int(random.integers(len(others))))[0]

        return self._degrader(index, other, np.random.default_rng(entropy))

    def _view(
        self,
        task: Task,
        pick: Callable[[], LabelledPair],
        degraded: Degraded | None,
        random: np.random.Generator,
    ) -> View:
        """What T sees of a pair; one that is degraded is no part of a mosaic."""
        if degraded is None:
            return view(pick, task, self._augmentation, random)
        return view(lambda: degraded.shown, task, replace(self._augmentation, mosaic=0.0), random)

    def _pool(self, order: Indices, drawn: int, offset: int, count: int) -> list[int]:
        """Indices that one of ``count`` batches may use, first its own.

        The others stand in for damaged ones and go into mosaics. The pools of batches that are taken
        together have no pair in common.
        """
        total, batch = len(order), self._batch
        begin, end = drawn * batch, (drawn + count) * batch
        own = range(begin + offset * batch, begin + (offset + 1) * batch)
        others = (slot for slot in range(end, begin + total) if slot % count == offset)
        return [int(order[slot % total]) for slot in (*own, *others)]

    def _held_out_pool(self, epoch: int, drawn: int) -> list[int]:
        """Indices of the pairs held out in the pass's order, from where the current batch begins."""
        count = len(self._samples) - self._count
        order = np.random.default_rng((self._seed, epoch, HELD_OUT)).permutation(count)
        return [self._count + int(index) for index in np.roll(order, -drawn * self._batch)]


def _picked(
    first: list[LabelledPair], pairs: Readable, pool: list[int], random: np.random.Generator
) -> LabelledPair:
    """The first pair, and then any of the pool, for a mosaic."""
    return first.pop() if first else pairs.at(pool, int(random.integers(len(pool))))


def _reference(clean: list[Crops], found: list[Degraded | None]) -> Sources | None:
    """What is right for the crops of a batch; None where no pair is degraded.

    Args:
        clean: The crops without degradation.
        found: What happened to each pair.
    """
    if not any(found):
        return None
    right = [
        pair[:2] if one is None or one.gone is None else (pair[one.gone == "infrared"],) * 2
        for pair, one in zip(clean, found, strict=True)
    ]
    infrared, visible = _stacked(right)
    return Sources(infrared, visible, flags([one is not None and one.gone is not None for one in found]))


def _stacked(crops: Sequence[Crops]) -> list[Tensor]:
    """Crops of several pairs, (c, c) each, as one tensor (B, 1, c, c) for each of a pair's pictures."""
    return [torch.from_numpy(np.stack(parts)[:, None]) for parts in zip(*crops, strict=True)]


def _refuse_sizes(samples: list[LabelledPair], crop_side: int) -> None:
    for sample in samples:
        require_crop(sample, crop_side)
    if not crop_side:
        _refuse_mixed({sample.infrared.shape for sample in samples}, "make no batch of whole pictures")


def _refuse_mixed(sizes: set[tuple[int, ...]], what: str) -> None:
    """Refuse pictures (H, W) of more than one size."""
    if len(sizes) > 1:
        raise RequestError(
            f"pairs of different sizes {what}",
            expected="pairs of one size, or a crop",
            got=" and ".join(f"{width}x{height}" for height, width in sorted(sizes)),
            hint="Set [augmentation] crop.",
        )
