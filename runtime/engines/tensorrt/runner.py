"""TensorRT and TensorRT-RTX behind the Engine protocol.

The graphs have free height and width, and an engine is fastest for one size: so there is one engine a
shape, taken from the cache or built at the first run with that shape. The last few stay loaded.

A GPU is opened when the first engine is there, and not before: what a process holds of it, another one that
builds would lack. On a device of little memory an engine whose shape is known from the start is built then,
and one that is built later finds those of the same graph unloaded.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, cast

import numpy as np

from tdfusion_edge.bundle import Graph, Precision
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.agreement import Outside, require_agreement
from tdfusion_edge.runtime.engines.base import (
    Array,
    OnDevice,
    OnProgress,
    Tensor,
    check_inputs,
    tensors_of,
)
from tdfusion_edge.runtime.engines.tensorrt import bindings, plugins
from tdfusion_edge.runtime.engines.tensorrt.bindings import Flavour
from tdfusion_edge.runtime.engines.tensorrt.build import capability_of
from tdfusion_edge.runtime.engines.tensorrt.builder import build_in
from tdfusion_edge.runtime.engines.tensorrt.device import Buffer, Device, Gpu, open_device
from tdfusion_edge.runtime.engines.tensorrt.device.probe import gpu_here
from tdfusion_edge.runtime.engines.tensorrt.kernels import Kernels
from tdfusion_edge.runtime.engines.tensorrt.log import Log
from tdfusion_edge.runtime.engines.tensorrt.store import EngineStore
from tdfusion_edge.runtime.engines.tensorrt.store.request import Request, Route, request_for

KEEP = 3
"""Shapes that stay loaded: the pair, and one sensor alone where its size differs."""

Shapes: TypeAlias = tuple[tuple[int, ...], ...]
"""Of the inputs, in the order of the graph."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """An engine with memory for one shape of inputs."""

    engine: Any
    context: Any
    buffers: dict[str, Buffer]
    """Of inputs and outputs."""
    request: Request
    kernels: Kernels


@dataclass(frozen=True, slots=True)
class Opened:
    """What there is once an engine has been loaded."""

    device: Device
    runtime: Any
    """The library's."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An :class:`~tdfusion_edge.runtime.engines.base.OnDevice` over memory of its engine."""

    addresses: Mapping[str, int]
    enqueue: Callable[[int], None]


