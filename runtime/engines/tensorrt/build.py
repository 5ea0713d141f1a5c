"""ONNX in, engine out: one builder for every version of TensorRT and TensorRT-RTX.

It runs in a process of its own (:mod:`child`): the library may crash, hang or take all memory.

Types. The graph says the type of every tensor, and the engine keeps it: networks are strongly typed
wherever the library can do that. TensorRT 8 cannot. There a float32 graph is built with no
reduced precision allowed, which is the same; FP16 and INT8 are refused. Types could be asked for layer by
layer there, but its Cast layers contradict such requests, and where one is not kept nothing says so:
a sum of squares over a picture then overflows in half precision, and the picture is merely worse.

Files. A weight in another file could be any file that this user can read, so a graph that names one is
refused. :mod:`child` works in an empty folder besides, where a parser that looked for it would find nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from tdfusion_edge.bundle import Graph
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.agreement import Outside, listed, require_agreement
from tdfusion_edge.runtime.engines.base import Tensor
from tdfusion_edge.runtime.engines.tensorrt import bindings, plugins
from tdfusion_edge.runtime.engines.tensorrt.log import Log
from tdfusion_edge.runtime.engines.tensorrt.store.request import Request

OnPhase = Callable[[str], None]
"""Called with the name of a phase as it begins, possibly from threads of the library."""

NEUTRAL = frozenset({"INT32", "INT64", "BOOL", "UINT8"})
"""Types of shapes, indices, masks and camera pictures, good in every precision."""
FLOATING = {"fp32": {"FLOAT"}, "fp16": {"FLOAT", "HALF"}, "int8": {"FLOAT", "HALF", "INT8"}}
NEEDED = {"fp32": "FLOAT", "fp16": "HALF", "int8": "INT8"}
MOVES = frozenset({"CONSTANT", "CAST", "IDENTITY", "SHUFFLE", "SLICE", "CONCATENATION"})
"""Layers that compute nothing: a half-precision tensor that is only stored makes no FP16 network."""
PLUGIN = frozenset({"PLUGIN_V3"})

ELSEWHERE = re.compile(rb"(?:\x08|\x88[\x80-\xff]{0,8}[\x00-\x7f])location")
"""ONNX names the file of a weight under this key. However deep in the graph it is, before a string of
protobuf stands its length: 8, in one byte or in as many more as somebody likes to spend."""


def build(
    trt: Any,
    request: Request,
    onnx: bytes,
    graph: Graph | None,
    *,
    workspace: int,
    log: Log,
    on_phase: OnPhase,
    times: bytes | None = None,
) -> tuple[bytes, bytes | None]:
    """Build one engine.

    Args:
        trt: The library.
        request: What is asked.
        onnx: The graph, self-contained.
        graph: What the manifest says about it; None where there is no manifest.
        workspace: Most bytes of GPU memory for scratch.
        log: Takes the library's messages.
        on_phase: Called as a phase begins.
        times: Earlier kernel times; None starts without.

    Returns:
        The engine, and the kernel times where the library keeps some.

    Raises:
        BundleError: the graph is not what the manifest says.
        EngineError: the graph cannot be parsed, is of too new an opset, not of the asked precision or not for
            the asked shapes, or the build failed.
    """
    title = bindings.named(request.flavour, trt)
    refuse_other_files(onnx)
    refuse_weak_types(trt, title, request)
    if graph is not None:
        refuse_new_opset(trt, title, graph.opset)
    if request.plugins:
        onnx = plugins.without_function(onnx)
        plugins.register(trt, request.plugins, capability_of(request))
    logger = log.attach(trt)
    builder = bindings.started(title, lambda: trt.Builder(logger), log)
    ahead = plugins.is_ahead(request.plugins)
    network = builder.create_network(bindings.network_flags(trt, ahead=ahead))
    parse(trt, title, network, onnx, logger)
    check_outside(title, network, request, graph)
    check_precision(network, request)
    config = configure(trt, builder, network, request, workspace)
    monitor = _watch(trt, config, on_phase)
    cache = attach_times(trt, config, times)
    plan = builder.build_serialized_network(network, config)
    del monitor  # it has to live as long as the build, whatever the configuration holds
    if plan is None:
        raise EngineError(
            f"{title} could not build the engine: {log.summary()}",
            expected=f"at most {workspace / (1 << 20):.0f} MiB for scratch",
            hint="Where memory is what it lacks: --workspace MIB, or stop what else uses the GPU.",
        )
    return bytes(memoryview(plan)), None if cache is None else bytes(memoryview(cache.serialize()))


def capability_of(request: Request) -> int:
    """Of the GPU that an engine is for, 87 for sm_87."""
    return int(request.targets[0].removeprefix("sm_"))


def refuse_other_files(onnx: bytes) -> None:
    """Refuse a graph that names another file.

    Raises:
        EngineError: it does; a tensor whose name is just ``location`` is taken for one that does.
    """
    if ELSEWHERE.search(onnx):
        raise EngineError(
            "a weight of the graph lies in another file",
            expected="a self-contained graph",
            hint="Save it in one file: onnx.save(model, path, save_as_external_data=False).",
        )


def refuse_weak_types(trt: Any, title: str, request: Request) -> None:
    """Only float32 is safe where the library may choose types itself.

    Raises:
        EngineError: another precision is asked of a library without strong typing.
    """
    if request.precision != "fp32" and not bindings.strongly_typed(trt):
        raise EngineError(
            f"{title} does not keep the types of a graph, and a sum that it makes overflow in half "
            f"precision shows in no error",
            expected="a version with strongly typed networks",
            got=f"a request for {request.precision}",
            hint="Run the FP32 bundle, or update JetPack.",
        )


def refuse_new_opset(trt: Any, title: str, opset: int) -> None:
    """Refuse a graph before a parser that is older than its operators.

    That one need not notice: in opset 18 the axes of a ReduceMean, for one, moved from an attribute to an
    input, and without the attribute all axes are reduced.

    Raises:
        EngineError: the library does not read this opset.
    """
    largest = bindings.largest_opset(trt)
    if largest is not None and opset > largest:
        raise EngineError(
            f"{title} does not read the graph's opset",
            expected=f"{largest} at most",
            got=str(opset),
            hint=f"Export the bundle again: tdfusion-edge export CHECKPOINT -o BUNDLE --opset {largest}",
        )


def parse(trt: Any, title: str, network: Any, onnx: bytes, logger: Any) -> None:
    """Fill ``network`` from the graph.

    Raises:
        EngineError: the parser refused it; node number, operator and name are given.
    """
    parser = trt.OnnxParser(network, logger)
    if parser.parse(onnx):
        return
    errors = [_worded(parser.get_error(index)) for index in range(parser.num_errors)]
    said = "; ".join(errors) or "no reason given"
    raise EngineError(f"{title} cannot parse the graph: {said}", hint=plugins.missing(said, building=True))


def _worded(error: Any) -> str:
    """One error of the parser; older versions name neither operator nor node."""
    operator, name = (
        getattr(error, member)() if hasattr(error, member) else ""
        for member in ("node_operator", "node_name")
    )
    where = f"node {error.node()}" if error.node() >= 0 else "graph"
    known = " ".join(part for part in (operator, f"'{name}'" if name else "") if part)
    return f"{where}{f' ({known})' if known else ''}: {error.desc()}"


def check_outside(title: str, network: Any, request: Request, graph: Graph | None) -> None:
    """Hold what the network takes and gives against the manifest, and against the shapes asked for.

    Raises:
        BundleError: the graph is not what the manifest says.
        EngineError: it does not take the shapes.
    """
    outside = Outside(
        tuple(_tensor(network.get_input(index)) for index in range(network.num_inputs)),
        tuple(_tensor(network.get_output(index)) for index in range(network.num_outputs)),
    )
    if graph is not None:
        require_agreement(title, graph, outside)
    names = {tensor.name for tensor in outside.inputs}
    fit = all(_fits(tensor, request.shapes.get(tensor.name)) for tensor in outside.inputs)
    if not fit or not request.shapes.keys() <= names:
        asked = ", ".join(f"{name} {shape}" for name, shape in sorted(request.shapes.items()))
        raise EngineError("shapes of the engine", expected=listed(outside.inputs), got=asked or "none")


def _fits(tensor: Tensor, asked: tuple[int, ...] | None) -> bool:
    """Whether the input can have this shape; None gives it the only one that it has."""
    if asked is None:
        return None not in tensor.shape
    return len(asked) == len(tensor.shape) and all(
        want >= 1 and axis in (None, want) for axis, want in zip(tensor.shape, asked, strict=True)
    )


def _tensor(tensor: Any) -> Tensor:
    shape = tuple(None if axis < 0 else axis for axis in tensor.shape)
    return Tensor(tensor.name, bindings.dtype(tensor.dtype), shape)


def check_precision(network: Any, request: Request) -> None:
    """Hold the types of all layers against the asked precision.

    Raises:
        EngineError: a layer has a type that the precision excludes, or none has the one that it is
            named after.
    """
    asked, computes = request.precision, False
    for layer, kind in _layer_types(network):
        if kind in NEUTRAL:
            continue
        if kind not in FLOATING[asked]:
            raise EngineError(
                f"the graph is not {asked}: layer '{layer.name}'",
                expected=" or ".join(sorted(FLOATING[asked])),
                got=kind,
                hint="Ask for the precision that the bundle names for this graph.",
            )
        computes |= kind == NEEDED[asked] and layer.type.name not in MOVES
        computes |= asked == "fp16" and layer.type.name in PLUGIN  # ours, which has halves inside
    if not computes and asked != "fp32":  # a graph of masks and indices alone is as good as float32
        raise EngineError(
            f"the graph is not {asked}",
            expected=f"layers that compute in {NEEDED[asked]}",
            got="none",
            hint="Ask for the precision that the bundle names for this graph.",
        )


def _layer_types(network: Any) -> Iterator[tuple[Any, str]]:
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        for output in range(layer.num_outputs):
            tensor = layer.get_output(output)
            if tensor is not None:  # an optional output that nobody takes
                yield layer, tensor.dtype.name


def configure(trt: Any, builder: Any, network: Any, request: Request, workspace: int) -> Any:
    """The builder's configuration.

    Raises:
        EngineError: the library refuses the shapes or a target.
    """
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    # The names and formats of the fused layers stay in the engine, for its inspector and the log.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default, and float32 in name alone
    if bindings.takes_capabilities(trt):
        _set_targets(trt, config, request.targets)
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    free = [tensor.name for tensor in inputs if min(tensor.shape, default=1) < 0]
    if free:
        profile = builder.create_optimization_profile()
        for name in free:
            profile.set_shape(name, *3 * (request.shapes[name],))  # smallest, best and largest
        if config.add_optimization_profile(profile) < 0:
            raise EngineError(f"optimisation profile refused: {request.shapes}")
    return config


def _set_targets(trt: Any, config: Any, targets: tuple[str, ...]) -> None:
    if not targets:  # left alone, TensorRT-RTX builds for a list of its own: an engine of up to a gigabyte
        raise EngineError("targets of the build", expected="at least one, such as sm_89", got="none")
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        if not config.set_compute_capability(bindings.capability(trt, target), index):
            raise EngineError(f"target {target} refused by TensorRT-RTX")


def attach_times(trt: Any, config: Any, times: bytes | None) -> Any:
    """Give the build measured kernel times; None where the library keeps none."""
    if not bindings.has_timing_cache(trt):
        return None
    # Old ones may be of another driver or version: measuring again costs time, and nothing else.
    for raw in (times or b"", b""):
        cache = config.create_timing_cache(raw)
        if cache is not None and config.set_timing_cache(cache, False):
            return cache
    return None


def _watch(trt: Any, config: Any, on_phase: OnPhase) -> Any:
    """Have the phases of the build reported; gives what has to be kept alive."""
    if not bindings.has_progress_monitor(trt):
        on_phase("Building engine")
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)  # the bindings do not take super().__init__()

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            on_phase(phase)

        def step_complete(self, phase: str, done: int) -> bool:
            return True  # go on

        def phase_finish(self, phase: str) -> None:
            pass

    monitor = Monitor()
    config.progress_monitor = monitor
    return monitor
