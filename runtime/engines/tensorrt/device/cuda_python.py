"""A Device through cuda-python's bindings of the CUDA runtime."""

from __future__ import annotations

import ctypes
import importlib.metadata
from typing import Any

import numpy as np

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.driver import Driver
from tdfusion_edge.runtime.engines.base import Array
from tdfusion_edge.runtime.engines.tensorrt.device import Buffer, Gpu
from tdfusion_edge.runtime.engines.tensorrt.device.memory import available


class CudaPython:
    """The first GPU.

    Args:
        cuda: ``cuda.bindings.runtime``.
        driver: What it runs on.

    Raises:
        EngineError: there is no GPU, or the driver is too old for this version of the library.
    """

    def __init__(self, cuda: Any, driver: Driver) -> None:
        self._cuda = cuda
        self._stream: Any = None
        (count,) = self._do(cuda.cudaGetDeviceCount())
        if not count:
            raise EngineError("cudaErrorNoDevice")
        self._do(cuda.cudaSetDevice(0))
        (properties,) = self._do(cuda.cudaGetDeviceProperties(0))
        self.gpu = Gpu(
            _text(properties.name),
            f"sm_{properties.major}{properties.minor}",
            multiprocessors=int(properties.multiProcessorCount),
            memory=int(properties.totalGlobalMem),
            integrated=bool(properties.integrated),
            driver=str(driver),
        )
        self._mapped = self.gpu.integrated and bool(properties.canMapHostMemory)
        self.provider = f"cuda-bindings {importlib.metadata.version('cuda-bindings')}"
        (self._stream,) = self._do(cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking))

    @property
    def stream(self) -> int:
        """As :class:`~tdfusion_edge.runtime.engines.tensorrt.device.Device` says, and so below."""
        return int(self._stream)

    def buffer(self, shape: tuple[int, ...], dtype: Any) -> Buffer:
        """Page-locked memory, and a block of the GPU's where that has its own."""
        count, kind = int(np.prod(shape)), np.dtype(dtype)
        size = max(1, count * kind.itemsize)
        flags = self._cuda.cudaHostAllocMapped if self._mapped else self._cuda.cudaHostAllocDefault
        (host,) = self._do(self._cuda.cudaHostAlloc(size, flags))
        try:
            (address,) = self._do(
                self._cuda.cudaHostGetDevicePointer(host, 0) if self._mapped else self._cuda.cudaMalloc(size)
            )
        except EngineError:
            self._do(self._cuda.cudaFreeHost(host))
            raise
        memory = (ctypes.c_ubyte * size).from_address(int(host))
        array: Array = np.frombuffer(memory, kind, count).reshape(shape)
        return Buffer(array, int(address), int(host))

    def release(self, buffer: Buffer) -> None:
        """Both blocks."""
        if not self._mapped:
            self._do(self._cuda.cudaFree(buffer.address))
        self._do(self._cuda.cudaFreeHost(buffer.held))

    def upload(self, buffer: Buffer) -> None:
        """Nothing where the memory is the same."""
        if not self._mapped:
            kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
            size = buffer.array.nbytes
            self._do(self._cuda.cudaMemcpyAsync(buffer.address, buffer.held, size, kind, self._stream))

    def download(self, buffer: Buffer) -> None:
        """Likewise."""
        if not self._mapped:
            kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
            size = buffer.array.nbytes
            self._do(self._cuda.cudaMemcpyAsync(buffer.held, buffer.address, size, kind, self._stream))

    def free_memory(self) -> int:
        """The CPU's where it is shared."""
        free, _ = self._do(self._cuda.cudaMemGetInfo())
        return (available() if self.gpu.integrated else None) or int(free)

    def synchronise(self) -> None:
        """Wait for the stream."""
        self._do(self._cuda.cudaStreamSynchronize(self._stream))

    def close(self) -> None:
        """Release the stream."""
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


def _text(raw: bytes | str) -> str:
    return raw.decode(errors="replace").rstrip("\0") if isinstance(raw, bytes) else raw
