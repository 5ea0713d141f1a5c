"""From an aligned pair to what is shown of it and found in it: network by network, or in one pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from tdfusion_edge.detections import Detections
from tdfusion_edge.frames import Image
from tdfusion_edge.masks import Mask
from tdfusion_edge.runtime.folded import Folded
from tdfusion_edge.runtime.heads.boxes import Detector, shown
from tdfusion_edge.runtime.heads.masks import Segmenter
from tdfusion_edge.runtime.picture.fusion import Aligned, Fusion

Timed = Callable[[str], AbstractContextManager[None]]
"""Times what is done under it, as a stage of this name."""


class Shown(NamedTuple):
    """What became of one pair."""

    picture: Image
    """uint8 (H, W, 3) BGR, or (H, W) where visible is grey."""
    found: Detections
    mask: Mask | None = None


def show(
    aligned: Aligned,
    fusion: Fusion,
    detector: Detector | None = None,
    segmenter: Segmenter | None = None,
    folded: Folded | None = None,
    timed: Timed = lambda stage: nullcontext(),
) -> Shown:
    """Fuse, look and compose.

    Args:
        aligned: From ``fusion``.
        fusion: Has the fusion network and the stretch.
        detector: None: nothing is looked for.
        segmenter: None: no pixel gets a class. It sees the fused luma, which a pipeline does not give.
        folded: Takes the pairs that it can; the others, and one sensor alone, go network by network.
        timed: Times the stages ``network``, ``detect``, ``segment`` and ``compose``.

    Raises:
        EngineError: a network failed.
        RequestError: the pair does not fit a pipeline that was demanded.
    """
    if folded is not None and segmenter is None and folded.takes(aligned, fusion.stretch):
        with timed("network"):
            picture, output = folded.show(aligned, fusion.stretch)
        if detector is None:
            return Shown(picture, Detections.empty())
        with timed("detect"):
            return Shown(picture, folded.found(output))
    with timed("network"):
        fused = fusion.fuse(aligned)
    found = Detections.empty()
    if detector is not None:
        with timed("detect"):
            found = detector.detect(shown(aligned, fused))
    mask = None
    if segmenter is not None:
        with timed("segment"):
            mask = segmenter.segment(shown(aligned, fused))
    with timed("compose"):
        return Shown(fusion.picture(aligned, fused), found, mask)
