"""Back ends that run a network, by name; imported at use."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.engines.base import Array, Engine, Tensor

__all__ = ["BACKENDS", "Array", "Engine", "Tensor", "open_engine"]

BACKENDS: Mapping[str, str] = MappingProxyType(
    {"onnxruntime": "tdfusion_edge.runtime.engines.onnxruntime:OnnxRuntimeEngine"}
)
"""Name to "module:Class", the fastest first; the class is called with the ONNX bytes and ``threads``."""


def open_engine(onnx: bytes, backend: str = "auto", *, threads: int = 0) -> tuple[str, Engine]:
    """Load a graph and say which back end took it.

    Args:
        onnx: The graph.
        backend: A key of :data:`BACKENDS`, or ``auto`` for the fastest that is there.
        threads: Threads of the CPU back end; 0 takes one a core.

    Raises:
        RequestError: an unknown back end.
        EngineError: it cannot load the graph.
    """
    name = next(iter(BACKENDS)) if backend == "auto" else backend
    if name not in BACKENDS:
        raise RequestError(f"unknown back end '{backend}'", expected=f"auto, {', '.join(BACKENDS)}")
    module, attribute = BACKENDS[name].split(":")
    engine: Engine = getattr(importlib.import_module(module), attribute)(onnx, threads=threads)
    return name, engine
