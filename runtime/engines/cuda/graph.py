"""Nodes and weights of an ONNX file, read without the library ``onnx``, which no device has.

An ONNX file is a protobuf message; a few of its fields are all that is needed to tell a network and to take
its weights. The numbers of the fields are those of ``onnx.proto`` (ModelProto, GraphProto, NodeProto,
TensorProto).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tdfusion_edge.errors import EngineError

_VARINT, _WORD64, _BYTES, _WORD32 = 0, 1, 2, 5
_DTYPES: Mapping[int, str] = {1: "<f4", 2: "u1", 6: "<i4", 7: "<i8", 10: "<f2"}
"""TensorProto.DataType to NumPy's."""

Field: TypeAlias = "int | memoryview"
Weights: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Node:
    """One operation."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, int | float | str | tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """The operations of a graph in their order, and its constants by name."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, Weights]


def read(raw: bytes) -> OnnxGraph:
    """The graph of an ONNX file.

    Raises:
        EngineError: the bytes are no such file, or its weights lie elsewhere.
    """
    try:
        graphs = [value for number, value in fields(memoryview(raw)) if number == 7]
        (graph,) = graphs
        nodes, constants = [], {}
        for number, value in fields(_message(graph)):
            if number == 1:
                nodes.append(_node(_message(value)))
            elif number == 5:
                name, array = _tensor(_message(value))
                constants[name] = array
    except (ValueError, IndexError, TypeError, KeyError, struct.error) as error:
        raise EngineError(f"the graph cannot be read: {error}", hint="Export the bundle again.") from error
    return OnnxGraph(tuple(nodes), constants)


def fields(message: memoryview) -> Iterator[tuple[int, Field]]:
    """Number and value of each field of a protobuf message.

    Raises:
        ValueError, IndexError: it is none.
    """
    return ((number, value) for number, value, _ in placed_fields(message))


def placed_fields(message: memoryview) -> Iterator[tuple[int, Field, int]]:
    """Number and value of each field of a protobuf message, and where it ends; raises as :func:`fields`."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value, at
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in (_WORD32, _WORD64):
            size = 4 if kind == _WORD32 else 8
        else:
            raise ValueError(f"a field of kind {kind}")
        if at + size > len(message):
            raise ValueError("it is cut off")
        yield key >> 3, message[at : at + size], at + size
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number without an end")


def _message(value: Field) -> memoryview:
    if isinstance(value, int):
        raise TypeError("a number where a message should be")
    return value


def _text(value: Field) -> str:
    return bytes(_message(value)).decode()


def _whole(value: Field) -> int:
    if not isinstance(value, int):
        raise TypeError("a message where a number should be")
    return value - (1 << 64) if value >= 1 << 63 else value


def _numbers(value: Field) -> list[int]:
    """A repeated number: one of them, or all packed."""
    if isinstance(value, int):
        return [_whole(value)]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(_whole(number))
    return numbers


def _node(message: memoryview) -> Node:
    inputs: list[str] = []
    outputs: list[str] = []
    kind, attributes = "", {}
    for number, value in fields(message):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            kind = _text(value)
        elif number == 5:
            name, what = _attribute(_message(value))
            attributes[name] = what
    return Node(kind, tuple(inputs), tuple(outputs), attributes)


def _attribute(message: memoryview) -> tuple[str, int | float | str | tuple[int, ...]]:
    name, scalar, many = "", None, []
    for number, value in fields(message):
        if number == 1:
            name = _text(value)
        elif number == 2:
            (scalar,) = struct.unpack("<f", _message(value))
        elif number == 3:
            scalar = _whole(value)
        elif number == 4:
            scalar = _text(value)
        elif number == 8:
            many += _numbers(value)
    return name, tuple(many) if scalar is None else scalar


def _tensor(message: memoryview) -> tuple[str, Weights]:
    shape: list[int] = []
    name, kind, raw, floats, numbers, elsewhere = "", 0, None, b"", [], False
    for number, value in fields(message):
        if number == 1:
            shape += _numbers(value)
        elif number == 2:
            kind = _whole(value)
        elif number == 4:
            floats += bytes(_message(value))
        elif number in (5, 7):
            numbers += _numbers(value)
        elif number == 8:
            name = _text(value)
        elif number == 9:
            raw = bytes(_message(value))
        elif number == 14:
            elsewhere = bool(value)
    if elsewhere:
        raise ValueError(f"the weights '{name}' lie in another file")
    dtype = np.dtype(_DTYPES[kind])
    if raw is None and kind == 10:  # halves as the bits of numbers
        array = np.array(numbers, np.uint16).view(np.float16)
    elif raw is None:
        array = np.frombuffer(floats, dtype) if floats else np.array(numbers, dtype)
    else:
        array = np.frombuffer(raw, dtype)
    return name, array.reshape(shape)
