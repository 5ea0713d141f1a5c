"""What makes one engine another one.

The runner, a build before the first picture and a build through PyTorch all ask here. An engine is found by
the digest of its request, so two places that put one together would one day differ, and nobody would find
the other's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from tdfusion_edge.bundle import Precision
from tdfusion_edge.config import Table
from tdfusion_edge.runtime.engines.tensorrt import bindings, plugins
from tdfusion_edge.runtime.engines.tensorrt.bindings import Flavour
from tdfusion_edge.runtime.engines.tensorrt.device import Gpu

Route: TypeAlias = Literal["onnx", "torch-tensorrt"]
"""How a network comes to the library: its own parser reads the graph, or Torch-TensorRT translates the
PyTorch program that the graph was exported from."""

RECIPE = 3
"""Counted up where this package comes to build something else from the same request."""


class Request(Table, frozen=True, kw_only=True):
    """Everything that an engine depends on; two engines of equal requests are interchangeable."""

    recipe: int = RECIPE
    onnx_sha256: str
    precision: Precision
    """What the graph must be. Nothing is converted: a graph of another precision is refused."""
    shapes: dict[str, tuple[int, ...]]
    """Of all inputs: an engine is fastest for one size, and serves no other."""
    flavour: Flavour
    version: str
    """Of the library."""
    gpu: str
    """Name; empty for TensorRT-RTX, which needs the targets alone, so that an engine from a workstation has
    the key that the device looks for."""
    targets: tuple[str, ...]
    """Compute capabilities such as ``sm_87``; for TensorRT that of the GPU of its machine."""
    multiprocessors: int = 0
    """Of the GPU: several are called Orin. 0 for TensorRT-RTX."""
    memory_gib: int = 0
    """Of the GPU, as it is sold. 0 likewise."""
    driver: str = ""
    """That the engine was built under; empty likewise. No part of the key: an engine of another one is
    built anew in the place of the old."""
    route: Route = "onnx"
    plugins: str = ""
    """How our own kernel is in it, and the digest of its sources; empty where it is not."""

    def key(self) -> str:
        """Name of the engine in the store: a digest of all of this but the driver, 64 hex digits."""
        lasting = msgspec.structs.replace(self, driver="")
        return hashlib.sha256(msgspec.json.encode(lasting, order="deterministic")).hexdigest()

    def times_key(self) -> str:
        """Name of the kernel times, which hold for one library on one GPU, whatever the graph is."""
        machine = (
            self.flavour,
            self.version,
            self.gpu,
            self.targets,
            self.multiprocessors,
            self.memory_gib,
            self.driver,
        )
        return hashlib.sha256(msgspec.json.encode(machine)).hexdigest()

    def differs(self, written: Request) -> str:
        """Why an engine of another request is not this one's, in words; empty where it is."""
        if written == self:
            return ""
        if msgspec.structs.replace(written, driver=self.driver) == self:
            there, here = (one.driver or "unknown" for one in (written, self))
            return f"it was built under driver {there}, and here is {here}"
        return "it was built from something else"


def request_for(
    trt: Any,
    flavour: Flavour,
    onnx: bytes,
    shapes: Mapping[str, tuple[int, ...]],
    gpu: Gpu | str,
    *,
    precision: Precision,
    route: Route = "onnx",
) -> Request:
    """The request for the engine that runs a graph at one shape.

    Args:
        trt: The library.
        flavour: Which one it is.
        onnx: The graph.
        shapes: What each input will be.
        gpu: What the engine is for: a GPU, or for TensorRT-RTX a target such as ``sm_89``.
        precision: What the graph is in.
        route: How the network comes to the library.
    """
    portable = bindings.takes_capabilities(trt)
    own = None if portable or isinstance(gpu, str) else gpu
    return Request(
        onnx_sha256=hashlib.sha256(onnx).hexdigest(),
        precision=precision,
        shapes={name: tuple(shape) for name, shape in shapes.items()},
        flavour=flavour,
        version=trt.__version__,
        gpu="" if own is None else own.name,
        targets=(gpu if isinstance(gpu, str) else gpu.capability,),
        multiprocessors=0 if own is None else own.multiprocessors,
        memory_gib=0 if own is None else own.memory_gib,
        driver="" if own is None else own.driver,
        route=route,
        plugins=plugins.asked_by(plugins.way_of(trt, onnx)),
    )
