"""A GPU as our kernels need it: memory, streams, events, graphs, modules and launches behind one small seam.

Two libraries give it, ``cuda_python.py`` and ``py_cuda.py``; tests have a third that computes on the CPU.
Whatever is put on a stream is done later and in its order; between streams only events order anything.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.base import Array
from tdfusion_edge.runtime.engines.cuda.tiles import Limits

U8 = npt.NDArray[np.uint8]
Handle: TypeAlias = Any
"""A stream, event, graph or kernel of the library that made it; nothing else looks into one."""

DOCTOR = "tdfusion-edge doctor  # says what is installed, and what is missing"
INSTALL = "pip install cuda-bindings  # of the CUDA version that the driver supports"


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


PROVIDERS: Mapping[str, str] = MappingProxyType(
    {
        "cuda.bindings.driver": "tdfusion_edge.runtime.engines.cuda.cuda_python:CudaPython",
        "pycuda.driver": "tdfusion_edge.runtime.engines.cuda.py_cuda:PyCuda",
    }
)
"""Module of a library to the Device over it, in the order in which they are tried."""


def open_device(providers: Mapping[str, str] = PROVIDERS) -> Device:
    """The first GPU, through the first library that can open it.

    Raises:
        EngineError: none can; each is named with its reason.
    """
    reasons: list[str] = []
    absent = 0
    for library, place in providers.items():
        try:
            loaded = importlib.import_module(library)
        except ModuleNotFoundError as error:
            # "cuda" or "pycuda" is absent; what lacks another module is damaged
            there = error.name is None or not f"{library}.".startswith(f"{error.name}.")
            absent += not there
            reasons.append(f"{library} cannot be loaded: {error}" if there else f"{library} is not installed")
            continue
        except Exception as error:  # a library that finds no driver may raise anything
            reasons.append(f"{library} cannot be loaded: {error}")
            continue
        module, kind = place.split(":")
        try:
            opened: Device = getattr(importlib.import_module(module), kind)(loaded)
            return opened
        except Exception as error:  # PyCUDA has errors of its own
            reasons.append(f"{library}: {error}")
    if absent == len(providers):
        raise EngineError("no CUDA library for Python", expected="cuda-bindings or pycuda", hint=INSTALL)
    raise EngineError(f"no GPU can be used: {'; '.join(reasons)}", hint=DOCTOR)
