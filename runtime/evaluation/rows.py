"""Measuring rows of fused pictures: fusion metrics of each pair, and what the heads find in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import NamedTuple, TypeAlias, cast

import cv2
import numpy as np

from tdfusion_edge import detection_scores
from tdfusion_edge.bundle import Bundle
from tdfusion_edge.color import U8
from tdfusion_edge.detections import Detections
from tdfusion_edge.errors import InputMissing
from tdfusion_edge.images import by_stem, read_luma8
from tdfusion_edge.masks import Mask
from tdfusion_edge.metrics import Scores, evaluate, mean
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.pairs.reader import require_equal_sizes
from tdfusion_edge.runtime.engines import Choice, Engine
from tdfusion_edge.runtime.evaluation.labels import Measured, measured
from tdfusion_edge.runtime.heads.boxes import open_detector
from tdfusion_edge.runtime.heads.masks import open_segmenter
from tdfusion_edge.runtime.picture.fusion import unit_inputs
from tdfusion_edge.runtime.picture.stretch import F32, Stretch, StretchName

Fuse: TypeAlias = Callable[[LabelledPair], U8]
"""A pair to fused luma, uint8 (H, W)."""


class Found(NamedTuple):
    """What the heads say of one picture; None where there is no such head, or it was not asked."""

    boxes: Detections | None = None
    mask: Mask | None = None


Look: TypeAlias = Callable[[U8 | F32], Found]
"""A luma, uint8 (H, W) or float32 (H, W) in [0, 1], to what the heads find in it."""


class Fused(NamedTuple):
    """One fused picture."""

    picture: U8
    """(H, W) uint8, what is shown."""
    luma: U8 | F32
    """What the heads see: of a network, its output before the stretch."""


Row: TypeAlias = Callable[[LabelledPair], Fused]
"""A pair to a fused picture."""


BASELINES: Mapping[str, Fuse] = {
    "infrared": lambda pair: pair.infrared,
    "visible": lambda pair: pair.visible,
    "average": lambda pair: cast(U8, cv2.addWeighted(pair.infrared, 0.5, pair.visible, 0.5, 0)),
    "maximum": lambda pair: cast(U8, np.maximum(pair.infrared, pair.visible)),
}
"""What needs no network."""


def score(pairs: Sequence[LabelledPair], fuse: Fuse) -> Scores:
    """Mean scores of ``fuse`` over these pairs; raises as :func:`measure`."""
    (row,) = measure(pairs, {"": as_row(fuse)}).values()
    return mean(pair.scores for pair in row)


def measure(
    pairs: Sequence[LabelledPair], rows: Mapping[str, Row], look: Look | None = None
) -> dict[str, list[Measured]]:
    """Measure every row on every pair, in their order; a pair is read once for all rows.

    Several threads read pairs and call ``rows`` and ``look``.

    Raises:
        RequestError: the two pictures of a pair, or the fused one, differ in size, or one has 16 bits.
        SourceError: a picture cannot be read.
    """

    def one(index: int) -> list[Measured]:
        pair = pairs[index]
        return [_measured(pair, row(pair), look) for row in rows.values()]

    # The metrics are NumPy and OpenCV, which release the interpreter: threads are enough.
    with ThreadPoolExecutor(cv2.getNumberOfCPUs()) as pool:
        columns = list(pool.map(one, range(len(pairs))))
    return {name: [column[place] for column in columns] for place, name in enumerate(rows)}


def _measured(pair: LabelledPair, fused: Fused, look: Look | None) -> Measured:
    require_equal_sizes(pair.name, "fused", fused.picture, pair.visible)
    found = Found() if look is None else look(fused.luma)
    scores = evaluate(fused.picture, pair.infrared, pair.visible)
    return measured(pair, scores, found.boxes, found.mask)


def as_row(fuse: Fuse) -> Row:
    """A row whose pictures are shown and seen as they are."""

    def row(pair: LabelledPair) -> Fused:
        picture = fuse(pair)
        return Fused(picture, picture)

    return row


def by_network(engine: Engine, stretch: StretchName) -> Row:
    """A row that a fusion graph makes."""

    def row(pair: LabelledPair) -> Fused:
        luma: F32 = engine.run(unit_inputs(pair.infrared, pair.visible))["fused"][0, 0]
        return Fused(Stretch(stretch).apply(luma, 0), luma)

    return row


def look_of(opened: Bundle, choice: Choice, kind: str) -> Look:
    """The bundle's head of a kind, for several threads; a detector goes down to the lowest score that counts.

    Raises:
        BundleError: the graph is not what the manifest says, or not there in this precision.
        EngineError: the back end cannot load it.
    """
    lock = Lock()  # its input buffer is made once
    if kind == "mask":
        segmenter = open_segmenter(opened, choice)
        assert segmenter is not None  # the labels were mapped to its classes

        def segment(luma: U8 | F32) -> Found:
            with lock:
                return Found(mask=segmenter.segment(luma))

        return segment
    detector = open_detector(opened, choice, threshold=detection_scores.THRESHOLD)
    assert detector is not None

    def detect(luma: U8 | F32) -> Found:
        with lock:
            return Found(detector.detect(luma))

    return detect


def from_folder(folder: Path) -> Row:
    """A row of fused pictures that lie in ``folder``.

    Raises:
        InputMissing: there is no such folder; the row itself raises it where a picture is missing.
    """
    pictures = by_stem(folder)

    def fuse(pair: LabelledPair) -> U8:
        if pair.name not in pictures:
            raise InputMissing(f"there is no fused picture '{pair.name}' to compare")
        return read_luma8(pictures[pair.name])

    return as_row(fuse)
