"""Pictures and labels as tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tdfusion_edge.color import NEUTRAL, U8
from tdfusion_edge.pairs import Boxes
from tdfusion_edge.resize import halvings
from tdfusion_edge.train.data.augment import View
from tdfusion_edge.train.data.types import BoxTargets, TaskView
from tdfusion_edge.train.models.task import TaskNetwork


def collate(
    views: Sequence[View], size: tuple[int, int] | None = None, alone: Sequence[bool] = ()
) -> TaskView:
    """Views to tensors; masks if all have a mask, boxes otherwise.

    Args:
        views: All of one size.
        size: Height and width that labels and colours are for; None: the lumas'.
        alone: Of which one sensor is missing; empty: of none.
    """
    infrared = torch.from_numpy(np.stack([one.infrared for one in views])[:, None])
    visible = torch.from_numpy(np.stack([one.visible for one in views])[:, None])
    masks = [one.mask for one in views if one.mask is not None]
    targets: BoxTargets | Tensor = box_targets(views)
    if len(masks) == len(views):
        targets = torch.from_numpy(np.stack(masks).astype(np.int64))
    chroma = chroma_tensor([one.chroma for one in views])
    return TaskView(infrared, visible, targets, chroma, size, flags(alone))


def flags(values: Sequence[bool]) -> Tensor | None:
    """One flag a picture, (B, 1, 1, 1) bool; None where none is set."""
    return torch.tensor(values).view(-1, 1, 1, 1) if any(values) else None


def chroma_tensor(planes: Sequence[U8 | None]) -> Tensor | None:
    """Chroma uint8 (2, h, w) of several pictures of one size, (B, 2, h, w) float32 in [0, 1].

    A picture without colours has grey among others that have some; None where none has.
    """
    shape = next((one.shape for one in planes if one is not None), None)
    if shape is None:
        return None
    grey = np.full(shape, NEUTRAL, np.uint8)
    return torch.from_numpy(np.stack([grey if one is None else one for one in planes])).float().div(255)


def shown(fused: Tensor, view: TaskView) -> Tensor:
    """Fused lumas (B, 1, H, W) at the size that T sees, by the rule of :mod:`tdfusion_edge.resize`.

    Where a sensor is missing, the other one's luma stands in the place of the fused one, as in the runtime.
    """
    if view.alone is not None:
        fused = torch.where(view.alone, view.visible, fused)
    height, width = view.size or fused.shape[-2:]
    for size in halvings((fused.shape[-2], fused.shape[-1]), width, height):
        fused = F.interpolate(fused, size, mode="area")
    if fused.shape[-2:] == (height, width):
        return fused
    return F.interpolate(fused, (height, width), mode="bilinear", align_corners=False)


def seen_by(network: TaskNetwork, luma: Tensor, view: TaskView) -> tuple[Tensor | None, ...]:
    """What T is called with: a luma at the size that it sees, and what of the view it sees beside it.

    Args:
        network: T.
        luma: (B, 1, h, w), as :func:`shown` gives it.
        view: What the luma was made of. Where a sensor is missing infrared is the luma once more.
    """
    infrared = shown(view.infrared, view) if network.infrared else None
    return network.arguments(luma, view.chroma, infrared)


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
