"""What a training has come to: fusion metrics, and the task network's scores on the fused pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import cv2
import numpy as np
import torch
from torch import nn

from tdfusion_edge import detection_scores, mask_scores
from tdfusion_edge.color import U8
from tdfusion_edge.detection_scores import Truth
from tdfusion_edge.detections import Detections, suppress
from tdfusion_edge.metrics import evaluate, mean
from tdfusion_edge.train.data.feed import to_tensor
from tdfusion_edge.train.data.types import Boxes, Sample
from tdfusion_edge.train.fusing import fuse
from tdfusion_edge.train.models.task import BoxPrediction, MaskPrediction
from tdfusion_edge.train.recipe import Task

NMS_OVERLAP = 0.6


def validate(
    networks: Mapping[str, nn.Module], samples: Sequence[Sample], task: Task | None
) -> dict[str, float]:
    """Metrics by name, over whole pictures and without any stretch.

    Args:
        networks: ``fusion``, ``task`` or both; a task network alone sees the mean of both sensors.
        samples: Labelled if there is a task network.
        task: The recipe's.
    """
    modes = {role: network.training for role, network in networks.items()}
    for network in networks.values():
        network.eval()
    fusion = networks.get("fusion")
    figures: dict[str, float] = {}
    # Where T is trained alone, both sides of a sample show its picture; the mean is that picture, too.
    pictures = [fuse(fusion, one) if fusion is not None else mean_picture(one) for one in samples]
    if fusion is not None:
        pairs = zip(pictures, samples, strict=True)
        figures |= mean([evaluate(shown, one.infrared, one.visible) for shown, one in pairs])._asdict()
    if task is not None and "task" in networks:
        figures |= score_task(networks["task"], pictures, samples, task)
    for role, network in networks.items():
        network.train(modes[role])
    return figures


def mean_picture(sample: Sample) -> U8:
    """Mean of both sensors, (H, W) uint8."""
    if sample.infrared is sample.visible:
        return sample.visible
    return cast(U8, cv2.addWeighted(sample.infrared, 0.5, sample.visible, 0.5, 0))


def score_task(
    network: nn.Module, pictures: Sequence[U8], samples: Sequence[Sample], task: Task
) -> dict[str, float]:
    """mAP50 and mAP50:95, or mIoU, overall and by class, of T on these pictures."""
    if cast("Any", network).labels == "boxes":
        found = [detect(network, shown, task) for shown in pictures]
        truths = [Truth(*(one.boxes or Boxes.none())) for one in samples]
        scores = detection_scores.score(found, truths, task.classes)
        by_class = {f"map50 {name}": row.map50 for name, row in scores.per_class.items()}
        figures = {"map50": scores.map50, "map": scores.map50_95, **by_class}
    else:
        matrix = sum(
            mask_scores.confusion(one.mask, segment(network, shown, task), len(task.classes))
            for shown, one in zip(pictures, samples, strict=True)
            if one.mask is not None
        )
        result = mask_scores.score(cast("Any", matrix), task.classes)
        figures = {"miou": result.miou, **{f"iou {n}": row.iou for n, row in result.per_class.items()}}
    return {name: value for name, value in figures.items() if value is not None}


def detect(
    network: nn.Module, picture: U8, task: Task, threshold: float = detection_scores.THRESHOLD
) -> Detections:
    """What T finds in one 8-bit picture, boxes in its pixels."""
    output = _run(network, picture, task)
    assert isinstance(output, BoxPrediction)
    height, width = picture.shape
    scale = np.array([width / task.width, height / task.height] * 2, np.float32)
    limits = np.array([width, height] * 2, np.float32)
    boxes = np.clip(output.boxes[0].float().cpu().numpy() * scale, 0, limits)
    return suppress(
        boxes, output.scores[0].float().cpu().numpy(), task.classes, threshold=threshold, overlap=NMS_OVERLAP
    )


def segment(network: nn.Module, picture: U8, task: Task) -> U8:
    """Class of every pixel of one 8-bit picture, uint8 (H, W)."""
    output = _run(network, picture, task)
    assert isinstance(output, MaskPrediction)
    full = nn.functional.interpolate(output.logits.float(), picture.shape, mode="bilinear")
    return cast(U8, full[0].argmax(dim=0).to(torch.uint8).cpu().numpy())


def _run(network: nn.Module, picture: U8, task: Task) -> BoxPrediction | MaskPrediction:
    # The runtime resizes alike; at a half, INTER_AREA is what the training's bilinear map gives.
    shown = cv2.resize(picture, (task.width, task.height), interpolation=cv2.INTER_AREA)
    device = next(network.parameters()).device
    with torch.inference_mode():
        t = cast("Any", network)
        return cast("BoxPrediction | MaskPrediction", t.decode(t(to_tensor(cast(U8, shown)).to(device))))


def selection_score(figures: Mapping[str, float], choose_by: str) -> float:
    """What makes a checkpoint the best: the task's strict score, or the four metrics that need both sources.

    SCD is halved so that it weighs about as much as the others.
    """
    if choose_by == "task":
        return figures["map"] if "map" in figures else figures["miou"]
    return figures["scd"] / 2 + figures["vif"] + figures["qabf"] + figures["ssim"]
