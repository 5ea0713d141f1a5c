"""GPU memory and one stream: everything that the runner needs of CUDA.

Two libraries give it: cuda-python, which NVIDIA recommends (:mod:`cuda_python`), and PyCUDA, which many
devices already have (:mod:`pycuda`). Which one is tried first follows from the driver (:mod:`driver`):
cuda-python brings a CUDA runtime of its own, and one for CUDA 13 refuses the driver of JetPack 6, which is
for 12.6. :mod:`probe` asks the same in a process of its own.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.driver import Driver, driver_here
from tdfusion_edge.runtime.engines.base import Array

DOCTOR = "tdfusion-edge doctor  # says what is installed, and what is missing"
INSTALL = "pip install cuda-bindings  # of the CUDA version that the driver supports"
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


class Provider(NamedTuple):
    """A library that opens the GPU."""

    package: str
    """Its name on PyPI."""
    module: str
    maker: str
    """``module:Class`` of ours, called with the library's module."""
    brings_runtime: bool
    """It holds a CUDA runtime of its own, of the same version as the package."""


_HERE = "tdfusion_edge.runtime.engines.tensorrt.device"
PROVIDERS = (
    Provider(
        "cuda-bindings", "cuda.bindings.runtime", f"{_HERE}.cuda_python:CudaPython", brings_runtime=True
    ),
    Provider("pycuda", "pycuda.driver", f"{_HERE}.pycuda:PyCuda", brings_runtime=False),
)
"""In the order in which they are tried where the driver takes both."""


def open_device(known: Callable[[], Driver] = driver_here) -> Device:
    """The first GPU, through the first library that opens it.

    Those that the driver's CUDA version takes come first. The others are tried as well, for a machine may
    have NVIDIA's compatibility libraries.

    Args:
        known: Tells of the driver.

    Raises:
        EngineError: no library is there, or none opens a GPU; each says why.
    """
    driver, failed = known(), dict[str, str]()
    for provider in sorted(PROVIDERS, key=lambda one: not _fits(one, driver)):
        try:
            library = importlib.import_module(provider.module)
            module, name = provider.maker.split(":")
            device: Device = getattr(importlib.import_module(module), name)(library, driver)
        except Exception as error:  # PyCUDA raises errors of its own already while it is imported
            if not _absent(provider.module, error):
                failed[f"{provider.package} {_version(provider.package) or ''}".rstrip()] = str(error)
        else:
            return device
    if not failed:
        raise EngineError(
            "no CUDA library for Python", expected="cuda-bindings or pycuda", hint=_install(driver)
        )
    raise EngineError(
        f"no GPU can be used: {'; '.join(f'{name}: {why}' for name, why in failed.items())}",
        hint=DOCTOR if all(_fits(one, driver) for one in PROVIDERS) else _install(driver),
    )


def _fits(provider: Provider, driver: Driver) -> bool:
    """Whether the driver takes the library's CUDA runtime, as far as is known."""
    version = _version(provider.package) if provider.brings_runtime else None
    if version is None or driver.cuda is None:
        return True
    return int(version.partition(".")[0]) <= driver.cuda[0]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # it may lie in a folder of the path all the same
        return None


def _absent(module: str, error: Exception) -> bool:
    """Whether it is not installed, "cuda" or "pycuda" that is: what lacks another module is damaged."""
    return isinstance(error, ModuleNotFoundError) and (
        error.name is not None and f"{module}.".startswith(f"{error.name}.")
    )


def _install(driver: Driver) -> str:
    if driver.cuda is None:
        return INSTALL
    major, minor = driver.cuda
    return f'pip install "cuda-bindings<{major + 1}"  # the driver is for CUDA {major}.{minor}'
