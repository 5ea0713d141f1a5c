"""GPU memory and one stream: everything that the runner needs of CUDA.

Two libraries give it: cuda-python, which NVIDIA recommends, and PyCUDA, which many devices already have.
The seam has room for what comes later: CUDA graphs capture what is put on :attr:`Device.stream`, memory
that an integrated GPU shares with the CPU is another ``allocate``, and kernels of our own are launched
with the same addresses.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.base import Array

DOCTOR = "tdfusion-edge doctor  # says what is installed, and what is missing"
INSTALL = "pip install cuda-bindings  # of the CUDA version that the driver supports"
NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: work on the default stream of another library does not wait for ours."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """Which GPU it is."""

    name: str
    capability: str
    """Such as ``sm_87``."""
    integrated: bool
    """It shares its memory with the CPU."""
    driver: str
    """CUDA version that the driver supports, such as 12.6."""


class Device(Protocol):
    """One GPU and one stream. Copies are queued; :meth:`synchronise` waits and reports their errors."""

    @property
    def gpu(self) -> Gpu:
        """Which GPU it is."""

    @property
    def stream(self) -> int:
        """Handle of the stream, never the default one."""

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes, at least 1, of GPU memory.

        Raises:
            EngineError: there is not so much.
        """

    def free(self, address: int) -> None:
        """Give memory back; nothing on the stream may use it any more."""

    def copy_in(self, address: int, array: Array) -> None:
        """Queue a copy to the GPU; the contiguous ``array`` stays unchanged until :meth:`synchronise`."""

    def copy_out(self, array: Array, address: int) -> None:
        """Queue a copy from the GPU into a contiguous ``array``, which is filled at :meth:`synchronise`."""

    def synchronise(self) -> None:
        """Wait for everything that is queued.

        Raises:
            EngineError: something of it failed; the GPU may not be usable by this process any more.
        """

    def close(self) -> None:
        """Release the stream; safe to call twice."""


def open_device() -> Device:
    """The first GPU, through the first library that is installed.

    Raises:
        EngineError: there is neither library, or no GPU.
    """
    for module, make in (("cuda.bindings.runtime", CudaPython), ("pycuda.driver", PyCuda)):
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            # "cuda" or "pycuda" is absent; what lacks another module is damaged
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise EngineError(f"{module} cannot be loaded: {error}", hint=DOCTOR) from error
        except Exception as error:
            raise EngineError(f"{module} cannot be loaded: {error}", hint=DOCTOR) from error
        else:
            opened: Device = make()
            return opened
    raise EngineError("no CUDA library for Python", expected="cuda-bindings or pycuda", hint=INSTALL)


class CudaPython:
    """A Device through cuda-python's bindings of the CUDA runtime.

    Args:
        runtime: ``cuda.bindings.runtime``; None imports it.

    Raises:
        EngineError: there is no GPU, or its driver is too old.
    """

    def __init__(self, runtime: Any = None) -> None:
        self._cuda = runtime or importlib.import_module("cuda.bindings.runtime")
        self._stream: Any = None
        cuda = self._cuda
        try:
            (count,) = self._do(cuda.cudaGetDeviceCount())
            if not count:
                raise EngineError("cudaErrorNoDevice")
            self._do(cuda.cudaSetDevice(0))
            (properties,) = self._do(cuda.cudaGetDeviceProperties(0))
            (version,) = self._do(cuda.cudaDriverGetVersion())
            (self._stream,) = self._do(cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking))
        except EngineError as error:
            raise EngineError(f"no GPU can be used: {error.what}", hint=DOCTOR) from error
        self._gpu = Gpu(
            name=_text(properties.name),
            capability=f"sm_{properties.major}{properties.minor}",
            integrated=bool(properties.integrated),
            driver=_version(version),
        )

    @property
    def gpu(self) -> Gpu:
        """Which GPU it is."""
        return self._gpu

    @property
    def stream(self) -> int:
        """Handle of the stream."""
        return int(self._stream)

    def allocate(self, size: int) -> int:
        """Address of GPU memory; raises EngineError where there is not so much."""
        (address,) = self._do(self._cuda.cudaMalloc(size))
        return int(address)

    def free(self, address: int) -> None:
        """Give memory back."""
        self._do(self._cuda.cudaFree(address))

    def copy_in(self, address: int, array: Array) -> None:
        """Queue a copy to the GPU."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._do(self._cuda.cudaMemcpyAsync(address, array.ctypes.data, array.nbytes, kind, self._stream))

    def copy_out(self, array: Array, address: int) -> None:
        """Queue a copy from the GPU."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._do(self._cuda.cudaMemcpyAsync(array.ctypes.data, address, array.nbytes, kind, self._stream))

    def synchronise(self) -> None:
        """Wait for everything that is queued; raises EngineError where it failed."""
        self._do(self._cuda.cudaStreamSynchronize(self._stream))

    def close(self) -> None:
        """Release the stream; safe to call twice."""
        stream, self._stream = self._stream, None
        if stream is not None:
            self._do(self._cuda.cudaStreamDestroy(stream))

    def _do(self, answer: tuple[Any, ...]) -> tuple[Any, ...]:
        """What a function of the runtime gives after its error code."""
        code, *rest = answer
        if int(code) != 0:
            _, told = self._cuda.cudaGetErrorString(code)
            raise EngineError(f"CUDA: {_text(told)} ({code.name})")
        return tuple(rest)


