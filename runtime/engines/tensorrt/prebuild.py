"""Engines built before the first picture: on the device, or for TensorRT-RTX on any other machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from tdfusion_edge.bundle import ONE_PASS, Bundle, Graph, Precision
from tdfusion_edge.errors import EngineError, RequestError
from tdfusion_edge.runtime.engines import Choice, OnProgress, precision_of
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.bindings import Flavour
from tdfusion_edge.runtime.engines.tensorrt.builder import build_in
from tdfusion_edge.runtime.engines.tensorrt.device import Gpu
from tdfusion_edge.runtime.engines.tensorrt.device.probe import gpu_here
from tdfusion_edge.runtime.engines.tensorrt.store import EngineStore
from tdfusion_edge.runtime.engines.tensorrt.store.request import request_for

Size: TypeAlias = tuple[int, int]
"""Width and height, pixels."""
Shapes: TypeAlias = dict[str, tuple[int, ...]]

DEFAULT_SIZE: Size = (640, 480)


class Place(NamedTuple):
    """What builds, and for which GPUs."""

    flavour: Flavour
    trt: Any
    gpus: tuple[Gpu | str, ...]
    """The GPU of this machine, or targets such as ``sm_89``."""


class Wanted(NamedTuple):
    """An engine that a graph needs for one size."""

    graph: str
    precision: Precision
    shapes: Shapes


class Made(NamedTuple):
    """One engine that is in the store now."""

    wanted: Wanted
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
    gpu: Callable[[], Gpu] = gpu_here,
) -> Place:
    """Look what there is to build with, before any work is begun.

    Args:
        flavour: Which library.
        targets: For TensorRT-RTX: what to build for; none takes the GPU of this machine.
        trt: The library; None imports it.
        gpu: Tells which GPU this machine has.

    Raises:
        RequestError: targets for TensorRT.
        EngineError: the library or the GPU is missing, or a target is none that it builds for.
    """
    refuse_targets(flavour, targets)
    trt = bindings.load(flavour) if trt is None else trt
    for target in targets:
        bindings.capability(trt, target)
    if targets:
        return Place(flavour, trt, tuple(dict.fromkeys(targets)))
    try:
        return Place(flavour, trt, (gpu(),))
    except EngineError as error:
        if flavour == "tensorrt":
            raise
        raise EngineError(
            f"{error.what}, and none is named to build for",
            expected=error.expected,
            got=error.got,
            hint="Name the GPU that will run it, such as --target sm_89, or see: tdfusion-edge doctor",
        ) from error


def refuse_targets(flavour: Flavour, targets: Sequence[str]) -> None:
    """Refuse targets where they cannot be named.

    Raises:
        RequestError: targets for TensorRT.
    """
    if targets and flavour == "tensorrt":
        raise RequestError(
            f"--target {targets[0]} is for TensorRT-RTX",
            expected="none, for TensorRT builds for the GPU of the machine that it runs on",
            got=targets[0],
            hint="On the device that is to run it: tdfusion-edge engines BUNDLE --backend tensorrt",
        )


def prebuild(
    opened: Bundle,
    place: Place,
    *,
    precision: Precision | None = None,
    sizes: Sequence[Size] = (DEFAULT_SIZE,),
    engine_cache: Path | None = None,
    workspace: int | None = None,
    on_progress: Callable[[str], OnProgress] | None = None,
    build: Callable[..., tuple[bytes, bytes | None]] = build_in,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Made]:
    """Have the engines of all graphs of a bundle in the store; each is given when it is there.

    Args:
        opened: The bundle.
        place: What builds, and for which GPUs.
        precision: Which of the bundle's graphs; None takes those that ``run`` takes.
        sizes: Of the pictures; a graph of fixed size is built once.
        engine_cache: Folder of the engines; None takes the user's own cache folder.
        workspace: Most bytes of GPU memory for a build's scratch; None takes a share of what is free.
        on_progress: Makes what is called during a build, from the graph's name.
        build: Builds; takes what :func:`~.builder.build_in` takes.
        clock: Monotonic seconds.

    Raises:
        BundleError: a graph is not there in this precision, or not what the manifest says.
        RequestError: a size that a graph does not take; nothing is built then.
        EngineError: a build failed; what was built before stays.
    """
    every = list(wanted_of(opened, Choice(place.flavour, precision), sizes))
    graphs = {(one.graph, one.precision): opened.graph(one.graph, one.precision) for one in every}
    store = EngineStore(engine_cache)
    for one in every:
        graph, onnx = graphs[one.graph, one.precision]
        for gpu in place.gpus:
            request = request_for(place.trt, place.flavour, onnx, one.shapes, gpu, precision=one.precision)
            report = None if on_progress is None else on_progress(one.graph)
            begin = clock()
            make = partial(build, request, onnx, graph, workspace=workspace, on_progress=report)
            plan, fresh = store.find_or_build(request, make, report)
            name = gpu if isinstance(gpu, str) else gpu.name
            yield Made(one, name, fresh, clock() - begin, len(plan))


def wanted_of(opened: Bundle, choice: Choice, sizes: Sequence[Size]) -> Iterator[Wanted]:
    """The engines that ``run`` looks for.

    Raises:
        RequestError: a size that a graph does not take.
    """
    for name, graph in opened.manifest.graphs.items():
        precision = precision_of(opened, name, choice)
        # Without a one-pass graph in this precision `run` takes the networks one by one.
        if name != ONE_PASS or precision in graph.files:
            for shapes in shapes_of(name, graph, sizes):
                yield Wanted(name, precision, shapes)


def shapes_of(name: str, graph: Graph, sizes: Sequence[Size]) -> list[Shapes]:
    """The shapes of a graph's inputs for each size, the same ones once.

    A one-pass graph serves some sizes; for the others it has no shapes, and ``run`` takes the networks.

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
