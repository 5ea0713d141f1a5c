"""TensorRT and TensorRT-RTX behind the Engine protocol.

The graphs have free height and width, and an engine is fastest for one size: so there is one engine a
shape, taken from the cache or built at the first run with that shape. The last few stay loaded.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np

from tdfusion_edge.bundle import Precision
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.base import Array, Tensor, check_inputs
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.bindings import Flavour
from tdfusion_edge.runtime.engines.tensorrt.builder import LIMIT_S, Built, OnProgress, build_in
from tdfusion_edge.runtime.engines.tensorrt.cache import EngineCache
from tdfusion_edge.runtime.engines.tensorrt.device import Device, Gpu, open_device
from tdfusion_edge.runtime.engines.tensorrt.facts import Route
from tdfusion_edge.runtime.engines.tensorrt.graph import read_graph
from tdfusion_edge.runtime.engines.tensorrt.log import Log
from tdfusion_edge.runtime.engines.tensorrt.obtain import obtain_engine
from tdfusion_edge.runtime.engines.tensorrt.options import WORKSPACE
from tdfusion_edge.runtime.engines.tensorrt.request import Request, request_for

KEEP = 3
"""Shapes that stay loaded: the pair, and one sensor alone where its size differs."""

Shapes: TypeAlias = tuple[tuple[int, ...], ...]
"""Of the inputs, in the order of the graph."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """An engine with memory for one shape of inputs."""

    engine: Any
    context: Any
    addresses: dict[str, int]
    shapes: dict[str, tuple[int, ...]]
    """Of inputs and outputs."""


class TensorRtEngine:
    """An Engine that runs on the GPU.

    Args:
        onnx: The graph, self-contained: weights in other files are refused.
        threads: Of no effect, the GPU does the work; every back end takes it.
        precision: What the graph is; one that is not is refused when its engine is built.
        cache: Folder of the engines; None takes the user's own cache folder.
        workspace: Most bytes of GPU memory for scratch.
        limit_s: Seconds that a build may take.
        keep: Shapes that stay loaded, at least 1.
        on_progress: Told of a build, in the thread that runs the engine.
        trt: The library; None imports it.
        device: The GPU; None takes the first one.
        build: Builds engines; takes what :func:`~.builder.build_in` takes.

    Raises:
        EngineError: the library or the GPU is missing, or the bytes are no graph that it can run.
    """

    flavour: ClassVar[Flavour] = "tensorrt"
    route: ClassVar[Route] = "onnx"

    def __init__(
        self,
        onnx: bytes,
        *,
        threads: int = 0,
        precision: Precision = "fp32",
        cache: Path | None = None,
        workspace: int = WORKSPACE,
        limit_s: float = LIMIT_S,
        keep: int = KEEP,
        on_progress: OnProgress | None = None,
        trt: Any = None,
        device: Device | None = None,
        build: Callable[..., Built] = build_in,
    ) -> None:
        graph = read_graph(onnx)
        self._inputs, self._outputs = graph.inputs, graph.outputs
        self._onnx = onnx
        self._trt = bindings.load(self.flavour) if trt is None else trt
        self._title = bindings.named(self.flavour, self._trt)
        self._precision, self._workspace = precision, workspace
        self._cache = EngineCache(cache)
        self._limit_s, self._keep = limit_s, max(1, keep)
        self._on_progress, self._build = on_progress, build
        self._lock = threading.Lock()  # close() may come from another thread
        self._loaded: OrderedDict[Shapes, Loaded] = OrderedDict()
        self._log = Log()
        self._logger = self._log.attach(self._trt)  # has to live as long as the runtime
        self._runtime = bindings.started(self._title, lambda: self._trt.Runtime(self._logger), self._log)
        self._device: Device | None = open_device() if device is None else device

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What :meth:`run` takes."""
        return self._inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What :meth:`run` gives."""
        return self._outputs

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One pass; at the first one with a shape, its engine is built if the cache has none.

        Raises:
            EngineError: the inputs do not fit, the engine is closed, or its build or run failed.
        """
        given = {name: (array.dtype, array.shape) for name, array in inputs.items()}
        check_inputs(self._inputs, given, least=1)
        with self._lock:
            device = self._open()
            loaded = self._for({name: array.shape for name, array in inputs.items()}, device)
            return self._pass(loaded, inputs, device)

    def prepare(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Build or load the engine for these shapes of the inputs, before the first picture is there.

        Raises:
            EngineError: as :meth:`run`.
        """
        dtypes = {tensor.name: tensor.dtype for tensor in self._inputs}
        asked = {name: (dtypes.get(name, np.dtype(object)), shape) for name, shape in shapes.items()}
        check_inputs(self._inputs, asked, least=1)
        with self._lock:
            self._for(shapes, self._open())

    @property
    def device_memory(self) -> int:
        """Bytes of GPU memory that the loaded engines take for activations and scratch."""
        with self._lock:
            return sum(bindings.device_memory(loaded.engine) for loaded in self._loaded.values())

    def close(self) -> None:
        """Release memory; safe to call twice, waits for a pass in another thread."""
        with self._lock:
            device, self._device = self._device, None
            if device is None:
                return
            while self._loaded:
                self._drop(device)
            self._runtime = None
            device.close()

    def _open(self) -> Device:
        if self._device is None:
            raise EngineError("the engine is closed")
        return self._device

    def _for(self, shapes: Mapping[str, tuple[int, ...]], device: Device) -> Loaded:
        key = tuple(shapes[tensor.name] for tensor in self._inputs)
        if key not in self._loaded:
            while len(self._loaded) >= self._keep:
                self._drop(device)  # first: small devices share their memory with the build
            self._loaded[key] = self._load(dict(shapes), device)
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def _load(self, shapes: dict[str, tuple[int, ...]], device: Device) -> Loaded:
        engine = self._deserialised(self._request(shapes, device.gpu))
        check_outside(self._title, engine, self._inputs, self._outputs)
        context = bindings.create_context(self._trt, engine)
        if context is None:
            raise EngineError(f"{self._title} has no memory for {shapes}: {self._log.summary()}")
        bound = _bind_shapes(self._title, engine, context, shapes)
        addresses: dict[str, int] = {}
        try:
            for tensor in (*self._inputs, *self._outputs):
                size = int(np.prod(bound[tensor.name])) * tensor.dtype.itemsize
                addresses[tensor.name] = device.allocate(max(1, size))
                if not context.set_tensor_address(tensor.name, addresses[tensor.name]):
                    raise EngineError(f"{self._title} refuses memory for '{tensor.name}'")
        except BaseException:
            for address in addresses.values():
                device.free(address)
            raise
        return Loaded(engine, context, addresses, bound)

    def _request(self, shapes: Mapping[str, tuple[int, ...]], gpu: Gpu) -> Request:
        return request_for(
            self._trt,
            self.flavour,
            self._onnx,
            self._inputs,
            shapes,
            gpu,
            precision=self._precision,
            workspace=self._workspace,
            route=self.route,
        )

    def _deserialised(self, asked: Request) -> Any:
        while True:
            plan, fresh = self._plan(asked)
            self._log.clear()
            engine = self._runtime.deserialize_cuda_engine(plan)
            if engine is not None:
                return engine
            if fresh:
                raise EngineError(f"{self._title} cannot load the engine: {self._log.summary()}")
            # It is what was built, and yet no good: the driver was changed, for example.
            self._cache.discard(asked.facts(), limit_s=self._limit_s)

    def _plan(self, asked: Request) -> tuple[bytes, bool]:
        """The engine, and whether it was built now."""
        return obtain_engine(
            self._cache,
            asked.onnx,
            asked.options,
            asked.flavour,
            asked.version,
            asked.gpu,
            limit_s=self._limit_s,
            on_progress=self._on_progress,
            build=self._build,
        )

    def _pass(self, loaded: Loaded, inputs: Mapping[str, Array], device: Device) -> dict[str, Array]:
        # Named, because the copies are queued and the arrays have to live until they are done.
        arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        outputs = {
            tensor.name: np.empty(loaded.shapes[tensor.name], tensor.dtype) for tensor in self._outputs
        }
        self._log.clear()
        try:
            for name, array in arrays.items():
                device.copy_in(loaded.addresses[name], array)
            if not loaded.context.execute_async_v3(device.stream):
                raise EngineError(f"{self._title} failed: {self._log.summary()}")
            for name, array in outputs.items():
                device.copy_out(array, loaded.addresses[name])
        finally:
            device.synchronise()
        return outputs

    def _drop(self, device: Device) -> None:
        """Unload the shape that was used longest ago."""
        _, loaded = self._loaded.popitem(last=False)
        for address in loaded.addresses.values():
            device.free(address)


class TensorRtRtxEngine(TensorRtEngine):
    """The same with TensorRT-RTX, whose engines can be built without the GPU they are for."""

    flavour: ClassVar[Flavour] = "tensorrt-rtx"


def check_outside(title: str, engine: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
    """The outside of an engine must be that of its graph.

    Raises:
        EngineError: a name or a dtype differs.
    """
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    got = {name: bindings.dtype(engine.get_tensor_dtype(name)) for name in names}
    want = {tensor.name: tensor.dtype for tensor in (*inputs, *outputs)}
    if got != want:
        raise EngineError(
            f"{title} built another engine than the graph asks for",
            expected=", ".join(f"{name} {dtype}" for name, dtype in sorted(want.items())),
            got=", ".join(f"{name} {dtype}" for name, dtype in sorted(got.items())),
        )


def _bind_shapes(
    title: str, engine: Any, context: Any, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Set the shapes of the inputs, and read those of all tensors."""
    for name, shape in shapes.items():
        if not context.set_input_shape(name, shape):
            raise EngineError(f"{title} refuses shape {shape} for '{name}'")
    if missing := context.infer_shapes():
        raise EngineError(f"{title} does not know the shapes of {', '.join(missing)}")
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    bound = {name: tuple(context.get_tensor_shape(name)) for name in names}
    for name, shape in bound.items():
        if min(shape, default=1) < 0:
            raise EngineError(f"the shape of '{name}' depends on the pictures", expected="one that is fixed")
    return bound
