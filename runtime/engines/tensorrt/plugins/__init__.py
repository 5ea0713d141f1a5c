"""Our own kernel as a node of a graph: told from the graph, and made known to TensorRT before it meets it.

``export --plugins`` puts a node ``EdgeFusion`` where the fusion network stood, and that network beside it as
an ONNX function of the same name. A library without plugins runs the function. One that has them is given
the graph without it, and launches the kernel:

- ``aot``, TensorRT 10.9 and later: it gets the kernel as PTX (:mod:`.ahead`), which stands in the engine.
- ``python``, from 10.3 on: the engine calls Python, which launches the kernel (:mod:`.callback`).
"""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.cuda.binaries import BUILD, sources_digest
from tdfusion_edge.runtime.engines.cuda.graph import fields, placed_fields
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.plugins.node import NAME, NAMESPACE

Way: TypeAlias = Literal["", "aot", "python"]
_FUNCTIONS, _FUNCTION_NAME, _FUNCTION_DOMAIN = 25, 1, 10
"""Fields of ONNX's ModelProto and FunctionProto, by ``onnx.proto``."""
_NO_CREATOR = re.compile(
    r"plugin not found|cannot find plugin|no(t find)? (plugin )?creator|creator (was )?not found"
    r"|getPluginCreator|getCreator|could not find .*creator",
    re.IGNORECASE,
)
"""What versions of TensorRT say where a plugin is not known to them."""


def holds(onnx: bytes) -> bool:
    """Whether a graph has our node, with the function that it stands for.

    Bytes that are no graph have none: the library's parser says what is wrong with them.
    """
    try:
        return any(_is_ours(value) for number, value in fields(memoryview(onnx)) if number == _FUNCTIONS)
    except (ValueError, IndexError, TypeError):
        return False


def without_function(onnx: bytes) -> bytes:
    """The graph with the node alone: a parser prefers the function to the plugin, or not, by its version."""
    message, kept, at = memoryview(onnx), [], 0
    for number, value, end in placed_fields(message):
        if number != _FUNCTIONS or not _is_ours(value):
            kept.append(message[at:end])
        at = end
    return b"".join(kept)


def way_of(trt: Any, onnx: bytes) -> Way:
    """How a library is to run our node; empty where the graph has none, or the library no plugins."""
    if not holds(onnx):
        return ""
    if bindings.takes_ahead_plugins(trt):
        return "aot"
    return "python" if bindings.takes_plugins(trt) else ""


def asked_by(way: Way) -> str:
    """What a request for an engine says of the plugin: the way, and the digest of the kernels' sources."""
    return f"{way} {sources_digest()}" if way else ""


def is_ahead(asked: str) -> bool:
    """Whether the kernel stands in the engine, by what a request says."""
    return asked.startswith("aot")


def register(trt: Any, asked: str, capability: int) -> None:
    """Make our node known to a library, once a process: before it parses a graph, or loads an engine.

    Args:
        trt: The library.
        asked: What :func:`asked_by` gave; empty asks for nothing.
        capability: Of the GPU, 87 for sm_87.

    Raises:
        EngineError: the kernels of this installation are missing, changed or for no such GPU; or the library
            refuses the plugin.
    """
    if not asked:
        return
    # Imported here: they need what only some versions have.
    from tdfusion_edge.runtime.engines.tensorrt.plugins import ahead, callback

    try:
        known = ahead.register(trt, capability) if is_ahead(asked) else callback.register(trt)
    except EngineError as error:
        raise EngineError(
            f"the graph has a node of our own kernel ({NAME}), and this cannot be made known to TensorRT: "
            f"{error.what}",
            expected=error.expected,
            got=error.got,
            hint=f"{error.hint or BUILD}\nOr run the graph without it: export the bundle without --plugins.",
        ) from error
    if not known:
        raise EngineError(
            f"TensorRT refuses the plugin {NAMESPACE}::{NAME}",
            expected="that no other one has this name",
            hint="Run the graph without it: export the bundle without --plugins.",
        )


def missing(said: str, *, building: bool) -> str | None:
    """What to do where a library says that it does not know a plugin; None where it says something else.

    Args:
        said: Its words.
        building: Whether a graph was parsed; else an engine was loaded.
    """
    if not _NO_CREATOR.search(said):
        return None
    if building:
        return (
            "TensorRT has no operator of that name, and nobody has registered a plugin for it. For our own "
            f"({NAMESPACE}::{NAME}) tdfusion-edge does that by itself, unless some other program changed the "
            "graph: export the bundle again, with or without --plugins.\nA plugin of somebody else's cannot "
            "be loaded here: replace the operator before the export."
        )
    return (
        "The engine was built with a plugin that this process does not know. Build it here, where our own is "
        "registered: tdfusion-edge engines BUNDLE --backend tensorrt"
    )


def _is_ours(function: Any) -> bool:
    found = {number: bytes(value) for number, value in fields(function) if number in (1, 10)}
    return found.get(_FUNCTION_NAME) == NAME.encode() and found.get(_FUNCTION_DOMAIN) == NAMESPACE.encode()
