"""Engines built before the first picture: on the device, or for TensorRT-RTX on any other machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from tdfusion_edge.bundle import ONE_PASS, Bundle, Graph, Precision
from tdfusion_edge.errors import EngineError, RequestError
from tdfusion_edge.runtime.engines import Choice, precision_of
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.bindings import Flavour
from tdfusion_edge.runtime.engines.tensorrt.builder import LIMIT_S, Built, OnProgress, build_in
from tdfusion_edge.runtime.engines.tensorrt.cache import EngineCache
from tdfusion_edge.runtime.engines.tensorrt.device import Device, Gpu, open_device
from tdfusion_edge.runtime.engines.tensorrt.graph import read_graph
from tdfusion_edge.runtime.engines.tensorrt.obtain import obtain_engine
from tdfusion_edge.runtime.engines.tensorrt.request import for_this_gpu_alone, request_for

Size: TypeAlias = tuple[int, int]
"""Width and height, pixels."""
Shapes: TypeAlias = dict[str, tuple[int, ...]]

DEFAULT_SIZE: Size = (640, 480)


@dataclass(frozen=True, slots=True)
class Place:
    """What builds, and for which GPUs."""

    flavour: Flavour
    trt: Any
    gpus: tuple[Gpu | str, ...]
    """The GPU of this machine, or targets such as ``sm_89``."""


@dataclass(frozen=True, slots=True)
class Made:
    """One engine that is in the cache now."""

    graph: str
    precision: Precision
    shapes: Shapes
    gpu: str
    """Its name, or the target."""
    fresh: bool
    """It was built now; otherwise it was there."""
    seconds: float
    size: int
    """Bytes."""


def open_place(
    flavour: Flavour,
    targets: Sequence[str] = (),
    *,
    trt: Any = None,
    device: Callable[[], Device] = open_device,
) -> Place:
    """Look what there is to build with, before any work is begun.

    Args:
        flavour: Which library.
        targets: For TensorRT-RTX: what to build for; none takes the GPU of this machine.
        trt: The library; None imports it.
        device: Opens the GPU; it is only asked what it is.

    Raises:
        RequestError: targets for TensorRT.
        EngineError: the library or the GPU is missing, or a target is none that it builds for.
    """
    if targets and flavour == "tensorrt":
        raise for_this_gpu_alone(targets[0])
    trt = bindings.load(flavour) if trt is None else trt
    for target in targets:
        bindings.capability(trt, target)
    if targets:
        return Place(flavour, trt, tuple(dict.fromkeys(targets)))
    try:
        with closing(device()) as opened:
            return Place(flavour, trt, (opened.gpu,))
    except EngineError as error:
        if flavour == "tensorrt":
            raise
        raise EngineError(
            f"{error.what}, and none is named to build for",
            expected=error.expected,
            got=error.got,
            hint="Name the GPU that will run it, such as --target sm_89, or see: tdfusion-edge doctor",
        ) from error


def build_ahead(
    opened: Bundle,
    place: Place,
    *,
    precision: Precision | None = None,
    sizes: Sequence[Size] = (DEFAULT_SIZE,),
    cache: Path | None = None,
    limit_s: float = LIMIT_S,
    on_progress: Callable[[str], OnProgress] | None = None,
    build: Callable[..., Built] = build_in,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Made]:
    """Have the engines of all graphs of a bundle in the cache, each told when it is there.

    Args:
        opened: The bundle.
        place: What builds, and for which GPUs.
        precision: Which of the bundle's graphs; None takes those that ``run`` takes.
        sizes: Of the pictures; a graph of fixed size is built once.
        cache: Folder of the engines; None takes the user's own cache folder.
        limit_s: Seconds that one build may take.
        on_progress: Makes what is told of a build, from a name for it.
        build: Builds; takes what :func:`~.builder.build_in` takes.
        clock: Monotonic seconds.

    Raises:
        BundleError: a graph is not there in this precision.
        RequestError: a size that a graph does not take; nothing is built then.
        EngineError: a build failed; what was built before stays.
    """
    choice = Choice(place.flavour, precision)
    wanted = [
        (name, one, shapes)
        for name, graph in opened.manifest.graphs.items()
        # Without a pipeline in this precision `run` takes the networks one by one.
        if (one := precision_of(opened, name, choice)) in graph.files or name != ONE_PASS
        for shapes in shapes_of(name, graph, sizes)
    ]
    graphs = {(name, one): opened.graph(name, one)[1] for name, one, _ in wanted}
    engines = EngineCache(cache)
    for name, one, shapes in wanted:
        onnx = graphs[name, one]
        for gpu in place.gpus:
            asked = request_for(
                place.trt, place.flavour, onnx, read_graph(onnx).inputs, shapes, gpu, precision=one
            )
            begin = clock()
            plan, fresh = obtain_engine(
                engines,
                onnx,
                asked.options,
                asked.flavour,
                asked.version,
                asked.gpu,
                limit_s=limit_s,
                on_progress=None if on_progress is None else on_progress(name),
                build=build,
            )
            told = gpu if isinstance(gpu, str) else gpu.name
            yield Made(name, one, shapes, told, fresh, clock() - begin, len(plan))


def shapes_of(name: str, graph: Graph, sizes: Sequence[Size]) -> list[Shapes]:
    """The shapes of a graph's inputs for each size, the same ones once.

    A pipeline serves some sizes; for the others ``run`` takes the networks one by one, and it has no shapes.

    Raises:
        RequestError: a size is smaller than the graph takes, or has not all of its axes.
    """
    found: list[Shapes] = []
    for width, height in sizes:
        if not graph.serves(height, width):
            continue
        axes = {"width": width, "height": height}
        free = {axis for tensor in graph.inputs for axis in tensor.shape if isinstance(axis, str)}
        if unknown := sorted(free - set(axes)):
            raise RequestError(
                f"the {name} graph has free axes that no size gives",
                expected="width and height",
                got=", ".join(unknown),
            )
        if free and min(width, height) < graph.minimum_size:
            raise RequestError(
                f"--size {width}x{height}",
                expected=f"at least {graph.minimum_size} pixels for the {name} graph",
            )
        shapes = {
            tensor.name: tuple(axes[axis] if isinstance(axis, str) else axis for axis in tensor.shape)
            for tensor in graph.inputs
        }
        if shapes not in found:
            found.append(shapes)
    return found
