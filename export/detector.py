"""A task network that gives boxes as one ONNX graph, checked against the network it came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from tdfusion_edge.bundle import Graph, Parity, Precision, TensorInfo
from tdfusion_edge.checkpoint import TaskView
from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.graph import OPSET, opset_of, smooth_pair, to_onnx
from tdfusion_edge.train.models.task import BoxPrediction

BOX_TOLERANCE = 1e-2
"""Pixels. A coordinate is a sum of hundreds of pixels and an expectation over a softmax that a stride of up
to 32 multiplies: float32 alone leaves 1e-4 there, and labels are no better than a pixel."""
SCORE_TOLERANCE = 1e-4
PICTURES = 3
"""Random pictures that are compared."""


class _Decoding(nn.Module):
    """The network and its decoding in one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, luma: Tensor) -> BoxPrediction:
        """(1, 1, h, w) in [0, 1] to boxes and scores."""
        # Its own method, which nn.Module does not know of.
        return cast(BoxPrediction, self.network.decode(self.network(luma)))  # type: ignore[operator]


def detector_onnx(network: nn.Module, view: TaskView, opset: int = OPSET) -> bytes:
    """The network with its decoding as a checked and simplified ONNX graph of the view's size.

    The size is fixed: anchors become constants, and every size would need its own weights to be as good.

    Raises:
        ExportError: the graph that comes out is none, or does not give boxes and scores.
    """
    example = (torch.zeros(1, 1, view.height, view.width),)
    model = to_onnx(_Decoding(network), example, ("luma",), BoxPrediction._fields, opset=opset)
    shapes = _output_shapes(model)
    classes = len(view.classes)
    boxes, scores = shapes["boxes"], shapes["scores"]
    if boxes[::2] != (1, 4) or scores[::2] != (1, classes) or boxes[1:2] != scores[1:2]:
        raise ExportError(
            "the detector gives no boxes and scores",
            expected=f"boxes (1, A, 4) and scores (1, A, {classes})",
            got=f"{boxes} and {scores}",
        )
    raw: bytes = model.SerializeToString()
    return raw


def detector_parity(network: nn.Module, graph: bytes, view: TaskView) -> Parity:
    """Largest difference of a box's side, in pixels of the input, and of a score, over several pictures.

    Boxes are compared as the runtime uses them, cut at the edges of the picture.

    Raises:
        ExportError: one passes its tolerance, or is not finite.
    """
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    decoding = _Decoding(network.eval())
    limits = np.array([view.width, view.height] * 2, np.float32)
    worst = [0.0, 0.0]
    for seed in range(PICTURES):
        luma, _ = smooth_pair(view.height, view.width, seed)
        with torch.inference_mode():
            reference = [tensor.numpy() for tensor in decoding(torch.from_numpy(luma))]
        given = session.run(list(BoxPrediction._fields), {"luma": luma})
        if not all(np.isfinite(array).all() for array in (*reference, *given)):
            raise ExportError("the detector's boxes or scores are not finite")
        reference[0], given[0] = (np.clip(boxes, 0, limits) for boxes in (reference[0], given[0]))
        worst = [
            max(before, float(np.abs(one - other).max()))
            for before, one, other in zip(worst, reference, given, strict=True)
        ]
    boxes_px, scores = worst
    if boxes_px > BOX_TOLERANCE or scores > SCORE_TOLERANCE:
        raise ExportError(
            "the detector's ONNX graph differs from PyTorch",
            expected=f"at most {BOX_TOLERANCE} pixels and {SCORE_TOLERANCE} of score",
            got=f"{boxes_px:.2e} and {scores:.2e}",
        )
    return Parity(
        graph="detector",
        precision="fp32",
        against="pytorch",
        pictures=f"{PICTURES} random pictures",
        max_error=scores,
        figures={"box_error_px": boxes_px},
    )


def describe_detector(graph: bytes, view: TaskView, files: Mapping[Precision, str]) -> Graph:
    """What the manifest says about the detector graph, whose files are given by precision."""
    shapes = _output_shapes(onnx.load_from_string(graph))
    content = {
        "boxes": f"x1 y1 x2 y2 in pixels of the {view.width}x{view.height} input, not suppressed",
        "scores": "0 to 1, a column a class in the order of the head's classes",
    }
    luma = TensorInfo(
        name="luma",
        dtype="float32",
        shape=(1, 1, view.height, view.width),
        content="fused luma in [0, 1] as the fusion graph gives it, the whole picture resized",
    )
    return Graph(
        files=dict(files),
        inputs=(luma,),
        outputs=tuple(
            TensorInfo(name=name, dtype="float32", shape=shapes[name], content=content[name])
            for name in BoxPrediction._fields
        ),
        minimum_size=min(view.height, view.width),
        opset=opset_of(graph),
    )


def _output_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    return {
        value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
        for value in model.graph.output
    }
