"""Made-up labelled pairs and networks that are small enough to train in a test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from checkpoints import save
from msgspec.structs import replace
from taught import taught_edge
from torch import Tensor, nn
from torch.nn import functional as F

from tdfusion_edge.pairs import Labels
from tdfusion_edge.train.loop import fit
from tdfusion_edge.train.models.base import FusionNetwork, FusionOutput
from tdfusion_edge.train.models.loss_network import LightLossNetwork, LossWeights
from tdfusion_edge.train.models.task import MaskNetwork, MaskPrediction
from tdfusion_edge.train.recipe import Augmentation, DataSource, Optimiser, Recipe, Task
from tdfusion_edge.train.setup import setup

HEIGHT, WIDTH = 64, 80
PAIRS = 8
CLASSES = ("ground", "disc")
TEACHER = "teacher.safetensors"
"""Beside the pairs."""


class TinyFusion(FusionNetwork):
    """One weight map; smooth everywhere, so that numbers can be differentiated by hand."""

    minimum_size = 4

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Conv2d(2, width, 3, padding=1)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, infrared: Tensor, visible: Tensor) -> FusionOutput:
        """Two (B, 1, H, W) to their weighted mean."""
        share = torch.sigmoid(self.head(torch.tanh(self.body(torch.cat((infrared, visible), dim=1)))))
        return FusionOutput(share * infrared + (1 - share) * visible)


class TinyLoss(nn.Module):
    """G with one convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, infrared: Tensor, visible: Tensor) -> LossWeights:
        """Two (B, 1, H, W) to weights."""
        weight = torch.sigmoid(self.head(torch.cat((infrared, visible), dim=1)))
        return LossWeights(weight, 1 - weight)


