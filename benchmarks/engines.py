"""What TensorRT-RTX makes of each network in each precision, and what FP16 costs in pictures and boxes.

  python -m benchmarks.engines
  python -m benchmarks.engines --network edge --network pipeline --size 1280x720 --without-errors

Engines are built for GPUs that need not be there, and the figures come from the log of the build. So no
latency is measured here, and the traffic is an estimate: every kernel's inputs, outputs and constants,
each moved once, as if there were no cache.

The errors are measured in ONNX Runtime on the CPU, FP16 graph against FP32 graph: of edge, yolo_p and the
pipeline with the weights of the shipped bundle, on the pairs of --data; of the other networks, for which none
ship, with fresh ones of one seed, on the first few of these pairs. No other figure depends on the weights.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, cast

import onnx
import torch
from msgspec import structs
from onnx import numpy_helper
from torch import Tensor, nn

from benchmarks.engine_errors import (
    FRESH,
    add_error_arguments,
    figures_of_gap,
    material,
    of_bundle,
    of_fresh_fusion,
    of_fresh_task,
)
from benchmarks.schema import Figure, Results
from benchmarks.script import Benchmark, Measured, main, parse_size
from tdfusion_edge import bundle
from tdfusion_edge.bundle import Precision
from tdfusion_edge.checkpoint import TaskView
from tdfusion_edge.console import say
from tdfusion_edge.errors import RequestError
from tdfusion_edge.export import build_log
from tdfusion_edge.export.fold import folded
from tdfusion_edge.export.fp16 import half
from tdfusion_edge.export.graph import to_onnx
from tdfusion_edge.export.onepass import OnePass, OnePassOutput
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.builder import build_in
from tdfusion_edge.runtime.engines.tensorrt.store.request import request_for
from tdfusion_edge.train.models.base import FusionOutput
from tdfusion_edge.train.models.edge import Edge
from tdfusion_edge.train.models.segformer import SegFormer
from tdfusion_edge.train.models.task import BoxPrediction, MaskPrediction
from tdfusion_edge.train.models.tdfusion import TDFusion
from tdfusion_edge.train.models.yolo import YOLO

SEED = 0
CLASSES = ("a", "b", "c")
FOLDING = (96, 128)
"""Height and width of the pictures on which folding is checked: the layers do not depend on them."""
TARGETS = ("sm_86", "sm_89", "sm_120")
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")
MEGA = 1e6


class Case(NamedTuple):
    """A network as it is exported."""

    network: nn.Module
    example: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Built(NamedTuple):
    """A graph, and the log of its build."""

    onnx: bytes
    log: build_log.BuildLog


class Decoded(nn.Module):
    """A task network and what it makes of its output."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, luma: Tensor) -> BoxPrediction | MaskPrediction:
        """(1, 1, H, W) in [0, 1] to a prediction."""
        decode = cast(Callable[[object], BoxPrediction | MaskPrediction], self.network.decode)
        return decode(self.network(luma))


def edge() -> Edge:
    """The shipped network: the graph of the bundle names its weights as PyTorch does."""
    network = Edge()
    graph = onnx.load_from_string(bundle.read(bundle.default_path()).graph("fusion")[1]).graph
    found = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer
    }
    network.load_state_dict({name: found[name] for name in network.state_dict()})
    return network


def fusion(make: Callable[[], nn.Module], precision: Precision, size: tuple[int, int]) -> Case:
    """A fusion network alone."""
    luma = _luma(size[::-1])
    network = _ready(make(), precision, 2)
    return Case(network, (luma, luma.clone()), ("infrared", "visible"), FusionOutput._fields)


def task(
    make: Callable[[], nn.Module], outputs: Sequence[str], precision: Precision, size: tuple[int, int]
) -> Case:
    """A task network with its decoding, on pictures of that size."""
    network = Decoded(_ready(make(), precision, 1))
    return Case(network, (_luma(size[::-1]),), ("luma",), tuple(outputs))


