"""Our node as a plugin in Python, for TensorRT from 10.3 on: the engine calls it, and it launches the kernel.

Whoever loads an engine with it needs this package, and the plugin registered.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.cuda.unit import ALIGNED, UnitKernel
from tdfusion_edge.runtime.engines.cuda.weights import WEIGHT_BYTES
from tdfusion_edge.runtime.engines.tensorrt.plugins.node import NAME, NAMESPACE, VERSION

INPUTS = ("infrared", "visible", "weights")
TYPES = ("FLOAT", "FLOAT", "INT32", "FLOAT")
"""Of the inputs and the output; the weights are bytes, four of them in a number."""


def register(trt: Any, kernel: Callable[[], UnitKernel] = UnitKernel) -> bool:
    """Enter the plugin into the library's own register, where it is not there yet.

    Args:
        trt: The library.
        kernel: Opens the GPU, so that what is missing is told here and not within a pass.

    Returns:
        Whether it is there now.

    Raises:
        EngineError: GPU, library or compiled kernels are missing.
    """
    if is_known(trt):
        return True
    return bool(trt.get_plugin_registry().register_creator(_creator(trt, kernel), NAMESPACE))


def is_known(trt: Any) -> bool:
    """Whether the library has our plugin. To ask for it by name would log an error where it has not."""
    mine = NAMESPACE, NAME, VERSION
    known = trt.get_plugin_registry().all_creators
    return any((one.plugin_namespace, one.name, one.plugin_version) == mine for one in known)


@functools.cache  # the library keeps an address of it until the process ends
def _creator(trt: Any, kernel: Callable[[], UnitKernel]) -> Any:
    return creator_of(trt, kernel())


def creator_of(trt: Any, kernel: UnitKernel) -> Any:
    """What makes the plugin for a node, or for an engine that is loaded.

    Args:
        trt: The library; its classes are bases here, and are known by then only.
        kernel: What the plugin launches.
    """
    kinds = tuple(getattr(trt.DataType, kind) for kind in TYPES)

    bases: Any = trt.IPluginV3, trt.IPluginV3OneCore, trt.IPluginV3OneBuild, trt.IPluginV3OneRuntime

    class EdgeFusion(*bases):  # type: ignore[misc]
        """One node; it has no state of its own."""

        def __init__(self) -> None:
            for base in bases:
                base.__init__(self)  # the bindings do not take super().__init__()
            self.plugin_name, self.plugin_namespace, self.plugin_version = NAME, NAMESPACE, VERSION
            self.num_outputs = 1

        def get_capability_interface(self, type: Any) -> Any:
            return self

        def get_output_data_types(self, input_types: Any) -> Any:
            return [kinds[-1]]

        def get_output_shapes(self, inputs: Any, shape_inputs: Any, exprBuilder: Any) -> Any:  # noqa: N803
            return [trt.DimsExprs(inputs[0])]

        def supports_format_combination(self, pos: int, in_out: Any, num_inputs: int) -> bool:
            desc = in_out[pos].desc
            return bool(desc.type == kinds[pos] and desc.format == trt.TensorFormat.LINEAR)

        def configure_plugin(self, inputs: Any, outputs: Any) -> None:
            pass

        def on_shape_change(self, inputs: Any, outputs: Any) -> None:
            require_shapes([tuple(one.dims) for one in inputs])

        def get_fields_to_serialize(self) -> Any:
            return trt.PluginFieldCollection([])

        def attach_to_context(self, context: Any) -> Any:
            return self.clone()

        def set_tactic(self, tactic: int) -> None:
            pass

        def clone(self) -> Any:
            return EdgeFusion()

        def enqueue(
            self, input_desc: Any, output_desc: Any, inputs: Any, outputs: Any, workspace: int, stream: int
        ) -> None:
            infrared, visible, weights = inputs
            height, width = tuple(input_desc[0].dims)[2:]
            if weights % ALIGNED:
                raise EngineError(
                    "the weights of our kernel", expected=f"an address of {ALIGNED}s", got=hex(weights)
                )
            kernel.fuse(infrared, visible, weights, outputs[0], (height, width), stream)

    class Creator(trt.IPluginCreatorV3One):  # type: ignore[misc]
        """Makes it, for a build and for an engine alike."""

        def __init__(self) -> None:
            trt.IPluginCreatorV3One.__init__(self)
            self.name, self.plugin_namespace, self.plugin_version = NAME, NAMESPACE, VERSION
            self.field_names = trt.PluginFieldCollection([])

        def create_plugin(self, name: str, fc: Any, phase: Any) -> Any:
            return EdgeFusion()

    return Creator()


def require_shapes(shapes: list[tuple[int, ...]]) -> None:
    """Refuse what the kernel does not take.

    Args:
        shapes: Of infrared, visible and weights.

    Raises:
        EngineError: two other lumas than (1, 1, H, W) of one size, or weights of another network.
    """
    infrared, visible, weights = shapes
    if infrared != visible or len(infrared) != 4 or infrared[:2] != (1, 1) or weights != (WEIGHT_BYTES // 4,):
        raise EngineError(
            "inputs of our kernel",
            expected=f"two of (1, 1, H, W) and weights ({WEIGHT_BYTES // 4},)",
            got=", ".join(map(str, shapes)),
        )
