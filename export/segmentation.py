"""A task network that gives masks as one ONNX graph, checked against the network it came from.

The graph gives the class of every pixel and not the scores of all classes: so one byte a pixel leaves a GPU,
and no back end has to enlarge scores as the network does, by pixel centres. Scores are compared all the same:
they stand in the graph before the choice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from tdfusion_edge.bundle import Graph, HeadInfo, Parity, Precision, TensorInfo
from tdfusion_edge.checkpoint import TaskView
from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.fold import folded
from tdfusion_edge.export.graph import OPSET, opset_of, smooth_pair, to_onnx
from tdfusion_edge.export.lower import Fused, StayFloat, files_of, in_precisions
from tdfusion_edge.export.model_card import task_metrics
from tdfusion_edge.export.networks import Task
from tdfusion_edge.train.models.task import MaskPrediction

SCORE_TOLERANCE = 1e-4
"""Of the largest class score, where that passes 1."""
PICTURES = 3
"""Random pictures that are compared."""
MOST_CLASSES = 255


class MaskOutput(NamedTuple):
    """Output of the graph; the field name becomes the ONNX output name."""

    mask: Tensor
    """(1, h, w) uint8."""


class _Choosing(nn.Module):
    """The network, its decoding, and the choice of the best class in one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, luma: Tensor) -> MaskOutput:
        """(1, 1, h, w) in [0, 1] to the class of every pixel."""
        # By way of float: TensorRT makes uint8 of floating-point numbers alone.
        return MaskOutput(_scores(self.network, luma).argmax(1).float().to(torch.uint8))


def _scores(network: nn.Module, luma: Tensor) -> Tensor:
    """(1, C, h, w) float32."""
    # Its own method, which nn.Module does not know of.
    return cast(MaskPrediction, network.decode(network(luma))).logits  # type: ignore[operator]


def segmentation_onnx(network: nn.Module, view: TaskView, opset: int = OPSET) -> bytes:
    """The network with its decoding as a checked and simplified ONNX graph of the view's size.

    Raises:
        ExportError: the network tells more classes apart than a byte holds, or gives no scores of the size of
            its input, or what comes out is no mask.
    """
    example = torch.zeros(1, 1, view.height, view.width)
    classes = len(view.classes)
    with torch.inference_mode():
        given = tuple(_scores(network.eval(), example).shape)
    expected = (1, classes, view.height, view.width)
    if given != expected or classes > MOST_CLASSES:
        raise ExportError(
            "the segmentation network gives no scores of every pixel",
            expected=f"{expected}, {MOST_CLASSES} classes at most",
            got=str(given),
        )
    model = to_onnx(_Choosing(network), (example,), ("luma",), MaskOutput._fields, opset=opset)
    (output,) = model.graph.output
    shape = tuple(axis.dim_value for axis in output.type.tensor_type.shape.dim)
    kind = output.type.tensor_type.elem_type
    if shape != (1, view.height, view.width) or kind != TensorProto.UINT8:
        raise ExportError(
            "the segmentation graph gives no mask",
            expected=f"uint8 (1, {view.height}, {view.width})",
            got=f"{helper.tensor_dtype_to_np_dtype(kind)} {shape}",
        )
    raw: bytes = model.SerializeToString()
    return raw


def segmentation_parity(network: nn.Module, graph: bytes, view: TaskView) -> Parity:
    """Largest difference of a class score, and the share of pixels of the same class, over several pictures.

    Raises:
        ExportError: a score passes its tolerance or is not finite, or the mask is not what the graph's own
            scores say.
    """
    model = onnx.load_from_string(graph)
    choices = [node for node in model.graph.node if node.op_type == "ArgMax"]
    if len(choices) != 1:
        raise ExportError("the segmentation graph", expected="one ArgMax", got=str(len(choices)))
    scores = choices[0].input[0]
    model.graph.output.append(helper.make_tensor_value_info(scores, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    network.eval()
    worst, same = 0.0, []
    for seed in range(PICTURES):
        luma, _ = smooth_pair(view.height, view.width, seed)
        with torch.inference_mode():
            want = _scores(network, torch.from_numpy(luma)).numpy()
        mask, got = session.run(["mask", scores], {"luma": luma})
        if not (np.isfinite(want).all() and np.isfinite(got).all()):
            raise ExportError("the segmentation's scores are not finite")
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
    return Parity(
        graph="segmentation",
        precision="fp32",
        against="pytorch",
        pictures=f"{PICTURES} random pictures",
        max_error=worst,
        figures={"pixels_equal": float(np.mean(same))},
    )


def describe_segmentation(graph: bytes, view: TaskView, files: Mapping[Precision, str]) -> Graph:
    """What the manifest says about the segmentation graph, whose files are given by precision."""
    luma = TensorInfo(
        name="luma",
        dtype="float32",
        shape=(1, 1, view.height, view.width),
        content="fused luma in [0, 1] as the fusion graph gives it, the whole picture resized",
    )
    mask = TensorInfo(
        name="mask",
        dtype="uint8",
        shape=(1, view.height, view.width),
        content="class of each pixel of the input, by its place in the head's classes",
    )
    return Graph(
        files=dict(files),
        inputs=(luma,),
        outputs=(mask,),
        minimum_size=min(view.height, view.width),
        opset=opset_of(graph),
    )


def add_segmentation(
    task: Task,
    manifest: dict[str, Any],
    files: dict[str, bytes],
    precisions: Collection[Precision],
    fused: Fused,
    opset: int = OPSET,
) -> None:
    """Put a segmentation network beside the fusion network in a manifest and its files.

    Args:
        task: The network.
        manifest: With ``graphs``, ``parity``, ``metrics`` and ``training_data``; gets more of each.
        files: Name to content; gets the graphs.
        precisions: To be written; float32 is always among them.
        fused: What it sees of real pairs, before resizing; needed for what is below float32.
        opset: Of the graphs.

    Raises:
        ExportError: a graph cannot be made, or is not the network.
    """
    header, network, view, _ = task
    plain = folded(network, (torch.zeros(1, 1, view.height, view.width),))
    real = fused.at(view.width, view.height)
    # No convolution of it was measured to be better off in float32.
    graphs = in_precisions(
        plain, lambda one: segmentation_onnx(one, view, opset), real, precisions, StayFloat()
    )
    names, more = files_of("segmentation", graphs)
    files |= more
    manifest["graphs"]["segmentation"] = describe_segmentation(graphs["fp32"], view, names)
    manifest["parity"] += (segmentation_parity(network, graphs["fp32"], view),)
    manifest["metrics"] |= task_metrics(header)
    rows = (*manifest["training_data"], *header.training_data)
    manifest["training_data"] = tuple(dict.fromkeys(rows))
    manifest["heads"]["segmentation"] = HeadInfo(
        kind="mask", network=header.networks["task"].name, classes=view.classes
    )
