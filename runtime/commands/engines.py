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
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from tdfusion_edge import bundle
from tdfusion_edge.arguments import bundle_path, size_of
from tdfusion_edge.bundle import Bundle, Precision
from tdfusion_edge.console import say
from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.commands.engine_options import (
    add_cache_argument,
    add_workspace_argument,
    progress_shower,
)
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.prebuild import (
    DEFAULT_SIZE,
    Made,
    Place,
    Shapes,
    Size,
    open_place,
    prebuild,
)
from tdfusion_edge.runtime.engines.tensorrt.store import DAY_S, EngineStore, Kept


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "bundle", type=bundle_path, nargs="?", metavar="BUNDLE", help="bundle (default: edge)"
    )
    parser.add_argument("--backend", choices=tuple(bindings.MODULES), help="which library builds them")
    parser.add_argument(
        "--precision", choices=get_args(Precision),
        help="which of the bundle's graphs (default: fp16, where the bundle has it)",
    )  # fmt: skip
    add_build_arguments(parser)
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--list", action="store_true", help="show the engines that are kept, and build none")
    instead.add_argument(
        "--prune", type=float, metavar="DAYS",
        help="remove engines that were not used for so many days, and build none",
    )  # fmt: skip


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare for what to build, and where to, as ``export`` does too."""
    parser.add_argument(
        "--size", action="append", default=[], metavar="WxH",
        help="of the visible pictures; may be given several times, and what is exported for one size is "
        "exported for the first "
        f"(default: {DEFAULT_SIZE[0]}x{DEFAULT_SIZE[1]})",
    )  # fmt: skip
    parser.add_argument(
        "--target", action="append", default=[], metavar="SM",
        help="tensorrt-rtx: build for this GPU, such as sm_89, without having it; may be given several times",
    )  # fmt: skip
    add_cache_argument(parser)
    add_workspace_argument(parser)


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
    build_and_report(
        opened,
        place,
        sizes,
        args.engine_cache,
        args.precision,
        workspace=args.workspace,
        bundle_path=args.bundle,
    )
    return 0


def sizes_of(texts: list[str]) -> tuple[Size, ...]:
    """What ``--size`` asks for.

    Raises:
        RequestError: no width and height.
    """
    return tuple(map(size_of, texts)) or (DEFAULT_SIZE,)


def build_and_report(
    opened: Bundle,
    place: Place,
    sizes: tuple[Size, ...],
    engine_cache: Path | None,
    precision: Precision | None = None,
    *,
    workspace: int | None = None,
    bundle_path: Path | None = None,
) -> None:
    """Build what is missing, with a line for each engine and one about what comes next.

    Args:
        opened: The bundle.
        place: What builds, and for which GPUs.
        sizes: Of the pictures.
        engine_cache: Folder of the engines; None takes the user's own cache folder.
        precision: Which of the bundle's graphs; None takes those that ``run`` takes.
        workspace: Most bytes of GPU memory that a build may take for scratch; None takes a share of what is
            free.
        bundle_path: Where the bundle lies; None for the one shipped.

    Raises:
        BundleError, RequestError, EngineError: as :func:`~.engines.tensorrt.prebuild.prebuild`.
    """
    title = bindings.named(place.flavour, place.trt)
    for made in prebuild(
        opened,
        place,
        precision=precision,
        sizes=sizes,
        engine_cache=engine_cache,
        workspace=workspace,
        on_progress=progress_shower,
    ):
        say(line_of_made(made))
    folder = engine_cache
    if isinstance(place.gpus[0], str):
        folder = EngineStore(engine_cache).folder
        say(f"for {title} alone; copy {folder} with its rights to the device (rsync -a), and there:")
    words = [
        "tdfusion-edge run",
        *([] if bundle_path is None else [f"--bundle {shlex.quote(str(bundle_path))}"]),
        f"--camera ir0,vis0 --backend {place.flavour}",
        *([] if precision is None else [f"--precision {precision}"]),
        *([] if folder is None else [f"--engine-cache {shlex.quote(str(folder))}"]),
    ]
    say(f"next: {' '.join(words)}")


def line_of_made(made: Made) -> str:
    """One engine that is in the store now.

    >>> from tdfusion_edge.runtime.engines.tensorrt.prebuild import Wanted
    >>> wanted = Wanted("fusion", "fp16", {"visible": (1, 1, 480, 640)})
    >>> line_of_made(Made(wanted, "sm_89", False, 0.0, 300_000))
    'fusion in fp16, 1x1x480x640, sm_89: already there, 0.3 MB'
    """
    name, precision, shapes = made.wanted
    state = f"built in {made.seconds:.1f} s" if made.fresh else "already there"
    return f"{name} in {precision}, {_sides(shapes)}, {made.gpu}: {state}, {made.size / 1e6:.1f} MB"


def _sides(shapes: Shapes) -> str:
    """Shapes of the inputs, equal ones once."""
    return " ".join(dict.fromkeys("x".join(map(str, shape)) for shape in shapes.values()))


def _refuse_building(args: argparse.Namespace) -> None:
    given = [
        name
        for name in ("bundle", "backend", "precision", "size", "target", "workspace")
        if getattr(args, name)
    ]
    if given:
        name = "BUNDLE" if given[0] == "bundle" else f"--{given[0]}"
        raise RequestError(
            f"{name} with --{'list' if args.list else 'prune'}", expected="--engine-cache or nothing"
        )


def _show(folder: Path | None) -> int:
    store = EngineStore(folder)
    kept = store.kept()
    for one in kept:
        say(line_of_kept(one))
    say(f"{_counted(kept)} in {store.folder}")
    return 0


def _prune(folder: Path | None, days: float) -> int:
    if not 0 <= days < float("inf"):
        raise RequestError("--prune", expected="days, 0 or more", got=f"{days:g}")
    store = EngineStore(folder)
    gone = store.prune(days)
    for one in gone:
        say(f"removed: {line_of_kept(one)}")
    say(f"removed {_counted(gone)} from {store.folder}, {len(store.kept())} are left")
    return 0


def _counted(kept: list[Kept]) -> str:
    many = "1 engine" if len(kept) == 1 else f"{len(kept)} engines"
    return f"{many}, {sum(one.size for one in kept) / 1e6:.1f} MB"


def line_of_kept(kept: Kept, now: Callable[[], float] = time.time) -> str:
    """One engine of the list: graph, library, GPU, shapes, precision, size on disk, days since its use."""
    end = f"{kept.size / 1e6:.1f} MB, used {max(0.0, now() - kept.used) / DAY_S:.1f} days ago"
    if kept.request is None:
        return f"{kept.key[:12]}  cannot be used: {kept.problem}; {end}"
    request = kept.request
    library = f"{bindings.TITLES[request.flavour]} {request.version}"
    if request.route == "torch-tensorrt":
        library += " by Torch-TensorRT"
    targets = ", ".join(request.targets)
    gpu = targets
    if request.gpu:
        gpu = f"{request.gpu} ({targets}, {request.multiprocessors} SMs, {request.memory_gib} GiB)"
    bad = f", cannot be used: {kept.problem}" if kept.problem else ""
    return (
        f"graph {request.onnx_sha256[:12]}  {library}  {gpu}  {_sides(request.shapes)}  {request.precision}  "
        f"{end}{bad}"
    )
