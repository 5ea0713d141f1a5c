"""Back ends that run a network, by name; imported at use."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from tdfusion_edge.bundle import Bundle, Precision
from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.engines.base import Array, Engine, Tensor

__all__ = [
    "BACKENDS",
    "Array",
    "Choice",
    "Engine",
    "Opened",
    "Tensor",
    "open_engine",
    "open_graph",
    "precision_of",
]

BACKENDS: Mapping[str, str] = MappingProxyType(
    {
        "onnxruntime": "tdfusion_edge.runtime.engines.onnxruntime:OnnxRuntimeEngine",
        "tensorrt": "tdfusion_edge.runtime.engines.tensorrt.runner:TensorRtEngine",
        "tensorrt-rtx": "tdfusion_edge.runtime.engines.tensorrt.runner:TensorRtRtxEngine",
        "torch-tensorrt": "tdfusion_edge.runtime.engines.tensorrt.from_torch:TorchTensorRtEngine",
    }
)
"""Name to "module:Class"; ``auto`` takes the first. The class is called with the ONNX bytes, ``threads`` and
``precision``."""

ON_CPU: tuple[Precision, ...] = ("fp32",)
ON_GPU: tuple[Precision, ...] = ("fp16", "fp32")
"""What is taken of a bundle where nothing is asked for: the first that it has."""


class Choice(NamedTuple):
    """What is to run a bundle's graphs."""

    backend: str = "auto"
    """A key of :data:`BACKENDS`, or ``auto``."""
    precision: Precision | None = None
    """None takes the best one for the back end that the bundle has."""
    threads: int = 0
    """Of the CPU back end; 0 takes one a core."""
    engine_cache: Path | None = None
    """Folder of the engines of the GPU back ends; None takes the user's own cache folder."""


class Opened(NamedTuple):
    """A graph, loaded."""

    backend: str
    precision: Precision
    engine: Engine


def open_graph(
    opened: Bundle,
    name: str,
    choice: Choice = Choice(),  # noqa: B008 (immutable)
    on_progress: Callable[[Any], None] | None = None,
) -> Opened:
    """Load a graph of a bundle and say what took it.

    Args:
        opened: The bundle.
        name: Of the graph.
        choice: Back end, precision and threads.
        on_progress: Told of the build of an engine, by the back ends that build one.

    Raises:
        RequestError: an unknown back end.
        BundleError: the bundle has no such graph, or not in this precision.
        EngineError: the back end cannot load the graph.
    """
    backend, precision = _named(choice.backend), precision_of(opened, name, choice)
    onnx = opened.graph(name, precision)[1]
    options: dict[str, Any] = {}
    if backend != "onnxruntime":
        options = {"cache": choice.engine_cache}
        options |= {} if on_progress is None else {"on_progress": on_progress}
    engine = open_engine(onnx, backend, threads=choice.threads, precision=precision, **options)[1]
    return Opened(backend, precision, engine)


def precision_of(opened: Bundle, name: str, choice: Choice) -> Precision:
    """The precision that is asked for, or the best one for the back end that the bundle has.

    Raises:
        RequestError: an unknown back end.
    """
    there = opened.manifest.graphs[name].files if name in opened.manifest.graphs else {}
    wanted = ON_CPU if _named(choice.backend) == "onnxruntime" else ON_GPU
    best: Precision = next((one for one in wanted if one in there), wanted[-1])
    return choice.precision or best


def open_engine(
    onnx: bytes, backend: str = "auto", *, threads: int = 0, precision: Precision = "fp32", **options: Any
) -> tuple[str, Engine]:
    """Load a graph and say which back end took it.

    Args:
        onnx: The graph.
        backend: A key of :data:`BACKENDS`, or ``auto`` for the first of them.
        threads: Threads of the CPU back end; 0 takes one a core.
        precision: What the graph is in.
        options: Further arguments of the back end.

    Raises:
        RequestError: an unknown back end.
        EngineError: it cannot load the graph.
    """
    name = _named(backend)
    module, attribute = BACKENDS[name].split(":")
    kind = getattr(importlib.import_module(module), attribute)
    engine: Engine = kind(onnx, threads=threads, precision=precision, **options)
    return name, engine


def _named(backend: str) -> str:
    name = next(iter(BACKENDS)) if backend == "auto" else backend
    if name not in BACKENDS:
        raise RequestError(f"unknown back end '{backend}'", expected=f"auto, {', '.join(BACKENDS)}")
    return name
