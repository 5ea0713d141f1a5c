"""ONNX in, engine out: one builder for every version of TensorRT and TensorRT-RTX.

It runs in a process of its own (:mod:`child`): the library may crash, hang or take all memory.

Types. The graph says the type of every tensor, and the engine keeps it: networks are strongly typed
wherever the library can do that. TensorRT 8 cannot. There a float32 graph is built with no
reduced precision allowed, which is the same; FP16 and INT8 are refused. Types could be asked for layer by
layer there, but its Cast layers contradict such requests, and where one is not kept nothing says so:
a sum of squares over a picture then overflows in half precision, and the picture is merely worse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.bindings import Flavour
from tdfusion_edge.runtime.engines.tensorrt.graph import read_graph
from tdfusion_edge.runtime.engines.tensorrt.log import Log
from tdfusion_edge.runtime.engines.tensorrt.options import BuildOptions, check_profiles

Step = Callable[[str, int, int], None]
"""Told of progress: phase, steps done, steps in all (0: unknown)."""

NEUTRAL = frozenset({"INT32", "INT64", "BOOL", "UINT8"})
"""Types of shapes, indices, masks and camera pictures, good in every precision."""
FLOATING = {"fp32": {"FLOAT"}, "fp16": {"FLOAT", "HALF"}, "int8": {"FLOAT", "HALF", "INT8"}}
NEEDED = {"fp32": "FLOAT", "fp16": "HALF", "int8": "INT8"}
MOVES = frozenset({"CONSTANT", "CAST", "IDENTITY", "SHUFFLE", "SLICE", "CONCATENATION"})
"""Layers that compute nothing: a half-precision tensor that is only stored makes no FP16 network."""


def build(
    trt: Any,
    flavour: Flavour,
    onnx: bytes,
    options: BuildOptions,
    *,
    log: Log,
    step: Step,
    timing: bytes | None = None,
) -> tuple[bytes, bytes | None]:
    """Build one engine.

    Args:
        trt: The module.
        flavour: Which one it is.
        onnx: A self-contained graph.
        options: What is asked.
        log: Takes the library's messages.
        step: Told of progress, possibly from threads of the library.
        timing: An earlier timing cache; None starts an empty one.

    Returns:
        The engine, and the timing cache where the library has one.

    Raises:
        EngineError: the graph cannot be parsed, is of too new an opset or not of the asked precision, or the
            build failed.
        RequestError: the profiles do not fit the graph.
    """
    title = bindings.named(flavour, trt)
    graph = read_graph(onnx)
    check_profiles(options, graph.inputs)
    refuse_weak_types(trt, title, options)
    refuse_new_opset(trt, title, graph.opset)
    logger = log.attach(trt)
    builder = bindings.started(title, lambda: trt.Builder(logger), log)
    network = builder.create_network(bindings.network_flags(trt))
    parse(trt, title, network, onnx, logger)
    check_precision(network, options)
    config = configure(trt, builder, options)
    monitor = _watch(trt, config, step, log)
    cache = attach_timing(trt, config, timing)
    plan = builder.build_serialized_network(network, config)
    del monitor  # it has to live as long as the build, whatever the configuration holds
    if plan is None:
        raise EngineError(f"{title} could not build the engine: {log.summary()}")
    return bytes(memoryview(plan)), None if cache is None else bytes(memoryview(cache.serialize()))


def refuse_weak_types(trt: Any, title: str, options: BuildOptions) -> None:
    """Only float32 is safe where the library may choose types itself.

    Raises:
        EngineError: another precision is asked of a library without strong typing.
    """
    if options.precision != "fp32" and not bindings.strongly_typed(trt):
        raise EngineError(
            f"{title} does not keep the types of a graph, and a sum that it makes overflow in half "
            f"precision shows in no error",
            expected="a version with strongly typed networks",
            got=f"a request for {options.precision}",
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
    told = [_told(parser.get_error(index)) for index in range(parser.num_errors)]
    raise EngineError(f"{title} cannot parse the graph: {'; '.join(told) or 'no reason given'}")


def _told(error: Any) -> str:
    """One error of the parser; older versions name neither operator nor node."""
    operator, name = (
        getattr(error, member)() if hasattr(error, member) else ""
        for member in ("node_operator", "node_name")
    )
    where = f"node {error.node()}" if error.node() >= 0 else "graph"
    known = " ".join(part for part in (operator, f"'{name}'" if name else "") if part)
    return f"{where}{f' ({known})' if known else ''}: {error.desc()}"


def check_precision(network: Any, options: BuildOptions) -> None:
    """Hold the types of all layers against the asked precision.

    Raises:
        EngineError: a layer has a type that the precision excludes, or none has the one that it is
            named after.
    """
    asked, computes = options.precision, False
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


def configure(trt: Any, builder: Any, options: BuildOptions) -> Any:
    """The builder's configuration.

    Raises:
        EngineError: the library refuses a profile or a target.
    """
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
    if options.detailed:
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default, and float32 in name alone
    _set_targets(trt, config, options)
    for shapes in options.profiles:
        profile = builder.create_optimization_profile()
        for name, bounds in shapes.items():
            profile.set_shape(name, bounds.smallest, bounds.best, bounds.largest)
        if config.add_optimization_profile(profile) < 0:
            raise EngineError(f"optimisation profile refused: {shapes}")
    return config


def _set_targets(trt: Any, config: Any, options: BuildOptions) -> None:
    settable = bindings.takes_capabilities(trt)
    if settable != bool(options.targets):
        raise EngineError(
            "targets of the build",
            # Left alone, TensorRT-RTX builds for a list of its own: an engine of up to a gigabyte.
            expected="at least one, such as sm_89" if settable else "none: the GPU of this machine",
            got=", ".join(options.targets) or "none",
        )
    if not settable:
        return
    config.num_compute_capabilities = len(options.targets)
    for index, target in enumerate(options.targets):
        if not config.set_compute_capability(bindings.capability(trt, target), index):
            raise EngineError(f"target {target} refused by TensorRT-RTX")


def attach_timing(trt: Any, config: Any, timing: bytes | None) -> Any:
    """Give the build measured kernel times; None where the library keeps none."""
    if not bindings.has_timing_cache(trt):
        return None
    cache = config.create_timing_cache(timing or b"")
    # An old one may be of another driver or version: measuring again costs time, and nothing else.
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        if cache is None or not config.set_timing_cache(cache, False):
            return None
    return cache


def _watch(trt: Any, config: Any, step: Step, log: Log) -> Any:
    """Have progress told to ``step``; gives what has to be kept alive."""
    if not bindings.has_progress_monitor(trt):
        log.on_line = lambda lines: step("building (log lines)", lines, 0)
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)  # the bindings do not take super().__init__()
            self.steps: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.steps[phase] = steps
            step(phase, 0, steps)

        def step_complete(self, phase: str, done: int) -> bool:
            step(phase, done + 1, self.steps.get(phase, 0))
            return True  # go on

        def phase_finish(self, phase: str) -> None:
            self.steps.pop(phase, None)

    monitor = Monitor()
    config.progress_monitor = monitor
    return monitor
