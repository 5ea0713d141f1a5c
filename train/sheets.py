"""A sheet of pictures, so that a training can be looked at: a row a pair, a column for what was made of it.

infrared | visible | fused | w_ir of the loss network | what the task network finds on the fused picture
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import cv2
import numpy as np
import torch
from torch import nn

from tdfusion_edge.color import U8
from tdfusion_edge.files import write_aside
from tdfusion_edge.pairs import Boxes, LabelledPair
from tdfusion_edge.train.data.sheet import colour_of
from tdfusion_edge.train.data.tensors import to_tensor
from tdfusion_edge.train.fusing import Fuser, fuse, unfused
from tdfusion_edge.train.models.task import TaskNetwork, task_of
from tdfusion_edge.train.modes import in_mode
from tdfusion_edge.train.recipe import Task
from tdfusion_edge.train.validation import detect, segment

ROWS = 4
"""Pairs on a sheet at most: spread over all validation pairs, and the same ones every time."""
WIDTH = 320
"""Of each picture, pixels."""
BAND = 16
"""Height of the line of titles, pixels."""
SURE = 0.25
"""Lowest score of a box that is drawn."""

Colour: TypeAlias = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)


def draw_sheet(
    networks: Mapping[str, nn.Module],
    samples: Sequence[LabelledPair],
    task: Task | None,
    alone: Fuser = unfused,
) -> U8:
    """Up to :data:`ROWS` pairs as the networks see them now; their modes are put back.

    Args:
        networks: ``fusion``, ``loss`` and ``task``, or some of them.
        samples: Pairs; labels are drawn thin and white below what was found.
        task: The recipe's.
        alone: What a task network alone sees of a pair.

    Returns:
        (H, W, 3) BGR.
    """
    with in_mode(list(networks.values()), training=False):
        rows = [_tiles(networks, samples[index], task, alone) for index in spread(len(samples))]
    band = np.zeros((BAND, WIDTH * len(rows[0]), 3), np.uint8)
    for column, title in enumerate(rows[0]):
        _write(band, title, (column * WIDTH + 4, BAND - 5), WHITE)
    return np.concatenate([band, *(np.concatenate(list(row.values()), axis=1) for row in rows)])


def write_sheet(path: Path, sheet: U8) -> None:
    """Write a PNG aside and rename it.

    Raises:
        OSError: the disk is full or not writable.
    """
    write_aside(path, cv2.imencode(".png", sheet)[1].tobytes())


def spread(count: int) -> list[int]:
    """Indices of :data:`ROWS` of ``count`` pairs, evenly spread."""
    return sorted({round(index) for index in np.linspace(0, count - 1, ROWS)})


def _tiles(
    networks: Mapping[str, nn.Module], sample: LabelledPair, task: Task | None, alone: Fuser
) -> dict[str, U8]:
    """The pictures of one row by title, all of one size."""
    fusion, loss, found_by = networks.get("fusion"), networks.get("loss"), task_of(networks)
    picture = fuse(fusion, sample) if fusion is not None else alone(sample)
    tiles: dict[str, U8] = {}
    if fusion is not None:
        tiles = {
            "infrared": _scaled(sample.infrared),
            "visible": _scaled(sample.visible),
            "fused": _scaled(picture),
        }
    if loss is not None:
        tiles["w_ir, blue 0 to red 1"] = _heat(_weights(loss, sample))
    if found_by is not None and task is not None:
        if found_by.labels == "boxes":
            tiles["found (labels white)"] = _boxes(found_by, picture, sample, task)
        else:
            tiles["found"] = _mask(segment(found_by, picture, sample, task), picture)
            if sample.mask is not None:
                tiles["labels"] = _mask(sample.mask, picture)
    return tiles


def _weights(loss: nn.Module, sample: LabelledPair) -> U8:
    """w_ir at every pixel, 255 for 1."""
    device = next(loss.parameters()).device
    with torch.inference_mode():
        weights = loss(to_tensor(sample.infrared).to(device), to_tensor(sample.visible).to(device)).infrared
        return cast(U8, weights[0, 0].float().mul(255).round().to(torch.uint8).cpu().numpy())


def _scaled(picture: U8) -> U8:
    """Grey or BGR to BGR of the sheet's width."""
    height, width = picture.shape[:2]
    size = (WIDTH, max(1, round(height * WIDTH / width)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return cast(U8, cv2.merge([small] * 3) if small.ndim == 2 else small)


def _heat(weights: U8) -> U8:
    return cast(U8, cv2.applyColorMap(_scaled(weights), cv2.COLORMAP_JET))


def _boxes(network: TaskNetwork, picture: U8, sample: LabelledPair, task: Task) -> U8:
    tile = _scaled(picture)
    scale = tile.shape[1] / picture.shape[1]
    for box in (sample.boxes or Boxes.none()).corners:
        _rectangle(tile, box * scale, WHITE)
    found = detect(network, picture, sample, task, SURE)
    for box, score, number in zip(found.boxes, found.scores, found.class_ids, strict=True):
        colour = colour_of(int(number))
        left, top = _rectangle(tile, box * scale, colour)
        _write(tile, f"{found.names[int(number)]} {score:.2f}", (left, max(9, top - 3)), colour)
    return tile


def _mask(mask: U8, picture: U8) -> U8:
    """The picture tinted by class; what does not count stays grey."""
    grey = cast(U8, cv2.merge([picture] * 3))
    table = np.array([colour_of(number) for number in range(256)], np.uint8)
    tinted = cv2.addWeighted(grey, 0.6, table[mask], 0.4, 0)
    return _scaled(np.where((mask != 255)[..., None], tinted, grey))


def _rectangle(tile: U8, box: Any, colour: Colour) -> tuple[int, int]:
    left, top, right, bottom = (round(float(side)) for side in box)
    cv2.rectangle(tile, (left, top), (right - 1, bottom - 1), colour, 1)
    return left, top


def _write(picture: U8, text: str, at: tuple[int, int], colour: Colour) -> None:
    # The font has ASCII alone; OpenCV shows anything else as question marks.
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.35, colour, 1, cv2.LINE_AA)
