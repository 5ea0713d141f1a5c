"""A stand-in for TensorRT without a GPU: as strict as the real one, and it computes.

Parsing reads the real ONNX; the engine runs it with ONNX Runtime on host memory (``trt_host.py``).
What the library would answer with False, None or a crash is an error here. Its members are held
against the real bindings of each version in ``test_trt_conformance.py``.
"""

from __future__ import annotations

import enum
import json
from types import SimpleNamespace
from typing import Any

import onnx
from trt_host import ORIN, IRuntimeCache, IRuntimeConfig, Strict, add_runtime

from tdfusion_edge.runtime.engines.tensorrt.device import Gpu

VERSIONS = ("8.6", "10.3", "10.13", "10.16", "11.4", "rtx")
SUPPORTED = {"Add", "Mul", "Sub", "Cast", "Relu", "Conv", "QuantizeLinear", "DequantizeLinear", "Identity"}
LAYERS = {"Cast": "CAST", "Relu": "ACTIVATION", "Conv": "CONVOLUTION", "Identity": "IDENTITY"}
QUANTISERS = {"QuantizeLinear": "QUANTIZE", "DequantizeLinear": "DEQUANTIZE"}
TYPES = {1: "FLOAT", 2: "UINT8", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL", 10: "HALF"}


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def __init__(self) -> None: ...

    def log(self, severity: Any, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    def __init__(self) -> None: ...

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None: ...

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None: ...


class ITensor(Strict):
    dtype: Any = None
    name = ""
    shape: tuple[int, ...] = ()

    def __init__(self, dtype: Any, name: str = "", shape: tuple[int, ...] = ()) -> None:
        self.dtype, self.name, self.shape = dtype, name, shape


class ILayer(Strict):
    name = ""
    type: Any = None
    num_outputs = 1

    def __init__(self, name: str, kind: Any, dtype: Any) -> None:
        self.name, self.type = name, kind
        self._output = ITensor(dtype)

    def get_output(self, index: int) -> Any:
        assert index == 0
        return self._output


class INetworkDefinition(Strict):
    num_layers = num_inputs = num_outputs = 0

    def __init__(self) -> None:
        self._layers: list[ILayer] = []
        self._inputs: list[ITensor] = []
        self._outputs: list[ITensor] = []
        self._raw = b""

    def get_input(self, index: int) -> ITensor:
        return self._inputs[index]

    def get_output(self, index: int) -> ITensor:
        return self._outputs[index]

    def get_layer(self, index: int) -> ILayer:
        return self._layers[index]


class ParserError(Strict):
    def __init__(self, node: int, operator: str, name: str, desc: str) -> None:
        self._told = (node, operator, name, desc)

    def node(self) -> int:
        return self._told[0]

    def desc(self) -> str:
        return self._told[3]


class NamingParserError(ParserError):
    def node_operator(self) -> str:
        return self._told[1]

    def node_name(self) -> str:
        return self._told[2]


class ITimingCache(Strict):
    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def serialize(self) -> bytes:
        return self._raw + b"measured;"


class IOptimizationProfile(Strict):
    def __init__(self) -> None:
        self._shapes: dict[str, Any] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self._shapes[input] = [list(min), list(opt), list(max)]


class IBuilderConfig(Strict):
    profiling_verbosity: Any = None

    def __init__(self) -> None:
        self._workspace = 0
        self._cleared: list[str] = []
        self._profiles: list[IOptimizationProfile] = []
        self._timing: ITimingCache | None = None

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        assert pool.name == "WORKSPACE"
        self._workspace = pool_size

    def clear_flag(self, flag: Any) -> None:
        self._cleared.append(flag.name)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache._raw.startswith(b"other"):
            return False
        self._timing = cache
        return True


class MonitoredConfig(IBuilderConfig):
    progress_monitor: Any = None


class RtxConfig(MonitoredConfig):
    num_compute_capabilities = 0

    def __init__(self) -> None:
        super().__init__()
        self._targets: dict[int, str] = {}

    def set_compute_capability(self, compute_capability: Any, index: int) -> bool:
        assert 0 <= index < self.num_compute_capabilities
        self._targets[index] = compute_capability.name
        return True

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        raise AssertionError("TensorRT-RTX prints a warning here, and does nothing")


def members(name: str, *names: str) -> Any:
    return enum.IntEnum(name, {member: index for index, member in enumerate(names)})


def make(version: str = "10.13", gpu: Gpu = ORIN) -> Any:
    """The module of one version."""
    old, rtx = version == "8.6", version == "rtx"
    flags = {
        "8.6": {"EXPLICIT_BATCH": 0, "EXPLICIT_PRECISION": 1},
        "10.3": {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1},
        "10.13": {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1},
        "10.16": {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1},
    }.get(version, {"STRONGLY_TYPED": 0})
    trt = SimpleNamespace(
        __version__={"rtx": "1.7.1"}.get(version, version + ".0"),
        NetworkDefinitionCreationFlag=enum.IntEnum("NetworkDefinitionCreationFlag", flags),
        DataType=enum.Enum("DataType", sorted(set(TYPES.values()) - ({"INT64"} if old else set()))),
        LayerType=enum.Enum(
            "LayerType",
            ["ELEMENTWISE", "CONSTANT", "SHUFFLE", "SLICE", *LAYERS.values(), *QUANTISERS.values()],
        ),
        MemoryPoolType=enum.Enum("MemoryPoolType", ["WORKSPACE"]),
        ProfilingVerbosity=enum.Enum("ProfilingVerbosity", ["DETAILED"]),
        BuilderFlag=enum.Enum("BuilderFlag", ["TF32"]),
        ILogger=ILogger,
        ITensor=ITensor,
        ILayer=ILayer,
        INetworkDefinition=INetworkDefinition,
        ITimingCache=ITimingCache,
        IOptimizationProfile=IOptimizationProfile,
        ParserError=ParserError if old else NamingParserError,
        IBuilderConfig=IBuilderConfig if old else RtxConfig if rtx else MonitoredConfig,
    )
    if not old:
        trt.IProgressMonitor = IProgressMonitor
    if rtx:
        trt.ComputeCapability = members(
            "ComputeCapability", "NONE", "CURRENT", "SM75", "SM80", "SM86", "SM89", "SM120"
        )
        trt.IRuntimeConfig, trt.IRuntimeCache = IRuntimeConfig, IRuntimeCache
    _add_builder(trt, version)
    add_runtime(trt, version, gpu)
    return trt


def _outside(trt: Any, value: Any) -> ITensor:
    """An input or output; TensorRT 8 makes 64-bit integers 32 bits wide."""
    kind = TYPES[value.type.tensor_type.elem_type]
    dtype = trt.DataType[kind if kind in trt.DataType.__members__ else "INT32"]
    axes = value.type.tensor_type.shape.dim
    return ITensor(dtype, value.name, tuple(a.dim_value if a.HasField("dim_value") else -1 for a in axes))


def _add_builder(trt: Any, version: str) -> None:
    class Builder(Strict):
        def __init__(self, logger: ILogger) -> None:
            assert isinstance(logger, ILogger)
            self._logger = logger

        def create_network(self, flags: int) -> INetworkDefinition:
            assert flags < 1 << (max(trt.NetworkDefinitionCreationFlag) + 1), "an unknown flag"
            assert version != "8.6" or flags & 1, "the batch must be explicit"
            assert version in ("8.6", "11.4", "rtx") or flags & 2, "types are weak"
            return INetworkDefinition()

        def create_builder_config(self) -> IBuilderConfig:
            made: IBuilderConfig = trt.IBuilderConfig()
            return made

        def create_optimization_profile(self) -> IOptimizationProfile:
            return IOptimizationProfile()

        def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
            assert config._workspace, "a workspace is given everywhere"
            self._logger.log(ILogger.Severity.INFO, "building")
            self._logger.log(ILogger.Severity.VERBOSE, "kernel __myl_Add")
            monitor = getattr(config, "progress_monitor", None)
            if monitor is not None:
                monitor.phase_start("Building engine", None, 2)
                assert all(monitor.step_complete("Building engine", step) for step in range(2))
                monitor.phase_finish("Building engine")
            if len(network._raw) > config._workspace:
                self._logger.log(ILogger.Severity.ERROR, "OutOfMemory (Requested size 7)")
                return None
            facts = {"version": trt.__version__, "profiles": [p._shapes for p in config._profiles]}
            facts["targets"] = sorted(getattr(config, "_targets", {}).values())
            return json.dumps(facts).encode() + b"\n" + network._raw

    class OnnxParser(Strict):
        num_errors = 0

        def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
            self._network, self._errors = network, list[Any]()

        def parse(self, model: bytes) -> bool:
            parsed = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
            kinds = {v.name: v.type.tensor_type.elem_type for v in parsed.graph.value_info}
            kinds |= {v.name: v.type.tensor_type.elem_type for v in parsed.graph.output}
            for index, node in enumerate(parsed.graph.node):
                if node.op_type not in SUPPORTED:
                    error = trt.ParserError(index, node.op_type, node.name, "Plugin not found")
                    self._errors.append(error)
                    continue
                layer = {**LAYERS, **QUANTISERS}.get(node.op_type, "ELEMENTWISE")
                dtype = trt.DataType[TYPES[kinds[node.output[0]]]]
                self._network._layers.append(ILayer(node.name, trt.LayerType[layer], dtype))
            self.num_errors, network = len(self._errors), self._network
            network._inputs = [_outside(trt, value) for value in parsed.graph.input]
            network._outputs = [_outside(trt, value) for value in parsed.graph.output]
            network.num_inputs, network.num_outputs = len(network._inputs), len(network._outputs)
            network.num_layers = len(network._layers)
            network._raw = model
            return not self._errors

        def get_error(self, index: int) -> Any:
            return self._errors[index]

    trt.Builder, trt.OnnxParser = Builder, OnnxParser
