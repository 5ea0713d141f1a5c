"""Batches without hidden state: which they are follows from the seed and two counters.

So a training that is resumed goes on with the batches that it would have had, and several processes
cut the same batch into shares without speaking to each other.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tdfusion_edge.color import U8
from tdfusion_edge.errors import ConfigError, RequestError, SourceError
from tdfusion_edge.pairs import Boxes
from tdfusion_edge.pairs import LabelledPair as Sample
from tdfusion_edge.pairs.lazy import joined
from tdfusion_edge.train.data.augment import View, crop, require_crop, view
from tdfusion_edge.train.data.types import Batch, BoxTargets, TaskView
from tdfusion_edge.train.recipe import Augmentation, Task

logger = logging.getLogger(__name__)

HELD_OUT = 1 << 31
"""Tells the chance of the pairs held out from that of the others, whose third number counts pairs."""
MOST_DAMAGED = 0.1
"""Share of the pairs that may turn out unreadable during a training before it ends."""


class Share(NamedTuple):
    """Which part of every batch this process gets."""

    rank: int = 0
    world: int = 1


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

    Raises:
        RequestError: there is no pair, one is smaller than the crop, or the batch cannot be shared out.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        augmentation: Augmentation,
        batch: int,
        seed: int,
        *,
        task: Task | None = None,
        share: Share = Share(),  # noqa: B008 (immutable)
        held_out: Sequence[Sample] = (),
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
        self._task, self._share = task, share
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

    def take(self, count: int = 1) -> tuple[Batch, ...]:
        """The next ``count`` batches, all of one pass, so that no pair is in two of them.

        Two batches of a feed that holds pairs out are the next of its own and one of those.

        Raises:
            ConfigError: the pairs do not suffice for so many disjoint batches.
            RequestError: a pair is smaller than the crop.
            SourceError: more than a tenth of the pairs cannot be read.
        """
        self.require(count)
        held_out = count > 1 and self._holds_out
        own = 1 if held_out else count
        if self.drawn + own > self.batches_per_epoch:
            self.epoch, self.drawn = self.epoch + 1, 0
        order = np.random.default_rng((self._seed, self.epoch)).permutation(self._count)
        batches = [
            self._make(self._pool(order, offset, own), (self._seed, self.epoch), self.drawn + offset)
            for offset in range(own)
        ]
        if held_out:
            batches.append(self._make(self._held_out_pool(), (self._seed, self.epoch, HELD_OUT), self.drawn))
        self.drawn += own
        return tuple(batches)

    @property
    def _holds_out(self) -> bool:
        return len(self._samples) > self._count

    def identity(self) -> str:
        """Digest of the pairs' names, empty where they are read at use."""
        if not isinstance(self._samples, list):
            return ""
        return hashlib.sha256("\n".join(sample.name for sample in self._samples).encode()).hexdigest()

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

    def begin_epoch(self) -> None:
        """Leave what is left of the current pass and begin another."""
        if self.drawn:
            self.epoch, self.drawn = self.epoch + 1, 0

    def _make(self, pool: list[int], entropy: tuple[int, ...], number: int) -> Batch:
        """Batch ``number`` of a pass, from the pairs of ``pool``, by chance that follows from ``entropy``."""
        start = number * self._batch
        crops, views = [], []
        for place in range(self._batch)[self._share.rank :: self._share.world]:
            random = np.random.default_rng((*entropy, 1 + start + place))
            first = self._readable(pool, place)
            crops.append(crop(first, self._augmentation, random))
            if self._task is not None:
                picked = [first]

                def pick(picked: list[Sample] = picked, random: np.random.Generator = random) -> Sample:
                    if picked:
                        return picked.pop()
                    return self._readable(pool, int(random.integers(len(pool))))

                views.append(view(pick, self._task, self._augmentation, random))
        sizes = {one.shape for one, _ in crops}
        if len(sizes) > 1:
            raise RequestError(
                "pairs of different sizes make no batch",
                expected="pairs of one size, or a crop",
                got=" and ".join(f"{width}x{height}" for height, width in sorted(sizes)),
                hint="Set [augmentation] crop.",
            )
        infrared, visible = (torch.from_numpy(np.stack(parts)[:, None]) for parts in zip(*crops, strict=True))
        return Batch(infrared, visible, collate(views) if views else None)

    def _pool(self, order: npt.NDArray[np.int64], offset: int, count: int) -> list[int]:
        """Indices that one of ``count`` batches may use, first its own.

        The others stand in for damaged ones and go into mosaics. The pools of batches that are taken
        together have no pair in common.
        """
        total, batch = len(order), self._batch
        begin, end = self.drawn * batch, (self.drawn + count) * batch
        own = range(begin + offset * batch, begin + (offset + 1) * batch)
        others = (slot for slot in range(end, begin + total) if slot % count == offset)
        return [int(order[slot % total]) for slot in (*own, *others)]

    def _held_out_pool(self) -> list[int]:
        """Indices of the pairs held out in the pass's order, from where the current batch begins."""
        count = len(self._samples) - self._count
        order = np.random.default_rng((self._seed, self.epoch, HELD_OUT)).permutation(count)
        return [self._count + int(index) for index in np.roll(order, -self.drawn * self._batch)]

    def _readable(self, pool: Sequence[int], place: int) -> Sample:
        """The pair at a place of the pool, or the next one that can be read."""
        for step in range(len(pool)):
            index = pool[(place + step) % len(pool)]
            if index in self.damaged:
                continue
            try:
                sample = self._samples[index]
                if min(sample.infrared.shape) < self._augmentation.crop:
                    raise SourceError(f"pair '{sample.name}' is smaller than the crop")
                return sample
            except SourceError as error:
                self.damaged.add(index)
                if len(self.damaged) > max(1, MOST_DAMAGED * len(self._samples)):
                    raise
                logger.warning("left out: %s", error)
        raise SourceError("no pair of the training can be read")


def _refuse_sizes(samples: list[Sample], crop_side: int) -> None:
    for sample in samples:
        require_crop(sample, crop_side)
    sizes = {sample.infrared.shape for sample in samples}
    if not crop_side and len(sizes) > 1:
        raise RequestError(
            "pairs of different sizes make no batch of whole pictures",
            expected="pairs of one size, or a crop",
            got=" and ".join(f"{width}x{height}" for height, width in sorted(sizes)),
            hint="Set [augmentation] crop.",
        )


def collate(views: Sequence[View]) -> TaskView:
    """Views to tensors; boxes if they have boxes, masks otherwise."""
    infrared, visible = (
        torch.from_numpy(np.stack([getattr(one, side) for one in views])[:, None])
        for side in ("infrared", "visible")
    )
    if all(one.mask is not None for one in views):
        masks = np.stack([one.mask for one in views if one.mask is not None])
        return TaskView(infrared, visible, torch.from_numpy(masks.astype(np.int64)))
    return TaskView(infrared, visible, box_targets(views))


def box_targets(views: Sequence[View]) -> BoxTargets:
    """The boxes of several views, flat."""
    boxes = [Boxes.none() if one.boxes is None else one.boxes for one in views]
    image = np.repeat(np.arange(len(boxes)), [len(one.classes) for one in boxes])
    return BoxTargets(
        torch.from_numpy(image.astype(np.int64)),
        torch.from_numpy(np.concatenate([one.classes for one in boxes])),
        torch.from_numpy(np.concatenate([one.corners for one in boxes])),
    )


def to_tensor(image: U8) -> Tensor:
    """(H, W) uint8 to (1, 1, H, W) float32 in [0, 1]."""
    return torch.from_numpy(image).float().div(255)[None, None]
