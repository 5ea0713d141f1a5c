"""``sim://ir?...`` and ``sim://vis?...``: a simulated camera in one line."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.rig import SLOWEST_FPS, Role
from tdfusion_edge.runtime.simulation.faults import Faults

_ROLES: dict[str, Role] = {"ir": "infrared", "vis": "visible"}
_EXAMPLE = "Example: sim://ir?seed=3&fps=9&drop=0.1&freeze=5:2"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a URI asks for."""

    role: Role
    faults: Faults
    seed: int = 0
    fps: float = 30.0
    size: tuple[int, int] | None = None
    """Width and height of the frames; None: 640 x 480, or those of ``view``."""
    view: tuple[int, int] | None = None
    """Width and height of the visible picture of the pair, for its infrared camera; None: 640 x 480."""
    depth16: bool = False
    fog: bool = True
    mark: bool = False
    realtime: bool = True
    frames: int | None = None
    timeout_s: float = 2.0


def parse(uri: str) -> Wish:
    """Read the URI of a simulated camera.

    Raises:
        RequestError: no ``sim://ir`` or ``sim://vis``, an unknown or repeated key (the nearest known
            one is named), or a value that cannot be read.
    """
    parts = urlsplit(uri)
    if parts.scheme != "sim" or parts.netloc not in _ROLES or parts.path not in ("", "/") or parts.fragment:
        raise RequestError(f"no simulated camera '{uri}'", expected="sim://ir or sim://vis", hint=_EXAMPLE)
    role = _ROLES[parts.netloc]
    values: dict[str, Any] = {}
    for key, text in parse_qsl(parts.query, keep_blank_values=True):
        if key not in _READERS:
            near = difflib.get_close_matches(key, _READERS, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Known keys: {', '.join(sorted(_READERS))}."
            raise RequestError(f"{uri}: unknown key '{key}'", hint=hint)
        if key in values:
            raise RequestError(f"{uri}: '{key}' is given twice")
        if role == "visible" and key in _INFRARED_ONLY:
            raise RequestError(f"{uri}: '{key}' belongs to the infrared camera", hint="Move it to sim://ir.")
        values[key] = _read(uri, key, text)
    seed = values.get("seed", 0)
    faults = Faults(**{key: values.pop(key) for key in _FAULTS if key in values}, seed=seed + len(role))
    return Wish(role=role, faults=faults, depth16=values.pop("depth", 8) == 16, **values)


def _read(uri: str, key: str, text: str) -> object:
    reader, expected = _READERS[key]
    try:
        return reader(text)
    except (ValueError, KeyError) as error:
        raise RequestError(f"{uri}: '{key}'", expected=expected, got=f"'{text}'") from error


def _size(text: str) -> tuple[int, int]:
    width, height = (int(part) for part in text.lower().split("x"))
    return width, height


def _switch(text: str) -> bool:
    return {"0": False, "1": True}[text]


def _depth(text: str) -> int:
    return {"8": 8, "16": 16}[text]


def _count(text: str) -> int:
    return _least(int(text), 0)


def _least(value: int, least: int) -> int:
    if value < least:
        raise ValueError
    return value


def _rate(text: str) -> float:
    value = float(text)
    if not SLOWEST_FPS <= value <= 1000:
        raise ValueError
    return value


def _numbers(count: int) -> Callable[[str], tuple[float, ...]]:
    def read(text: str) -> tuple[float, ...]:
        values = tuple(float(part) for part in text.split(":"))
        if len(values) != count:
            raise ValueError
        return values

    return read


def _matrix(text: str) -> tuple[tuple[float, ...], ...]:
    values = _numbers(9)(text)
    return values[0:3], values[3:6], values[6:9]


_READERS: dict[str, tuple[Callable[[str], object], str]] = {
    "seed": (_count, "a whole number, 0 or more"),
    "fps": (_rate, f"frames per second, {SLOWEST_FPS:.5f} to 1000"),
    "size": (_size, "WIDTHxHEIGHT"),
    "view": (_size, "WIDTHxHEIGHT of the visible picture"),
    "depth": (_depth, "8 or 16"),
    "fog": (_switch, "0 or 1"),
    "mark": (_switch, "0 or 1"),
    "realtime": (_switch, "0 or 1"),
    "frames": (_count, "a whole number, 0 or more"),
    "timeout_s": (_rate, f"seconds, {SLOWEST_FPS:.5f} to 1000"),
    "homography": (_matrix, "nine numbers h11:h12:...:h33, row by row"),
    "offset_ms": (float, "milliseconds"),
    "jitter_ms": (float, "milliseconds"),
    "drift_ppm": (float, "parts in a million"),
    "jump": (_numbers(2), "TIME:SECONDS"),
    "drop": (float, "a probability from 0 to 1"),
    "gain_jump": (_numbers(3), "TIME:GAIN:OFFSET"),
    "freeze": (_numbers(2), "TIME:DURATION in seconds"),
    "silence": (_numbers(2), "TIME:DURATION in seconds"),
    "dead": (_numbers(2), "TIME:DURATION in seconds"),
    "noise": (float, "8-bit levels"),
}
_FAULTS = (
    "homography", "offset_ms", "drift_ppm", "jump", "jitter_ms", "drop", "gain_jump", "freeze", "silence",
    "dead", "noise",
)  # fmt: skip
_INFRARED_ONLY = ("depth", "homography", "gain_jump", "view")
