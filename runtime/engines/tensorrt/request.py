"""What is asked for one shape of one graph.

The runner, a build ahead of time and a build through PyTorch all ask here. An engine is found by the digest
of its facts, so two places that put them together would one day differ, and nobody would find the other's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tdfusion_edge.bundle import Precision
from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.engines.base import Tensor
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.bindings import Flavour
from tdfusion_edge.runtime.engines.tensorrt.device import Gpu
from tdfusion_edge.runtime.engines.tensorrt.facts import EngineFacts, Route, facts_of
from tdfusion_edge.runtime.engines.tensorrt.options import WORKSPACE, BuildOptions, exactly


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that makes an engine what it is."""

    onnx: bytes
    options: BuildOptions
    flavour: Flavour
    version: str
    """Of the library."""
    gpu: Gpu | None
    """None for TensorRT-RTX, which needs the targets in ``options`` alone."""
    route: Route = "onnx"

    def facts(self) -> EngineFacts:
        """Under which the cache keeps the engine."""
        return facts_of(self.onnx, self.options, self.flavour, self.version, self.gpu, self.route)


def request_for(
    trt: Any,
    flavour: Flavour,
    onnx: bytes,
    inputs: tuple[Tensor, ...],
    shapes: Mapping[str, tuple[int, ...]],
    gpu: Gpu | str,
    *,
    precision: Precision,
    workspace: int = WORKSPACE,
    route: Route = "onnx",
) -> Request:
    """The request for the engine that runs a graph at one shape.

    Args:
        trt: The library.
        flavour: Which one it is.
        onnx: The graph.
        inputs: Those of the graph.
        shapes: What each input will be.
        gpu: What the engine is for: a GPU, or for TensorRT-RTX a target such as ``sm_89``.
        precision: What the graph is in.
        workspace: Most bytes of GPU memory for scratch.
        route: How the network comes to the library.

    Raises:
        RequestError: a target for a library that builds for the GPU of its machine alone.
    """
    portable = bindings.takes_capabilities(trt)
    if isinstance(gpu, str):
        if not portable:
            raise for_this_gpu_alone(gpu)
        here, target = None, gpu
    else:
        here, target = None if portable else gpu, gpu.capability
    free = {tensor.name for tensor in inputs if None in tensor.shape}
    profile = exactly({name: tuple(shape) for name, shape in shapes.items() if name in free})
    options = BuildOptions(
        precision=precision,
        profiles=(profile,) if profile else (),
        workspace=workspace,
        targets=(target,) if portable else (),
        detailed=route == "onnx",  # Torch-TensorRT keeps the names of layers and no more
    )
    return Request(onnx, options, flavour, trt.__version__, here, route)


def for_this_gpu_alone(target: str) -> RequestError:
    """The error for a target that is given to TensorRT."""
    return RequestError(
        f"--target {target} is for TensorRT-RTX",
        expected="none, for TensorRT builds for the GPU of the machine that it runs on",
        got=target,
        hint="On the device that is to run it: tdfusion-edge engines BUNDLE --backend tensorrt",
    )
