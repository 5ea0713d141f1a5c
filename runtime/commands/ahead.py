"""Building engines ahead of time: options that ``engines`` and ``export`` share, and what both say."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from tdfusion_edge.bundle import Bundle, Precision
from tdfusion_edge.console import say
from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.commands.engine_options import add_cache_argument, progress_shower
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.ahead import (
    DEFAULT_SIZE,
    Made,
    Place,
    Shapes,
    Size,
    build_ahead,
)
from tdfusion_edge.runtime.engines.tensorrt.cache import EngineCache


def add_ahead_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare for what, and where to."""
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


def sizes_of(texts: list[str]) -> tuple[Size, ...]:
    """What ``--size`` asks for.

    Raises:
        RequestError: no width and height.
    """
    sizes = []
    for text in texts:
        found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
        if found is None:
            raise RequestError("--size", expected="WxH, such as 640x480", got=text)
        sizes.append((int(found[1]), int(found[2])))
    return tuple(sizes) or (DEFAULT_SIZE,)


def build_and_tell(
    opened: Bundle,
    place: Place,
    sizes: tuple[Size, ...],
    cache: Path | None,
    precision: Precision | None = None,
    *,
    bundle_path: Path | None = None,
) -> None:
    """Build what is missing, with a line for each engine and one about what comes next.

    Args:
        opened: The bundle.
        place: What builds, and for which GPUs.
        sizes: Of the pictures.
        cache: Folder of the engines; None takes the user's own cache folder.
        precision: Which of the bundle's graphs; None takes those that ``run`` takes.
        bundle_path: Where the bundle lies; None for the one shipped.

    Raises:
        BundleError, RequestError, EngineError: as :func:`~.engines.tensorrt.ahead.build_ahead`.
    """
    title = bindings.named(place.flavour, place.trt)
    for made in build_ahead(
        opened, place, precision=precision, sizes=sizes, cache=cache, on_progress=progress_shower
    ):
        say(told(made))
    folder = cache
    if isinstance(place.gpus[0], str):
        folder = EngineCache(cache).folder
        say(f"for {title} alone; copy {folder} with its rights to the device (rsync -a), and there:")
    words = [
        "tdfusion-edge run",
        *([] if bundle_path is None else [f"--bundle {bundle_path}"]),
        f"--camera ir0,vis0 --backend {place.flavour}",
        *([] if precision is None else [f"--precision {precision}"]),
        *([] if folder is None else [f"--engine-cache {folder}"]),
    ]
    say(f"next: {' '.join(words)}")


def told(made: Made) -> str:
    """One line of an engine.

    >>> told(Made("fusion", "fp16", {"visible": (1, 1, 480, 640)}, "sm_89", False, 0.0, 300_000))
    'fusion in fp16, 1x1x480x640, sm_89: already there, 0.3 MB'
    """
    state = f"built in {made.seconds:.1f} s" if made.fresh else "already there"
    return (
        f"{made.graph} in {made.precision}, {shapes_told(made.shapes)}, {made.gpu}: {state}, "
        f"{made.size / 1e6:.1f} MB"
    )


def shapes_told(shapes: Shapes) -> str:
    """Shapes of the inputs, equal ones once."""
    return " ".join(dict.fromkeys("x".join(map(str, shape)) for shape in shapes.values()))
