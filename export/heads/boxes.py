"""Heads that give boxes: what their export has of its own."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import torch

from tdfusion_edge.checkpoint import TaskView
from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.heads.kind import Gap, Kind, pictures, require_finite
from tdfusion_edge.export.precisions import StayFloat
from tdfusion_edge.runtime.engines.ort import onnxruntime
from tdfusion_edge.train.models.task import BoxPrediction, TaskNetwork

BOX_TOLERANCE = 1e-2
"""Pixels. A coordinate is a sum of hundreds of pixels and an expectation over a softmax that a stride of up
to 32 multiplies: float32 alone leaves 1e-4 there, and labels are no better than a pixel."""
SCORE_TOLERANCE = 1e-4


def compare(network: TaskNetwork, graph: bytes, view: TaskView) -> Gap:
    """Largest difference of a score, and of a box's side in pixels of the input, over several pictures.

    Boxes are compared as the runtime uses them, cut at the edges of the picture.

    Raises:
        ExportError: one passes its tolerance, or is not finite.
    """
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    edges = np.array([view.width, view.height] * 2, np.float32)
    boxes_px, score = 0.0, 0.0
    for given in pictures(view, network.planes):
        with torch.inference_mode():
            wanted = network.graph_output(**{name: torch.from_numpy(one) for name, one in given.items()})
        boxes, scores = (tensor.numpy() for tensor in wanted)
        got = session.run(list(BoxPrediction._fields), given)
        require_finite(KIND.title, boxes, scores, *got)
        boxes_px = max(boxes_px, float(np.abs(np.clip(boxes, 0, edges) - np.clip(got[0], 0, edges)).max()))
        score = max(score, float(np.abs(scores - got[1]).max()))
    if boxes_px > BOX_TOLERANCE or score > SCORE_TOLERANCE:
        raise ExportError(
            "the detector's ONNX graph differs from PyTorch",
            expected=f"at most {BOX_TOLERANCE} pixels and {SCORE_TOLERANCE} of score",
            got=f"{boxes_px:.2e} and {score:.2e}",
        )
    return Gap(score, {"box_error_px": boxes_px})


KIND = Kind(
    head="detector",
    title="detector",
    finds="and finds: {classes}. A score above {threshold:g} counts where nothing else is asked for.",
    scored=True,
    in_one_pass=True,
    # Measured on yolo p, 116 boxes in 60 pairs of MSRS, mean over three calibrations on 16 others: 96.6 % of
    # them kept and 4.3 % added, instead of 93.1 % and 6.6 % where all are INT8 (the six last in float32:
    # 94.0 % and 5.5 %), for 6 % of the multiplications. Eight would keep 97.7 % and add 3.2 %, for 12 %.
    stay_float=StayFloat(first=4),
    figures=MappingProxyType(
        {
            "box_error_px": "boxes by {:.1e} pixels",
            "boxes_kept": "{:.1%} of the boxes kept",
            "map50_change": "mAP50 by {:+.4f}",
        }
    ),
    compare=compare,
)
