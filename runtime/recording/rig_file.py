"""The rig.toml of a recording: two recorded cameras, paired, aligned and looked at as the live ones were."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tdfusion_edge.errors import RequestError
from tdfusion_edge.files import write_aside
from tdfusion_edge.runtime import rig
from tdfusion_edge.video.times import FOLDERS

NAME = "rig.toml"
FIRST = "# A recording of tdfusion-edge; the times in its files have the cameras' offset_ms in them."
"""First line, by which a file of ours is known."""
NAMES: Mapping[rig.Role, str] = {"infrared": "ir0", "visible": "vis0"}


def require_ours(folder: Path) -> None:
    """Refuse a folder whose rig.toml somebody else wrote, with a RequestError."""
    path = folder / NAME
    if path.exists() and not (path.is_file() and _begins(path)):
        raise RequestError(
            f"{path} is no recording's", expected="a folder of its own for --record", got="a rig file in it"
        )


def write(
    folder: Path,
    cameras: Mapping[rig.Role, rig.Camera],
    sync: rig.Sync,
    registration: rig.Registration | None,
    places: rig.Rig | None = None,
) -> None:
    """Write ``folder/rig.toml``: whole, or as it was before.

    Args:
        folder: Of the recording.
        cameras: As they were described; kept are roles, and of infrared its thermal range and radiometry.
        sync: How their frames are paired.
        registration: How infrared lies in visible.
        places: The rig, whose tracks, zones, lines and measured places are kept.

    Raises:
        OSError: the disk refuses.
    """
    lines = [FIRST, ""]
    for role, camera in cameras.items():
        lines += [f"[cameras.{NAMES[role]}]", f'uri = "{FOLDERS[role]}"', f'role = "{role}"']
        if role == "infrared":
            lines.append(f"range = {_inline(camera.range)}")
            if camera.radiometry is not None:
                lines.append(f"radiometry = {_inline(camera.radiometry)}")
        lines.append("")
    tables: list[tuple[str, msgspec.Struct | None]] = [("sync", sync), ("registration", registration)]
    if places is not None:
        tables.append(("tracks", places.tracks))
        for kind in ("zones", "lines", "measure"):
            tables += [(f"{kind}.{_value(name)}", one) for name, one in getattr(places, kind).items()]
    for name, table in tables:
        if table is not None:
            lines += [f"[{name}]", *(f"{key} = {_value(value)}" for key, value in _set(table)), ""]
    write_aside(folder / NAME, "\n".join(lines).encode(), parents=False)


def _begins(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.readline().strip() == FIRST.encode()
    except OSError:
        return False


def _set(table: msgspec.Struct) -> list[tuple[str, Any]]:
    """Keys that have a value."""
    return [(key, value) for key, value in msgspec.structs.asdict(table).items() if value is not None]


def _inline(table: msgspec.Struct) -> str:
    return "{ " + ", ".join(f"{key} = {_value(value)}" for key, value in _set(table)) + " }"


def _value(value: Any) -> str:
    """A number, a text or a list of these as TOML; JSON writes them alike, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f")
