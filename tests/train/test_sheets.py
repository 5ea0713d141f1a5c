"""The sheet of pictures: every column shows what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tiny import CLASSES, TinyTask, learned, recipe, trained
from torch import Tensor, nn

from tdfusion_edge.color import U8
from tdfusion_edge.pairs import Boxes, LabelledPair
from tdfusion_edge.train import sheets
from tdfusion_edge.train.data.sheet import colour_of
from tdfusion_edge.train.models.base import FusionOutput
from tdfusion_edge.train.models.loss_network import LossWeights
from tdfusion_edge.train.models.task import BoxNetwork, BoxPrediction
from tdfusion_edge.train.recipe import Task

SIDE = 160
BOXES = Task(network="-", classes=("person", "car"), height=SIDE, width=SIDE)


class Level(nn.Module):
    """Whatever it sees, it gives one level: for F and G alike."""

    def __init__(self, level: float, kind: Any) -> None:
        super().__init__()
        self.level, self.kind = nn.Parameter(torch.tensor(level)), kind

    def forward(self, infrared: Tensor, visible: Tensor) -> Any:
        level = self.level.expand_as(infrared)
        return FusionOutput(level) if self.kind is FusionOutput else LossWeights(level, 1 - level)


class OneCar(BoxNetwork):
    """Finds one car, always at the same place, and a person that it is not sure of."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, luma: Tensor) -> Tensor:
        return luma

    def loss(self, output: Tensor, targets: Any) -> dict[str, Tensor]:
        raise NotImplementedError

    def decode(self, output: Tensor) -> BoxPrediction:
        boxes = torch.tensor([[[40.0, 60, 100, 120], [5, 5, 20, 20]]])
        return BoxPrediction(boxes, torch.tensor([[[0.0, 0.9], [0.1, 0.0]]]))


def sample(name: str = "a", **labels: Any) -> LabelledPair:
    infrared, visible = np.full((SIDE, SIDE), 10, np.uint8), np.full((SIDE, SIDE), 20, np.uint8)
    return LabelledPair(name, infrared, visible, **labels)


def column(sheet: U8, index: int, row: int = 0) -> U8:
    """One tile; they are square here."""
    top, left = sheets.BAND + row * sheets.WIDTH, index * sheets.WIDTH
    return sheet[top : top + sheets.WIDTH, left : left + sheets.WIDTH]


def test_the_columns_of_boxes() -> None:
    labelled = Boxes(np.array([[10, 130, 60, 150]], np.float32), np.array([1]))
    networks = {"fusion": Level(0.2, FusionOutput), "loss": Level(1.0, LossWeights), "task": OneCar()}
    networks["task"].train()
    networks["fusion"].eval()
    sheet = sheets.draw_sheet(networks, [sample(boxes=labelled)], BOXES)
    assert sheet.shape == (sheets.BAND + sheets.WIDTH, 5 * sheets.WIDTH, 3)
    for index, level in enumerate((10, 20, 51)):
        assert (column(sheet, index) == level).all()
    blue, green, red = column(sheet, 3)[5, 5]
    assert red > 100 > max(blue, green)
    networks["loss"].level.data.zero_()
    dark = sheets.draw_sheet(networks, [sample(boxes=labelled)], BOXES)
    blue, green, red = column(dark, 3)[5, 5]
    assert blue > 100 > max(red, green)
    found = column(sheet, 4)
    # Tiles are twice as wide as the picture.
    assert tuple(found[80 * 2, 40 * 2]) == colour_of(1)
    assert (found[140 * 2, 10 * 2] == 255).all()
    assert (found[10 * 2, 5 * 2] == 51).all()  # a score of 0.1 is not drawn
    assert networks["task"].training
    assert not networks["fusion"].training


def test_masks_are_coloured_beside_their_labels() -> None:
    network = TinyTask(2)
    for parameter in network.parameters():
        parameter.data.zero_()
    network.head.bias.data[1] = 1.0  # every pixel is of class 1
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:, SIDE // 2 :] = 255
    task = Task(network="-", classes=CLASSES, height=SIDE, width=SIDE)
    sheet = sheets.draw_sheet({"task": network}, [sample(mask=mask)], task)
    assert sheet.shape[1] == 2 * sheets.WIDTH
    tint = np.array([colour_of(1), colour_of(0)])
    for index in (0, 1):
        expected = np.round(0.6 * 15 + 0.4 * tint[index])
        assert np.abs(column(sheet, index)[160, 40] - expected).max() <= 1
    assert (column(sheet, 1)[160, 300] == 15).all()  # what does not count stays grey


def test_pairs_of_other_sizes_and_more_than_there_is_room_for() -> None:
    flat = LabelledPair("b", *(np.zeros((45, 333), np.uint8) for _ in range(2)))
    many = [flat] * 4 + [sample()] + [flat] * 5
    sheet = sheets.draw_sheet({"fusion": Level(0.0, FusionOutput)}, many, None)
    assert sheet.shape == (sheets.BAND + 4 * round(45 * 320 / 333), 3 * sheets.WIDTH, 3)
    assert sheets.spread(1) == [0]
    assert sheets.spread(2) == [0, 1]
    assert sheets.spread(60) == [0, 20, 39, 59]


def test_every_validation_leaves_a_sheet(made: Path, tmp_path: Path) -> None:
    trained(learned(), made, tmp_path / "learned")
    trained(recipe(validate_every=2), made, tmp_path / "fixed", steps=3)
    names = sorted(file.name for file in (tmp_path / "learned" / "sheets").iterdir())
    assert names == ["step_000004.png", "step_000008.png"]
    sheet = cv2.imread(str(tmp_path / "learned" / "sheets" / names[0]))
    assert sheet.shape == (sheets.BAND + 2 * 256, 6 * sheets.WIDTH, 3)
    fixed = cv2.imread(str(tmp_path / "fixed" / "sheets" / "step_000003.png"))
    assert fixed.shape == (sheets.BAND + 2 * 256, 3 * sheets.WIDTH, 3)


def test_a_sheet_that_fails_leaves_the_modes_as_they_were() -> None:
    class Failing(OneCar):
        def decode(self, output: Tensor) -> BoxPrediction:
            raise RuntimeError("no")

    network = Failing().train()
    with pytest.raises(RuntimeError, match="no"):
        sheets.draw_sheet({"task": network}, [sample()], BOXES)
    assert network.training