class PyCuda:
    """A Device through PyCUDA, in the primary context, which TensorRT and PyTorch share.

    Args:
        driver: ``pycuda.driver``; None imports it.
        context: The primary context; None takes that of ``pycuda.autoprimaryctx``.

    Raises:
        EngineError: there is no GPU.
    """

    def __init__(self, driver: Any = None, context: Any = None) -> None:
        self._cuda = driver or importlib.import_module("pycuda.driver")
        self._stream: Any = None
        self._held: dict[int, Any] = {}  # an allocation ends with its object
        try:
            # Not autoinit, which makes a second context that the memory of the others is not in.
            self._context = context or importlib.import_module("pycuda.autoprimaryctx").context
            with self._current() as cuda:
                device = cuda.Context.get_device()
                major, minor = device.compute_capability()
                self._gpu = Gpu(
                    name=device.name(),
                    capability=f"sm_{major}{minor}",
                    integrated=bool(device.get_attribute(cuda.device_attribute.INTEGRATED)),
                    driver=_version(cuda.get_driver_version()),
                )
                self._stream = cuda.Stream(NON_BLOCKING)
        except Exception as error:
            raise EngineError(f"no GPU can be used: {error}", hint=DOCTOR) from error

    @property
    def gpu(self) -> Gpu:
        """Which GPU it is."""
        return self._gpu

    @property
    def stream(self) -> int:
        """Handle of the stream."""
        return int(self._stream.handle)

    def allocate(self, size: int) -> int:
        """Address of GPU memory; raises EngineError where there is not so much."""
        with self._current() as cuda:
            memory = cuda.mem_alloc(size)
        self._held[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        """Give memory back."""
        with self._current():
            self._held.pop(address).free()

    def copy_in(self, address: int, array: Array) -> None:
        """Queue a copy to the GPU."""
        with self._current() as cuda:
            cuda.memcpy_htod_async(address, array, self._stream)

    def copy_out(self, array: Array, address: int) -> None:
        """Queue a copy from the GPU."""
        with self._current() as cuda:
            cuda.memcpy_dtoh_async(array, address, self._stream)

    def synchronise(self) -> None:
        """Wait for everything that is queued; raises EngineError where it failed."""
        with self._current():
            self._stream.synchronize()

    def close(self) -> None:
        """Release the stream; safe to call twice."""
        with self._current():
            self._stream = None

    @contextlib.contextmanager
    def _current(self) -> Iterator[Any]:
        """The context is current in the thread that imported PyCUDA alone; the pipeline has others."""
        self._context.push()
        try:
            yield self._cuda
        except self._cuda.Error as error:
            raise EngineError(f"CUDA: {error}") from error
        finally:
            self._context.pop()


def _text(raw: bytes | str) -> str:
    return raw.decode(errors="replace").rstrip("\0") if isinstance(raw, bytes) else raw


def _version(number: int) -> str:
    """CUDA's 12060 is 12.6."""
    return f"{number // 1000}.{number % 1000 // 10}"
