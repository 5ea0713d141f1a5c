"""Do the numbers of a half-precision graph fit into FP16? Answered without a GPU.

A float32 copy of the graph (same nodes, every FP16 tensor float32, weights as FP16 rounded them) runs in
ONNX Runtime over real pictures and over hard ones, and three things are looked at for every tensor
that is FP16 in the graph:

- **values**: max |x| against 65,504 with a margin;
- **sums** inside reductions, normalisations, pools and softmaxes, which no tensor shows: the sum of
  |x| bounds every partial sum in any order, and norms and variances add squares;
- **products** against the subnormal limit 2^-14 (:data:`~tdfusion_edge.export.fp16.ROUNDING`),
  where FP16 has a fixed spacing. Of a matrix product or convolution that is its output as well as
  the products that it adds up, whose size follows from that of its two factors.

The largest sum inside a convolution or matrix product is not looked at: TensorRT adds those in
float32, and the output is.

What is asked is computed by nodes beside the graph's own (a maximum, a sum of squares), so that a
number comes out and not the tensor: all of a network's tensors at 640x480 are gigabytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.float32_copy import Probes, float32_copy, inside
from tdfusion_edge.export.fp16 import LARGEST, ROUNDING, SMALLEST_NORMAL
from tdfusion_edge.export.lint import Typed, label, typed
from tdfusion_edge.runtime.engines.ort import onnxruntime

Feeds: TypeAlias = Mapping[str, npt.NDArray[np.float32]]
"""One picture or pair: an array of each input's name."""

MARGIN = 4.0
"""Pictures that were not tried may reach so many times what the tried ones do."""
SILENT = 2.0**-11
"""A tensor that is so many times smaller on one picture than on most is what the others' rounding leaves of
it: the edges in a picture without edges. It is no number to keep bits of."""
SPACING_ERROR = 2.0**-24 / 12**0.5
"""Root mean square error of rounding to a spacing of 2^-24."""

PRODUCTS = ("Mul", "MatMul", "Gemm", "Conv", "ConvTranspose")


class Row(NamedTuple):
    """The worst that one node met."""

    node: str
    op: str
    tensor: str
    kind: Literal["value", "sum", "product", "products inside"]
    got: float
    """Largest |x| or sum, or the relative rounding error of products."""
    limit: float
    picture: str

    def __str__(self) -> str:
        return (
            f"{self.op} '{self.node}' on the picture '{self.picture}' ({self.kind} of tensor '{self.tensor}')"
        )


class _Size(NamedTuple):
    """Of one tensor on one picture."""

    largest: float
    mean_square: float