def pipeline(precision: Precision, size: tuple[int, int]) -> Case:
    """``edge`` and ``yolo`` p as one graph; the detector sees 256x192, or a small picture as it is."""
    width, height = min(256, size[0]), min(192, size[1])
    view = TaskView(classes=CLASSES, height=height, width=width)
    networks = _ready(edge(), precision, 2), _ready(YOLO(len(CLASSES), "p"), precision, 1)
    pictures = (torch.zeros(size[::-1], dtype=torch.uint8), torch.zeros(*size[::-1], 3, dtype=torch.uint8))
    inputs = ("infrared", "visible", "limits")
    return Case(
        OnePass(*networks, view, size), (*pictures, torch.tensor([0.0, 1.0])), inputs, OnePassOutput._fields
    )


NETWORKS: Mapping[str, Callable[[Precision, tuple[int, int]], Case]] = MappingProxyType(
    {
        "edge": lambda *how: fusion(edge, *how),
        "tdfusion": lambda *how: fusion(TDFusion, *how),
        "yolo_p": lambda *how: task(lambda: YOLO(len(CLASSES), "p"), BoxPrediction._fields, *how),
        "yolo_n": lambda *how: task(lambda: YOLO(len(CLASSES), "n"), BoxPrediction._fields, *how),
        "segformer_b0": lambda *how: task(lambda: SegFormer(len(CLASSES)), MaskPrediction._fields, *how),
        "pipeline": pipeline,
    }
)


SHIPPED: Mapping[str, str] = MappingProxyType({"edge": "fusion", "yolo_p": "detector", "pipeline": "onepass"})
"""What of a bundle has the weights of a network."""
FRESH_FUSION = ("edge", "tdfusion")
FRESH_TASK = ("yolo_p", "yolo_n", "segformer_b0")


def _ready(network: nn.Module, precision: Precision, inputs: int) -> nn.Module:
    """Folded, and in half precision if that is asked."""
    example = tuple(_luma(FOLDING) for _ in range(inputs))
    plain = folded(network.eval(), example)
    return half(plain) if precision == "fp16" else plain


def _luma(shape: Sequence[int]) -> Tensor:
    return torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(SEED))


def build(name: str, precision: Precision, size: tuple[int, int], targets: Sequence[str]) -> Built:
    """Export a network and build its engine.

    Args:
        name: In :data:`NETWORKS`.
        precision: Of its layers.
        size: Width and height of the picture.
        targets: Compute capabilities.

    Raises:
        EngineError: TensorRT-RTX is not installed, or refuses the graph.
    """
    torch.manual_seed(SEED)
    case = NETWORKS[name](precision, size)
    graph = to_onnx(case.network, case.example, case.inputs, case.outputs).SerializeToString()
    trt = bindings.load("tensorrt-rtx")
    request = request_for(trt, "tensorrt-rtx", graph, {}, targets[0], precision=precision)
    request = structs.replace(request, targets=tuple(targets))
    with tempfile.TemporaryDirectory(prefix="tdfusion-edge-") as folder:
        log = Path(folder) / "kernels.log"
        build_in(request, graph, None, Path(folder), log_to=log)
        return Built(graph, build_log.read(log.read_text(encoding="utf-8", errors="replace")))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "--network", choices=list(NETWORKS), action="append", help="may be repeated (default: all)"
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, action="append", help="may be repeated (default: all)"
    )
    parser.add_argument(
        "--size", type=parse_size, default=(640, 480), metavar="WxH", help="picture (default: 640x480)"
    )
    parser.add_argument(
        "--target", action="append", metavar="SM",
        help=f"compute capability, may be repeated (default: {', '.join(TARGETS)})",
    )  # fmt: skip
    add_error_arguments(parser)


