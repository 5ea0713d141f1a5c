"""The half of the stand-in that runs engines, on memory of the host instead of a GPU's."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.ort import onnxruntime
from tdfusion_edge.runtime.engines.tensorrt.device import Buffer, Gpu

ORIN = Gpu("Fake Orin", "sm_87", 8, 7 << 30, driver="540.4.0, CUDA 12.6")
COMPILED: list[Any] = []
"""Engines that have compiled kernels, and not found them in a cache."""
STREAMS: dict[int, HostDevice] = {}
NUMPY = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}
NAMES = {"tensor(float)": "FLOAT", "tensor(float16)": "HALF", "tensor(int64)": "INT64"}


class HostDevice:
    """A Device whose memory is the host's. Work is queued, and done at ``synchronise`` alone.

    Where the GPU is integrated both see the same memory; elsewhere each has its own.
    """

    provider = "host 1.0"

    def __init__(self, gpu: Gpu = ORIN, limit: int = 1 << 20) -> None:
        self.gpu = gpu
        self.limit = limit
        self.memory: dict[int, Any] = {}
        self.copies = 0
        self.queue: list[Callable[[], None]] = []
        self.stream = 0x1000 + len(STREAMS)
        self.closed = False
        STREAMS[self.stream] = self

    def buffer(self, shape: tuple[int, ...], dtype: Any) -> Buffer:
        array = np.full(shape, 0x77, np.uint8).astype(dtype)
        if array.nbytes > self.limit:
            raise EngineError("CUDA: out of memory")
        memory: Any = (ctypes.c_char * array.nbytes).from_buffer(array)
        if not self.gpu.integrated:
            memory = ctypes.create_string_buffer(b"\xee" * array.nbytes, array.nbytes)
        self.memory[ctypes.addressof(memory)] = memory
        return Buffer(array, ctypes.addressof(memory), None)

    def release(self, buffer: Buffer) -> None:
        assert not self.queue, "memory is freed while work is queued"
        del self.memory[buffer.address]

    def free_memory(self) -> int:
        return self.limit

    def at(self, address: int, size: int) -> int:
        assert address in self.memory, f"address {address:#x} was not allocated here"
        assert len(self.memory[address]) >= size, "the allocation is too small"
        return address

    def upload(self, buffer: Buffer) -> None:
        array = buffer.array
        if not self.gpu.integrated:
            self._copy(lambda: (self.at(buffer.address, array.nbytes), array.ctypes.data, array.nbytes))

    def download(self, buffer: Buffer) -> None:
        array = buffer.array
        if not self.gpu.integrated:
            self._copy(lambda: (array.ctypes.data, self.at(buffer.address, array.nbytes), array.nbytes))

    def _copy(self, told: Callable[[], tuple[int, int, int]]) -> None:
        self.copies += 1
        self.queue.append(lambda: ctypes.memmove(*told()))

    def synchronise(self) -> None:
        queue, self.queue = self.queue, []
        for work in queue:
            work()

    def close(self) -> None:
        assert not self.memory, "memory is left"
        assert not self.closed
        self.closed = True
        del STREAMS[self.stream]


class Strict:
    """Like the real classes: what it does not have cannot be set either."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"'{type(self).__name__}' has no '{name}'")
        object.__setattr__(self, name, value)


class IRuntimeCache(Strict):
    """It holds the names of what was compiled."""

    def __init__(self) -> None:
        self._raw = b""

    def serialize(self) -> bytes:
        return self._raw

    def deserialize(self, blob: bytes) -> bool:
        if not blob.startswith(b"kernels"):
            return False
        self._raw = blob
        return True


class IRuntimeConfig(Strict):
    def __init__(self) -> None:
        self._cache: Any = None

    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache()

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        self._cache = cache
        return True


