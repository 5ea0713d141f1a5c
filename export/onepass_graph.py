"""The one-pass network as an ONNX graph for a range of picture sizes, compared with the network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from tdfusion_edge.bundle import ONE_PASS, Graph, Parity, Precision, Sides
from tdfusion_edge.checkpoint import TaskView
from tdfusion_edge.errors import ExportError, RequestError
from tdfusion_edge.export.fold import folded
from tdfusion_edge.export.fp16 import half
from tdfusion_edge.export.fusion import example, minimum_size
from tdfusion_edge.export.graph import LEGACY, OPSET, described, opset_of, smooth_pair, to_onnx
from tdfusion_edge.export.heads.boxes import SCORE_TOLERANCE
from tdfusion_edge.export.heads.graph import example_folded
from tdfusion_edge.export.lint import require_clean
from tdfusion_edge.export.networks import Chosen
from tdfusion_edge.export.onepass import LEAST, FusedOutput, OnePass, OnePassOutput, size_range
from tdfusion_edge.export.part import Part, files_of
from tdfusion_edge.export.plugins import placed
from tdfusion_edge.runtime.engines.ort import onnxruntime

INPUTS = ("infrared", "visible", "limits")
LEVELS = 1
"""Grey levels that a picture's value may differ by: a sum on the edge of a rounding falls either way."""
UNEQUAL = 1e-3
"""Share of the values that may differ at all."""
BOX_TOLERANCE = 5e-2
"""Pixels of the picture, in which the detector's own tolerance is a few times as long."""
LIMITS = (0.1, 0.8)
"""Of the stretch, for the comparison: both ends are cut."""
CONTENT = {
    "infrared": "8 bits, hot is bright, aligned with visible",
    "visible": "8-bit BGR",
    "limits": "fused luma in [0, 1] that is shown as 0 and as 255",
    "fused": "8-bit BGR, the stretched fused luma in the colours of visible",
    "measured": "the limits that this picture alone would have",
    "boxes": "x1 y1 x2 y2 in pixels of the picture, not suppressed",
    "scores": "0 to 1, a column a class in the order of the head's classes",
}


def sizes_of(size: tuple[int, int], view: TaskView | None, least: int = LEAST) -> tuple[Sides, Sides]:
    """Heights and widths that one graph serves along with ``size``.

    Args:
        size: Width and height, pixels.
        view: The detector's, if there is one.
        least: Smallest side that the fusion network takes.

    Raises:
        RequestError: ``size`` itself is none of them.
    """
    seen = (0, 0) if view is None else (view.height, view.width)
    ranges = [size_range(side, there, least) for side, there in zip(size[::-1], seen, strict=True)]
    rows, columns = (Sides(smallest=low, largest=high, multiple_of=unit) for low, high, unit in ranges)
    if not (rows.takes(size[1]) and columns.takes(size[0])):
        raise RequestError(
            "the one-pass graph does not take this size",
            expected=f"multiples of {columns.multiple_of} and {rows.multiple_of} pixels, "
            f"{columns.smallest}x{rows.smallest} or more",
            got="{}x{}".format(*size),
            hint="Name another size of the cameras (--size), or leave that graph out (--no-onepass).",
        )
    return rows, columns


def onepass_onnx(
    network: OnePass, size: tuple[int, int], sizes: tuple[Sides, Sides], opset: int = OPSET
) -> bytes:
    """The one-pass network as a checked and simplified graph.

    Args:
        network: Made for ``size``.
        size: Width and height, pixels.
        sizes: Heights and widths that the graph is to take.
        opset: Of the graph.

    Raises:
        ExportError: the simplifier says that its result is not the graph.
    """
    free: tuple[dict[int, Any], ...] | None = None
    if any(one.smallest < one.largest for one in sizes):
        axes = {axis: _dimension(name, one) for axis, (name, one) in enumerate(zip(AXES, sizes, strict=True))}
        free = axes, axes, {}
    width, height = size
    pictures = (
        torch.zeros(height, width, dtype=torch.uint8),
        torch.zeros(height, width, 3, dtype=torch.uint8),
    )
    example = (*pictures, torch.tensor(LIMITS))
    model = to_onnx(network, example, INPUTS, outputs_of(network), free, opset=opset)
    for value in (*model.graph.input, *model.graph.output):
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if dimension.dim_param:  # a formula such as 2*half_the_height; only pictures have free axes
                dimension.dim_param = AXES[axis]
    cast_first(model)
    onnx.checker.check_model(model, full_check=True)
    raw: bytes = model.SerializeToString()
    return raw


