"""Opens cameras, videos, folders and simulations by their address."""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from tdfusion_edge.errors import InputMissing, RequestError, TdfusionError
from tdfusion_edge.frames import Frame
from tdfusion_edge.redact import redact_address
from tdfusion_edge.runtime.rig import Camera, Role
from tdfusion_edge.runtime.sources import uri as addresses
from tdfusion_edge.runtime.sources.base import Source, Wrapped
from tdfusion_edge.runtime.sources.crop import Cropped, taken_from
from tdfusion_edge.runtime.sources.network.options import read_password
from tdfusion_edge.runtime.sources.supervision.source import SupervisedSource, supervised
from tdfusion_edge.runtime.sources.uri import SourceUri

if TYPE_CHECKING:
    from tdfusion_edge.video.reader import VideoReader

log = logging.getLogger(__name__)

OPENERS: Mapping[str, str] = {
    "sim": "tdfusion_edge.runtime.sources.simulated:from_uri",
    "v4l2": "tdfusion_edge.runtime.sources.v4l2:from_uri",
    "gst": "tdfusion_edge.runtime.sources.gstreamer.source:from_uri",
    "csi": "tdfusion_edge.runtime.sources.gstreamer.csi:from_uri",
    "pictures": "tdfusion_edge.runtime.sources.folder:from_uri",
    "video": "tdfusion_edge.runtime.sources.video:from_uri",
    "bag": "tdfusion_edge.runtime.sources.bag:from_uri",
    **dict.fromkeys(addresses.NETWORK, "tdfusion_edge.runtime.sources.network.source:from_uri"),
    "recording": "tdfusion_edge.runtime.sources.recording:from_uri",
}
"""Kind of source to ``module:function``, imported when one is opened.

Each takes ``(name, uri, *, epoch_ns, clock)`` and returns a :class:`Source`; ``uri`` is a
:class:`SourceUri`, for ``sim`` its text. Other kinds are opened by :mod:`.plugins`.
"""
_PLUGIN = "tdfusion_edge.runtime.sources.plugins:open_plugin"

_UNSUPERVISED = ("sim", "pictures", "video", "bag", "recording")
"""Kinds of source that do not fail and come back."""


def open_source(
    name: str,
    camera: Camera,
    role: Role,
    *,
    epoch_ns: int,
    clock: Callable[[], int] = time.monotonic_ns,
    first: TdfusionError | None = None,
) -> Source:
    """The source that a camera of the rig stands for; a live one is opened anew when it fails.

    Args:
        name: Its name in the rig, or the address itself; credentials in it are hidden.
        camera: Address, size and rate to ask for, and the offset that is added to capture times.
        role: A visible camera must give 8 bits.
        epoch_ns: Monotonic nanoseconds at which files and simulations begin.
        clock: Monotonic nanoseconds, the clock of all cameras of the rig.
        first: Why a live camera could not be opened just now: it is asked for by reading, and the first read
            raises this. None opens it here.

    Raises:
        RequestError: an address that cannot be read or a kind that is not supported yet, an option
            or a format that the source does not have.
        InputMissing: there is no such camera, file or folder.
        SourceError: it is there and cannot be opened.
    """
    size = None if camera.size is None else f"{camera.size[0]}x{camera.size[1]}"
    rate = None if camera.fps is None else f"{camera.fps:.12g}"
    uri, crop = taken_from(addresses.parse(camera.uri), camera.crop)
    uri = uri.asking(size=size, fps=rate)
    kind = _kind(uri)
    module, function = OPENERS.get(kind, _PLUGIN).split(":")
    opener = getattr(importlib.import_module(module), function)
    if camera.password_file is not None:
        uri = uri.with_password(read_password(Path(camera.password_file)))
    # A simulation has options of its own, which it reads from the text.
    address = str(uri) if uri.scheme == "sim" else uri
    opened = cast(
        Callable[[], Source], partial(opener, redact_address(name), address, epoch_ns=epoch_ns, clock=clock)
    )
    if first is not None:
        source: Source = SupervisedSource(redact_address(name), opened, first=first, clock=clock)
    else:
        source = opened() if kind in _UNSUPERVISED else supervised(redact_address(name), opened, clock=clock)
    if crop is not None:
        source = Cropped(source, crop)
    offset_ns = round(camera.offset_ms * 1_000_000)
    return _Checked(source, role, offset_ns) if offset_ns or role == "visible" else source