def add_runtime(trt: Any, version: str, gpu: Gpu) -> None:
    class IExecutionContext(Strict):
        def __init__(self, engine: Any, cache: Any = None) -> None:
            self._cache = cache
            self._engine, self._shapes, self._addresses = engine, dict[str, Any](), dict[str, int]()

        def set_input_shape(self, name: str, shape: Any) -> bool:
            profiles = self._engine._facts["profiles"]
            low, _, high = profiles[0][name] if profiles and name in profiles[0] else (shape, 0, shape)
            if not all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True)):
                return False
            self._shapes[name] = tuple(shape)
            return True

        def infer_shapes(self) -> list[str]:
            return [
                value.name for value in self._engine._session.get_inputs() if value.name not in self._shapes
            ]

        def get_tensor_shape(self, name: str) -> Any:
            if name in self._shapes:
                return self._shapes[name]
            if self.infer_shapes():
                return (-1,) * 4
            return self._results({n: np.zeros(s, self._engine._dtype(n)) for n, s in self._shapes.items()})[
                name
            ].shape

        def set_tensor_address(self, name: str, memory: int) -> bool:
            assert name in self._engine._names
            assert memory
            self._addresses[name] = memory
            return True

        def execute_async_v3(self, stream_handle: int) -> bool:
            assert stream_handle in STREAMS, "no stream that was opened, or the default one"
            assert not self.infer_shapes(), "a shape is not set"
            assert set(self._addresses) == set(self._engine._names), "an address is not set"
            STREAMS[stream_handle].queue.append(lambda: self._pass(STREAMS[stream_handle]))
            return True

        def _results(self, inputs: dict[str, Any]) -> dict[str, Any]:
            names = [value.name for value in self._engine._session.get_outputs()]
            return dict(zip(names, self._engine._session.run(names, inputs), strict=True))

        def _pass(self, device: HostDevice) -> None:
            if self._cache is not None and not self._cache._raw:
                COMPILED.append(self._engine)
                self._cache._raw = b"kernels"
            inputs = {}
            for name, shape in self._shapes.items():
                array = np.empty(shape, self._engine._dtype(name))
                ctypes.memmove(
                    array.ctypes.data, device.at(self._addresses[name], array.nbytes), array.nbytes
                )
                inputs[name] = array
            for name, array in self._results(inputs).items():
                ctypes.memmove(
                    device.at(self._addresses[name], array.nbytes), array.ctypes.data, array.nbytes
                )

    class ICudaEngine(Strict):
        num_io_tensors = 0

        def __init__(self, facts: dict[str, Any], raw: bytes) -> None:
            self._facts = facts
            self._session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
            self._kinds = {
                v.name: v.type for v in (*self._session.get_inputs(), *self._session.get_outputs())
            }
            self._names = list(self._kinds)
            self.num_io_tensors = len(self._names)

        def get_tensor_name(self, index: int) -> str:
            return self._names[index]

        def get_tensor_dtype(self, name: str) -> Any:
            kind = NAMES[self._kinds[name]]
            return trt.DataType["INT32" if kind == "INT64" and version == "8.6" else kind]

        def get_tensor_shape(self, name: str) -> Any:
            values = (*self._session.get_inputs(), *self._session.get_outputs())
            shape = next(value.shape for value in values if value.name == name)
            return tuple(axis if isinstance(axis, int) else -1 for axis in shape)

        def _dtype(self, name: str) -> Any:
            return NUMPY[self._kinds[name]]

    class OldEngine(ICudaEngine):
        def create_execution_context(self) -> IExecutionContext:
            return IExecutionContext(self)

    class NewEngine(ICudaEngine):
        def create_execution_context(self) -> IExecutionContext:
            return IExecutionContext(self)

    class RtxEngine(ICudaEngine):
        def create_runtime_config(self) -> IRuntimeConfig:
            return IRuntimeConfig()

        def create_execution_context(self, runtime_config: IRuntimeConfig) -> IExecutionContext:
            assert runtime_config._cache is not None
            return IExecutionContext(self, runtime_config._cache)

    class Runtime(Strict):
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
            head, _, raw = serialized_engine.partition(b"\n")
            facts = json.loads(head)
            targets = [gpu.capability.upper().replace("_", "")] if version == "rtx" else []
            if facts["version"] != trt.__version__ or facts["targets"] != targets:
                self._logger.log(trt.ILogger.Severity.ERROR, "the engine is of another version or GPU")
                return None
            made = OldEngine if version == "8.6" else RtxEngine if version == "rtx" else NewEngine
            return made(facts, raw)

    trt.IExecutionContext, trt.Runtime = IExecutionContext, Runtime
    trt.ICudaEngine = OldEngine if version == "8.6" else RtxEngine if version == "rtx" else NewEngine
