"""Build a bundle's TensorRT engines before the first picture, so that `run` starts at once.

  tdfusion-edge engines BUNDLE --backend tensorrt --size 640x480
  tdfusion-edge engines BUNDLE --backend tensorrt-rtx --target sm_89 --engine-cache engines
  tdfusion-edge engines --list
  tdfusion-edge engines --prune 30

An engine is for one GPU, one version of the library, one graph and one size of its pictures. TensorRT builds
on the device that runs it; TensorRT-RTX also for a --target that is not there, and --engine-cache puts the
engine where it can be carried to it. --list shows what is kept, --prune removes what was not used lately.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from tdfusion_edge import bundle
from tdfusion_edge.bundle import Precision
from tdfusion_edge.console import say
from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.commands.ahead import add_ahead_arguments, build_and_tell, shapes_told, sizes_of
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.ahead import open_place
from tdfusion_edge.runtime.engines.tensorrt.cache import EngineCache
from tdfusion_edge.runtime.engines.tensorrt.inventory import DAY_S, Kept, kept_in, prune


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "bundle", type=bundle.place, nargs="?", metavar="BUNDLE", help="bundle (default: edge)"
    )
    parser.add_argument("--backend", choices=tuple(bindings.MODULES), help="which library builds them")
    parser.add_argument(
        "--precision", choices=get_args(Precision),
        help="which of the bundle's graphs (default: fp16, where the bundle has it)",
    )  # fmt: skip
    add_ahead_arguments(parser)
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--list", action="store_true", help="show the engines that are kept, and build none")
    instead.add_argument(
        "--prune", type=float, metavar="DAYS",
        help="remove engines that were not used for so many days, and build none",
    )  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Build, show or remove."""
    if args.list or args.prune is not None:
        _refuse_building(args)
        return _show(args.engine_cache) if args.list else _prune(args.engine_cache, args.prune)
    if args.backend is None:
        raise RequestError(
            "--backend is missing",
            expected=" or ".join(bindings.MODULES),
            hint="Which of them is installed: tdfusion-edge doctor",
        )
    sizes = sizes_of(args.size)
    opened = bundle.read(bundle.default_path() if args.bundle is None else args.bundle)
    place = open_place(args.backend, args.target)
    build_and_tell(opened, place, sizes, args.engine_cache, args.precision, bundle_path=args.bundle)
    return 0


def _refuse_building(args: argparse.Namespace) -> None:
    given = [name for name in ("bundle", "backend", "precision", "size", "target") if getattr(args, name)]
    if given:
        name = "BUNDLE" if given[0] == "bundle" else f"--{given[0]}"
        raise RequestError(
            f"{name} with --{'list' if args.list else 'prune'}", expected="--engine-cache or nothing"
        )


def _show(folder: Path | None) -> int:
    cache = EngineCache(folder)
    kept = kept_in(cache.folder)
    for one in kept:
        say(line(one))
    say(f"{_counted(kept)} in {cache.folder}")
    return 0


def _prune(folder: Path | None, days: float) -> int:
    if not 0 <= days < float("inf"):
        raise RequestError("--prune", expected="days, 0 or more", got=f"{days:g}")
    cache = EngineCache(folder)
    gone = prune(cache, days)
    for one in gone:
        say(f"removed: {line(one)}")
    say(f"removed {_counted(gone)} from {cache.folder}, {len(kept_in(cache.folder))} are left")
    return 0


def _counted(kept: list[Kept]) -> str:
    many = "1 engine" if len(kept) == 1 else f"{len(kept)} engines"
    return f"{many}, {sum(one.size for one in kept) / 1e6:.1f} MB"


def line(kept: Kept, now: Callable[[], float] = time.time) -> str:
    """One engine of the list: graph, library, GPU, shapes, precision, size on disk, days since its use."""
    end = f"{kept.size / 1e6:.1f} MB, used {max(0.0, now() - kept.used) / DAY_S:.1f} days ago"
    if kept.facts is None:
        return f"{kept.key[:12]}  cannot be used: {kept.problem}; {end}"
    facts, options = kept.facts, kept.facts.options
    library = f"{bindings.TITLES[facts.flavour]} {facts.version}"
    if facts.route == "torch-tensorrt":
        library += " by Torch-TensorRT"
    gpu = f"{facts.gpu} ({facts.capability})" if facts.gpu else ", ".join(options.targets)
    shapes = shapes_told({name: bounds.best for shape in options.profiles for name, bounds in shape.items()})
    bad = f", cannot be used: {kept.problem}" if kept.problem else ""
    return (
        f"graph {facts.onnx_sha256[:12]}  {library}  {gpu}  {shapes or 'fixed size'}  {options.precision}  "
        f"{end}{bad}"
    )
