"""Back ends that run a network, by name; imported at use.

A back end is a file with an :class:`Engine` class, and a row in :data:`BACKENDS` that says what it can do.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from tdfusion_edge.bundle import Bundle, Precision
from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.engines.agreement import require_agreement
from tdfusion_edge.runtime.engines.base import Array, Engine, OnProgress, Progress, Tensor

__all__ = [
    "BACKENDS",
    "Array",
    "Backend",
    "Choice",
    "Engine",
    "OnProgress",
    "Opened",
    "Progress",
    "Tensor",
    "named",
    "offered",
    "open_graph",
    "precision_of",
]


class Backend(NamedTuple):
    """What one back end can do."""

    engine: str
    """``module:Class``. The class is called with the ONNX bytes and, by name, with ``graph`` (what the
    manifest says about them), ``precision``, ``on_progress`` and the :attr:`options`."""
    device: Literal["cpu", "cuda"]
    """Where it computes."""
    precisions: tuple[Precision, ...]
    """What is taken of a bundle where nothing is asked for: the first that it has."""
    one_pass: bool | None = False
    """Whether it gains by the graph that holds all networks, for the ways between them are saved; where it
    does not, it runs it if that is asked for. None: it has none."""
    options: tuple[str, ...] = ()
    """Fields of :class:`Choice` that are its own: ``threads``, ``engine_cache``, ``workspace``."""
    heads: str | None = None
    """The back end that runs the heads where this one runs fusion networks alone; None: itself."""
    from_cameras: str | None = None
    """``module:Class`` of what takes the cameras' pictures as they are, over the fusion network's engine: a
    :class:`~tdfusion_edge.runtime.executors.base.FromCameras`; None: there is none."""


_TENSORRT = "tdfusion_edge.runtime.engines.tensorrt"

BACKENDS: Mapping[str, Backend] = MappingProxyType(
    {
        "onnxruntime": Backend(
            "tdfusion_edge.runtime.engines.onnxruntime:OnnxRuntimeEngine",
            device="cpu",
            precisions=("fp32",),
            options=("threads",),
        ),
        "tensorrt": Backend(
            f"{_TENSORRT}.runner:TensorRtEngine",
            device="cuda",
            precisions=("fp16", "fp32"),
            one_pass=True,
            options=("engine_cache", "workspace"),
        ),
        "tensorrt-rtx": Backend(
            f"{_TENSORRT}.runner:TensorRtRtxEngine",
            device="cuda",
            precisions=("fp16", "fp32"),
            one_pass=True,
            options=("engine_cache", "workspace"),
        ),
        "torch-tensorrt": Backend(
            f"{_TENSORRT}.runner:TorchTensorRtEngine",
            device="cuda",
            precisions=("fp16", "fp32"),
            one_pass=None,
            options=("engine_cache", "workspace"),
        ),
        "cuda": Backend(
            "tdfusion_edge.runtime.engines.cuda.engine:CudaEngine",
            device="cuda",
            precisions=("fp16",),
            one_pass=None,
            heads="onnxruntime",
            from_cameras="tdfusion_edge.runtime.engines.cuda.cameras:CameraPath",
        ),
        "cuda-tensorrt": Backend(
            "tdfusion_edge.runtime.engines.cuda.engine:CudaEngine",
            device="cuda",
            precisions=("fp16",),
            one_pass=None,
            heads="tensorrt",
            from_cameras="tdfusion_edge.runtime.engines.cuda.cameras:CameraPath",
        ),
    }
)
"""Name to what it can do; ``auto`` takes the first."""


class Choice(NamedTuple):
    """What is to run a bundle's graphs."""

    backend: str = "auto"
    """A key of :data:`BACKENDS`, or ``auto``."""
    precision: Precision | None = None
    """None takes the best one for the back end that the bundle has."""
    threads: int = 0
    """For back ends with this option; 0 takes one a core."""
    engine_cache: Path | None = None
    """Folder of the engines, for back ends that build some; None takes the user's own cache folder."""
    workspace: int | None = None
    """Most bytes of GPU memory that such a build may take for scratch; None takes a share of what is free."""


class Opened(NamedTuple):
    """A graph, loaded."""

    backend: str
    precision: Precision
    engine: Engine


def open_graph(
    opened: Bundle,
    name: str,
    choice: Choice = Choice(),  # noqa: B008 (immutable)
    on_progress: OnProgress | None = None,
) -> Opened:
    """Load a graph of a bundle and say what took it.

    Args:
        opened: The bundle.
        name: Of the graph.
        choice: Back end, precision and the back end's own options.
        on_progress: Called during the build of an engine, by the back ends that build one.

    Raises:
        RequestError: an unknown back end.
        BundleError: the bundle has no such graph, not in this precision, or it is not what the manifest says.
        EngineError: the back end cannot load the graph.
    """
    backend, precision = _named(choice.backend), precision_of(opened, name, choice)
    graph, onnx = opened.graph(name, precision)
    row = BACKENDS[backend]
    own: dict[str, Any] = {option: getattr(choice, option) for option in row.options}
    engine: Engine = named(row.engine)(onnx, graph=graph, precision=precision, on_progress=on_progress, **own)
    try:
        require_agreement(name, graph, engine)
    except BaseException:
        engine.close()
        raise
    return Opened(backend, precision, engine)


def named(place: str) -> Any:
    """What ``module:Class`` names, imported now."""
    module, attribute = place.split(":")
    return getattr(importlib.import_module(module), attribute)


def precision_of(opened: Bundle, name: str, choice: Choice) -> Precision:
    """The precision that is asked for, or the best one for the back end that the bundle has.

    Raises:
        RequestError: an unknown back end.
    """
    there = opened.manifest.graphs[name].files if name in opened.manifest.graphs else {}
    wanted = BACKENDS[_named(choice.backend)].precisions
    best: Precision = next((one for one in wanted if one in there), wanted[-1])
    return choice.precision or best


def offered(option: str) -> bool:
    """Whether any back end has this option of its own."""
    return any(option in row.options for row in BACKENDS.values())


def _named(backend: str) -> str:
    name = next(iter(BACKENDS)) if backend == "auto" else backend
    if name not in BACKENDS:
        raise RequestError(f"unknown back end '{backend}'", expected=f"auto, {', '.join(BACKENDS)}")
    return name
