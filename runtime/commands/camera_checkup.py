"""The doctor's look through every camera: one frame is grabbed, then a few more, and judged.

A camera that is listed and gives nothing, or a green or black picture, is the usual trouble of a rig, and a
driver does not tell of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tdfusion_edge.errors import TdfusionError
from tdfusion_edge.frames import Frame
from tdfusion_edge.redact import redact_address
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.commands.checkup import Check, first_line, hint
from tdfusion_edge.runtime.picture.judge import judge
from tdfusion_edge.runtime.sources import open_source
from tdfusion_edge.runtime.sources import uri as addresses
from tdfusion_edge.runtime.sources.base import Source

FRAMES = 5
"""Frames that are judged together; the first ones of a camera may be dark while its exposure settles."""
SETTLING = 10
"""Frames that are let go before."""
PATIENCE_S = 12.0
"""Longest wait for a camera, its opening included. A thermal camera's shutter may take 3 s."""

ARGUS = "sudo systemctl restart nvargus-daemon  # then: dmesg | grep -iE 'imx|csi|vi5'"
"""What helps a CSI camera that is green, black or silent."""

Opener = Callable[[str, rig.Camera, rig.Role], Source]


def looks(rig_file: Path | None, open_camera: Opener | None = None) -> Iterator[Check]:
    """A row for every live camera of the rig; simulated ones and recordings are left out.

    Args:
        rig_file: The rig; None looks where ``run`` looks.
        open_camera: Opens one by name, description and role.
    """
    try:
        path = rig.find(rig_file)
        chosen = rig.read(path)
    except TdfusionError:
        return  # the row of the rig tells
    if path is None:
        return
    roles = {id(camera): role for role, camera in rig.by_role(chosen).items()}
    for name, camera in chosen.cameras.items():
        try:
            if addresses.parse(camera.uri).scheme in ("sim", "file"):
                continue
        except TdfusionError as error:
            yield Check(f"look: {redact_address(name)}", "broken", first_line(error), hint(error))
            continue
        yield look(name, camera, camera.role or roles.get(id(camera)), open_camera or _opened)


def look(
    name: str, camera: rig.Camera, role: rig.Role | None, open_camera: Opener, patience_s: float = PATIENCE_S
) -> Check:
    """Grab frames of one camera and judge them."""
    row = f"look: {redact_address(name)}"
    found: list[Check] = []
    # In a thread: a driver that hangs must not take the doctor with it.
    thread = threading.Thread(
        target=lambda: found.append(_judged(row, name, camera, role, open_camera, patience_s)), daemon=True
    )
    thread.start()
    thread.join(patience_s + 3)
    if found:
        return found[0]
    return Check(row, "broken", f"it hangs: nothing came back within {patience_s + 3:g} s", _remedy(camera))


def _judged(
    row: str, name: str, camera: rig.Camera, role: rig.Role | None, open_camera: Opener, patience_s: float
) -> Check:
    began = time.monotonic()
    try:
        source = open_camera(name, camera, role or "infrared")
        try:
            frames, seconds = _grabbed(source, began + patience_s)
        finally:
            source.close()
    except TdfusionError as error:
        return Check(row, "broken", first_line(error), hint(error) or _remedy(camera))
    except Exception as error:  # of a driver's library: it becomes a row like all else
        return Check(row, "broken", first_line(error), _remedy(camera))
    if not frames:
        return Check(row, "broken", f"silent: no frame within {patience_s:g} s", _remedy(camera))
    wrong = judge(frames, role)
    image = frames[-1].image
    size = f"{image.shape[1]}x{image.shape[0]} {image.dtype}, {'colour' if image.ndim == 3 else 'grey'}"
    if wrong is not None:
        return Check(row, "broken", f"{wrong}; {size}", _remedy(camera))
    rate = f", {(len(frames) - 1) / seconds:.1f} a second" if seconds > 0 else ""
    return Check(row, "ok", f"{size}{rate}")


def _grabbed(source: Source, deadline: float) -> tuple[list[Frame], float]:
    """The last few of a camera's first frames, and the seconds that they span by their capture times."""
    frames: list[Frame] = []
    for _ in range(SETTLING + FRAMES):
        if frames and time.monotonic() > deadline:
            break
        frame = source.read()
        if frame is None:
            break
        frames = [*frames[-FRAMES + 1 :], frame]
    seconds = (frames[-1].time_ns - frames[0].time_ns) / 1e9 if frames else 0.0
    return frames, seconds


def _remedy(camera: rig.Camera) -> str:
    """The command that helps a camera of this kind."""
    place = addresses.parse(camera.uri)
    if place.scheme in ("csi", "gst"):
        return ARGUS
    if place.scheme == "v4l2":
        return f"fuser -v {place.path}; v4l2-ctl -d {place.path} --all"
    shown = redact_address(camera.uri)
    return f"tdfusion-edge run --camera {shown},sim://vis -v  # says what the server answers"


def _opened(name: str, camera: rig.Camera, role: rig.Role) -> Source:
    return open_source(name, camera, role, epoch_ns=time.monotonic_ns())
