"""How much GPU memory a build may take for scratch: a share of what is free when it begins.

It is a limit and no allocation, and no part of what an engine is: with less of it the builder leaves out
kernels that would take more.
"""

from __future__ import annotations

from contextlib import closing

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.tensorrt.device import Gpu, open_device

UNKNOWN = 4 << 30
"""Bytes where there is no GPU to ask, as for TensorRT-RTX, which builds for others. It counts activations
in: more than 1 GiB at 1920x1088."""
SHARED, OWN = 0.5, 0.75
"""Share of the free memory: where the GPU has the CPU's, the builder itself, its weights and the camera's
process live in it too."""
LEAST = 64 << 20
"""Bytes; with less nothing is built, and the library's own message says so."""


def workspace_of(gpu: Gpu, free: int) -> int:
    """Bytes for scratch on a GPU with so many bytes free.

    >>> workspace_of(Gpu("Orin", "sm_87", integrated=True), 5 << 30) / (1 << 30)
    2.5
    """
    return max(LEAST, int(free * (SHARED if gpu.integrated else OWN)))


def workspace_here() -> int:
    """Bytes for scratch on this machine, now."""
    try:
        with closing(open_device()) as device:
            return workspace_of(device.gpu, device.free_memory())
    except EngineError:
        return UNKNOWN
