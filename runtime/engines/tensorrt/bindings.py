"""How the versions of TensorRT and TensorRT-RTX differ, each difference in one function.

Every choice asks the module what it has, never which version it is: a number says nothing of a build
that NVIDIA gives to one device only. The functions take the module, so that the real ones of
any version, and a test's own, can be passed in.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.providers import DOCTOR
from tdfusion_edge.runtime.engines.tensorrt.log import Log

Flavour: TypeAlias = Literal["tensorrt", "tensorrt-rtx"]

MODULES: Mapping[str, str] = MappingProxyType({"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"})
TITLES: Mapping[str, str] = MappingProxyType({"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"})

DTYPES: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {
        "FLOAT": np.dtype(np.float32),
        "HALF": np.dtype(np.float16),
        "INT8": np.dtype(np.int8),
        "UINT8": np.dtype(np.uint8),
        "INT32": np.dtype(np.int32),
        "INT64": np.dtype(np.int64),
        "BOOL": np.dtype(np.bool_),
    }
)
"""Members of ``DataType`` that NumPy knows. Older versions lack some, so names are compared."""


def load(flavour: Flavour) -> Any:
    """Import the library.

    Raises:
        EngineError: it is not installed, or cannot be loaded.
    """
    title = TITLES[flavour]
    try:
        trt = importlib.import_module(MODULES[flavour])
    except Exception as error:  # a library that is damaged or lacks a driver raises what it likes
        if isinstance(error, ModuleNotFoundError) and error.name == MODULES[flavour]:
            raise EngineError(f"{title} is not installed", hint=DOCTOR) from error
        raise EngineError(f"{title} cannot be loaded: {error}", hint=DOCTOR) from error
    # An uninstall may leave an empty folder, which imports and has nothing in it.
    if not all(hasattr(trt, name) for name in ("__version__", "Builder", "Runtime", "OnnxParser")):
        raise EngineError(f"{title} cannot be loaded: its module is incomplete", hint=DOCTOR)
    return trt


def named(flavour: Flavour, trt: Any) -> str:
    """Title and version, for messages."""
    return f"{TITLES[flavour]} {trt.__version__}"


def started(title: str, make: Callable[[], Any], log: Log) -> Any:
    """A Builder or Runtime: without a driver their constructors give no object, and pybind11 a TypeError.

    Raises:
        EngineError: with what the library said.
    """
    try:
        return make()
    except TypeError as error:
        raise EngineError(f"{title} cannot start: {log.summary()}", hint=DOCTOR) from error


def strongly_typed(trt: Any) -> bool:
    """Whether a network can be created whose types the builder must keep."""
    return hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")


def network_flags(trt: Any, *, ahead: bool = False) -> int:
    """For ``create_network``: strong typing where it exists, else that the batch is an axis.

    Args:
        trt: The library.
        ahead: Whether plugins are to be compiled ahead of time, where they can be.
    """
    flag = trt.NetworkDefinitionCreationFlag
    more = 1 << int(flag.PREFER_AOT_PYTHON_PLUGINS) if ahead else 0
    if strongly_typed(trt):
        return more | 1 << int(flag.STRONGLY_TYPED)  # the bit moved between versions
    return more | 1 << int(flag.EXPLICIT_BATCH)


def takes_plugins(trt: Any) -> bool:
    """Whether a plugin can be written in Python, as a class with version 3 of their interface (10.3)."""
    return hasattr(trt.INetworkDefinition, "add_plugin_v3") and hasattr(trt, "IPluginCreatorV3One")


def takes_ahead_plugins(trt: Any) -> bool:
    """Whether a plugin can be given as PTX, by ``tensorrt.plugin`` (10.9)."""
    flags = trt.NetworkDefinitionCreationFlag
    known = hasattr(trt, "QuickPluginCreationRequest") and hasattr(flags, "PREFER_AOT_PYTHON_PLUGINS")
    return takes_plugins(trt) and known


def largest_opset(trt: Any) -> int | None:
    """The newest version of ONNX's operators that the parser reads; None where that is the parser's to say.

    No module says, so strong typing has to stand for it: the versions without (TensorRT 8) read 17 and
    older, by their documentation.
    """
    return None if strongly_typed(trt) else 17


def has_progress_monitor(trt: Any) -> bool:
    """Whether a build says which phase it is in."""
    return hasattr(trt, "IProgressMonitor") and hasattr(trt.IBuilderConfig, "progress_monitor")


def takes_capabilities(trt: Any) -> bool:
    """Whether the GPUs of an engine are named, and none need be there (TensorRT-RTX)."""
    return hasattr(trt.IBuilderConfig, "set_compute_capability")


def has_timing_cache(trt: Any) -> bool:
    """Whether measured kernel times can be kept; TensorRT-RTX has the functions, and they do nothing."""
    return not takes_capabilities(trt)


def has_runtime_cache(trt: Any) -> bool:
    """Whether kernels are compiled when an engine is loaded, and can be kept (TensorRT-RTX)."""
    return hasattr(trt, "IRuntimeConfig") and hasattr(trt.IRuntimeConfig, "create_runtime_cache")


def capability(trt: Any, target: str) -> Any:
    """The member of ``ComputeCapability`` for a target such as ``sm_89``.

    Raises:
        EngineError: this version does not build for it.
    """
    known = sorted(
        (name for name in dir(trt.ComputeCapability) if name.startswith("SM") and name[2:].isdigit()),
        key=lambda name: int(name[2:]),
    )
    wanted = target.upper().replace("_", "")
    if wanted not in known or not target.startswith("sm_"):
        raise EngineError(
            f"this TensorRT-RTX builds no engine for {target}",
            expected=", ".join(f"sm_{name[2:]}" for name in known),
            got=target,
            hint="On other GPUs take TensorRT itself.",
        )
    return getattr(trt.ComputeCapability, wanted)


def create_context(trt: Any, engine: Any, kernels: bytes | None = None) -> tuple[Any, Any]:
    """An execution context, and the cache of the kernels that it compiles.

    CUDA graphs would be asked for in the same configuration (``cuda_graph_strategy``).

    Args:
        trt: The library.
        engine: What it loaded.
        kernels: What such a cache held before; one of another driver or version is refused by the library,
            which then compiles anew.

    Returns:
        The context, None where there is not enough memory; and the cache, None where the engine holds its
        kernels.
    """
    if not has_runtime_cache(trt):
        return engine.create_execution_context(), None
    config = engine.create_runtime_config()
    cache = config.create_runtime_cache()
    if kernels is not None:
        cache.deserialize(kernels)
    config.set_runtime_cache(cache)
    return engine.create_execution_context(config), cache


def dtype(kind: Any) -> np.dtype[Any]:
    """NumPy's dtype for a member of ``DataType``; that of nothing at all where it has none."""
    return DTYPES.get(kind.name, np.dtype(np.void))
