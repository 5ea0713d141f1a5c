"""What a runner must know of an ONNX graph before there is an engine, read without the onnx library.

Names, dtypes and shapes of inputs and outputs, and whether a weight lies in another file. The bytes
may come from a stranger, so nothing here trusts a length or a depth. The field numbers are those of
onnx.proto, IR version 10.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.base import Tensor

DTYPES: Mapping[int, np.dtype[Any]] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.uint8),
    3: np.dtype(np.int8),
    6: np.dtype(np.int32),
    7: np.dtype(np.int64),
    9: np.dtype(np.bool_),
    10: np.dtype(np.float16),
}
"""TensorProto.DataType of what can pass in and out of a TensorRT engine and has a NumPy dtype."""

DEPTH = 64
"""Graphs within graphs (If, Loop) and the messages between them; real ones need a dozen levels."""

Field: TypeAlias = tuple[int, Any]
"""Number of a protobuf field, and its value: memoryview, or int."""


@dataclass(frozen=True, slots=True)
class Graph:
    """The outside of an ONNX graph."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    opset: int
    """Version of ONNX's own operators; 0 where the graph names none."""


def read_graph(onnx: bytes) -> Graph:
    """Inputs, outputs and opset of a self-contained graph.

    Raises:
        EngineError: the bytes are no ONNX graph, a weight lies in another file, or an input or output
            has a dtype that no engine takes.
    """
    try:
        _refuse_external_data(onnx)
        graph = _message(_fields(memoryview(onnx)), 7)
        if graph is None:
            raise ValueError("there is no graph in it")
        fields = list(_fields(graph))
        # Before IR version 4 every initializer was listed among the inputs too.
        weights = {_text(_fields(value), 8) for number, value in fields if number == 5}
        named = [_tensor(value) for number, value in fields if number == 11]
        inputs = tuple(tensor for tensor in named if tensor.name not in weights)
        outputs = tuple(_tensor(value) for number, value in fields if number == 12)
        opset = _opset(onnx)
    except (ValueError, TypeError) as error:  # TypeError: a field of another wire type
        raise EngineError(
            f"the graph cannot be read: {error}", expected="the bytes of an ONNX file"
        ) from error
    if not inputs or not outputs:
        raise EngineError("the graph has no input or no output")
    return Graph(inputs, outputs, opset)


def _opset(onnx: bytes) -> int:
    """The version that is imported for the domain without a name; as protobuf has it, the last one counts."""
    imported = [list(_fields(value)) for number, value in _fields(memoryview(onnx)) if number == 8]
    own = [fields for fields in imported if _text(iter(fields), 1) in ("", "ai.onnx")]
    versions = [value for fields in own for number, value in fields if number == 2]
    if not all(isinstance(version, int) for version in versions):
        raise ValueError("its opset is no number")
    return versions[-1] if versions else 0


def _refuse_external_data(onnx: bytes) -> None:
    """A weight in another file could be any file that this user can read, so none is fetched."""
    for tensor in _tensors(memoryview(onnx), _MODEL, 0):
        fields = list(_fields(tensor))
        if any((number == 14 and value != 0) or number == 13 for number, value in fields):
            raise EngineError(
                f"weight '{_text(iter(fields), 8)}' of the graph lies in another file",
                expected="a self-contained graph",
                hint="Save it in one file: onnx.save(model, path, save_as_external_data=False).",
            )


# Where tensors can be: message -> field -> message below. TensorProto itself is the empty mapping.
_TENSOR: dict[int, Any] = {}
_SPARSE: dict[int, Any] = {1: _TENSOR, 2: _TENSOR}
_ATTRIBUTE: dict[int, Any] = {5: _TENSOR, 10: _TENSOR, 22: _SPARSE, 23: _SPARSE}
_NODE: dict[int, Any] = {5: _ATTRIBUTE}
_GRAPH: dict[int, Any] = {1: _NODE, 5: _TENSOR, 15: _SPARSE}
_ATTRIBUTE |= {6: _GRAPH, 11: _GRAPH}
_FUNCTION: dict[int, Any] = {7: _NODE, 11: _ATTRIBUTE}
_MODEL: dict[int, Any] = {7: _GRAPH, 20: {1: _GRAPH, 2: _GRAPH}, 25: _FUNCTION}


def _tensors(message: memoryview, below: dict[int, Any], depth: int) -> Iterator[memoryview]:
    if below is _TENSOR:
        yield message
        return
    if depth > DEPTH:
        raise ValueError("its graphs are nested too deeply")
    for number, value in _fields(message):
        if number in below:
            if not isinstance(value, memoryview):
                raise ValueError(f"field {number} is a number")
            yield from _tensors(value, below[number], depth + 1)


def _tensor(info: Any) -> Tensor:
    fields = list(_fields(info))
    name = _text(iter(fields), 1)
    kind = _message(iter(fields), 2)
    dense = None if kind is None else _message(_fields(kind), 1)
    if dense is None:
        raise EngineError(f"graph tensor '{name}'", expected="a tensor", got="a sequence, map or nothing")
    element = next((value for number, value in _fields(dense) if number == 1), 0)
    if element not in DTYPES:
        names = ", ".join(str(dtype) for dtype in DTYPES.values())
        raise EngineError(f"graph tensor '{name}'", expected=names, got=f"ONNX data type {element}")
    shape = _message(_fields(dense), 2)
    if shape is None:
        raise EngineError(f"graph tensor '{name}' has no shape", expected="one with free axes, if any")
    return Tensor(
        name, DTYPES[element], tuple(_axis(value) for number, value in _fields(shape) if number == 1)
    )


def _axis(dimension: Any) -> int | None:
    """A fixed length; None for a name, and for a length that is not given."""
    length = next((value for number, value in _fields(dimension) if number == 1), None)
    return length if isinstance(length, int) and length > 0 else None


def _message(fields: Iterator[Field], wanted: int) -> memoryview | None:
    return next((value for number, value in fields if number == wanted), None)


def _text(fields: Iterator[Field], wanted: int) -> str:
    raw = _message(fields, wanted)
    return "" if raw is None else bytes(raw).decode(errors="replace")


def _fields(message: memoryview) -> Iterator[Field]:
    """Number and value of each field, in the order of the bytes; groups are not part of ONNX."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(message, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if number == 0 or length > len(message) - at:
            raise ValueError(f"it is cut off at byte {at}")
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            # A negative int64 takes ten bytes, of which 64 bits count.
            value &= (1 << 64) - 1
            return (value - (1 << 64) if value >> 63 else value), at
    raise ValueError(f"it is cut off at byte {at}")
