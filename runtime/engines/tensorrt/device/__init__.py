"""GPU memory and one stream: everything that the runner needs of CUDA.

Two libraries give it, cuda-python (:mod:`cuda_python`) and PyCUDA (:mod:`pycuda`);
:mod:`~tdfusion_edge.runtime.engines.providers` chooses. :mod:`probe` asks the same in a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from tdfusion_edge.runtime.driver import Driver, driver_here
from tdfusion_edge.runtime.engines.base import Array
from tdfusion_edge.runtime.engines.providers import CUDA_BINDINGS, PYCUDA, Provider, first_that_opens

GIB = 1 << 30
SMALL = 16 * GIB
"""Bytes of memory below which a GPU that shares the CPU's has room for either a build or a run: Orin Nano
and NX."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """Which GPU it is."""

    name: str
    capability: str
    """Such as ``sm_87``."""
    multiprocessors: int = 0
    """AGX Orin, Orin NX and Orin Nano are all called Orin, and differ in these; on a Jetson the power mode
    sets how many are on."""
    memory: int = 0
    """Bytes, less what the system keeps."""
    integrated: bool = False
    """It shares memory with the CPU."""
    driver: str = ""
    """Version of the driver, in words."""

    @property
    def small(self) -> bool:
        """Whether a build and a loaded engine should not be in its memory at once."""
        return self.integrated and self.memory < SMALL

    @property
    def memory_gib(self) -> int:
        """Memory as it is sold: the even number of GiB above, for the system keeps more or less of it."""
        return 2 * -(-self.memory // (2 * GIB))


@dataclass(frozen=True, slots=True)
class Buffer:
    """An input or output, in page-locked memory of the CPU and where the GPU sees it."""

    array: Array
    """What the CPU reads and writes; of no use once the buffer is released."""
    address: int
    """What the GPU reads and writes: the same memory where both share it."""
    held: Any
    """Objects of the library that the memory ends with."""


class Device(Protocol):
    """One GPU and one stream. Copies are queued; :meth:`synchronise` waits and reports their errors."""

    gpu: Gpu
    """Which GPU it is."""
    provider: str
    """Library that opened it, with its version."""

    @property
    def stream(self) -> int:
        """Handle of the stream, never the default one."""

    def buffer(self, shape: tuple[int, ...], dtype: Any) -> Buffer:
        """Memory for one array.

        Raises:
            EngineError: there is not so much.
        """

    def release(self, buffer: Buffer) -> None:
        """Give memory back; nothing on the stream may use it any more."""

    def upload(self, buffer: Buffer) -> None:
        """Queue the way from ``array`` to the GPU; ``array`` stays unchanged until :meth:`synchronise`."""

    def download(self, buffer: Buffer) -> None:
        """Queue the way back into ``array``, which holds it from :meth:`synchronise` on."""

    def free_memory(self) -> int:
        """Bytes that can be allocated now."""

    def synchronise(self) -> None:
        """Wait for everything that is queued.

        Raises:
            EngineError: something of it failed; the GPU may not be usable by this process any more.
        """

    def close(self) -> None:
        """Release the stream; safe to call twice."""


_HERE = "tdfusion_edge.runtime.engines.tensorrt.device"
PROVIDERS = (
    Provider(CUDA_BINDINGS, "cuda.bindings.runtime", f"{_HERE}.cuda_python:CudaPython"),
    Provider(PYCUDA, "pycuda.driver", f"{_HERE}.pycuda:PyCuda"),
)


def open_device(known: Callable[[], Driver] = driver_here) -> Device:
    """The first GPU, by :func:`~tdfusion_edge.runtime.engines.providers.first_that_opens`.

    Args:
        known: Tells of the driver.

    Raises:
        EngineError: no library is there, or none opens a GPU; each says why.
    """
    return first_that_opens(PROVIDERS, Device, known)  # type: ignore[type-abstract]
