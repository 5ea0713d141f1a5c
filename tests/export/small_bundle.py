"""A bundle that is small enough to export for many tests, and says all that a bundle can say."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from checkpoints import MADE_UP, save
from taught import taught_edge
from tiny_task import TinyDetector

from tdfusion_edge import bundle, checkpoint
from tdfusion_edge.bundle import Bundle
from tdfusion_edge.export.assemble import export
from tdfusion_edge.train.models.edge import Edge

FINDS = "tiny_task:TinyDetector"
VIEW = checkpoint.TaskView(classes=("person", "car", "lamp"), height=48, width=64)
SIZE = (160, 120)
LABELLED = bundle.TrainingData(name="labelled", terms="research", pairs=7)


class Checkpoints(NamedTuple):
    """What the bundle is made of."""

    fusion_path: Path
    """Of the fusion network, a loss network of no known class, and an older detector."""
    detector_path: Path
    fusion: Edge
    detector: TinyDetector


class Small(NamedTuple):
    """The bundle: fusion network, detector and the one-pass graph, in FP32 and FP16."""

    path: Path
    opened: Bundle
    detector: TinyDetector


def seen(kind: type[TinyDetector] = TinyDetector, seed: int = 0) -> TinyDetector:
    """A detector whose batch norm has seen something: its fresh state would be folded without a trace."""
    torch.manual_seed(seed)
    made = kind(classes=3)
    with torch.no_grad():
        for _ in range(4):
            made(torch.rand(2, 1, 48, 64))
    return made.eval()


def saved(folder: Path) -> Checkpoints:
    """Checkpoints of networks that were never trained."""
    fusion, detector = taught_edge(width=4, depth=1), seen(seed=1)
    networks: dict[str, tuple[torch.nn.Module, str, dict[str, Any]]] = {
        "fusion": (fusion, "edge", {"width": 4, "depth": 1}),
        "loss": (torch.nn.Linear(2, 2), "nowhere:Loss", {}),
        "task": (seen(seed=5), FINDS, {}),
    }
    first = save(
        folder / "edge.safetensors",
        networks,
        task=VIEW,
        strategy="tdfusion",
        metrics={"qabf": 0.5, "map50": 0.125},
    )
    again = save(
        folder / "detector.safetensors",
        {"task": (detector, FINDS, {})},
        strategy="task",
        recipe="det",
        task=VIEW,
        metrics={"map50": 0.75, "map50_95": 0.5, "qabf": 0.875},
        training_data=(MADE_UP, LABELLED),
        limits=("Only by day.", "Only a | test."),
        settings={"optimiser": {"steps": 5}},
    )
    return Checkpoints(first, again, fusion, detector)


def exported(made: Checkpoints, path: Path) -> Small:
    """The bundle of all of them."""
    export([made.fusion_path, made.detector_path], path, allowed=[FINDS], threshold=0.5, size=SIZE)
    return Small(path, bundle.read(path), made.detector)
