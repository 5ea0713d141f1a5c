"""Typed TOML and JSON: files become msgspec structs, and a key that no struct knows is refused."""

from __future__ import annotations

import difflib
import math
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from tdfusion_edge.errors import ConfigError, InputMissing

T = TypeVar("T")


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Base of everything that is read from a TOML or JSON file."""


def load(path: Path, schema: type[T]) -> T:
    """Read a ``.toml`` or ``.json`` file as ``schema``.

    Raises:
        InputMissing: there is no such file.
        ConfigError: it is no TOML or JSON, has an unknown key (the nearest known one is named), a
            value of another type or range than the schema's, or a number that is not finite.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputMissing(f"{path} cannot be read: {error.strerror}") from error
    return parse(raw, schema, name=str(path), toml=path.suffix == ".toml")


def parse(raw: bytes, schema: type[T], *, name: str, toml: bool = False) -> T:
    """TOML or JSON bytes as ``schema``; ``name`` stands in messages, errors are those of :func:`load`."""
    return convert(decode(raw, name=name, toml=toml), schema, name=name)


def decode(raw: bytes, *, name: str, toml: bool = False) -> Any:
    """TOML or JSON as dictionaries, lists and scalars.

    Raises:
        ConfigError: it is neither.
    """
    try:
        return msgspec.toml.decode(raw) if toml else msgspec.json.decode(raw)
    except (ValueError, RecursionError) as error:  # msgspec's and tomllib's own are ValueErrors
        raise ConfigError(f"{name} is no valid {'TOML' if toml else 'JSON'}: {error}") from error


def convert(data: Any, schema: type[T], *, name: str) -> T:
    """Decoded dictionaries, lists and scalars as ``schema``, with the errors of :func:`load`."""
    _refuse_unknown_keys(data, schema, name, "")
    _refuse_infinite(data, name, "")
    try:
        return msgspec.convert(data, schema)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {error}") from error


def to_json(value: Any) -> bytes:
    """Indented UTF-8 JSON of a struct, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _refuse_unknown_keys(data: Any, schema: Any, name: str, where: str) -> None:
    """Walk ``data`` beside ``schema`` and raise at the first key that no struct has."""
    for struct, child in _structs_below(schema):
        if child == "dict" and isinstance(data, dict):
            for key, value in data.items():
                _refuse_unknown_keys(value, struct, name, f"{where}.{key}" if where else key)
        elif child == "list" and isinstance(data, list):
            for index, value in enumerate(data):
                _refuse_unknown_keys(value, struct, name, f"{where}[{index}]")
        elif child == "" and isinstance(data, dict):
            _refuse_in_table(data, struct, name, where)


def _refuse_in_table(data: dict[str, Any], struct: type, name: str, where: str) -> None:
    known = {field.encode_name: field.name for field in msgspec.structs.fields(struct)}
    hints = get_type_hints(struct)
    for key, value in data.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise ConfigError(
                f"{name}: unknown key '{key}'" + (f" in [{where}]" if where else ""),
                hint=f"Did you mean '{near[0]}'?" if near else f"Known keys: {', '.join(sorted(known))}.",
            )
        _refuse_unknown_keys(value, hints[known[key]], name, f"{where}.{key}" if where else key)


def _refuse_infinite(data: Any, name: str, where: str) -> None:
    """TOML can say ``inf`` and ``nan``, which pass every bound of a schema or none."""
    if isinstance(data, dict):
        for key, value in data.items():
            _refuse_infinite(value, name, f"{where}.{key}" if where else key)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            _refuse_infinite(value, name, f"{where}[{index}]")
    elif isinstance(data, float) and not math.isfinite(data):
        raise ConfigError(f"{name}: {where}", expected="a finite number", got=str(data))


def _structs_below(schema: Any) -> list[tuple[Any, str]]:
    """The structs that a type annotation can hold, each with the container it stands in."""
    if isinstance(schema, type) and issubclass(schema, msgspec.Struct):
        return [(schema, "")]
    origin = getattr(schema, "__origin__", None)
    args: tuple[Any, ...] = getattr(schema, "__args__", ())
    if origin is dict:
        return [(args[1], "dict")]
    if origin in (list, tuple):
        return [(args[0], "list")] if args else []
    return [found for arg in args for found in _structs_below(arg)]
