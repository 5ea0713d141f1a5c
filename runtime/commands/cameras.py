"""List the cameras of the rig and of this machine, and what they offer.

A device's address, with one of its formats, is what --camera and the uri of a rig file take:
v4l2:///dev/video2?format=Y16&size=640x512
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tdfusion_edge.console import say, say_json
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.sources import plugins
from tdfusion_edge.runtime.sources.listing import CameraInfo, cameras


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "--rig", type=Path, metavar="FILE", help="rig file (default: $TDFUSION_RIG, ./rig.toml)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def main(args: argparse.Namespace) -> int:
    """List."""
    path = rig.find(args.rig)
    chosen = rig.read(path)
    found = cameras(chosen)
    if args.json:
        rows = [as_dict(camera, chosen) for camera in found]
        named = None if path is None else str(path)
        say_json({"rig": named, "cameras": rows, "plugins": plugins.described()}, indent=2)
    else:
        say(as_text(path, chosen, found))
        for line in plugins_as_text(plugins.described()):
            say(line)
    return 0


def as_dict(camera: CameraInfo, chosen: rig.Rig) -> dict[str, Any]:
    """One camera for a program; ``role`` is None where the order in ``--camera`` decides."""
    formats = [
        {
            "fourcc": form.fourcc,
            "description": form.description,
            "modes": [mode._asdict() for mode in form.modes],
        }
        for form in camera.formats
    ]
    return {
        "name": camera.name,
        "address": camera.address,
        "in_rig": camera.in_rig,
        "role": chosen.cameras[camera.name].role if camera.in_rig else None,
        "problem": camera.problem,
        "stable_address": camera.stable,
        "formats": formats,
    }


def as_text(path: Path | None, chosen: rig.Rig, found: list[CameraInfo]) -> str:
    """Cameras of the rig and of this machine, as lines for people."""
    source = "no rig file, these are simulated" if path is None else str(path)
    lines = [f"cameras of the rig ({source})"]
    for camera in found:
        if camera.in_rig:
            role = chosen.cameras[camera.name].role or "by order"
            lines.append(f"  {camera.name:8} {role:8}  {camera.address}  {camera.problem or 'ok'}")
    devices = [camera for camera in found if not camera.in_rig]
    lines.append("devices of this machine" + ("" if devices else ": none, /dev has no V4L2 camera"))
    for camera in devices:
        lines.append(f"  {camera.address}  {camera.name}  {camera.problem or 'ok'}")
        if camera.stable is not None:
            lines.append(f"      {camera.stable}  keeps its name")
        for form in camera.formats:
            modes = ", ".join(map(str, form.modes))
            lines.append(f"      {form.fourcc:4}  {modes or 'sizes unknown'}  {form.description}".rstrip())
    return "\n".join(lines)


def plugins_as_text(described: list[dict[str, str | None]]) -> list[str]:
    """Kinds of address that other installed packages open, as lines for people."""
    if not described:
        return []
    rows = [f"  {one['scheme']}://  {one['package']}  {one['problem'] or 'ok'}" for one in described]
    return ["kinds of source that other packages open", *rows]
