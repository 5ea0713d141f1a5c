"""Writing what was measured into a rig file, and leaving everything else in it as it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tdfusion_edge import config
from tdfusion_edge.errors import ConfigError, RequestError, WorkError
from tdfusion_edge.files import write_aside
from tdfusion_edge.install import imported
from tdfusion_edge.redact import redact
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.cameras import Cameras

EXTRA = "calibrate"
NEW_MODE = 0o600
"""Rights of a new rig file: an address in it may hold a password."""


def require_library() -> None:
    """Refuse before any work where a rig file could not be written afterwards.

    Raises:
        RequestError: TOML Kit is not there, with the command that installs it.
    """
    imported("tomlkit", EXTRA, "writing a rig file needs tomlkit", RequestError)


def source_of(explicit: Path | None, cameras: Cameras) -> Path | None:
    """The rig file that holds these cameras, and so is the one to change; None where there is none.

    Args:
        explicit: ``--rig``: it is the one, whatever it holds.
        cameras: What ``--camera`` stands for.
    """
    source = rig.find(explicit)
    if source is None or explicit is not None:
        return source
    known = rig.read(source).cameras
    return source if cameras.infrared[0] in known and cameras.visible[0] in known else None


def put(
    target: Path,
    source: Path | None,
    cameras: Cameras,
    *,
    registration: rig.Registration | None = None,
    offsets_ms: Mapping[str, float] | None = None,
) -> rig.Rig:
    """Write what was measured with two cameras into their rig file; as :func:`written`.

    Args:
        target: The rig file to write.
        source: The one that is read now and changed; None makes a new one of the two cameras.
        cameras: The two.
        registration: As of :func:`written`, and so are the offsets.
        offsets_ms: By name.
    """
    try:
        text = None if source is None else source.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise WorkError(f"{source} cannot be read: {error}") from error
    return written(
        target,
        text=text,
        cameras=described(cameras, target),
        registration=registration,
        offsets_ms=offsets_ms,
    )


def described(cameras: Cameras, target: Path) -> dict[str, rig.Camera]:
    """The two cameras for a new rig file, by names that TOML and people can bear."""
    found = {}
    for role, short, (name, camera) in (
        ("infrared", "ir0", cameras.infrared),
        ("visible", "vis0", cameras.visible),
    ):
        plain = name.isascii() and name.replace("-", "_").isidentifier()
        address = _seen_from(target, camera.uri)
        found[name if plain else short] = rig.Camera(uri=address, role=role)  # type: ignore[arg-type]
    return found


def _seen_from(target: Path, uri: str) -> str:
    """An address for the rig file ``target``: from another folder a relative path would lead elsewhere."""
    if not rig.is_relative(uri) or target.parent.resolve() == Path.cwd():
        return uri
    return str(Path.cwd() / uri)


def written(
    path: Path,
    *,
    text: str | None,
    cameras: Mapping[str, rig.Camera],
    registration: rig.Registration | None = None,
    offsets_ms: Mapping[str, float] | None = None,
) -> rig.Rig:
    """Put a registration or time offsets into a rig file; comments, order and all other keys stay.

    The new text is checked to be a rig that differs from the old one in nothing else, written beside the file
    and renamed. A link stays a link, and the file's rights stay as they are.

    Args:
        path: The rig file.
        text: What it is made from: the rig that was read; None: a new one with ``cameras``.
        cameras: By name, for a new file.
        registration: What becomes of ``[registration]``; None leaves it.
        offsets_ms: What becomes of ``offset_ms`` of cameras that the rig has.

    Returns:
        The rig as it is now.

    Raises:
        ConfigError: the result would not be that rig.
        WorkError: it cannot be written; the old file is as it was.
    """
    document = edited(text, cameras, registration, offsets_ms)
    found = config.parse(document.encode(), rig.Rig, name=str(path), toml=True)
    _require_right(found, path, text, cameras, registration, offsets_ms)
    place = Path(os.path.realpath(path))
    try:
        mode = stat.S_IMODE(place.stat().st_mode) if place.exists() else NEW_MODE
        write_aside(place, document.encode(), mode=mode)
    except OSError as error:
        raise WorkError(f"{path} cannot be written: {error.strerror}", hint="It is as it was.") from error
    return found


def edited(
    text: str | None,
    cameras: Mapping[str, rig.Camera],
    registration: rig.Registration | None,
    offsets_ms: Mapping[str, float] | None,
) -> str:
    """The text of the rig file with the new values; arguments as for :func:`written`."""
    kit: Any = imported("tomlkit", EXTRA, "writing a rig file needs tomlkit", RequestError)
    document = kit.parse(text if text is not None else "")
    if text is None:
        tables = kit.table(is_super_table=True)
        for name, camera in cameras.items():
            table = kit.table()
            table["uri"] = camera.uri
            if camera.role is not None:
                table["role"] = camera.role
            tables[name] = table
        document["cameras"] = tables
    if registration is not None:
        if "registration" not in document:
            document["registration"] = kit.table()
        table = document["registration"]
        for key, value in values_of(registration).items():
            if value is None:
                if key in table:
                    del table[key]
            else:
                table[key] = _array(kit, value) if isinstance(value, tuple | list) else value
    for name, offset_ms in (offsets_ms or {}).items():
        document["cameras"][name]["offset_ms"] = offset_ms
    return str(kit.dumps(document))


def values_of(registration: rig.Registration) -> dict[str, Any]:
    """The keys of ``[registration]`` in the order of the file; None where one is not set."""
    return {name: getattr(registration, name) for name in registration.__struct_fields__}


def _array(kit: Any, value: Any) -> Any:
    array = kit.array()
    array.extend([list(row) if isinstance(row, tuple) else row for row in value])
    if value and isinstance(value[0], tuple | list):
        array.multiline(True)
    return array


def _require_right(
    found: rig.Rig,
    path: Path,
    text: str | None,
    cameras: Mapping[str, rig.Camera],
    registration: rig.Registration | None,
    offsets_ms: Mapping[str, float] | None,
) -> None:
    from msgspec.structs import replace

    if text is None:
        before = rig.Rig(
            cameras={name: rig.Camera(uri=one.uri, role=one.role) for name, one in cameras.items()}
        )
    else:
        before = config.parse(text.encode(), rig.Rig, name=str(path), toml=True)
    moved = {
        name: replace(camera, offset_ms=(offsets_ms or {}).get(name, camera.offset_ms))
        for name, camera in before.cameras.items()
    }
    expected = replace(before, cameras=moved, registration=registration or before.registration)
    if found != expected:
        raise ConfigError(
            f"{redact(str(path))} cannot be edited without changing more of it",
            expected="plain tables [cameras.NAME] and [registration]",
            hint="Write the values that are printed into it by hand.",
        )