def open_recording(path: Path, role: Role, offset_ms: float = 0.0) -> Source:
    """A video file by its literal name, its frames moved by ``offset_ms``; errors as :func:`open_source`."""
    from tdfusion_edge.runtime.sources.video import VideoSource

    return _Checked(VideoSource(path.name, path, epoch_ns=0), role, round(offset_ms * 1_000_000))


def tell_of_recordings(
    sources: Mapping[Role, Source], tolerance_ms: float, offsets_ms: Mapping[Role, float]
) -> None:
    """Log what two recordings do not share, and what of them is lost; nothing for other sources.

    Args:
        sources: By role, as :func:`open_source` gives them, nothing of them read yet.
        tolerance_ms: Difference of their beginnings that does not count, milliseconds.
        offsets_ms: Of the rig; where there is one, the user has told how the beginnings lie.
    """
    infrared, visible = (_reader(sources.get(role)) for role in ("infrared", "visible"))
    if infrared is None and visible is None:
        return
    from tdfusion_edge.video.remarks import remarks
    from tdfusion_edge.video.times import share_a_clock

    if infrared is not None and visible is not None and share_a_clock(infrared.path, visible.path):
        return  # their beginnings are known, and kept
    told = any(offsets_ms.values())
    for line in remarks(
        infrared, visible, tolerance_ms=None if told else tolerance_ms,
        remedy="If that is wrong, set offset_ms = {later_ms} for the visible camera in a rig file.",
    ):  # fmt: skip
        log.warning("%s", line)


def duration_s(source: Source) -> float | None:
    """Length of a video in seconds as its file states it; None where it states none, or is no video."""
    reader = _reader(source)
    return None if reader is None else reader.duration_s


def _reader(source: Source | None) -> VideoReader | None:
    """The file behind a source that plays a video."""
    while isinstance(source, Wrapped):
        source = source.source
    return getattr(source, "reader", None)


def _kind(uri: SourceUri) -> str:
    """Which of :data:`OPENERS` an address asks for; files are told apart by what is there."""
    if uri.scheme != "file":
        return uri.scheme
    from tdfusion_edge.images import IMAGE_SUFFIXES
    from tdfusion_edge.video.times import is_recording, other_half

    path = uri.local_path()
    if other_half(path) is not None:
        return "recording"
    if not os.access(path, os.F_OK):
        raise InputMissing(f"{path} does not exist", expected="a video file, a folder of images or an image")
    if uri.is_bag():
        return "bag"
    if path.is_dir():
        return "recording" if is_recording(path) else "pictures"
    return "pictures" if path.suffix.lower() in IMAGE_SUFFIXES else "video"


class _Checked(Wrapped):
    """A source whose frames get the rig's time offset, and are refused where a role forbids them."""

    def __init__(self, source: Source, role: Role, offset_ns: int) -> None:
        super().__init__(source)
        self._role, self._offset_ns = role, offset_ns

    def passed(self, frame: Frame) -> Frame:
        if self._role == "visible" and frame.image.dtype == np.uint16:
            # Not a SourceError: no second try makes a visible camera of it.
            raise RequestError(
                f"{self.name} gives 16-bit frames",
                expected="8 bits of a visible camera",
                got="uint16",
                hint='Swap the two: --camera INFRARED,VISIBLE; or set role = "infrared" in the rig.',
            )
        return replace(frame, time_ns=frame.time_ns + self._offset_ns) if self._offset_ns else frame
