"""Masks: a segmentation network gives every pixel of the fused picture a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tdfusion_edge.bundle import Graph, HeadInfo
from tdfusion_edge.frames import Image
from tdfusion_edge.mask_scores import MaskScores
from tdfusion_edge.masks import Mask
from tdfusion_edge.runtime.engines import Engine
from tdfusion_edge.runtime.heads.base import Kind, Seen
from tdfusion_edge.runtime.heads.mask.compare import MaskComparison
from tdfusion_edge.runtime.heads.mask.draw import tinted
from tdfusion_edge.runtime.heads.mask.run import Segmenter
from tdfusion_edge.runtime.heads.mask.score import Tally, score, tally


class MaskKind(Kind):
    """Heads that give a :class:`~tdfusion_edge.masks.Mask`."""

    stage = "segment"
    title = "segmentation network"
    verb = "segments"

    def open(self, graph: Graph, engine: Engine, info: HeadInfo, threshold: float | None = None) -> Segmenter:
        """A segmentation network at work, as :class:`~tdfusion_edge.runtime.heads.base.Kind` says."""
        return Segmenter(graph, engine, info.classes)

    def draw(self, picture: Image, found: Mask) -> Image:
        """The picture tinted by class, all but the first one."""
        return tinted(picture, found)

    def record(self, found: Mask) -> Mapping[str, Any]:
        """``class_shares``, the share of the pixels that each class has."""
        return {"class_shares": found.shares()}

    def tally(self, seen: Seen) -> Tally | None:
        """Pixels by the class that is labelled and the one that was found."""
        return tally(seen)

    def score(self, tallies: Sequence[Tally | None]) -> MaskScores | None:
        """Mean IoU and accuracy."""
        return score(tallies)

    def comparison(self, threshold: float) -> MaskComparison:
        """Which pixels get the same class from two networks; there is no score, and so no threshold."""
        del threshold
        return MaskComparison()
