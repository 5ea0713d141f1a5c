"""Latency of fusion networks on the CPU: ours, the paper's, and the smallest published one.

All are exported and loaded in the same way and run in turns within one process.

  python -m benchmarks.fusion_networks
  python -m benchmarks.fusion_networks --rounds 100 --bundle

The weights are random unless --bundle is given: the time does not depend on them.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from benchmarks.schema import Ratio, Results, Timing
from benchmarks.script import Benchmark, Measured, add_count, add_threads, main, parse_size
from tdfusion_edge import bundle
from tdfusion_edge.console import say
from tdfusion_edge.errors import EngineError, RequestError
from tdfusion_edge.export.fusion import fusion_onnx
from tdfusion_edge.export.graph import smooth_pair
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.measuring.timing import Samples, interleaved, ratio, timing
from tdfusion_edge.train.models.base import FusionNetwork
from tdfusion_edge.train.models.edge import Edge
from tdfusion_edge.train.models.mini import Mini
from tdfusion_edge.train.models.tables import build
from tdfusion_edge.train.models.tdfusion import TDFusion
from tdfusion_edge.train.recipe_file import load_recipe

SEED = 0
SLOW = "tdfusion"
STUDENTS = ("edge_116m", "edge_71m", "edge_35m")
"""Recipes whose networks are smaller than ``edge``."""
RATIOS = (("tdfusion", "edge"), ("edge", "mini"), *(("edge", student) for student in STUDENTS))
PARAMETERS = {"tdfusion": 59_856, "mini": 113}
"""As published."""


def of_recipe(name: str) -> FusionNetwork:
    """The fusion network of a shipped recipe, with fresh weights."""
    recipe = load_recipe(name)
    return build(recipe.network, recipe.network_options)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "edge": Edge,
    **{name: partial(of_recipe, name) for name in STUDENTS},
    "mini": Mini,
    "tdfusion": TDFusion,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_count(parser, "rounds", 30, "rounds")
    add_count(parser, "slow-every", 10, f"{SLOW} runs in every N-th round")
    add_count(parser, "warmup", 2, "untimed runs of each before")
    add_threads(parser)
    parser.add_argument(
        "--size", type=parse_size, action="append", metavar="WxH",
        help="picture size, may be repeated (default: 640x480 and 1024x768, which takes tdfusion 7 GB)",
    )  # fmt: skip
    parser.add_argument(
        "--network",
        choices=list(NETWORKS),
        action="append",
        help="only this one, may be repeated (default: all)",
    )
    parser.add_argument(
        "--bundle", type=Path, nargs="?", const=bundle.default_path(), metavar="BUNDLE",
        help="time this bundle's graph as edge (without a name: the shipped bundle)",
    )  # fmt: skip


def measure(args: argparse.Namespace) -> Measured:
    """Time all networks at all sizes."""
    graphs: dict[str, bytes] = {}
    facts: dict[str, str] = {}
    for name in args.network or NETWORKS:
        graphs[name], facts[name] = export(name, args.bundle if name == "edge" else None)
        facts[f"{name} sha256"] = hashlib.sha256(graphs[name]).hexdigest()
    timings: list[Timing] = []
    ratios: list[Ratio] = []
    for size in args.size or [(640, 480), (1024, 768)]:
        samples = time_at(size, graphs, args)
        timings += [timing(name, values) for name, values in samples.items()]
        compared = ((case(over, size), case(under, size)) for over, under in RATIOS)
        ratios += [ratio(samples, *pair) for pair in compared if samples.keys() >= set(pair)]
    return Measured(Results(timings=tuple(timings), ratios=tuple(ratios)), facts)


def export(name: str, path: Path | None) -> tuple[bytes, str]:
    """The ONNX graph of one network, from a bundle or with random weights, and a word on where it is from.

    Raises:
        RequestError: it has not the number of parameters that was published.
    """
    if path is not None:
        opened = bundle.read(path)
        return opened.graph("fusion")[1], f"bundle {opened.manifest.name}"
    torch.manual_seed(SEED)
    network = NETWORKS[name]()
    got = sum(parameter.numel() for parameter in network.parameters())
    expected = PARAMETERS.get(name, got)
    if got != expected:
        what = f"{name} is not the published network"
        raise RequestError(what, expected=f"{expected} parameters", got=str(got))
    return fusion_onnx(network), f"{got} parameters, random, seed {SEED}"


def time_at(size: tuple[int, int], graphs: dict[str, bytes], args: argparse.Namespace) -> Samples:
    """Samples of every graph on pictures of one size, by :func:`case`."""
    width, height = size
    infrared, visible = smooth_pair(height, width, SEED)
    inputs = {"infrared": infrared, "visible": visible}
    # Sessions of this size alone: their arenas keep what the largest picture needed.
    engines = {
        case(name, size): OnnxRuntimeEngine(graph, threads=args.threads) for name, graph in graphs.items()
    }
    for name, engine in engines.items():
        say(f"{name} ...", error=True)
        shape = engine.run(inputs)["fused"].shape
        if shape != visible.shape:
            raise EngineError(
                f"{name}: shape of the fused picture", expected=str(visible.shape), got=str(shape)
            )
    try:
        return interleaved(
            {name: partial(engine.run, inputs) for name, engine in engines.items()},
            rounds=args.rounds,
            warmup=args.warmup,
            every={case(SLOW, size): args.slow_every},
        )
    finally:
        for engine in engines.values():
            engine.close()


def case(name: str, size: tuple[int, int]) -> str:
    """Name of a case in the result file."""
    return f"{name} {size[0]}x{size[1]}"


BENCHMARK = Benchmark("fusion_networks", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
