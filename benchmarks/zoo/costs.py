"""What fusion networks cost: weights, operations, sizes, and milliseconds in turns."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import NamedTuple, get_args

import torch

from benchmarks.fusion_networks import NETWORKS, SEED
from benchmarks.schema import Figure, Ratio, Timing
from tdfusion_edge.bundle import FUSION, Bundle, Precision
from tdfusion_edge.errors import RequestError
from tdfusion_edge.export.fusion import fusion_onnx
from tdfusion_edge.export.graph import smooth_pair
from tdfusion_edge.export.operations import count
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.measuring.timing import Samples, interleaved, ratio, timing

PAPER = "tdfusion"
"""The paper's fusion network, with which every member is compared."""
DEFAULT = "edge"
"""The bundle that every member is compared with."""
THREADS = (2, 1)
PEERS = {"mmdrfuse": "mini"}
"""Published networks whose cost is known, and what has their shape."""


class Cost(NamedTuple):
    """A fusion network whose cost is measured."""

    name: str
    graph: bytes
    """In float32."""
    parameters: int
    sizes: Mapping[Precision, int]
    """Bytes of the graph by precision."""
    said: str
    """Where the weights are from, for the facts."""


def cost_of(name: str, opened: Bundle) -> Cost:
    """Of a bundle's fusion network."""
    described, raw = opened.graph(FUSION)
    known = described.parameters
    counted = count(raw).parameters if known is None else known
    return Cost(
        name,
        raw,
        counted,
        {precision: len(opened.graph(FUSION, precision)[1]) for precision in described.files},
        f"{opened.manifest.network}, sha256 {hashlib.sha256(raw).hexdigest()}"
        + (", weights counted in the graph" if known is None else ""),
    )


def with_sizes(costs: Sequence[Cost], alone: Bundle) -> list[Cost]:
    """Take the sizes from where a member's fusion network is without a detector, which may not bear INT8.

    Raises:
        RequestError: it is no member's.
    """
    found = cost_of(alone.manifest.name, alone)
    if all(cost.graph != found.graph for cost in costs if cost.name == found.name):
        raise RequestError(
            f"bundle '{found.name}' of --alone",
            expected=f"name and float32 graph of one of {', '.join(cost.name for cost in costs)}",
            got="another graph" if any(cost.name == found.name for cost in costs) else "none of them",
        )
    return [cost._replace(sizes=found.sizes) if cost.name == found.name else cost for cost in costs]


def fresh_cost(name: str, network: str) -> Cost:
    """Of a network with random weights, on which its time does not depend."""
    torch.manual_seed(SEED)
    made = NETWORKS[network]()
    raw = fusion_onnx(made)
    weights = sum(parameter.numel() for parameter in made.parameters())
    return Cost(name, raw, weights, {"fp32": len(raw)}, f"{network}, random weights, seed {SEED}")


def figures_of(cost: Cost, size: tuple[int, int]) -> Iterator[Figure]:
    """Weights, operations on pictures of this width and height, and sizes."""
    products = count(cost.graph, size).multiply_adds
    yield Figure(name=f"{cost.name}: parameters", value=cost.parameters, unit="weights")
    yield Figure(name=f"{cost.name}: multiply-adds", value=round(products / 1e6, 4), unit="millions")
    for precision in get_args(Precision):
        if precision in cost.sizes:
            kilobytes = cost.sizes[precision] / 1e3
            yield Figure(name=f"{cost.name}: fusion graph, {precision}", value=kilobytes, unit="kB")


def timed(costs: Sequence[Cost], args: argparse.Namespace) -> tuple[list[Timing], list[Ratio]]:
    """Milliseconds of all networks with two threads and with one, in turns within one process."""
    width, height = args.size
    infrared, visible = smooth_pair(height, width, SEED)
    inputs = {"infrared": infrared, "visible": visible}
    with ExitStack() as stack:
        cases = {}
        for cost in costs:
            for threads in THREADS:
                engine = stack.enter_context(closing(OnnxRuntimeEngine(cost.graph, threads=threads)))
                cases[case(cost.name, threads)] = partial(engine.run, inputs)
        samples = interleaved(
            cases,
            rounds=args.rounds,
            warmup=args.warmup,
            every={case(PAPER, threads): args.slow_every for threads in THREADS},
        )
    return [timing(name, values) for name, values in samples.items()], list(_ratios(costs, samples))


def _ratios(costs: Sequence[Cost], samples: Samples) -> Iterator[Ratio]:
    """How often each goes into the paper's network, and how many times as long as the default it takes."""
    for cost in costs:
        for threads in THREADS:
            own, paper, default = (case(name, threads) for name in (cost.name, PAPER, DEFAULT))
            if paper in samples and own != paper:
                yield ratio(samples, paper, own)
            if default in samples and own not in (default, paper):
                yield ratio(samples, own, default)


def case(name: str, threads: int) -> str:
    """Name of a timing."""
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"
