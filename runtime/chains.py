"""The networks of a bundle one behind the other, without cameras: what parity is measured on."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from tdfusion_edge import detection_scores
from tdfusion_edge.bundle import Bundle
from tdfusion_edge.color import U8
from tdfusion_edge.detections import Detections
from tdfusion_edge.runtime.commands.engine_options import progress_shower
from tdfusion_edge.runtime.engines import Choice, Engine, Opened, open_graph
from tdfusion_edge.runtime.evaluation.parity import Chain, Fuse
from tdfusion_edge.runtime.evaluation.parity_boxes import LEEWAY
from tdfusion_edge.runtime.folded import Folded, open_folded
from tdfusion_edge.runtime.heads.boxes import F32, open_detector
from tdfusion_edge.runtime.heads.masks import open_segmenter
from tdfusion_edge.runtime.picture.fusion import UNIT, unit_inputs
from tdfusion_edge.runtime.picture.stretch import UNIT as UNIT_LIMITS

REFERENCE = "onnxruntime"
"""The back end that the others are measured against, in float32."""


def open_chain(
    opened: Bundle, choice: Choice, stack: ExitStack, *, scored: bool = False
) -> tuple[Opened, Chain]:
    """A bundle's networks as the parity measures them, closed by ``stack``.

    Args:
        opened: The bundle.
        choice: Back end, precision and threads.
        stack: Closes the engines.
        scored: The detector goes down to the lowest score that an average precision counts.

    Raises:
        BundleError: a graph is not there in this precision.
        EngineError: the back end cannot load one.
    """
    ran = open_graph(opened, "fusion", choice, progress_shower("fusion"))
    stack.callback(ran.engine.close)
    least = least_score(opened, scored=scored)
    detector = open_detector(opened, choice, threshold=least, on_progress=progress_shower("detector"))
    if detector is not None:
        stack.callback(detector.close)
    segmenter = open_segmenter(opened, choice, progress_shower("segmentation"))
    if segmenter is not None:
        stack.callback(segmenter.close)
    return ran, Chain(
        fuser(ran.engine),
        None if detector is None else detector.detect,
        None if segmenter is None else segmenter.segment,
    )


class Pass:
    """A pipeline graph as a chain: a grey picture that is not stretched is its fused luma, in 8 bits.

    Args:
        folded: The graph; each pair is of a size that it serves.
    """

    def __init__(self, folded: Folded) -> None:
        self._folded = folded
        self._last: tuple[F32, dict[str, Any]] | None = None

    def fuse(self, infrared: U8, visible: U8) -> F32:
        """The fused luma, and with it all that :meth:`detect` will be asked for."""
        output = self._folded.run(infrared, visible, UNIT_LIMITS)
        fused: F32 = output["fused"][..., 0] * UNIT
        self._last = fused, output
        return fused

    def detect(self, fused: F32) -> Detections:
        """What the same pass found.

        Raises:
            ValueError: the picture is not the last one that was fused.
        """
        if self._last is None or self._last[0] is not fused:
            raise ValueError("the pass was of another picture")
        return self._folded.found(self._last[1])


def open_pass(
    opened: Bundle, choice: Choice, stack: ExitStack, *, scored: bool = False
) -> tuple[Folded, Chain]:
    """A bundle's pipeline graph as the parity measures it, with the arguments of :func:`open_chain`.

    Raises:
        BundleError: there is none, or not in this precision.
        EngineError: the back end cannot load it.
    """
    least = least_score(opened, scored=scored)
    folded = open_folded(opened, choice, threshold=least, on_progress=progress_shower("pipeline"))
    stack.callback(folded.close)
    one = Pass(folded)
    return folded, Chain(one.fuse, one.detect if opened.manifest.head("boxes") else None)


def least_score(opened: Bundle, *, scored: bool) -> float:
    """From which score on a chain's boxes are wanted."""
    least = max(0.0, opened.manifest.score_threshold - LEEWAY)
    return min(least, detection_scores.THRESHOLD) if scored else least


def fuser(engine: Engine) -> Fuse:
    """A fusion engine on 8-bit lumas."""

    def fuse(infrared: U8, visible: U8) -> F32:
        fused: F32 = engine.run(unit_inputs(infrared, visible))["fused"][0, 0]
        return fused

    return fuse
