"""What makes one engine another one, written down beside every engine that is kept."""

from __future__ import annotations

import hashlib
from typing import Literal, TypeAlias

import msgspec

from tdfusion_edge.config import Table
from tdfusion_edge.runtime.engines.tensorrt.bindings import Flavour
from tdfusion_edge.runtime.engines.tensorrt.device import Gpu
from tdfusion_edge.runtime.engines.tensorrt.options import BuildOptions

Route: TypeAlias = Literal["onnx", "torch-tensorrt"]
"""How a network comes to the library: its own parser reads the graph, or Torch-TensorRT translates the
PyTorch program that the graph was exported from."""

RECIPE = 1
"""Counted up where this package comes to build something else from the same request."""


class EngineFacts(Table, frozen=True, kw_only=True):
    """Everything that an engine depends on; two engines with the same facts are interchangeable."""

    recipe: int = RECIPE
    onnx_sha256: str
    flavour: Flavour
    version: str
    """Of the library."""
    gpu: str
    """Name; empty for TensorRT-RTX, whose engines are for the targets in ``options``."""
    capability: str
    """Such as ``sm_87``; empty for TensorRT-RTX."""
    options: BuildOptions
    route: Route | msgspec.UnsetType = msgspec.UNSET
    """Unset for the parser, so that it is no part of the digest there."""

    def key(self) -> str:
        """Name of the engine in the cache: a digest of all of this, 64 hex digits."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


class EngineRecord(Table, frozen=True, kw_only=True):
    """The JSON beside an engine."""

    facts: EngineFacts
    sha256: str
    """Of the engine."""
    size: int
    """Bytes of the engine."""
    seconds: float
    """What building it took."""
    driver: str
    """CUDA version that the driver supported then; empty where it was built without a GPU."""


def facts_of(
    onnx: bytes,
    options: BuildOptions,
    flavour: Flavour,
    version: str,
    gpu: Gpu | None,
    route: Route = "onnx",
) -> EngineFacts:
    """The facts of an engine to be.

    Args:
        onnx: The graph.
        options: What is asked of the build; for TensorRT-RTX with its targets.
        flavour: Which library builds and runs it.
        version: Of that library.
        gpu: Where it will be built; None for TensorRT-RTX, which needs none, so that an engine from a
            workstation has the key that the device looks for.
        route: How the network comes to the library.
    """
    return EngineFacts(
        onnx_sha256=hashlib.sha256(onnx).hexdigest(),
        flavour=flavour,
        version=version,
        gpu="" if gpu is None else gpu.name,
        capability="" if gpu is None else gpu.capability,
        options=options,
        route=msgspec.UNSET if route == "onnx" else route,
    )
