"""Networks as ONNX graphs; the fusion network is checked against the one it came from."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import onnxsim
import torch
from torch import Tensor, nn

from tdfusion_edge.bundle import Graph, Parity, Precision, TensorInfo
from tdfusion_edge.errors import ExportError
from tdfusion_edge.train.models.base import FusionOutput

OPSET = 18
OPSETS = range(17, 21)
"""Versions of ONNX's operators that a graph can be written in."""
LEGACY = 17
"""The last that TensorRT 8 reads, and one that the newer of PyTorch's two exporters writes wrongly: it gives
Split an attribute that came with 18."""
LARGEST = 8192
"""Largest height and width that the graph is exported for, pixels."""
PARITY_SIZES = ((96, 128), (480, 640), (127, 159))
"""Heights and widths at which ONNX is compared with PyTorch; the last one is odd."""
FP32_TOLERANCE = 1e-4
INPUTS = ("infrared", "visible")


def fusion_onnx(network: nn.Module, opset: int = OPSET) -> bytes:
    """The network as a checked and simplified ONNX graph with free height and width.

    Raises:
        ExportError: the simplifier says that its result is not the graph. (The numbers are compared
            in :func:`parity`.)
    """
    # Two tensors, not one twice: the exporter would take them for the same input.
    example = tuple(torch.zeros(1, 1, *PARITY_SIZES[0]) for _ in INPUTS)
    free = {
        2: torch.export.Dim("height", min=minimum_size(network), max=LARGEST),
        3: torch.export.Dim("width", min=minimum_size(network), max=LARGEST),
    }
    model = to_onnx(network, example, INPUTS, FusionOutput._fields, (free, free), opset=opset)
    for output in model.graph.output:
        # The exporter writes the output's size as a formula of the input's that always equals it.
        output.type.CopyFrom(model.graph.input[0].type)
    onnx.checker.check_model(model, full_check=True)
    raw: bytes = model.SerializeToString()
    return raw


def to_onnx(
    network: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    free: tuple[dict[int, Any], ...] | None = None,
    *,
    opset: int = OPSET,
) -> onnx.ModelProto:
    """A network as a checked and simplified graph; it is in evaluation mode afterwards.

    Args:
        network: Takes and gives tensors alone.
        example: An input of each name, whose shapes the graph takes.
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        free: The free axes of each input, if any.
        opset: One of :data:`OPSETS`.

    Raises:
        ExportError: the simplifier says that its result is not the graph, or the graph computes in float64.
    """
    network.eval()
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns that torchvision is missing, which nothing here needs
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # deprecations inside the exporter, or of the exporter itself
            write = _legacy if opset <= LEGACY else _current
            written = write(network, example, inputs, outputs, free, opset)
    finally:
        log.setLevel(level)
    simplified: tuple[onnx.ModelProto, bool] = onnxsim.simplify(written)
    model, equal = simplified
    if not equal:
        raise ExportError("the simplified graph differs from the exported one")
    onnx.checker.check_model(model, full_check=True)
    _refuse_float64(model)
    return model


def _refuse_float64(model: onnx.ModelProto) -> None:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    double = [
        value.name
        for value in (*inferred.value_info, *inferred.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE
    ]
    if double:
        raise ExportError(
            "the graph computes in float64",
            expected="float32, which every back end has",
            got=", ".join(double[:3]),
            hint="Give torch.arange and the like dtype=torch.float32 there, or take a later --opset.",
        )


def _current(
    network: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    free: tuple[dict[int, Any], ...] | None,
    opset: int,
) -> onnx.ModelProto:
    program = torch.onnx.export(
        network,
        example,
        dynamo=True,
        opset_version=opset,
        input_names=list(inputs),
        output_names=list(outputs),
        dynamic_shapes=free,
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def _legacy(
    network: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    free: tuple[dict[int, Any], ...] | None,
    opset: int,
) -> onnx.ModelProto:
    """By the exporter that follows one run: what depends on a size in Python itself is frozen in it."""
    axes = [{axis: dim.__name__ for axis, dim in one.items()} for one in free or ()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        torch.onnx.export(
            network,
            example,
            path,
            dynamo=False,
            opset_version=opset,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=dict(zip(inputs, axes, strict=True)) if axes else None,
        )
        return onnx.load(path)


def opset_of(graph: bytes) -> int:
    """The version of ONNX's own operators that a graph is written in."""
    imported = onnx.load_from_string(graph).opset_import
    return next(int(one.version) for one in imported if one.domain in ("", "ai.onnx"))


def parity(network: nn.Module, graph: bytes) -> Parity:
    """Largest and mean absolute difference between PyTorch and ONNX Runtime over several sizes.

    The inputs are smooth random pictures, for white noise alone never reaches the saturated range, and black.

    Raises:
        ExportError: the largest difference passes ``FP32_TOLERANCE``.
    """
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    largest, means = [], []
    pairs = [smooth_pair(height, width, seed) for seed, (height, width) in enumerate(PARITY_SIZES)]
    # The exporter takes a term as small as 1e-9 out of a sum, and a black picture divides by what is left.
    black = np.zeros((1, 1, *PARITY_SIZES[0]), np.float32)
    for infrared, visible in (*pairs, (black, black)):
        with torch.inference_mode():
            reference = network(torch.from_numpy(infrared), torch.from_numpy(visible)).fused.numpy()
        (fused,) = session.run(None, {"infrared": infrared, "visible": visible})
        difference = np.abs(fused - reference)
        largest.append(float(difference.max()))
        means.append(float(difference.mean()))
    worst = float(np.max(largest))
    if not worst <= FP32_TOLERANCE:  # so that NaN fails as well
        raise ExportError(
            "the ONNX graph differs from PyTorch", expected=f"at most {FP32_TOLERANCE}", got=f"{worst:.2e}"
        )
    return Parity(
        graph="fusion",
        precision="fp32",
        against="pytorch",
        pictures=f"{len(PARITY_SIZES)} random pairs and a black one",
        max_error=worst,
        figures={"mean_error": float(np.mean(means))},
    )


def describe(network: nn.Module, files: Mapping[Precision, str], opset: int = OPSET) -> Graph:
    """What the manifest says about the fusion graph, whose files are given by precision."""
    luma = "float32 luma in [0, 1], BT.601 full range"

    def tensor(name: str, content: str) -> TensorInfo:
        return TensorInfo(name=name, dtype="float32", shape=(1, 1, "height", "width"), content=content)

    return Graph(
        files=dict(files),
        inputs=(
            tensor("infrared", "float32 in [0, 1], hot is bright, aligned with visible"),
            tensor("visible", luma),
        ),
        outputs=tuple(tensor(name, luma) for name in FusionOutput._fields),
        minimum_size=minimum_size(network),
        opset=opset,
    )


def minimum_size(network: nn.Module) -> int:
    """Smallest height and width, pixels: the network's own, and 32 in a graph."""
    return max(32, int(getattr(network, "minimum_size", 32)))


def smooth_pair(
    height: int, width: int, seed: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Two random pictures with low and high frequencies, (1, 1, H, W) float32 in [0, 1]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    pictures = []
    for _ in range(2):
        fx, fy, px, py = random.uniform(0.01, 0.2, 4)
        waves = 0.5 + 0.4 * np.sin(fx * x + 9 * px) * np.cos(fy * y + 9 * py)
        noisy = waves + random.normal(0, 0.1, (height, width))
        pictures.append(np.clip(noisy, 0, 1).astype(np.float32)[None, None])
    return pictures[0], pictures[1]
