"""Requests for engines."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from tdfusion_edge.runtime.engines.tensorrt.device import Gpu
from tdfusion_edge.runtime.engines.tensorrt.store.request import Request, request_for


def asked_of(
    trt: Any,
    onnx: bytes,
    shapes: dict[str, tuple[int, ...]],
    *,
    gpu: Gpu | str,
    version: str | None = None,
    targets: tuple[str, ...] = (),
    precision: Any = "fp32",
) -> Request:
    """What the package asks of this library, or of another version or for other targets."""
    portable = hasattr(trt.IBuilderConfig, "set_compute_capability")
    flavour: Any = "tensorrt-rtx" if portable else "tensorrt"
    made = request_for(trt, flavour, onnx, shapes, gpu, precision=precision)
    return replace(made, version=version or made.version, targets=targets or made.targets)
