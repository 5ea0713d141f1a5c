"""What a training has come to: fusion metrics, and the task network's scores on the fused pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from tdfusion_edge import detection_scores, mask_scores
from tdfusion_edge.color import U8
from tdfusion_edge.detection_scores import Truth
from tdfusion_edge.detections import Detections, found_in
from tdfusion_edge.errors import ConfigError
from tdfusion_edge.metrics import evaluate, mean
from tdfusion_edge.pairs import Boxes, LabelledPair
from tdfusion_edge.resize import as_seen, resized_planes
from tdfusion_edge.train.data.tensors import chroma_tensor
from tdfusion_edge.train.fusing import Fuser, fuse, unfused
from tdfusion_edge.train.models.task import BoxPrediction, MaskPrediction, TaskNetwork, task_of
from tdfusion_edge.train.modes import in_mode
from tdfusion_edge.train.recipe import Task

Prediction = TypeVar("Prediction", BoxPrediction, MaskPrediction)


def validate(
    networks: Mapping[str, nn.Module],
    samples: Sequence[LabelledPair],
    task: Task | None,
    alone: Fuser = unfused,
) -> dict[str, float]:
    """Metrics by name, over whole pictures and without any stretch.

    Args:
        networks: ``fusion``, ``task`` or both.
        samples: Labelled if there is a task network.
        task: The recipe's.
        alone: What a task network alone sees of a pair.
    """
    fusion, seer = networks.get("fusion"), task_of(networks)
    scorer = None if task is None or seer is None else TaskScorer(seer, task)
    fused_scores = []
    with in_mode(list(networks.values()), training=False):
        # One pair at a time: of a large data set neither the pairs nor their pictures need fit in memory.
        for sample in samples:
            if fusion is None:
                picture = alone(sample)
            else:
                picture = fuse(fusion, sample)
                fused_scores.append(evaluate(picture, sample.infrared, sample.visible))
            if scorer is not None:
                scorer.add(picture, sample)
    figures: dict[str, float] = mean(fused_scores)._asdict() if fused_scores else {}
    return figures | ({} if scorer is None else scorer.figures())


class TaskScorer:
    """Collects what T makes of pictures: mAP50 and mAP50:95, or mIoU, overall and by class.

    Args:
        network: T, in evaluation mode.
        task: The recipe's.
    """

    def __init__(self, network: TaskNetwork, task: Task) -> None:
        self._network, self._task = network, task
        self._boxes = network.labels == "boxes"
        self._found: list[Detections] = []
        self._truths: list[Truth] = []
        self._matrix = np.zeros((len(task.classes), len(task.classes)), np.int64)

    def add(self, picture: U8, sample: LabelledPair) -> None:
        """Let T look at one picture in the pair's colours, and compare what it finds with the labels."""
        if self._boxes:
            self._found.append(detect(self._network, picture, sample, self._task))
            self._truths.append(Truth(*(sample.boxes or Boxes.none())))
        elif sample.mask is not None:
            predicted = segment(self._network, picture, sample, self._task)
            self._matrix += mask_scores.confusion(sample.mask, predicted, len(self._task.classes))

    def figures(self) -> dict[str, float]:
        """The scores by name; what has none, for want of labels, is left out."""
        names = self._task.classes
        figures: dict[str, float | None]
        if self._boxes:
            scores = detection_scores.score(self._found, self._truths, names)
            figures = {"map50": scores.map50, "map": scores.map50_95}
            figures |= {f"map50 {name}": row.map50 for name, row in scores.per_class.items()}
        else:
            result = mask_scores.score(self._matrix, names)
            figures = {"miou": result.miou, **{f"iou {n}": row.iou for n, row in result.per_class.items()}}
        return {name: value for name, value in figures.items() if value is not None}


def detect(
    network: TaskNetwork,
    picture: U8,
    pair: LabelledPair,
    task: Task,
    threshold: float = detection_scores.THRESHOLD,
) -> Detections:
    """What T finds in one 8-bit picture (H, W) of a pair, boxes in its pixels.

    Beside the picture it sees of the pair's colours and infrared what it takes.
    """
    output = _run(network, picture, pair, task, BoxPrediction)
    return found_in(
        output.boxes[0].float().cpu().numpy(),
        output.scores[0].float().cpu().numpy(),
        task.classes,
        seen=(task.width, task.height),
        picture=(picture.shape[1], picture.shape[0]),
        threshold=threshold,
    )


def segment(network: TaskNetwork, picture: U8, pair: LabelledPair, task: Task) -> U8:
    """Class of every pixel of one 8-bit picture (H, W) of a pair, uint8 (H, W), seen as by :func:`detect`."""
    output = _run(network, picture, pair, task, MaskPrediction)
    full = nn.functional.interpolate(output.logits.float(), picture.shape, mode="bilinear")
    return cast(U8, full[0].argmax(dim=0).to(torch.uint8).cpu().numpy())


def _run(
    network: TaskNetwork, picture: U8, pair: LabelledPair, task: Task, kind: type[Prediction]
) -> Prediction:
    device = next(network.parameters()).device

    def luma(plane: U8) -> Tensor:
        return torch.from_numpy(as_seen(plane, task.width, task.height))[None, None].to(device)

    colours: Tensor | None = None
    if network.colour and (chroma := pair.chroma) is not None:
        colours = chroma_tensor([resized_planes(chroma, task.width, task.height)])
        colours = None if colours is None else colours.to(device)
    infrared = luma(pair.infrared) if network.infrared else None
    with torch.inference_mode():
        output = network.decode(network.look(luma(picture), colours, infrared))
    if not isinstance(output, kind):
        raise ConfigError(
            "what the task network's decode() gives", expected=kind.__name__, got=type(output).__name__
        )
    return output


def selection_score(figures: Mapping[str, float], choose_by: str) -> float:
    """What makes a checkpoint the best: the task's strict score, or the four metrics that need both sources.

    SCD is halved so that it weighs about as much as the others.
    """
    if choose_by == "task":
        return figures["map"] if "map" in figures else figures["miou"]
    return figures["scd"] / 2 + figures["vif"] + figures["qabf"] + figures["ssim"]
