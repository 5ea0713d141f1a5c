"""What TensorRT-RTX makes of each network in each precision, and what FP16 costs in pictures and boxes.

  python -m benchmarks.engines
  python -m benchmarks.engines --network edge --network onepass --size 1280x720 --without-errors

Engines are built for GPUs that need not be there, and the figures come from the log of the build. So no
latency is measured here, and the traffic is an estimate: every kernel's inputs, outputs and constants,
each moved once, as if there were no cache.

The graphs of edge, yolox_nano and the one-pass graph are those of the bundle, where it has them for the
size; the others are exported for it.

The errors are measured in ONNX Runtime on the CPU, FP16 graph against FP32 graph: of edge, yolox_nano and the
one-pass graph with the weights of the shipped bundle, on the pairs of --data; of the other networks, for
which none ship, with fresh ones of one seed, on the first few of these pairs. No other figure depends on the
weights.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import onnx

from benchmarks.engines import build_log
from benchmarks.engines.errors import (
    FRESH,
    add_error_arguments,
    figures_of_gap,
    material,
    of_bundle,
    of_fresh_fusion,
    of_fresh_task,
)
from benchmarks.engines.networks import NETWORKS, PRECISIONS, SEED, SHIPPED, TARGETS, Built, build
from benchmarks.engines.table import WEIGHTS
from benchmarks.schema import Figure, Results
from benchmarks.script import Benchmark, Measured, main, parse_size
from tdfusion_edge import bundle
from tdfusion_edge.bundle import Precision
from tdfusion_edge.console import say
from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.engines.tensorrt import bindings

MEGA = 1e6
FRESH_FUSION = ("edge", "tdfusion")
FRESH_TASK = ("yolo_n", "segformer_b0")


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
    opened = bundle.read(args.bundle)
    figures: list[Figure] = []
    facts = {"library": version, "targets": ", ".join(targets), **ABOUT}
    for name in args.network or NETWORKS:
        made: dict[Precision, bytes] = {}
        for precision in precisions:
            case = f"{name} {precision}"
            say(f"{case} ...", error=True)
            built = build(name, precision, args.size, targets, opened)
            made[precision] = built.onnx
            figures += figures_of(case, built)
            facts[f"{case} graph"] = built.origin
            facts[f"{case} sha256"] = hashlib.sha256(built.onnx).hexdigest()
            wrong = build_log.not_float32(built.log)
            facts[f"{case}: sums not in float32"] = ", ".join(found.kernel for found in wrong) or "none"
        if errors is not None:
            found, weights, told = errors.of(name, made)
            figures += found
            facts |= {f"{name}: {WEIGHTS}": weights, f"{name}: errors on": told}
    return Measured(Results(figures=tuple(figures)), facts)


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
