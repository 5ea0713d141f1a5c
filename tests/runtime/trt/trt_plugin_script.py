"""Our plugins on the classes of a real library, without a GPU: what TensorRT would do, in its order.

Run with the folder of the bindings on the path; says what it saw as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tensorrt_bindings as trt

sys.modules["tensorrt"] = trt

from tdfusion_edge.runtime.driver import Driver  # noqa: E402
from tdfusion_edge.runtime.engines.cuda.weights import WEIGHT_BYTES  # noqa: E402
from tdfusion_edge.runtime.engines.tensorrt import bindings, plugins  # noqa: E402
from tdfusion_edge.runtime.engines.tensorrt.plugins import ahead, callback  # noqa: E402
from tdfusion_edge.runtime.engines.tensorrt.plugins.node import NAME, NAMESPACE, VERSION  # noqa: E402

KEPT: list[Any] = []
"""Plugins end with the library that owns them; without one, 10.3 cannot destroy any."""
SHAPES = (1, 1, 48, 70), (1, 1, 48, 70), (WEIGHT_BYTES // 4,)


class Registry:
    """Where creators go: the library's own cannot be had without the library."""

    def __init__(self) -> None:
        self.creators: dict[tuple[str, str, str], Any] = {}

    @property
    def all_creators(self) -> list[Any]:
        return list(self.creators.values())

    def get_creator(self, type: str, version: str, plugin_namespace: str = "") -> Any:
        return self.creators.get((type, version, plugin_namespace))

    def register_creator(self, creator: Any, plugin_namespace: str = "") -> bool:
        assert isinstance(creator, trt.IPluginCreatorInterface)
        key = creator.name, creator.plugin_version, plugin_namespace
        return self.creators.setdefault(key, creator) is creator


class Kernel:
    """Notes launches."""

    def __init__(self) -> None:
        self.launched: list[Any] = []

    def fuse(self, *given: Any) -> None:
        self.launched.append(given)


def described(kinds: tuple[Any, ...], shapes: Any) -> list[Any]:
    found = []
    for kind, shape in zip(kinds, shapes, strict=True):
        one = trt.PluginTensorDesc()
        one.type, one.format, one.dims = kind, trt.TensorFormat.LINEAR, shape
        found.append(one)
    return found


def dynamic(descs: list[Any]) -> list[Any]:
    found = []
    for desc in descs:
        one = trt.DynamicPluginTensorDesc()
        one.desc, one.min, one.opt, one.max = desc, desc.dims, desc.dims, desc.dims
        found.append(one)
    return found


def by_callback(registry: Registry) -> dict[str, Any]:
    kernel = Kernel()
    assert callback.register(trt, lambda: kernel)  # type: ignore[arg-type, return-value]
    assert callback.register(trt, lambda: kernel)  # type: ignore[arg-type, return-value]
    creator = registry.get_creator(NAME, VERSION, NAMESPACE)
    made = creator.create_plugin(NAME, trt.PluginFieldCollection([]), trt.TensorRTPhase.BUILD)
    clone = made.clone()
    kinds = tuple(getattr(trt.DataType, kind) for kind in callback.TYPES)
    descs = described(kinds, (*SHAPES, SHAPES[0]))
    wrong = described((trt.DataType.HALF, *kinds[1:]), (*SHAPES, SHAPES[0]))
    clone.configure_plugin(dynamic(descs[:3]), dynamic(descs[3:]))
    clone.on_shape_change(descs[:3], descs[3:])
    attached = clone.attach_to_context(None)
    KEPT.extend((made, clone, attached))
    attached.enqueue(descs[:3], descs[3:], [16, 32, 48], [64], 0, 7)
    return {
        "creators": len(registry.creators),
        "types": [kind.name for kind in made.get_output_data_types(list(kinds[:3]))],
        "supports": [made.supports_format_combination(pos, dynamic(descs), 3) for pos in range(4)],
        "supports_half": made.supports_format_combination(0, dynamic(wrong), 3),
        "interfaces": [
            isinstance(made.get_capability_interface(kind), cls)
            for kind, cls in (
                (trt.PluginCapabilityType.CORE, trt.IPluginV3OneCore),
                (trt.PluginCapabilityType.BUILD, trt.IPluginV3OneBuild),
                (trt.PluginCapabilityType.RUNTIME, trt.IPluginV3OneRuntime),
            )
        ],
        # Compared here: the string of some versions cannot be taken apart.
        "name": (made.plugin_namespace, made.plugin_name, made.plugin_version) == (NAMESPACE, NAME, VERSION),
        "outputs": made.num_outputs,
        "fields": len(made.get_fields_to_serialize()),
        "launched": kernel.launched,
    }


