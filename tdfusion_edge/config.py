"""Typed TOML and JSON: files become msgspec structs, and a key that no struct knows is refused."""

from __future__ import annotations

import codecs
import difflib
import math
import re
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from tdfusion_edge.errors import ConfigError, InputMissing

T = TypeVar("T")

MAX_BYTES = 1 << 20
"""A larger file is none of ours: a rig or a recipe has some kilobytes."""
MAX_DEPTH = 32
"""Tables and lists within each other; no schema has a third of it."""
# A TOML parser takes a time that grows with the square of a key's parts: a minute for 50,000.
_PART = rb"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*"""
_LONG_KEY = re.compile(rb"(?:^|[\[{,])[ \t]*(?:" + _PART + rb"){%d}" % MAX_DEPTH, re.MULTILINE)


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Base of everything that is read from a TOML or JSON file."""


def load(path: Path, schema: type[T]) -> T:
    """Read a ``.toml`` or ``.json`` file as ``schema``.

    Raises:
        InputMissing: there is no such file.
        ConfigError: it is no TOML or JSON, too large, has an unknown key (the nearest known one is named), a
            value of another type or range than the schema's, or a number that is not finite.
    """
    try:
        # A pipe would be waited for without end, and a device may have none.
        if path.exists() and not path.is_file():
            raise InputMissing(f"{path} cannot be read", expected="a file")
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputMissing(f"{path} cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path} is too large", expected=f"at most {MAX_BYTES} bytes")
    return parse(raw, schema, name=str(path), toml=path.suffix == ".toml")


def parse(raw: bytes, schema: type[T], *, name: str, toml: bool = False) -> T:
    """TOML or JSON bytes as ``schema``; ``name`` stands in messages, errors are those of :func:`load`."""
    return convert(decode(raw, name=name, toml=toml), schema, name=name)


def decode(raw: bytes, *, name: str, toml: bool = False) -> Any:
    """TOML or JSON as dictionaries, lists and scalars.

    Raises:
        ConfigError: it is neither, or nested deeper than :data:`MAX_DEPTH`.
    """
    raw = raw.removeprefix(codecs.BOM_UTF8)  # which some editors write
    if toml and _LONG_KEY.search(raw):
        raise ConfigError(f"{name} has a key of too many parts", expected=f"at most {MAX_DEPTH}")
    try:
        data = msgspec.toml.decode(raw) if toml else msgspec.json.decode(raw)
    except (ValueError, RecursionError) as error:  # msgspec's and tomllib's own are ValueErrors
        raise ConfigError(f"{name} is no valid {'TOML' if toml else 'JSON'}: {error}") from error
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [child for one in level for child in _children(one)]
        if not level:
            return data
    raise ConfigError(f"{name} is nested too deeply", expected=f"at most {MAX_DEPTH} levels")


def _children(data: Any) -> list[Any]:
    if isinstance(data, dict):
        return list(data.values())
    return data if isinstance(data, list) else []


def convert(data: Any, schema: type[T], *, name: str) -> T:
    """Decoded dictionaries, lists and scalars as ``schema``, with the errors of :func:`load`."""
    _refuse_unknown_keys(data, schema, name, "")
    _refuse_unusable(data, name, "")
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


def _refuse_unusable(data: Any, name: str, where: str) -> None:
    """TOML can say ``inf`` and ``nan``, which pass bounds, and NUL, which no file's name can hold."""
    if isinstance(data, dict):
        for key, value in data.items():
            _refuse_unusable(value, name, f"{where}.{key}" if where else key)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            _refuse_unusable(value, name, f"{where}[{index}]")
    elif isinstance(data, float) and not math.isfinite(data):
        raise ConfigError(f"{name}: {where}", expected="a finite number", got=str(data))
    elif isinstance(data, str) and "\0" in data:
        raise ConfigError(f"{name}: {where}", expected="a text without NUL", got=repr(data[:80]))


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