def measure(args: argparse.Namespace) -> Measured:
    """Build everything that is asked for, one engine after the other."""
    if any(side % 32 for side in args.size):
        got = "x".join(map(str, args.size))
        raise RequestError(
            "size of the picture", expected="multiples of 32 pixels, for the task networks", got=got
        )
    version = bindings.named("tensorrt-rtx", bindings.load("tensorrt-rtx"))
    targets = tuple(args.target or TARGETS)
    precisions = tuple(args.precision or PRECISIONS)
    errors = None if args.without_errors or set(precisions) != set(PRECISIONS) else Errors(args)
    figures: list[Figure] = []
    facts = {"library": version, "targets": ", ".join(targets), **ABOUT}
    for name in args.network or NETWORKS:
        made: dict[Precision, bytes] = {}
        for precision in precisions:
            case = f"{name} {precision}"
            say(f"{case} ...", error=True)
            built = build(name, precision, args.size, targets)
            made[precision] = built.onnx
            figures += figures_of(case, built)
            facts[f"{case} sha256"] = hashlib.sha256(built.onnx).hexdigest()
            wrong = build_log.not_float32(built.log)
            facts[f"{case}: sums not in float32"] = ", ".join(found.kernel for found in wrong) or "none"
        if errors is not None:
            found, weights, told = errors.of(name, made)
            figures += found
            facts |= {f"{name}: {WEIGHTS}": weights, f"{name}: errors on": told}
    return Measured(Results(figures=tuple(figures)), facts)


WEIGHTS = "weights of the errors"


class Errors:
    """What FP16 costs each network, on pairs that are read once."""

    def __init__(self, args: argparse.Namespace) -> None:
        opened = bundle.read(args.bundle)
        self._size: tuple[int, int] = args.size
        self._given = material(args, opened)
        say(f"errors of the bundle '{opened.manifest.name}' ...", error=True)
        self._gaps = of_bundle(opened, self._given)
        self._weights = f"bundle '{opened.manifest.name}'"

    def of(self, name: str, made: Mapping[Precision, bytes]) -> tuple[list[Figure], str, str]:
        """Figures of one network, whose weights those are, and on what they were measured.

        Args:
            name: In :data:`NETWORKS`.
            made: Its graphs.
        """
        case, few = f"{name} fp16", f"{min(FRESH, len(self._given.pairs))} of {self._given.told}"
        part = SHIPPED.get(name, "")
        if part in self._gaps:
            sides = {"fusion": part != "detector", "detector": part != "fusion"}
            return [*figures_of_gap(case, self._gaps[part], **sides)], self._weights, self._given.told
        if name in FRESH_FUSION:
            gap = of_fresh_fusion(made["fp32"], made["fp16"], self._given, self._size)
            return [*figures_of_gap(case, gap, detector=False)], f"fresh, seed {SEED}", few
        if name in FRESH_TASK:
            found = of_fresh_task(case, made["fp32"], made["fp16"], self._given, self._size)
            return [*found], f"fresh, seed {SEED}", few
        return [], f"none: {self._weights} lacks FP16 or a detector", "nothing"


ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "latency": "not measured: nothing ran on a GPU",
        "traffic": "estimated from the log of the build: inputs, outputs and constants of every kernel, "
        "each moved once, without any cache",
        "errors": "the FP16 graph against the FP32 graph, both in ONNX Runtime on the CPU",
        "kernels": "one list for all targets, as the log has it",
    }
)


def figures_of(case: str, built: Built) -> Iterator[Figure]:
    """The figures of one engine, under names that begin with the case's."""
    log, nodes = built.log, len(onnx.load_from_string(built.onnx).graph.node)
    for what, value, unit in (
        ("ONNX file", len(built.onnx) / MEGA, "MB"),
        ("ONNX nodes", nodes, "nodes"),
        ("kernels", len(log.kernels), "kernels"),
        ("activations", log.memory.activations / MEGA, "MB"),
        ("weights", log.memory.weights / MEGA, "MB"),
        ("traffic", build_log.traffic(log).total / MEGA, "MB a picture, estimated"),
    ):
        yield Figure(name=f"{case}, {what}", value=round(value, 3), unit=unit)


BENCHMARK = Benchmark("engines", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
