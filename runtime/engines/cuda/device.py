"""A GPU as our kernels need it: memory, streams, events, graphs, modules and launches behind one small seam.

Two libraries give it, ``cuda_python.py`` and ``py_cuda.py``; tests have a third that computes on the CPU.
Whatever is put on a stream is done later and in its order; between streams only events order anything.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge.runtime.driver import Driver, driver_here
from tdfusion_edge.runtime.engines.base import Array
from tdfusion_edge.runtime.engines.cuda.tiles import Limits
from tdfusion_edge.runtime.engines.providers import CUDA_BINDINGS, PYCUDA, Provider, first_that_opens

U8 = npt.NDArray[np.uint8]
Handle: TypeAlias = Any
"""A stream, event, graph or kernel of the library that made it; nothing else looks into one."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """Which GPU it is."""

    name: str
    capability: int
    """87 for sm_87."""
    driver: tuple[int, int]
    """Version of CUDA that the driver supports."""
    memory_bytes: int
    integrated: bool
    """Whether it shares its memory with the CPU: then pictures are computed where they lie."""
    limits: Limits


@dataclass(frozen=True, slots=True, eq=False)
class HostMemory:
    """Page-locked memory: the GPU copies to and from it while the CPU does something else."""

    array: U8
    address: int
    """Where the GPU sees it."""
    owner: Handle


class Device(Protocol):
    """One GPU. Every member raises EngineError where the GPU refuses or has failed before."""

    gpu: Gpu
    provider: str
    """Name of the library."""
    captures: bool
    """Whether it has graphs."""

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes, at least 1, of GPU memory, each 0."""

    def free(self, address: int) -> None:
        """Give memory back; nothing on a stream may use it any more."""

    def allocate_host(self, size: int) -> HostMemory:
        """``size`` bytes of page-locked memory that the GPU sees."""

    def free_host(self, memory: HostMemory) -> None:
        """Give it back."""

    def open_stream(self) -> Handle:
        """A stream that does not wait for the default one."""

    def number_of(self, stream: Handle) -> int:
        """The number by which other libraries know a stream."""

    def stream_of(self, number: int) -> Handle:
        """A stream of another library, by its number; it stays that one's."""

    def open_event(self) -> Handle:
        """An event that takes the time."""

    def copy_in(self, address: int, array: Array, stream: Handle) -> None:
        """Queue a copy to the GPU; the contiguous ``array`` stays unchanged until it is done."""

    def copy_out(self, array: Array, address: int, stream: Handle) -> None:
        """Queue a copy from the GPU into a contiguous ``array``."""

    def record(self, event: Handle, stream: Handle) -> None:
        """The event happens when everything that is on the stream by now is done."""

    def wait(self, stream: Handle, event: Handle) -> None:
        """What comes onto the stream from now on waits for the event."""

    def await_event(self, event: Handle) -> None:
        """Wait on the CPU until the event has happened; what failed before it is raised here."""

    def elapsed_ms(self, first: Handle, second: Handle) -> float:
        """Milliseconds between two events that have happened."""

    def kernel(self, image: bytes, name: str, shared_bytes: int) -> Handle:
        """A kernel of a fat binary, allowed to take so much shared memory a block."""

    def launch(
        self,
        kernel: Handle,
        blocks: int,
        threads: int,
        shared_bytes: int,
        parameters: ctypes.Structure,
        stream: Handle,
    ) -> None:
        """Queue a launch with a copy of the parameters."""

    def begin_capture(self, stream: Handle) -> None:
        """What is put on the stream from now on is not done but noted."""

    def end_capture(self, stream: Handle) -> Handle:
        """A graph of what was noted, ready to be launched."""

    def launch_graph(self, graph: Handle, stream: Handle) -> None:
        """Queue what a graph holds."""

    def close(self) -> None:
        """Release streams, events and graphs; safe to call twice. Memory is its owner's to free."""


_HERE = "tdfusion_edge.runtime.engines.cuda"
PROVIDERS = (
    Provider(CUDA_BINDINGS, "cuda.bindings.driver", f"{_HERE}.cuda_python:CudaPython"),
    Provider(PYCUDA, "pycuda.driver", f"{_HERE}.py_cuda:PyCuda"),
)


def open_device(
    providers: Sequence[Provider] = PROVIDERS, known: Callable[[], Driver] = driver_here
) -> Device:
    """The first GPU, by :func:`~tdfusion_edge.runtime.engines.providers.first_that_opens`.

    Args:
        providers: The libraries.
        known: Tells of the driver.

    Raises:
        EngineError: none can; each is named with its reason.
    """
    return first_that_opens(providers, Device, known)  # type: ignore[type-abstract]
