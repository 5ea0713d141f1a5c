"""What the tests of the export share: every graph takes PyTorch a second or more, so few are made."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch
from checkpoints import MADE_UP, save
from tiny_task import TinyDetector
from torch.onnx._internal.exporter import _registration

from tdfusion_edge import bundle, checkpoint
from tdfusion_edge.bundle import Bundle
from tdfusion_edge.export.assemble import export
from tdfusion_edge.train.models.edge import Edge

FINDS = "tiny_task:TinyDetector"


@pytest.fixture(scope="session", autouse=True)
def one_registry() -> Iterator[None]:
    """PyTorch's table of ONNX operators is made once an opset, not anew for every graph.

    Making it takes up to half of the time that a small graph takes, and it has no public switch. An export
    reads it; it adds to it only where it is given operators of the caller's, which ours never is.
    """
    with pytest.MonkeyPatch.context() as patch:
        made = functools.cache(_registration.ONNXRegistry.from_torchlib)
        patch.setattr(_registration.ONNXRegistry, "from_torchlib", staticmethod(made))
        yield


@pytest.fixture(scope="session")
def small_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs of every brightness, 160x120."""
    folder, random = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    for side in ("ir", "vi"):
        (folder / side).mkdir()
        for number in range(2):
            picture = random.integers(0, 256, (15, 20), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
            cv2.imwrite(str(folder / side / f"{number}.png"), picture)
    return folder


class Small(NamedTuple):
    """A bundle, and what it was made of."""

    path: Path
    opened: Bundle
    fusion_path: Path
    """Checkpoint of the fusion network, a loss network of no known class, and an older detector."""
    fusion: Edge
    detector: TinyDetector


SMALL_VIEW = checkpoint.TaskView(classes=("person", "car", "lamp"), height=48, width=64)
SMALL_SIZE = (160, 120)
LABELLED = bundle.TrainingData(name="labelled", terms="research", pairs=7)


def seen(classes: int = 3, seed: int = 0) -> TinyDetector:
    """A detector whose batch norm has seen something: its fresh state would be folded without a trace."""
    torch.manual_seed(seed)
    made = TinyDetector(classes)
    with torch.no_grad():
        for _ in range(4):
            made(torch.rand(2, 1, 48, 64))
    return made.eval()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Fusion network, detector of a later checkpoint, and the one-pass graph, in FP32 and FP16."""
    folder = tmp_path_factory.mktemp("small")
    torch.manual_seed(0)
    fusion, detector = Edge(width=4, depth=1), seen(seed=1)
    networks: dict[str, tuple[torch.nn.Module, str, dict[str, Any]]] = {
        "fusion": (fusion, "edge", {"width": 4, "depth": 1}),
        "loss": (torch.nn.Linear(2, 2), "nowhere:Loss", {}),
        "task": (seen(seed=5), FINDS, {}),
    }
    first = save(
        folder / "edge.safetensors",
        networks,
        task=SMALL_VIEW,
        strategy="tdfusion",
        metrics={"qabf": 0.5, "map50": 0.125},
    )
    again = save(
        folder / "detector.safetensors",
        {"task": (detector, FINDS, {})},
        strategy="task",
        recipe="det",
        task=SMALL_VIEW,
        metrics={"map50": 0.75, "map50_95": 0.5, "qabf": 0.875},
        training_data=(MADE_UP, LABELLED),
        limits=("Only by day.", "Only a | test."),
        settings={"optimiser": {"steps": 5}},
    )
    export([first, again], folder / "bundle", allowed=[FINDS], threshold=0.5, size=SMALL_SIZE)
    return Small(folder / "bundle", bundle.read(folder / "bundle"), first, fusion, detector)
