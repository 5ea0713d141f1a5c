"""Which cameras there are and what they offer: those of the rig, and the V4L2 devices of the machine."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from tdfusion_edge.errors import RequestError, TdfusionError
from tdfusion_edge.images import natural_order
from tdfusion_edge.redact import redact_address
from tdfusion_edge.runtime.rig import Rig
from tdfusion_edge.runtime.sources import plugins, uri
from tdfusion_edge.text import few
from tdfusion_edge.video.times import other_half

SYSFS = Path("/sys/class/video4linux")
DEV = Path("/dev")

Ioctl: TypeAlias = Callable[[int, int, bytearray], object]
"""``fcntl.ioctl``: descriptor, request, the buffer that is read and written; raises OSError."""


class Mode(NamedTuple):
    """One size of a format."""

    width: int
    height: int
    fps: tuple[float, ...]
    """Rates at that size, the highest first; empty where the driver does not say."""

    def __str__(self) -> str:
        rates = "/".join(f"{rate:g}" for rate in self.fps)
        return f"{self.width}x{self.height}" + (f"@{rates}" if rates else "")


@dataclass(frozen=True, slots=True)
class Format:
    """One pixel format of a camera."""

    fourcc: str
    """Its name in an address: ``format=Y16``."""
    description: str
    """The driver's words."""
    modes: tuple[Mode, ...]
    """Sizes; for a camera that scales freely the smallest and the largest."""


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """One camera that ``--camera`` can name."""

    name: str
    """Name in the rig, or what the device calls itself."""
    address: str
    """Its URI, without credentials."""
    in_rig: bool
    """Whether the rig names it."""
    problem: str | None = None
    """None where it can be opened, else why not."""
    formats: tuple[Format, ...] = ()
    """What it offers; empty where that cannot be asked."""
    stable: str | None = None
    """Its address by a link whose name stays the same when cameras are plugged in and out; None without."""


def cameras(
    rig: Rig | None = None, *, sysfs: Path = SYSFS, dev: Path = DEV, ioctl: Ioctl | None = None
) -> list[CameraInfo]:
    """The rig's cameras, then the V4L2 devices that capture video, each in natural order.

    A device is opened for a moment and asked, which disturbs no program that uses it. Nodes that
    give metadata instead of video are left out.
    """
    links = _links(dev)
    found = [_device(path, name, ioctl or _ioctl) for path, name in device_nodes(sysfs=sysfs, dev=dev)]
    devices = {
        info.address: replace(info, stable=links.get(info.address)) for info in found if info is not None
    }
    named = (
        [] if rig is None else [_in_rig(name, rig.cameras[name].uri, devices) for name in sorted(rig.cameras)]
    )
    return named + list(devices.values())


def device_nodes(*, sysfs: Path = SYSFS, dev: Path = DEV) -> list[tuple[Path, str]]:
    """Device file and name of every V4L2 node, in natural order; empty where there is none."""
    if not sysfs.is_dir():
        return []
    entries = sorted(sysfs.glob("video*"), key=natural_order)
    return [(dev / entry.name, _line(entry / "name") or entry.name) for entry in entries]


def _links(dev: Path) -> dict[str, str]:
    """The address of each node to one that stays the same: by the camera's number, else by its socket."""
    links = {}
    for folder in ("by-path", "by-id"):  # the last one counts
        for link in sorted((dev / "v4l" / folder).glob("*")):
            links[f"v4l2://{link.resolve()}"] = f"v4l2://{link}"
    return links


def offered(ioctl: Ioctl, fourcc: str) -> str:
    """Sizes and rates of a format, for people: ``Y16 640x512@60/30, 320x256@60``; empty where it has none."""
    forms = [form for form in _formats(0, 1, ioctl) if form.fourcc == fourcc]
    modes = [str(mode) for form in forms for mode in form.modes]
    return f"{fourcc} {few(modes)}" if modes else ""


def _line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _in_rig(name: str, address: str, devices: dict[str, CameraInfo]) -> CameraInfo:
    shown = redact_address(address)
    try:
        parsed = uri.parse(address)
    except RequestError as error:
        return CameraInfo(name, shown, in_rig=True, problem=str(error).splitlines()[0])
    if parsed.scheme == "v4l2":
        # /dev/v4l/by-id/... are links to the nodes.
        device = devices.get(f"v4l2://{Path(parsed.path).resolve()}")
        if device is None:
            return CameraInfo(name, shown, in_rig=True, problem="there is no such camera")
        return replace(device, name=name, address=shown, in_rig=True)
    if parsed.scheme in uri.NETWORK:  # asking one takes seconds, and cameras count failed logins
        return CameraInfo(name, shown, in_rig=True)
    return CameraInfo(name, shown, in_rig=True, problem=_problem(name, parsed))


def _problem(name: str, parsed: uri.SourceUri) -> str | None:
    """Why what is no V4L2 camera cannot be opened, as far as that shows without opening it."""
    try:
        if parsed.scheme in ("gst", "csi"):
            from tdfusion_edge.runtime.sources.gstreamer import csi
            from tdfusion_edge.runtime.sources.gstreamer.pipeline import Pipeline

            Pipeline(parsed.path if parsed.scheme == "gst" else csi.pipeline(parsed), name)
        elif parsed.scheme == "file":
            path = Path(parsed.path).expanduser()
            if other_half(path) is not None:
                return "no frame of it was recorded"
            return None if os.access(path, os.R_OK) else "no such file or folder"
        elif parsed.scheme not in uri.SCHEMES:
            plugins.load(parsed.scheme)
    except TdfusionError as error:
        return str(error).splitlines()[0]
    return None


