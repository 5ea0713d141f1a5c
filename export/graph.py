"""Networks as ONNX graphs."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxsim
import torch
from torch import Tensor, nn

from tdfusion_edge.bundle import TensorInfo
from tdfusion_edge.errors import ExportError

OPSET = 18
OPSETS = range(17, 21)
"""Versions of ONNX's operators that a graph can be written in."""
LEGACY = 17
"""The last that TensorRT 8 reads, and one that the newer of PyTorch's two exporters writes wrongly: it gives
Split an attribute that came with 18."""


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


def described(
    values: Iterable[onnx.ValueInfoProto], content: Mapping[str, str] | None = None
) -> tuple[TensorInfo, ...]:
    """Inputs or outputs of a graph as a manifest has them.

    Args:
        values: Their declarations.
        content: What each one's numbers mean, by name; None leaves that empty.
    """
    return tuple(
        TensorInfo(
            name=value.name,
            dtype=str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
            shape=tuple(axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim),
            content="" if content is None else content[value.name],
        )
        for value in values
    )


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
