"""Pictures and labels as tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tdfusion_edge.color import U8
from tdfusion_edge.pairs import Boxes
from tdfusion_edge.train.data.augment import View
from tdfusion_edge.train.data.types import BoxTargets, TaskView


def collate(views: Sequence[View]) -> TaskView:
    """Views to tensors; masks if all have a mask, boxes otherwise."""
    infrared = torch.from_numpy(np.stack([one.infrared for one in views])[:, None])
    visible = torch.from_numpy(np.stack([one.visible for one in views])[:, None])
    masks = [one.mask for one in views if one.mask is not None]
    if len(masks) == len(views):
        return TaskView(infrared, visible, torch.from_numpy(np.stack(masks).astype(np.int64)))
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
