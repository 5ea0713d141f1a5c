"""Boxes: a detector looks at the fused picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tdfusion_edge.bundle import Graph, HeadInfo
from tdfusion_edge.bundle.manifest import SCORE_THRESHOLD
from tdfusion_edge.detection_scores import DetectionScores
from tdfusion_edge.detections import Detections
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime.engines import Engine
from tdfusion_edge.runtime.heads.base import Kind, Seen
from tdfusion_edge.runtime.heads.boxes.compare import BoxesComparison
from tdfusion_edge.runtime.heads.boxes.draw import draw
from tdfusion_edge.runtime.heads.boxes.run import Detector
from tdfusion_edge.runtime.heads.boxes.score import Tally, score, tally


class BoxesKind(Kind):
    """Heads that find :class:`~tdfusion_edge.detections.Detections`."""

    stage = "detect"
    title = "detector"
    verb = "detects"

    def open(self, graph: Graph, engine: Engine, info: HeadInfo, threshold: float | None = None) -> Detector:
        """A detector at work, as :class:`~tdfusion_edge.runtime.heads.base.Kind` says."""
        given = SCORE_THRESHOLD if info.score_threshold is None else info.score_threshold
        return Detector(graph, engine, info.classes, threshold=given if threshold is None else threshold)

    def draw(self, picture: Image, found: Detections) -> Image:
        """The picture with boxes, each with its class and score."""
        return draw(picture, found)

    def record(self, found: Detections) -> Mapping[str, Any]:
        """``detections``, a list of dictionaries."""
        return {"detections": found.to_rows()}

    def counts(self, found: Detections) -> Iterable[str]:
        """The class of every box."""
        return (found.names[class_id] for class_id in found.class_ids)

    def tally(self, seen: Seen) -> Tally | None:
        """Boxes that were found beside those that are labelled."""
        return tally(seen)

    def score(self, tallies: Sequence[Tally | None]) -> DetectionScores | None:
        """Average precisions."""
        return score(tallies)

    def comparison(self, threshold: float) -> BoxesComparison:
        """Which boxes two detectors have in common."""
        return BoxesComparison(threshold)
