"""What the driver's errors mean for whoever runs the program."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tdfusion_edge.errors import EngineError

_AGAIN = "Start the program again; if it happens again, look for the reason with: sudo dmesg"
_MEMORY = "Close other programs that use the GPU, or take smaller pictures."
_HINTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "OUT_OF_MEMORY": ("the GPU has no memory left", _MEMORY),
        "ILLEGAL_ADDRESS": (
            "a kernel reached beyond its memory, and the GPU is lost to this process",
            _AGAIN,
        ),
        "LAUNCH_FAILED": ("a kernel failed, and the GPU is lost to this process", _AGAIN),
        "LAUNCH_TIMEOUT": ("a kernel took too long, and the GPU is lost to this process", _AGAIN),
        "DEVICE_UNAVAILABLE": ("the GPU is gone or taken by another process", _AGAIN),
        "CONTEXT_IS_DESTROYED": ("the GPU is lost to this process", _AGAIN),
        "ECC_UNCORRECTABLE": ("the GPU's memory is damaged", "Restart the machine."),
        "NO_BINARY_FOR_GPU": (
            "the compiled kernels hold no code for this GPU",
            "Compile them for it: python -m tdfusion_edge.runtime.engines.cuda.build",
        ),
        "UNSUPPORTED_PTX_VERSION": (
            "the compiled kernels are for a newer driver",
            "Compile them with nvcc of the driver's CUDA version, or update the driver.",
        ),
        "INSUFFICIENT_DRIVER": (
            "the CUDA library for Python is newer than the driver",
            "Install cuda-bindings of the driver's CUDA version.",
        ),
    }
)


def failure(code: str, what: str) -> EngineError:
    """An error of the driver, in words.

    Args:
        code: The driver's name of it, such as ``CUDA_ERROR_OUT_OF_MEMORY``.
        what: What was asked for.
    """
    for known, (means, hint) in _HINTS.items():
        if known in code:
            return EngineError(f"CUDA: {what} failed: {means} ({code})", hint=hint)
    return EngineError(f"CUDA: {what} failed ({code})")