def hard_inputs(shapes: Mapping[str, Sequence[int]], seed: int = 0) -> dict[str, Feeds]:
    """Pictures on which networks meet their largest and smallest numbers, by name.

    Saturated, black, constant, white noise, noise of two levels, half dark and half bright with the
    edge upright and level; and, where there are two inputs, one of them black beside the other
    saturated.

    Args:
        shapes: (..., H, W) by the name of the input.
        seed: Of the noise, which differs between inputs.
    """
    random = np.random.default_rng(seed)

    def each(make: Any) -> Feeds:
        return {name: make(tuple(shape)).astype(np.float32) for name, shape in shapes.items()}

    def step(shape: tuple[int, ...], axis: int) -> npt.NDArray[Any]:
        picture = np.zeros(shape)
        np.moveaxis(picture, axis, 0)[shape[axis] // 2 :] = 1
        return picture

    hard = {
        "saturated": each(np.ones),
        "black": each(np.zeros),
        "constant": each(lambda shape: np.full(shape, 0.5)),
        "white noise": each(lambda shape: random.random(shape)),
        "noise of two levels": each(lambda shape: random.integers(0, 2, shape)),
        "upright edge": each(lambda shape: step(shape, -1)),
        "level edge": each(lambda shape: step(shape, -2)),
    }
    for dark in shapes if len(shapes) > 1 else ():
        hard[f"{dark} black, else saturated"] = {
            name: np.full(tuple(shape), float(name != dark), np.float32) for name, shape in shapes.items()
        }
    return hard


def require_in_range(model: onnx.ModelProto, pictures: Mapping[str, Feeds]) -> tuple[Row, ...]:
    """Measure and refuse what passes a limit.

    Raises:
        ExportError: as :func:`measure`, or a number does not fit; it names the worst node, its tensor,
            the number, the limit and the picture.
    """
    rows = measure(model, pictures)
    bad = [row for row in rows if not row.got <= row.limit]
    if bad:
        others = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        relative = bad[0].kind.startswith("product")
        raise ExportError(
            f"FP16 does not hold {bad[0]}{others}",
            expected=f"{'a relative rounding error of ' if relative else ''}at most {bad[0].limit:.3g}",
            got=f"{bad[0].got:.3g}",
            hint="Write x.float() around it in the network's forward, or export in FP32.",
        )
    return rows


def measure(model: onnx.ModelProto, pictures: Mapping[str, Feeds]) -> tuple[Row, ...]:
    """The worst of every node and kind over all pictures, what comes nearest to its limit first.

    Args:
        model: With FP16 in it, of opset 18 or later.
        pictures: What each of its inputs gets, float32, by the name of the picture.

    Raises:
        ExportError: FP16 inside an If, Loop or Scan, where it cannot be measured, or an older opset.
    """
    graph = typed(model)
    full = float32_copy(graph)
    probes = inside(full, graph)
    if not probes.sizes:
        return ()
    sizes: dict[str, dict[str, _Size]] = {name: {} for name in probes.sizes}
    sums: dict[str, dict[str, float]] = {name: {} for name in probes.sums}
    session = _session(full)
    for picture, feeds in pictures.items():
        given = _run(session, feeds, probes.outputs)
        for tensor, names in probes.sizes.items():
            largest, squares, count = (float(given[name]) for name in names)
            sizes[tensor][picture] = _Size(
                largest if np.isfinite(squares) else float("nan"), squares / max(count, 1)
            )
        for node, name in probes.sums.items():
            sums[node][picture] = float(np.abs(given[name]).max())
    del session
    rows = [*_values(graph, sizes), *_sums(graph, sums, probes), *_products(graph, full, sizes, pictures)]
    return tuple(sorted(rows, key=_headroom))


def _headroom(row: Row) -> float:
    return -row.got / row.limit if np.isfinite(row.got) else -np.inf


def _worst(by_picture: Mapping[str, float]) -> tuple[str, float]:
    """The picture with the largest number; NaN is larger than all."""
    return max(by_picture.items(), key=lambda item: np.inf if np.isnan(item[1]) else item[1])


def _values(graph: Typed, sizes: Mapping[str, Mapping[str, _Size]]) -> list[Row]:
    rows = []
    for node in graph.model.graph.node:
        for tensor in node.output:
            if tensor in sizes and graph.types.get(tensor) == TensorProto.FLOAT16:
                picture, got = _worst({name: size.largest for name, size in sizes[tensor].items()})
                rows.append(Row(label(node), node.op_type, tensor, "value", got, LARGEST / MARGIN, picture))
    return rows


def _sums(graph: Typed, sums: Mapping[str, Mapping[str, float]], probes: Probes) -> list[Row]:
    rows = []
    for node in graph.model.graph.node:
        if label(node) in sums:
            picture, got = _worst(sums[label(node)])
            tensor = node.input[0]
            rows.append(Row(label(node), node.op_type, tensor, "sum", got, LARGEST / MARGIN, picture))
    return rows


def _products(
    graph: Typed,
    full: onnx.ModelProto,
    sizes: Mapping[str, Mapping[str, _Size]],
    pictures: Mapping[str, Feeds],
) -> list[Row]:
    rows = []
    for node in graph.model.graph.node:
        output = node.output[0] if node.output else ""
        if node.op_type not in PRODUCTS or graph.types.get(output) != TensorProto.FLOAT16:
            continue
        errors = {
            picture: _rounding(full, output, pictures[picture], size.mean_square)
            for picture, size in _loud(sizes[output]).items()
        }
        if errors:
            picture, got = _worst(errors)
            rows.append(Row(label(node), node.op_type, output, "product", got, ROUNDING, picture))
        if node.op_type == "Mul" or not all(name in sizes for name in node.input[:2]):
            continue
        one, other = (_loud(sizes[name]) for name in node.input[:2])
        # Factors are taken as independent: a product's mean square is then that of theirs multiplied.
        inner = {
            picture: SPACING_ERROR / (one[picture].mean_square * other[picture].mean_square) ** 0.5
            for picture in one
            if picture in other
        }
        if inner:
            picture, got = _worst(inner)
            rows.append(Row(label(node), node.op_type, output, "products inside", got, ROUNDING, picture))
    return rows


def _loud(sizes: Mapping[str, _Size]) -> dict[str, _Size]:
    """The pictures on which a tensor is not zero, and not silent beside what it is on the others."""
    finite = [size.mean_square for size in sizes.values() if np.isfinite(size.mean_square)]
    usual = float(np.mean(finite)) if finite else 0.0
    least = SILENT**2 * usual
    return {
        picture: size
        for picture, size in sizes.items()
        if size.mean_square > least and np.isfinite(size.mean_square)
    }


def _rounding(full: onnx.ModelProto, tensor: str, feeds: Feeds, mean_square: float) -> float:
    """Relative error, root mean square, of rounding a tensor to FP16.

    The error of normal numbers is at most 2^-11 of themselves, that of all others at most 2^-25. So
    where the mean square passes 2^-28 / 3, the whole cannot pass the limit; there, what the fixed
    spacing alone would add is given instead.
    """
    if mean_square > SMALLEST_NORMAL**2 / 3:
        return float(SPACING_ERROR / mean_square**0.5)
    whole = onnx.ModelProto()
    whole.CopyFrom(full)
    del whole.graph.output[:]
    whole.graph.output.append(onnx.helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    exact = _run(_session(whole), feeds, [tensor])[tensor].astype(np.float64)
    error = exact - exact.astype(np.float16).astype(np.float64)
    return float((np.square(error).sum() / np.square(exact).sum()) ** 0.5)


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # A pattern that is replaced as a whole would take tensors with it that a probe reads.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.enable_cpu_mem_arena = False  # it would keep the largest sum of what was ever alive
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _run(
    session: onnxruntime.InferenceSession, feeds: Feeds, names: Sequence[str]
) -> dict[str, npt.NDArray[Any]]:
    return dict(zip(names, session.run(list(names), dict(feeds)), strict=True))