def cast_first(model: onnx.ModelProto) -> None:
    """Have the sizes of 8-bit pictures read from their floats, in place.

    The exporter reads a size from the input that brings it. TensorRT takes 8-bit inputs to be converted to
    floats before any other layer has them (its ``DataType::kUINT8``), and whether a parser lets a Shape
    pass is no rule.

    Args:
        model: Every 8-bit input that has its size taken is converted by a Cast, too.
    """
    graph = model.graph
    eight_bits = {
        value.name for value in graph.input if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    }
    casts = {
        node.input[0]: node for node in graph.node if node.op_type == "Cast" and node.input[0] in eight_bits
    }
    for node in graph.node:
        if node.op_type == "Shape" and node.input[0] in eight_bits:
            node.input[0] = casts[node.input[0]].output[0]
    # A Cast of an input needs nothing that another node gives, and so can stand before all.
    first = list(casts.values())
    ordered = [*first, *(node for node in graph.node if node not in first)]
    del graph.node[:]
    graph.node.extend(ordered)


AXES = ("height", "width")


def outputs_of(network: OnePass) -> tuple[str, ...]:
    """Names of what it gives."""
    return FusedOutput._fields if network.detector is None else OnePassOutput._fields


def _dimension(name: str, sides: Sides) -> Any:
    unit = sides.multiple_of
    if unit == 1:
        return torch.export.Dim(name, min=sides.smallest, max=sides.largest)
    return unit * torch.export.Dim(f"{name}_units", min=-(-sides.smallest // unit), max=sides.largest // unit)


def onepass_parity(network: OnePass, graph: bytes, size: tuple[int, int]) -> Parity:
    """How far ONNX Runtime is from PyTorch in what the one-pass graph gives.

    Args:
        network: Made for ``size``.
        graph: Made of it.
        size: Width and height, pixels; other sizes of the graph's go the same way through the same nodes.

    Raises:
        ExportError: pictures, limits, boxes or scores differ by more than rounding explains.
    """
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = outputs_of(network)
    worst = dict.fromkeys(names, 0.0)
    unequal = 0.0
    pictures = [*(coloured(size, seed) for seed in range(2)), black(size)]
    for infrared, visible in pictures:
        given = {"infrared": infrared, "visible": visible, "limits": np.array(LIMITS, np.float32)}
        with torch.inference_mode():
            wanted = network(*(torch.from_numpy(given[name]) for name in INPUTS))
        for name, got in zip(names, session.run(list(names), given), strict=True):
            apart = np.abs(getattr(wanted, name).numpy().astype(np.float64) - got)
            if name == "boxes":  # as they are used: cut at the edges
                cut = np.array([*size] * 2, np.float64)
                apart = np.abs(np.clip(getattr(wanted, name).numpy(), 0, cut) - np.clip(got, 0, cut))
            worst[name] = float(np.maximum(worst[name], apart.max()))  # NaN has to win
            if name == "fused":
                unequal = max(unequal, float((apart > 0).mean()))
    tolerances = {
        "fused": LEVELS,
        "measured": SCORE_TOLERANCE,
        "boxes": BOX_TOLERANCE,
        "scores": SCORE_TOLERANCE,
    }
    far = {name: value for name, value in worst.items() if not value <= tolerances[name]}
    if far or unequal > UNEQUAL:
        raise ExportError(
            "the one-pass graph differs from PyTorch",
            expected=", ".join(f"{name} by at most {tolerances[name]:g}" for name in names)
            + f", {UNEQUAL:.1%} of the picture at all",
            got=", ".join(f"{name} {value:.2e}" for name, value in worst.items()) + f", {unequal:.1%}",
        )
    named = {"boxes": "box_error_px", "scores": "score_error"}
    figures = {figure: worst[name] for name, figure in named.items() if name in worst}
    return Parity(
        graph=ONE_PASS,
        precision="fp32",
        against="pytorch",
        pictures=f"{len(pictures) - 1} random pairs and a black one",
        max_error=worst["fused"] / 255,
        figures=figures,
    )


def describe_onepass(
    network: OnePass, graph: bytes, sizes: tuple[Sides, Sides], files: Mapping[Precision, str]
) -> Graph:
    """What the manifest says about the one-pass graph, whose files are given by precision."""
    model = onnx.load_from_string(graph)
    return Graph(
        files=dict(files),
        inputs=described(model.graph.input, CONTENT),
        outputs=described(model.graph.output, CONTENT),
        minimum_size=min(one.smallest for one in sizes),
        sizes=sizes,
        opset=opset_of(graph),
    )


def coloured(size: tuple[int, int], seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """A smooth random pair: infrared uint8 (H, W), visible uint8 (H, W, 3)."""
    width, height = size
    planes = [plane for number in (2 * seed, 2 * seed + 1) for plane in smooth_pair(height, width, number)]
    infrared, *visible = ((plane[0, 0] * 255).astype(np.uint8) for plane in planes)
    return infrared, np.stack(visible, axis=-1)


def black(size: tuple[int, int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """A pair without light."""
    return np.zeros(size[::-1], np.uint8), np.zeros((*size[::-1], 3), np.uint8)


def served_sizes(chosen: Chosen, size: tuple[int, int], opset: int = OPSET) -> tuple[Sides, Sides]:
    """Heights and widths that the one-pass graph of these networks will serve along with ``size``.

    Raises:
        RequestError: ``size`` itself is none of them.
    """
    detector = chosen.of_kind("boxes")
    sizes = sizes_of(size, None if detector is None else detector.view, minimum_size(chosen.fusion.network))
    if opset <= LEGACY:  # its exporter keeps the sizes of the example
        return Sides(smallest=size[1], largest=size[1]), Sides(smallest=size[0], largest=size[0])
    return sizes


def onepass_part(
    chosen: Chosen,
    precisions: Collection[Precision],
    size: tuple[int, int],
    sizes: tuple[Sides, Sides],
    opset: int = OPSET,
    *,
    kernel_of: bytes | None = None,
) -> Part:
    """Fusion network and detector as one graph, compared with PyTorch.

    The networks in it are those of the other graphs, and were searched for what FP16 does not hold there.
    There is none in INT8, whose quantised networks exist as graphs alone.

    Args:
        chosen: The networks; :attr:`~tdfusion_edge.export.networks.Chosen.fit_one_pass`.
        precisions: To be written; float32 is always among them.
        size: Width and height of the cameras' pictures.
        sizes: As :func:`served_sizes` gives them for it.
        opset: Of the graphs.
        kernel_of: The fusion graph in FP16, for which our kernel is to stand in the one-pass graph in FP16.

    Raises:
        ExportError: a graph cannot be made, is not the networks, or its FP16 holds what it must not.
    """
    task = chosen.of_kind("boxes")
    fusion = folded(chosen.fusion.network, example())
    detector, view = (None, None) if task is None else (example_folded(task), task.view)
    plain = OnePass(fusion, detector, view, size).eval()
    graphs: dict[Precision, bytes] = {"fp32": onepass_onnx(plain, size, sizes, opset)}
    if "fp16" in precisions:
        networks = half(fusion), None if detector is None else half(detector)
        graphs["fp16"] = onepass_onnx(OnePass(*networks, view, size).eval(), size, sizes, opset)
        require_clean(onnx.load_from_string(graphs["fp16"]))
        if kernel_of is not None:
            graphs["fp16"] = placed(graphs["fp16"], kernel_of)
    names, files = files_of(ONE_PASS, graphs)
    return Part(
        graphs={ONE_PASS: describe_onepass(plain, graphs["fp32"], sizes, names)},
        files=files,
        parity=(onepass_parity(plain, graphs["fp32"], size),),
    )
