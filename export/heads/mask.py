"""Heads that give the class of every pixel: what their export has of its own.

The graph gives classes and not the scores of all classes: so one byte a pixel leaves a GPU, and no back end
has to enlarge scores as the network does, by pixel centres. Scores are compared all the same: they stand in
the graph before the choice.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import cast

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from tdfusion_edge.checkpoint import TaskView
from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.heads.kind import Gap, Kind, pictures, require_finite
from tdfusion_edge.export.precisions import StayFloat
from tdfusion_edge.runtime.engines.ort import onnxruntime
from tdfusion_edge.train.models.task import MaskPrediction, TaskNetwork

SCORE_TOLERANCE = 1e-4
"""Of the largest class score, where that passes 1."""
MOST_CLASSES = 255
"""What a byte tells apart, beside the pixels that do not count."""


def compare(network: TaskNetwork, graph: bytes, view: TaskView) -> Gap:
    """Largest difference of a class score, and the share of pixels of the same class, over several pictures.

    Raises:
        ExportError: a score passes its tolerance or is not finite, the scores are not of every pixel and
            class, there are more classes than a byte holds, or the mask is not what the graph's own scores
            say.
    """
    session, scores = _with_scores(graph)
    worst, same = 0.0, []
    for given in pictures(view, network.planes):
        with torch.inference_mode():
            prediction = network.decode(
                network(**{name: torch.from_numpy(one) for name, one in given.items()})
            )
        want = cast(MaskPrediction, prediction).logits.numpy()
        _require_shape(want, view)
        mask, got = session.run(["mask", scores], given)
        require_finite(KIND.title, want, got)
        if not np.array_equal(mask, got.argmax(1)):
            raise ExportError("the segmentation's mask is not the class with the largest score")
        scale = max(1.0, float(np.abs(want).max()))
        worst = max(worst, float(np.abs(want - got).max()) / scale)
        same.append(float((mask == want.argmax(1)).mean()))
    if worst > SCORE_TOLERANCE:
        raise ExportError(
            "the segmentation's ONNX graph differs from PyTorch",
            expected=f"at most {SCORE_TOLERANCE} of a class score",
            got=f"{worst:.2e}",
        )
    return Gap(worst, {"pixels_equal": float(np.mean(same))})


def _with_scores(graph: bytes) -> tuple[onnxruntime.InferenceSession, str]:
    """The graph with the scores as an output too, and their name."""
    model = onnx.load_from_string(graph)
    choices = [node for node in model.graph.node if node.op_type == "ArgMax"]
    if len(choices) != 1:
        raise ExportError("the segmentation graph", expected="one ArgMax", got=str(len(choices)))
    scores: str = choices[0].input[0]
    model.graph.output.append(helper.make_tensor_value_info(scores, TensorProto.FLOAT, None))
    raw = model.SerializeToString()
    return onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"]), scores


def _require_shape(scores: np.ndarray, view: TaskView) -> None:
    expected = (1, len(view.classes), view.height, view.width)
    if scores.shape != expected or len(view.classes) > MOST_CLASSES:
        raise ExportError(
            "the segmentation network gives no scores of every pixel",
            expected=f"{expected}, {MOST_CLASSES} classes at most",
            got=str(scores.shape),
        )


KIND = Kind(
    head="segmentation",
    title="segmentation network",
    finds="and gives each of them a class: {classes}.",
    scored=False,
    in_one_pass=False,
    stay_float=StayFloat(),  # no convolution of it was measured to be better off in float32
    figures=MappingProxyType(
        {
            "pixels_equal": "{:.2%} of the mask's pixels equal",
            "mask_iou": "mIoU {:.3f}",
            "miou_change": "mIoU with the labels by {:+.4f}",
        }
    ),
    compare=compare,
)
