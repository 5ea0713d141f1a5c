"""The networks of a bundle one behind the other, without cameras: what parity is measured on."""

from __future__ import annotations

from contextlib import ExitStack

from tdfusion_edge import detection_scores
from tdfusion_edge.bundle import Bundle
from tdfusion_edge.color import U8
from tdfusion_edge.runtime.detection import F32, open_detector
from tdfusion_edge.runtime.engine_options import progress_shower
from tdfusion_edge.runtime.engines import Choice, Engine, Opened, open_graph
from tdfusion_edge.runtime.fusion import unit_inputs
from tdfusion_edge.runtime.parity import Chain, Fuse
from tdfusion_edge.runtime.parity_boxes import LEEWAY
from tdfusion_edge.runtime.segmentation import open_segmenter

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
    least = max(0.0, opened.manifest.score_threshold - LEEWAY)
    if scored:
        least = min(least, detection_scores.THRESHOLD)
    detector = open_detector(opened, choice, threshold=least, on_progress=progress_shower("detector"))
    if detector is not None:
        stack.callback(detector.close)
    segmenter = open_segmenter(opened, choice, progress_shower("segmentation"))
    if segmenter is not None:
        stack.callback(segmenter.close)
    return ran, Chain(
        fuser(ran.engine),
        None if detector is None else detector.detect,
        None if segmenter is None else segmenter.classes_of,
    )


def fuser(engine: Engine) -> Fuse:
    """A fusion engine on 8-bit lumas."""

    def fuse(infrared: U8, visible: U8) -> F32:
        fused: F32 = engine.run(unit_inputs(infrared, visible))["fused"][0, 0]
        return fused

    return fuse