class TensorRtEngine:
    """An Engine that runs on the GPU.

    Args:
        onnx: The graph, self-contained: weights in other files are refused when its engine is built. graph:
        What the manifest says about it; a graph that is another one is refused then, too. precision: What
        the graph is; one that is not is refused then, too. on_progress: Called during a build, in the
        thread that runs the engine. engine_cache: Folder of the engines; None takes the user's own cache
        folder. workspace: Most bytes of GPU memory that a build may take for scratch; None takes a share of
        what is free. trt: The library; None imports it. device: Opens the GPU; None takes the first one.
        gpu: Tells which one that is, without opening it in this process. build: Builds engines; takes what
        :func:`~.builder.build_in` takes.

    Raises:
        BundleError: the manifest gives an input or output a type that no network takes.
        EngineError: the library or the GPU is missing.
    """

    flavour: ClassVar[Flavour] = "tensorrt"
    route: ClassVar[Route] = "onnx"

    def __init__(
        self,
        onnx: bytes,
        *,
        graph: Graph,
        precision: Precision = "fp32",
        on_progress: OnProgress | None = None,
        engine_cache: Path | None = None,
        workspace: int | None = None,
        trt: Any = None,
        device: Callable[[], Device] = open_device,
        gpu: Callable[[], Gpu] = gpu_here,
        build: Callable[..., tuple[bytes, bytes | None]] = build_in,
    ) -> None:
        self._onnx, self._graph, self._precision = onnx, graph, precision
        self._inputs, self._outputs = tensors_of(graph.inputs), tensors_of(graph.outputs)
        self._names = names_in_engine(graph, self.route)
        self._trt = bindings.load(self.flavour) if trt is None else trt
        self._title = bindings.named(self.flavour, self._trt)
        self._store = EngineStore(engine_cache)
        self._on_progress, self._build = on_progress, partial(build, workspace=workspace)
        self._lock = threading.Lock()  # close() may come from another thread
        self._loaded: OrderedDict[Shapes, Loaded] = OrderedDict()
        self._log = Log()
        self._logger = self._log.attach(self._trt)  # has to live as long as the runtime
        self._open, self._opened, self._closed = device, cast("Opened | None", None), False
        self._gpu = gpu()
        fixed = {tensor.name: tensor.shape for tensor in self._inputs if None not in tensor.shape}
        if self._gpu.small and len(fixed) == len(self._inputs):
            self._plan(self._request(cast("dict[str, tuple[int, ...]]", fixed)))

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
            BundleError: the graph is not what the manifest says.
            EngineError: the inputs do not fit, the engine is closed, or its build or run failed.
        """
        given = {name: (array.dtype, array.shape) for name, array in inputs.items()}
        check_inputs(self._inputs, given, least=1)
        with self._lock:
            self._require_open()
            loaded = self._for({name: array.shape for name, array in inputs.items()})
            return self._pass(loaded, inputs, self._ready().device)

    def on_device(self) -> OnDevice:
        """As :class:`~tdfusion_edge.runtime.engines.base.DeviceEngine` says."""
        if any(None in tensor.shape for tensor in self._inputs):
            # With several shapes one could be unloaded while somebody still has its addresses.
            raise EngineError(
                "a graph that is run where its inputs lie", expected="one size", got="free axes"
            )
        with self._lock:
            self._require_open()
            loaded = self._for({tensor.name: cast(tuple[int, ...], tensor.shape) for tensor in self._inputs})
        addresses = {name: buffer.address for name, buffer in loaded.buffers.items()}
        return Placed(addresses, partial(self._enqueue, loaded))

    def close(self) -> None:
        """Release memory; safe to call twice, waits for a pass in another thread."""
        with self._lock:
            self._closed = True
            self._give_way()

    def _require_open(self) -> None:
        if self._closed:
            raise EngineError("the engine is closed")

    def _enqueue(self, loaded: Loaded, stream: int) -> None:
        with self._lock:
            self._require_open()
            self._log.clear()
            if not loaded.context.execute_async_v3(stream):
                raise EngineError(f"{self._title} failed: {self._log.summary()}")

    def _ready(self) -> Opened:
        """The GPU and the library's runtime, from the first engine on."""
        if self._opened is None:
            device = self._open()
            try:
                runtime = bindings.started(self._title, lambda: self._trt.Runtime(self._logger), self._log)
            except BaseException:
                device.close()
                raise
            self._opened = Opened(device, runtime)
        return self._opened

    def _give_way(self) -> None:
        """Release what this engine has of the GPU."""
        while self._loaded:
            self._drop()
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.device.close()

    def _for(self, shapes: Mapping[str, tuple[int, ...]]) -> Loaded:
        key = tuple(shapes[tensor.name] for tensor in self._inputs)
        if key not in self._loaded:
            while len(self._loaded) >= KEEP:
                self._drop()
            self._loaded[key] = self._load(dict(shapes))
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def _request(self, shapes: Mapping[str, tuple[int, ...]]) -> Request:
        return request_for(
            self._trt,
            self.flavour,
            self._onnx,
            shapes,
            self._gpu,
            precision=self._precision,
            route=self.route,
        )

    def _load(self, shapes: dict[str, tuple[int, ...]]) -> Loaded:
        request = self._request(shapes)
        engine = self._deserialised(request)
        kept = self._store.kernels(request, self._gpu)
        context, cache = bindings.create_context(self._trt, engine, kept)
        if context is None:
            raise EngineError(f"{self._title} has no memory for {shapes}: {self._log.summary()}")
        self._set_shapes(context, shapes)
        outside = outside_of(engine, self._graph, self._names, context.get_tensor_shape)
        require_agreement(self._title, self._graph, outside)
        buffers = self._bound(context, outside, self._ready().device)
        return Loaded(engine, context, buffers, request, Kernels(cache, kept))

    def _bound(self, context: Any, outside: Outside, device: Device) -> dict[str, Buffer]:
        """Memory for all inputs and outputs, which the context knows of."""
        buffers: dict[str, Buffer] = {}
        try:
            for tensor in (*outside.inputs, *outside.outputs):
                made = buffers[tensor.name] = device.buffer(_fixed(tensor), tensor.dtype)
                if not context.set_tensor_address(self._names[tensor.name], made.address):
                    raise EngineError(f"{self._title} refuses memory for '{tensor.name}'")
        except BaseException:
            for made in buffers.values():
                device.release(made)
            raise
        return buffers

    def _set_shapes(self, context: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
        for name, shape in shapes.items():
            if not context.set_input_shape(name, shape):
                raise EngineError(f"{self._title} refuses shape {shape} for '{name}'")
        if missing := context.infer_shapes():
            raise EngineError(f"{self._title} does not know the shapes of {', '.join(missing)}")

    def _deserialised(self, request: Request) -> Any:
        while True:
            plan, fresh = self._plan(request)
            runtime = self._ready().runtime
            if request.plugins and not plugins.is_ahead(request.plugins):
                plugins.register(self._trt, request.plugins, capability_of(request))
            self._log.clear()
            engine = runtime.deserialize_cuda_engine(plan)
            if engine is not None:
                return engine
            if fresh:
                said = self._log.summary()
                hint = plugins.missing(said, building=False)
                raise EngineError(f"{self._title} cannot load the engine: {said}", hint=hint)
            # It is what was built, and yet no good: the driver was changed, for example.
            self._store.remove(request.key())

    def _plan(self, request: Request) -> tuple[bytes, bool]:
        """The engine, and whether it was built now."""

        def make(folder: Path, times: bytes | None) -> tuple[bytes, bytes | None]:
            if self._gpu.small:
                self._give_way()
            return self._build(request, self._onnx, self._graph, folder, times, on_progress=self._on_progress)

        return self._store.find_or_build(request, make, self._on_progress)

    def _pass(self, loaded: Loaded, inputs: Mapping[str, Array], device: Device) -> dict[str, Array]:
        self._log.clear()
        try:
            for name, array in inputs.items():
                np.copyto(loaded.buffers[name].array, array)
                device.upload(loaded.buffers[name])
            if not loaded.context.execute_async_v3(device.stream):
                raise EngineError(f"{self._title} failed: {self._log.summary()}")
            for tensor in self._outputs:
                device.download(loaded.buffers[tensor.name])
        finally:
            device.synchronise()
        if loaded.kernels.kept is None:  # another start would compile what this pass has
            self._keep(loaded)
        return {tensor.name: loaded.buffers[tensor.name].array.copy() for tensor in self._outputs}

    def _keep(self, loaded: Loaded) -> None:
        loaded.kernels.keep(self._store, loaded.request, self._gpu, self._on_progress)

    def _drop(self) -> None:
        """Unload the shape that was used longest ago."""
        _, loaded = self._loaded.popitem(last=False)
        self._keep(loaded)  # some are compiled while others run
        for buffer in loaded.buffers.values():
            self._ready().device.release(buffer)


class TensorRtRtxEngine(TensorRtEngine):
    """Runs a graph in TensorRT-RTX, whose engines can be built without the GPU they are for."""

    flavour: ClassVar[Flavour] = "tensorrt-rtx"


class TorchTensorRtEngine(TensorRtEngine):
    """Runs a network in TensorRT with engines that Torch-TensorRT built on a workstation.

    ``tdfusion-edge export --engine torch-tensorrt`` puts them into the store. Here they are only found: to
    build one takes the network in PyTorch, which a runtime does not have.
    """

    route: ClassVar[Route] = "torch-tensorrt"

    def _plan(self, request: Request) -> tuple[bytes, bool]:
        plan = self._store.find(request)
        if plan is not None:
            return plan, True  # to build it anew is not in its power: what cannot be loaded is an error
        sizes = sorted({f" --size {shape[-1]}x{shape[-2]}" for shape in request.shapes.values()})
        raise EngineError(
            f"{self._store.folder} holds no engine of this graph that Torch-TensorRT built",
            expected=f"one in {request.precision} for {self._title} and this GPU",
            hint="Build it on this GPU: tdfusion-edge export CHECKPOINT -o BUNDLE --engine torch-tensorrt"
            f"{''.join(sizes)}; or take another back end: --backend tensorrt",
        )


def names_in_engine(graph: Graph, route: Route) -> dict[str, str]:
    """The names that the inputs and outputs of a graph have in its engine.

    Torch-TensorRT keeps those of the inputs, and calls the outputs ``output0``, ``output1`` and so on in the
    order of the network.
    """
    names = {tensor.name: tensor.name for tensor in (*graph.inputs, *graph.outputs)}
    if route == "torch-tensorrt":
        names |= {tensor.name: f"output{index}" for index, tensor in enumerate(graph.outputs)}
    return names


def outside_of(
    engine: Any, graph: Graph, names: Mapping[str, str], shape_of: Callable[[str], Any]
) -> Outside:
    """What an engine takes and gives, under the graph's names; a free axis is None.

    Args:
        engine: What the library loaded.
        graph: What the manifest says, for what is an output.
        names: As :func:`names_in_engine` gives them.
        shape_of: Gives the shape of a tensor from its name in the engine.
    """
    outer = {inner: name for name, inner in names.items()}
    outputs = {tensor.name for tensor in graph.outputs}
    found: list[Tensor] = []
    for inner in (engine.get_tensor_name(index) for index in range(engine.num_io_tensors)):
        shape = tuple(None if axis < 0 else axis for axis in shape_of(inner))
        found.append(Tensor(outer.get(inner, inner), bindings.dtype(engine.get_tensor_dtype(inner)), shape))
    return Outside(
        tuple(tensor for tensor in found if tensor.name not in outputs),
        tuple(tensor for tensor in found if tensor.name in outputs),
    )


def _fixed(tensor: Tensor) -> tuple[int, ...]:
    """Its shape, once those of the inputs are set."""
    axes = [axis for axis in tensor.shape if axis is not None]
    if len(axes) != len(tensor.shape):
        raise EngineError(
            f"the shape of '{tensor.name}' depends on the pictures", expected="one that is fixed"
        )
    return tuple(axes)
