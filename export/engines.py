"""Engines of the bundle that was just exported: the last step of ``export --engine``."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Mapping
from types import MappingProxyType

from tdfusion_edge import bundle
from tdfusion_edge.console import say
from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.commands.engines import (
    add_build_arguments,
    build_and_report,
    line_of_made,
    sizes_of,
)
from tdfusion_edge.runtime.engines.tensorrt.bindings import Flavour
from tdfusion_edge.runtime.engines.tensorrt.prebuild import Size, open_place, refuse_targets

THROUGH_ONNX: Mapping[str, Flavour] = MappingProxyType(
    {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt-rtx"}
)
THROUGH_TORCH = "torch-tensorrt"


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is built after the bundle."""
    parser.add_argument(
        "--engine", choices=(*THROUGH_ONNX, THROUGH_TORCH),
        help="build its engines as well, as `engines` does; torch-tensorrt builds them from the networks",
    )  # fmt: skip
    add_build_arguments(parser)


def prepared(args: argparse.Namespace) -> Callable[[], None] | None:
    """The step, once all that it needs is known to be there; None where no engine is asked for.

    An export takes minutes, and what is wrong with the request is to be said before them.

    Raises:
        RequestError: options that do not fit.
        EngineError: the library or the GPU is missing, or a target is none that it builds for.
    """
    if args.engine is None:
        if args.target or args.engine_cache is not None or args.workspace is not None:
            raise RequestError("--target, --engine-cache and --workspace", expected="--engine as well")
        return None
    sizes = sizes_of(args.size)
    if args.engine == THROUGH_TORCH:
        return _through_torch(args, sizes)
    place = open_place(THROUGH_ONNX[args.engine], args.target)

    def build() -> None:
        opened = bundle.read(args.output)
        build_and_report(
            opened, place, sizes, args.engine_cache, workspace=args.workspace, bundle_path=args.output
        )

    return build


def _through_torch(args: argparse.Namespace, sizes: tuple[Size, ...]) -> Callable[[], None]:
    from tdfusion_edge.export.networks import choose
    from tdfusion_edge.export.torch_tensorrt import build_through_torch, open_torch_tensorrt, why_left_out

    refuse_targets("tensorrt", args.target)
    library = open_torch_tensorrt(workspace=args.workspace)

    def build() -> None:
        opened, chosen = bundle.read(args.output), choose(args.checkpoints, args.network)
        for made in build_through_torch(library, chosen, opened, sizes, args.engine_cache):
            say(f"{line_of_made(made)} ({library.title})")
        for name in sorted(opened.manifest.graphs):
            if reason := why_left_out(opened.manifest, name):
                say(f"left out: the {name} graph; {reason}")
        here = "" if args.engine_cache is None else f" --engine-cache {shlex.quote(str(args.engine_cache))}"
        place = shlex.quote(str(args.output))
        say(f"next: tdfusion-edge verify {place} --backend {THROUGH_TORCH}{here}")

    return build
