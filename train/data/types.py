"""What the networks are given: batches of labelled pairs as tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from torch import Tensor

Change: TypeAlias = Callable[[Tensor], Tensor]


class BoxTargets(NamedTuple):
    """Objects of a batch, flat."""

    image: Tensor
    """(N,) int64, index into the batch."""
    classes: Tensor
    """(N,) int64."""
    corners: Tensor
    """(N, 4) float32, x1 y1 x2 y2 in pixels of the task view."""

    def map(self, change: Change) -> BoxTargets:
        """The same objects with every tensor changed, as in a move to another device."""
        return BoxTargets(*(change(part) for part in self))


class TaskView(NamedTuple):
    """Whole pictures of which T's own are made, with what T should find in those of (h, w) pixels."""

    infrared: Tensor
    """(B, 1, H, W) float32 in [0, 1], at the size that F fuses for T: h and w, or larger."""
    visible: Tensor
    """(B, 1, H, W) float32 in [0, 1]."""
    targets: BoxTargets | Tensor
    """Boxes, or an int64 mask (B, h, w) with 255 where a pixel does not count."""
    chroma: Tensor | None = None
    """(B, 2, h, w) float32 in [0, 1], Cr then Cb around 128 / 255; None where no pair has colours."""
    size: tuple[int, int] | None = None
    """h and w; None: H and W."""
    alone: Tensor | None = None
    """(B, 1, 1, 1) bool: one sensor is missing, and T sees the other one as it is, whose picture both
    then are. None: nowhere."""


class Sources(NamedTuple):
    """What a fusion loss refers to: the pair as it would be without degradation."""

    infrared: Tensor
    """(B, 1, c, c) float32 in [0, 1]."""
    visible: Tensor
    """(B, 1, c, c) float32 in [0, 1]."""
    alone: Tensor | None = None
    """(B, 1, 1, 1) bool: one sensor is gone, and the fused picture is to be the other one, whose picture both
    then are. None: nowhere."""

    @property
    def pair(self) -> tuple[Tensor, Tensor]:
        """Infrared and visible."""
        return self.infrared, self.visible

    def map(self, change: Change) -> Sources:
        """The same with every tensor changed."""
        alone = None if self.alone is None else change(self.alone)
        return Sources(change(self.infrared), change(self.visible), alone)


class Batch(NamedTuple):
    """Several pairs: crops for the fusion loss, whole pictures for the task."""

    infrared: Tensor
    """(B, 1, c, c) float32 in [0, 1], at the pictures' own resolution."""
    visible: Tensor
    """(B, 1, c, c) float32 in [0, 1]."""
    task: TaskView | None = None
    """None where the recipe has no task."""
    reference: Sources | None = None
    """What is right where a sensor of a pair is degraded; None: no pair of the batch is."""
    saliency: Tensor | None = None
    """(B, 1, c, c) float32 in [0, 1], how much infrared stands out; None where the pairs have none."""

    @property
    def sources(self) -> Sources:
        """What a fusion loss, and a network that proposes one, refers to."""
        return Sources(self.infrared, self.visible) if self.reference is None else self.reference

    def map(self, change: Change) -> Batch:
        """The same pairs with every tensor changed, as in a move to another device."""
        view = self.task
        if view is not None:
            targets = view.targets
            targets = targets.map(change) if isinstance(targets, BoxTargets) else change(targets)
            chroma = None if view.chroma is None else change(view.chroma)
            view = view._replace(
                infrared=change(view.infrared),
                visible=change(view.visible),
                targets=targets,
                chroma=chroma,
                alone=None if view.alone is None else change(view.alone),
            )
        reference = None if self.reference is None else self.reference.map(change)
        saliency = None if self.saliency is None else change(self.saliency)
        return Batch(change(self.infrared), change(self.visible), view, reference, saliency)