# --- what follows speaks linux/videodev2.h -------------------------------------------------------

_CAPTURE, _CAPTURE_PLANES, _PER_NODE = 0x1, 0x1000, 0x80000000
_DISCRETE = 1
_MOST = 256
"""No camera has more formats, sizes or rates; a driver that never ends its list is cut off here."""


def _request(number: int, size: int, *, writes: bool) -> int:
    """The code of an ioctl of type 'V': direction, size of its struct, type, number."""
    return ((3 if writes else 2) << 30) | (size << 16) | (ord("V") << 8) | number


# struct v4l2_capability: driver, card, bus_info, version, capabilities, device_caps, reserved
_CAPABILITY = struct.Struct("=16s32s32sIII12x")
# struct v4l2_fmtdesc: index, type, flags, description, pixelformat, mbus_code, reserved
_FMTDESC = struct.Struct("=III32s4sI12x")
# struct v4l2_frmsizeenum: index, pixel_format, type, then width, height or the limits (min_width,
# max_width, step_width, min_height, max_height, step_height), reserved
_FRMSIZE = struct.Struct("=I4sI6I8x")
# struct v4l2_frmivalenum: index, pixel_format, width, height, type, then the interval or its limits
# (shortest, longest, step) as numerator and denominator, reserved
_FRMIVAL = struct.Struct("=I4sIII6I8x")

QUERYCAP = _request(0, _CAPABILITY.size, writes=False)
ENUM_FMT = _request(2, _FMTDESC.size, writes=True)
ENUM_FRAMESIZES = _request(74, _FRMSIZE.size, writes=True)
ENUM_FRAMEINTERVALS = _request(75, _FRMIVAL.size, writes=True)


def _ioctl(descriptor: int, request: int, buffer: bytearray) -> object:
    import fcntl  # Linux has it; the rest of this module works elsewhere too

    return fcntl.ioctl(descriptor, request, buffer)


def _device(path: Path, name: str, ioctl: Ioctl) -> CameraInfo | None:
    """A device, or None where it captures no video."""
    address = f"v4l2://{path}"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        return CameraInfo(name, address, in_rig=False, problem=error.strerror)
    try:
        buffer = bytearray(_CAPABILITY.size)
        ioctl(descriptor, QUERYCAP, buffer)
        _, card, _, _, driver_can, node_can = _CAPABILITY.unpack(buffer)
        can = node_can if driver_can & _PER_NODE else driver_can
        if not can & (_CAPTURE | _CAPTURE_PLANES):
            return None
        formats = tuple(_formats(descriptor, 9 if can & _CAPTURE_PLANES else 1, ioctl))
        return CameraInfo(_text(card) or name, address, in_rig=False, formats=formats)
    except OSError as error:
        return CameraInfo(name, address, in_rig=False, problem=error.strerror)
    finally:
        os.close(descriptor)


def _formats(descriptor: int, kind: int, ioctl: Ioctl) -> Iterator[Format]:
    for row in _enumerate(descriptor, ENUM_FMT, _FMTDESC, (kind, 0, b"", b"", 0), ioctl):
        fourcc = row[4]
        yield Format(_text(fourcc), _text(row[3]), tuple(_modes(descriptor, fourcc, ioctl)))


def _modes(descriptor: int, fourcc: bytes, ioctl: Ioctl) -> Iterator[Mode]:
    for row in _enumerate(descriptor, ENUM_FRAMESIZES, _FRMSIZE, (fourcc, 0, *[0] * 6), ioctl):
        sizes = [(row[3], row[4])] if row[2] == _DISCRETE else [(row[3], row[6]), (row[4], row[7])]
        for width, height in sizes:
            yield Mode(width, height, tuple(_rates(descriptor, fourcc, width, height, ioctl)))
        if row[2] != _DISCRETE:
            return  # a range is one row, which some drivers repeat for every index


def _rates(descriptor: int, fourcc: bytes, width: int, height: int, ioctl: Ioctl) -> list[float]:
    rates = set()
    start: tuple[int | bytes, ...] = (fourcc, width, height, 0, *[0] * 6)
    for row in _enumerate(descriptor, ENUM_FRAMEINTERVALS, _FRMIVAL, start, ioctl):
        intervals = [row[5:7]] if row[4] == _DISCRETE else [row[5:7], row[7:9]]
        rates |= {round(below / above, 3) for above, below in intervals if above}
        if row[4] != _DISCRETE:
            break
    return sorted(rates, reverse=True)


def _enumerate(
    descriptor: int, request: int, layout: struct.Struct, rest: tuple[int | bytes, ...], ioctl: Ioctl
) -> Iterator[tuple[Any, ...]]:
    """The rows of a list, which a driver ends with an error."""
    for index in range(_MOST):
        buffer = bytearray(layout.pack(index, *rest))
        try:
            ioctl(descriptor, request, buffer)
        except OSError:
            return
        yield layout.unpack(buffer)


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode(errors="replace").strip()