class Expressions:
    """Builds expressions of sizes that are known."""

    def constant(self, value: int) -> Any:
        return Number(value)

    def operation(self, op: Any, first: Any, second: Any) -> Any:
        a, b = first.value, second.value
        if op.name == "CEIL_DIV":
            return Number(-(-a // b))
        return Number({"PROD": a * b, "SUM": a + b}[op.name])


class Number:
    def __init__(self, value: int) -> None:
        self.value = value

    def is_constant(self) -> bool:
        return True

    def get_constant_value(self) -> int:
        return self.value

    def is_size_tensor(self) -> bool:
        return False


class Arguments(dict[int, Any]):
    nbSymExprs = 0  # noqa: N815


def by_ptx(registry: Registry) -> dict[str, Any]:
    asked: list[Any] = []

    def ptx(cuda: tuple[int, int], capability: int) -> bytes:
        asked.append((cuda, capability))
        return b"the kernel"

    def known() -> Driver:
        return Driver((13, 0), "580.95")

    assert ahead.register(trt, 87, known=known, ptx=ptx)
    assert ahead.register(trt, 87, known=known, ptx=ptx)
    creator = registry.get_creator(NAME, VERSION, NAMESPACE)
    request = trt.QuickPluginCreationRequest.PREFER_AOT
    made = creator.create_plugin(
        NAME, NAMESPACE, trt.PluginFieldCollection([]), trt.TensorRTPhase.BUILD, request
    )
    kinds = [getattr(trt.DataType, kind) for kind in callback.TYPES]
    types = made.get_output_data_types(kinds[:3], [len(shape) for shape in SHAPES])
    tensors = importlib.import_module(f"{trt.__name__}.plugin._tensor")
    # What these two hold is made by the library alone.
    tensors.trt.IDimensionExpr = Number
    tensors.SymInt32.__call__ = lambda expression: expression._expr
    builder = Expressions()
    sizes = [[Number(side) for side in shape] for shape in SHAPES]
    real = trt.DimsExprs
    trt.DimsExprs = lambda count: [None] * count
    shapes = made.get_output_shapes(sizes, [], builder)
    trt.DimsExprs = real
    descs = dynamic(described(tuple(kinds), (*SHAPES, SHAPES[0])))
    made.get_supported_format_combinations(descs, 3)
    made.configure_plugin(descs[:3], descs[3:])
    made.set_tactic(0)
    launch, arguments = SimpleNamespace(), Arguments()
    made.get_launch_params(sizes, descs, 3, launch, arguments, builder)
    name, kernel = made.get_kernel([one.desc for one in descs[:3]], [one.desc for one in descs[3:]])
    return {
        "asked": asked,
        "types": [kind.name for kind in types],
        "shapes": [[side.value for side in shape] for shape in shapes],
        "launch": {key: value.value if isinstance(value, Number) else value for key, value in plain(launch)},
        "arguments": [arguments.nbSymExprs, *(number_of(arguments[at]) for at in sorted(arguments))],
        "kernel": [name, kernel.decode()],
    }


def plain(launch: SimpleNamespace) -> list[tuple[str, Any]]:
    return [(key, number_of(value)) for key, value in vars(launch).items()]


def number_of(value: Any) -> Any:
    """The number behind a library's expression."""
    for name in ("expr", "_expr", "value"):
        inner = getattr(value, name, None)
        if inner is not None and inner is not value:
            return number_of(inner)
    return value


def main() -> None:
    registry = Registry()
    trt.get_plugin_registry = lambda: registry
    onnx = Path(sys.argv[1]).read_bytes()
    way = plugins.way_of(trt, onnx)
    answer = {
        "way": way,
        "flags": bindings.network_flags(trt, ahead=way == "aot"),
        "none": plugins.way_of(trt, plugins.without_function(onnx)),
    }
    if way:
        answer["callback"] = by_callback(registry)
    if way == "aot":
        registry.creators.clear()
        answer["ahead"] = by_ptx(registry)
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
