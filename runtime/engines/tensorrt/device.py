"""GPU memory and one stream: everything that the runner needs of CUDA.

Two libraries give it: cuda-python, which NVIDIA recommends, and PyCUDA, which many devices already have.
The seam has room for what comes later: CUDA graphs capture what is put on :attr:`Device.stream`, memory
that an integrated GPU shares with the CPU is another ``allocate``, and kernels of our own are launched
with the same addresses.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
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


class Device(Protocol):
    """One GPU and one stream. Copies are queued; :meth:`synchronise` waits and reports their errors."""

    gpu: Gpu
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
    libraries: dict[str, Callable[[Any], Device]] = {
        "cuda.bindings.runtime": _CudaPython,
        "pycuda.driver": _PyCuda,
    }
    for module, make in libraries.items():
        try:
            library = importlib.import_module(module)
        except ModuleNotFoundError as error:
            # "cuda" or "pycuda" is absent; what lacks another module is damaged
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise EngineError(f"{module} cannot be loaded: {error}", hint=DOCTOR) from error
        except Exception as error:
            raise EngineError(f"{module} cannot be loaded: {error}", hint=DOCTOR) from error
        else:
            try:
                return make(library)
            except Exception as error:  # PyCUDA raises errors of its own already while it is imported
                raise EngineError(f"no GPU can be used: {error}", hint=DOCTOR) from error
    raise EngineError("no CUDA library for Python", expected="cuda-bindings or pycuda", hint=INSTALL)


class _CudaPython:
    """A Device through cuda-python's bindings of the CUDA runtime."""

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._stream: Any = None
        (count,) = self._do(cuda.cudaGetDeviceCount())
        if not count:
            raise EngineError("cudaErrorNoDevice")
        self._do(cuda.cudaSetDevice(0))
        (properties,) = self._do(cuda.cudaGetDeviceProperties(0))
        self.gpu = Gpu(_text(properties.name), f"sm_{properties.major}{properties.minor}")
        (self._stream,) = self._do(cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking))

    @property
    def stream(self) -> int:
        return int(self._stream)

    def allocate(self, size: int) -> int:
        (address,) = self._do(self._cuda.cudaMalloc(size))
        return int(address)

    def free(self, address: int) -> None:
        self._do(self._cuda.cudaFree(address))

    def copy_in(self, address: int, array: Array) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._do(self._cuda.cudaMemcpyAsync(address, array.ctypes.data, array.nbytes, kind, self._stream))

    def copy_out(self, array: Array, address: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._do(self._cuda.cudaMemcpyAsync(array.ctypes.data, address, array.nbytes, kind, self._stream))

    def synchronise(self) -> None:
        self._do(self._cuda.cudaStreamSynchronize(self._stream))

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._do(self._cuda.cudaStreamDestroy(stream))

    def _do(self, answer: tuple[Any, ...]) -> tuple[Any, ...]:
        """What a function of the runtime gives after its error code."""
        code, *rest = answer
        if int(code) != 0:
            _, said = self._cuda.cudaGetErrorString(code)
            raise EngineError(f"CUDA: {_text(said)} ({code.name})")
        return tuple(rest)


class _PyCuda:
    """A Device through PyCUDA, in the primary context, which TensorRT and PyTorch share."""

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._stream: Any = None
        self._held: dict[int, Any] = {}  # an allocation ends with its object
        # Not autoinit, which makes a second context that the memory of the others is not in.
        self._context = importlib.import_module("pycuda.autoprimaryctx").context
        with self._current():
            device = cuda.Context.get_device()
            major, minor = device.compute_capability()
            self.gpu = Gpu(device.name(), f"sm_{major}{minor}")
            self._stream = cuda.Stream(NON_BLOCKING)

    @property
    def stream(self) -> int:
        return int(self._stream.handle)

    def allocate(self, size: int) -> int:
        with self._current() as cuda:
            memory = cuda.mem_alloc(size)
        self._held[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        with self._current():
            self._held.pop(address).free()

    def copy_in(self, address: int, array: Array) -> None:
        with self._current() as cuda:
            cuda.memcpy_htod_async(address, array, self._stream)

    def copy_out(self, array: Array, address: int) -> None:
        with self._current() as cuda:
            cuda.memcpy_dtoh_async(array, address, self._stream)

    def synchronise(self) -> None:
        with self._current():
            self._stream.synchronize()

    def close(self) -> None:
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
