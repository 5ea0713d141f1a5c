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
OPTIONS = "_options"
"""How a key ends that holds the options of what another key names."""


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
    changed: dict[str, Any] = {}
    for change in changes:
        changed = merged(changed, _as_table(change))
    preset = changed.pop("preset", given.pop("preset", None))
    below = {} if preset is None else _preset(preset, str(path))
    return convert(merged(merged(below, given), changed), Recipe, name=str(path))


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
    """``above`` laid over ``below``, table by table; lists and scalars are replaced whole.

    So are the options of what is replaced: another ``network`` does not inherit ``network_options``.

    >>> merged({"network": "lpn", "network_options": {"head": "plain"}}, {"network": "light"})
    {'network': 'light'}
    """
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    kept = {
        key: value
        for key, value in below.items()
        if not (key.endswith(OPTIONS) and _replaced(below, above, key.removesuffix(OPTIONS)))
    }
    both = {key: merged(kept[key], value) if key in kept else value for key, value in above.items()}
    return {**kept, **both}


def _replaced(below: dict[str, Any], above: dict[str, Any], key: str) -> bool:
    return key in below and key in above and below[key] != above[key]


def _preset(name: Any, where: str) -> Any:
    shipped = _shipped("presets")
    if name not in shipped:
        raise ConfigError(f"{where}: preset", expected=f"one of {', '.join(shipped)}", got=repr(name))
    return decode(shipped[name].read_bytes(), name=str(shipped[name]), toml=True)


def _shipped(folder: str) -> dict[str, Path]:
    root = Path(str(resources.files("tdfusion_edge.train"))) / folder
    return {file.stem: file for file in sorted(root.glob(f"*{SUFFIX}"))}


def _as_table(change: str) -> dict[str, Any]:
    """The table that "a.b=1" stands for: {"a": {"b": 1}}."""
    key, equals, text = change.partition("=")
    if not (equals and all(part.isidentifier() for part in key.split("."))):
        raise ConfigError(f"--set {change}", expected="KEY=VALUE, for example optimiser.batch=4")
    try:
        read = msgspec.toml.decode(f"value = {text}")
    except ValueError:
        read = {}
    except RecursionError as error:
        raise ConfigError(f"--set {key} is nested too deeply") from error
    # A bare word; or a line break in it, behind which TOML would find further keys.
    value: Any = read["value"] if list(read) == ["value"] else text
    *tables, last = key.split(".")
    table = {last: value}
    for part in reversed(tables):
        table = {part: table}
    return table
