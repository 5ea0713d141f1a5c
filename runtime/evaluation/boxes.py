"""The labels of an evaluation, and the detections of its rows scored against them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdfusion_edge import detection_scores
from tdfusion_edge.bundle import Bundle
from tdfusion_edge.color import U8
from tdfusion_edge.detection_scores import DetectionScores, Truth
from tdfusion_edge.detections import Detections
from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.pairs.labels import SMALLEST
from tdfusion_edge.pairs.yolo import read_yolo
from tdfusion_edge.runtime.engines import Choice
from tdfusion_edge.runtime.evaluation.rows import Detect, Measured
from tdfusion_edge.runtime.heads.boxes import open_detector
from tdfusion_edge.runtime.picture.stretch import F32


class Shares(NamedTuple):
    """Labelled objects of one picture, whose size is not known before it is read."""

    corners: npt.NDArray[np.float64]
    """(N, 4) float64, x1 y1 x2 y2 in shares of the picture's width and height."""
    classes: npt.NDArray[np.int64]
    """(N,) int64, index into the class names."""


class Labels(NamedTuple):
    """Labelled objects by stem, of a bundle's classes."""

    objects: dict[str, Shares]
    classes: tuple[str, ...]


def read_labels(
    data: Path, place: str, names: Sequence[str], classes: tuple[str, ...], known: tuple[str, ...]
) -> Labels:
    """Labels of the pictures with these stems.

    Args:
        data: Folder that the labels' path is relative to.
        place: ``yolo:FOLDER``.
        names: Stems.
        classes: Names of the labels' classes by number; none: those of ``known``.
        known: The detector's class names, compared without regard to case. Labels of other classes
            are left out.

    Raises:
        RequestError: another format, a file that is not of this format, a class without a name, or
            the scoring library is not installed.
        InputMissing: a picture has no label file.
    """
    format_, _, folder = place.partition(":")
    if format_ != "yolo" or not folder:
        raise RequestError(f"--labels {place}", expected="yolo:FOLDER, the folder relative to --data")
    detection_scores.score((), (), known)  # says now, not after an hour, what is not installed
    named = classes or known
    index = {name.casefold(): number for number, name in enumerate(known)}
    ids = np.array([index.get(name.casefold(), -1) for name in named], np.int64)
    if (ids < 0).all():
        raise RequestError(
            "the labels name no class that the bundle's detector knows",
            expected=", ".join(known),
            got=", ".join(named),
        )
    objects = {}
    for name in names:
        corners, classes_of = _read_one(data / folder / f"{name}.txt", named)
        of_known = ids[classes_of]
        objects[name] = Shares(corners[of_known >= 0], of_known[of_known >= 0])
    return Labels(objects, known)


def class_note(named: Sequence[str], known: Sequence[str]) -> str | None:
    """Which classes of the labels and of the detector are not in the other; None where none is.

    Args:
        named: The labels' classes, compared without regard to case.
        known: The detector's.
    """
    of_labels, of_detector = ({name.casefold() for name in names} for names in (named, known))
    unknown = [name for name in named if name.casefold() not in of_detector]
    unlabelled = [name for name in known if name.casefold() not in of_labels]
    notes = []
    if unknown:
        notes.append(f"left out {', '.join(unknown)}, which the bundle's detector does not know")
    if unlabelled:
        notes.append(f"not scored {', '.join(unlabelled)}, for which there is no class of labels")
    return f"labels: {'; '.join(notes)}" if notes else None


def _read_one(path: Path, named: tuple[str, ...]) -> Shares:
    try:
        class_ids, corners = read_yolo(path)
    except InputMissing as error:
        raise InputMissing(
            f"there is no label file {path}", hint="An empty file says that a picture shows no object."
        ) from error
    if len(class_ids) and class_ids.max() >= len(named):
        raise RequestError(
            f"{path} has a class without a name",
            expected=f"0 to {len(named) - 1} ({', '.join(named)})",
            got=str(class_ids.max()),
            hint="Name the classes of the labels in the order of their numbers: --classes NAME,NAME",
        )
    return Shares(corners, class_ids)


def open_for_scoring(opened: Bundle, choice: Choice) -> Detect:
    """The bundle's detector down to the lowest score that counts, for several threads.

    Raises:
        RequestError: the bundle has none.
    """
    detector = open_detector(opened, choice, threshold=detection_scores.THRESHOLD)
    if detector is None:
        raise RequestError(
            f"--labels: the bundle '{opened.manifest.name}' has no detector",
            expected="a detector graph",
            got=", ".join(opened.manifest.graphs),
            hint="Export a training with a detector as its task, or leave --labels out.",
        )
    lock = Lock()  # its input buffer is made once

    def detect(luma: U8 | F32) -> Detections:
        with lock:
            return detector.detect(luma)

    return detect


def score_boxes(pairs: Sequence[Measured], labels: Labels) -> DetectionScores:
    """Scores of what was found in these pairs, which a detector has measured."""
    truths = [_truth(labels.objects[pair.name], *pair.size) for pair in pairs]
    found = [pair.found for pair in pairs if pair.found is not None]
    return detection_scores.score(found, truths, labels.classes)


def _truth(objects: Shares, width: int, height: int) -> Truth:
    """In pixels, without what a training leaves out as too small."""
    corners = (objects.corners * [width, height, width, height]).astype(np.float32)
    kept = ((corners[:, 2:] - corners[:, :2]) >= SMALLEST).all(axis=1)
    return Truth(corners[kept], objects.classes[kept])