class TinyTask(MaskNetwork):
    """T for masks; its loss is a plain mean over pixels, so that shares of a batch average to the whole."""

    def __init__(self, classes: int, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, width, 3, padding=1)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, luma: Tensor) -> Tensor:
        """(B, 1, H, W) to (B, C, H, W)."""
        out: Tensor = self.head(torch.tanh(self.body(luma)))
        return out

    def loss(self, output: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        """Cross entropy; a pixel that does not count is one without loss."""
        return {"loss": F.cross_entropy(output, targets, ignore_index=255, reduction="none").mean()}

    def decode(self, output: Tensor) -> MaskPrediction:
        """As it is."""
        return MaskPrediction(output)


class NormTask(TinyTask):
    """T with running statistics and dropout: more state than weights, and chance in every step."""

    def __init__(self, classes: int, width: int = 4) -> None:
        super().__init__(classes, width)
        self.norm = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(0.2)

    def forward(self, luma: Tensor) -> Tensor:
        """(B, 1, H, W) to (B, C, H, W)."""
        out: Tensor = self.head(self.drop(torch.tanh(self.norm(self.body(luma)))))
        return out


def write_pairs(folder: Path) -> Path:
    """``folder/made`` with pairs of 64x80 and their labels: waves in visible, a warm disc in infrared."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    made = folder / "made"
    for part in ("ir", "vi", "boxes", "masks"):
        (made / part).mkdir(parents=True)
    for number in range(PAIRS):
        cx, cy, radius = *random.integers(16, 46, 2), 10
        inside = (x + 0.5 - cx) ** 2 + (y + 0.5 - cy) ** 2 < radius**2
        waves = 90 + 60 * np.sin(x / (2 + number)) + random.normal(0, 4, (HEIGHT, WIDTH))
        cv2.imwrite(str(made / "ir" / f"{number}.png"), np.where(inside, 220, 40).astype(np.uint8))
        cv2.imwrite(str(made / "vi" / f"{number}.png"), waves.clip(0, 255).astype(np.uint8))
        cv2.imwrite(str(made / "masks" / f"{number}.png"), inside.astype(np.uint8))
        box = cx / WIDTH, cy / HEIGHT, 2 * radius / WIDTH, 2 * radius / HEIGHT
        (made / "boxes" / f"{number}.txt").write_text("0 " + " ".join(f"{side:.5f}" for side in box) + "\n")
    (made / "val.txt").write_text("6\n7\n")
    return folder


MASKS = Labels(format="mask", path="masks", classes=CLASSES)
BOXES = Labels(format="yolo", path="boxes", classes=CLASSES[1:])


def sources(labels: Labels | None = None) -> tuple[DataSource, ...]:
    """All pairs to train on, two of them to validate on."""
    return (
        DataSource(folder="made", labels=labels, terms="made up"),
        DataSource(folder="made", part="validation", names="val.txt", labels=labels, terms="made up"),
    )


def recipe(**changes: Any) -> Recipe:
    """Strategy ``fixed`` on a small ``edge``."""
    settings: dict[str, Any] = {
        "name": "tiny",
        "network": "edge",
        "network_options": {"width": 8, "depth": 1},
        "validate_every": 20,
        "data": sources(),
        "augmentation": Augmentation(crop=48, gain=0.1),
        "optimiser": Optimiser(steps=60, batch=4, learning_rate=5e-3),
        **changes,
    }
    return Recipe(**settings)


def learned(
    strategy_options: Mapping[str, Any] = {}, task: str | Task = "tiny:TinyTask", **changes: Any
) -> Recipe:
    """Strategy ``tdfusion`` on the networks above."""
    if isinstance(task, str):
        task = Task(network=task, classes=CLASSES, height=32, width=40)
    settings: dict[str, Any] = {
        "network": "tiny:TinyFusion",
        "network_options": {},
        "strategy": "tdfusion",
        "strategy_options": {
            "loss_network": "tiny:TinyLoss",
            "meta_steps": 2,
            "fusion_steps": 2,
            **strategy_options,
        },
        "task": task,
        "data": sources(MASKS),
        "augmentation": Augmentation(crop=32),
        "optimiser": Optimiser(steps=8, batch=2, learning_rate=5e-3),
        "validate_every": 4,
        **changes,
    }
    return recipe(**settings)


def distilled(teacher: Path, options: Mapping[str, Any] = {}, **changes: Any) -> Recipe:
    """Strategy ``distill`` on a small ``edge``."""
    settings: dict[str, Any] = {
        "strategy": "distill",
        "strategy_options": {"teacher": str(teacher), "feature_weight": 1.0, "source_weight": 0.5, **options},
        "network_options": {"width": 4, "depth": 1, "stride": 4},
        "augmentation": Augmentation(crop=32),
        "optimiser": Optimiser(steps=8, batch=2, learning_rate=5e-3),
        "validate_every": 4,
        **changes,
    }
    return recipe(**settings)


def write_teacher(path: Path, *, weigher: bool = True) -> Path:
    """A checkpoint of an ``edge`` whose every layer says something, and of a G if asked for."""
    networks: dict[str, tuple[nn.Module, str, dict[str, Any]]] = {
        "fusion": (taught_edge(7, width=8, depth=1), "edge", {"width": 8, "depth": 1})
    }
    if weigher:
        torch.manual_seed(8)
        light = LightLossNetwork(width=4)
        nn.init.normal_(light.head.weight, std=30.0)
        networks["loss"] = (light, "light", {"width": 4})
    return save(path, networks)


def trained(recipe: Recipe, data: Path, output: Path, **options: Any) -> Path:
    """The best checkpoint of a training from its recipe to its end."""
    return fit(setup(recipe, data, output, **options))


class TinyDiscriminator(nn.Module):
    """Two convolutions, smooth."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 1, 1))

    def forward(self, luma: Tensor) -> Tensor:
        """(B, 1, H, W) to scores of its shape."""
        scores: Tensor = self.body(luma)
        return scores


def bilevel(options: Mapping[str, Any] = {}, **changes: Any) -> Recipe:
    """Strategy ``bdlfusion`` on the networks above."""
    given: dict[str, Any] = {
        "discriminator": "tiny:TinyDiscriminator",
        "upper_every": 2,
        "lipschitz": "none",
        **options,
    }
    return replace(learned(**changes), strategy="bdlfusion", strategy_options=given)
