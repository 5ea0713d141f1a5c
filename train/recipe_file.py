"""From a recipe's file to the recipe: presets under it, changes of the command line over it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from tdfusion_edge.config import convert, decode
from tdfusion_edge.errors import ConfigError, InputMissing
from tdfusion_edge.train.recipe import Recipe

SUFFIX = ".toml"


def load_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """A recipe by path or by the name of a shipped one.

    Args:
        name: Which.
        changes: "table.key=VALUE" each, VALUE as in TOML; a bare word is a string.

    Raises:
        InputMissing: there is no such recipe; the shipped ones are named.
        ConfigError: it is no TOML, has an unknown key or a value of another type or range, or a change
            cannot be read.
    """
    path = find_recipe(name)
    given = decode(path.read_bytes(), name=str(path), toml=True)
    for change in changes:
        given = merged(given, _as_table(change))
    preset = given.pop("preset", None) if isinstance(given, dict) else None
    if preset is not None:
        given = merged(_preset(preset, str(path)), given)
    return convert(given, Recipe, name=str(path))


def find_recipe(name: str) -> Path:
    """A recipe file by path, or a shipped one by name.

    Raises:
        InputMissing: neither; the shipped recipes are listed.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = _shipped("recipes")
    if name in shipped:
        return shipped[name]
    raise InputMissing(f"there is no recipe '{name}'", expected=f"a TOML file or one of {', '.join(shipped)}")


def merged(below: Any, above: Any) -> Any:
    """``above`` laid over ``below``, table by table; lists and scalars are replaced whole."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {
            key: merged(below[key], above[key])
            if key in below and key in above
            else above.get(key, below.get(key))
            for key in {**below, **above}
        }
    return above


def _preset(name: Any, where: str) -> Any:
    shipped = _shipped("presets")
    if name not in shipped:
        raise ConfigError(f"{where}: preset", expected=f"one of {', '.join(shipped)}", got=repr(name))
    return decode(shipped[name].read_bytes(), name=str(shipped[name]), toml=True)


def _shipped(folder: str) -> dict[str, Path]:
    root = Path(str(resources.files("tdfusion_edge.train"))) / folder
    return {file.stem: file for file in sorted(root.glob(f"*{SUFFIX}"))}


def _as_table(change: str) -> dict[str, Any]:
    """"a.b=1" to {"a": {"b": 1}}."""
    key, equals, text = change.partition("=")
    if not (equals and all(part.isidentifier() for part in key.split("."))):
        raise ConfigError(f"--set {change}", expected="KEY=VALUE, for example optimiser.batch=4")
    try:
        value = msgspec.toml.decode(f"value = {text}")["value"]
    except ValueError:
        value = text  # a bare word
    for part in reversed(key.split(".")):
        value = {part: value}
    return {**value}
