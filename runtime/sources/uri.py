"""Addresses of cameras and recordings: ``v4l2:///dev/video0?format=Y16``, ``sim://ir``, a path.

::

    v4l2:///dev/video0?format=Y16&size=640x512&fps=30   a camera; /dev/video0 alone means the same
    sim://ir?...                                        a simulated camera
    csi://0?size=1920x1080&flip=180                     a CSI camera of a Jetson
    gst:v4l2src device=/dev/video0 ! videoconvert       a GStreamer pipeline, taken literally
    file:///data/ir?fps=10                              a video or a folder, "%20" for a blank
    walk.mcap?topic=/thermal/image_raw                  a topic of a bag
    genicam://SERIAL?...                                whatever an installed package opens
    recordings/ir                                       the same as a plain path, taken literally
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode

from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.redact import redact
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.sources import plugins

SCHEMES = ("v4l2", "csi", "gst", "sim", "file")
"""What this version opens; :mod:`.plugins` adds what other packages open."""

BAG_SUFFIXES = (".mcap", ".db3", ".bag")
"""Files of ROS and MCAP, which hold many streams."""

UNSUPPORTED: Mapping[str, str] = {
    "rtsp": "Record it to a file first: ffmpeg -rtsp_transport tcp -i ADDRESS -c copy clip.mkv",
    "rtsps": "Record it to a file first: ffmpeg -i ADDRESS -c copy clip.mkv",
    "http": "Record it to a file first: ffmpeg -i ADDRESS -c copy clip.mkv",
    "https": "Record it to a file first: ffmpeg -i ADDRESS -c copy clip.mkv",
}
"""Kinds of address that are known but not opened yet, each with the way around."""


@dataclass(frozen=True, slots=True)
class SourceUri:
    """One address, taken apart. ``str()`` puts it together again."""

    scheme: str
    """One of :data:`SCHEMES`, or one that a plug-in opens."""
    path: str
    """Device, file or folder, percent-decoded; the name of the view for ``sim``, a pipeline for ``gst``."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Options, percent-decoded."""

    def __str__(self) -> str:
        query = f"?{urlencode(self.query)}" if self.query else ""
        if self.scheme == "gst":
            return f"gst:{self.path}"
        return f"{self.scheme}://{quote(self.path)}{query}"

    def asking(self, **options: str | None) -> SourceUri:
        """This address with further options; one that is None is left out.

        Raises:
            RequestError: an option is in the address already, with another value.
        """
        added = {key: value for key, value in options.items() if value is not None}
        for key, value in added.items():
            if self.query.get(key, value) != value:
                raise RequestError(
                    f"{redact(str(self))}: {key} is given twice",
                    expected=f"'{self.query[key]}' as in the address",
                    got=f"'{value}' in the rig",
                    hint="Remove one of the two.",
                )
        return replace(self, query={**self.query, **added})

    def refuse_unknown(self, known: Iterable[str]) -> None:
        """Check the options.

        Raises:
            RequestError: an option is not among ``known``; the nearest one is named.
        """
        known = sorted(known)
        for key in self.query:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                options = f"Options: {', '.join(known)}." if known else "It takes no options."
                raise RequestError(
                    f"{redact(str(self))}: unknown option '{key}'",
                    hint=f"Did you mean '{near[0]}'?" if near else options,
                )

    def fps(self) -> float | None:
        """The option ``fps`` in frames per second, None where it is not given.

        Raises:
            RequestError: it is no number, or one that no camera has.
        """
        text = self.query.get("fps")
        if text is None:
            return None
        try:
            rate = float(text)
        except ValueError:
            rate = math.nan
        if not rig.SLOWEST_FPS <= rate <= rig.FASTEST_FPS:
            limits = f"{rig.SLOWEST_FPS:.5f} to {rig.FASTEST_FPS:g}"
            raise self._wrong("fps", f"a number such as 30 or 8.6, {limits}", text)
        return rate

    def size(self) -> tuple[int, int] | None:
        """The option ``size`` as width and height in pixels, None where it is not given.

        Raises:
            RequestError: it is not of the form ``640x480``.
        """
        text = self.query.get("size")
        if text is None:
            return None
        width, cross, height = text.partition("x")
        if not (cross and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            raise self._wrong("size", "width and height such as 640x480", text)
        return int(width), int(height)

    def number(self, key: str, what: str) -> float | None:
        """An option that is a number above 0, None where it is not given.

        Raises:
            RequestError: it is none; ``what`` says what was expected.
        """
        text = self.query.get(key)
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise self._wrong(key, what, text)
        return value

    def is_bag(self) -> bool:
        """Whether the file is a recording of ROS or MCAP, or the folder one of ROS 2."""
        path = self.local_path()
        return path.suffix.lower() in BAG_SUFFIXES or (path / "metadata.yaml").is_file()

    def local_path(self) -> Path:
        """The file or folder, with ``~`` and ``~user`` put in.

        Raises:
            InputMissing: there is no such user.
        """
        try:
            return Path(self.path).expanduser()
        except RuntimeError:
            raise InputMissing(
                f"{self.path} does not exist", expected="a home folder behind '~'", got="none"
            ) from None

    def _wrong(self, key: str, expected: str, got: str) -> RequestError:
        return RequestError(f"{redact(str(self))}: bad {key}", expected=expected, got=f"'{got}'")


def parse(text: str) -> SourceUri:
    """Take an address apart.

    A plain path is taken literally, blanks and ``%`` included; one below ``/dev/`` is a camera.

    Raises:
        RequestError: an empty or unreadable address, an unknown scheme (the nearest one is named),
            or a kind that this version does not open yet (the way around is named).
    """
    if text[:4].lower() == "gst:":  # whose pipeline may hold other addresses
        return _pipeline(text)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _plain(text)
    scheme = scheme.lower()
    if scheme in UNSUPPORTED:
        raise _not_yet(scheme, text)
    if scheme not in SCHEMES and scheme not in plugins.installed():
        raise _unknown(scheme, text)
    if scheme == "file" and rest.startswith("localhost/"):
        rest = rest.removeprefix("localhost")
    return _with_query(scheme, rest, text)


def _plain(text: str) -> SourceUri:
    if text.startswith("/dev/"):
        return _with_query("v4l2", text, text)
    path, mark, query = text.partition("?")
    if mark and path.lower().endswith(BAG_SUFFIXES):
        return replace(_with_query("file", f"-?{query}", text), path=path)
    if not text:
        raise RequestError("an empty address", expected="a camera, a video file or a folder of images")
    return SourceUri("file", text)


def _pipeline(text: str) -> SourceUri:
    if text[4:].startswith("//"):
        raise RequestError(
            f"{redact(text)}: a pipeline's address has no slashes",
            expected="gst: and elements, such as gst:videotestsrc is-live=true",
        )
    if not text[4:].strip():
        raise RequestError("gst: names no pipeline", expected="such as gst:videotestsrc is-live=true")
    return SourceUri("gst", text[4:].strip())


def _unknown(scheme: str, text: str) -> RequestError:
    near = difflib.get_close_matches(scheme, (*SCHEMES, *UNSUPPORTED, *plugins.installed()), n=1)
    return RequestError(
        f"{redact(text)}: unknown kind of source '{redact(scheme)}://'",
        expected=_known(),
        hint=f"Did you mean '{near[0]}:{'' if near[0] == 'gst' else '//'}'?" if near else None,
    )


def _known() -> str:
    """What an address may begin with, for people."""
    known = [*SCHEMES, *sorted(plugins.installed())]
    return f"{', '.join('gst:' if one == 'gst' else f'{one}://' for one in known)} or a path"


def _with_query(scheme: str, rest: str, text: str) -> SourceUri:
    path, mark, query = rest.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(mark))
    except ValueError:
        raise RequestError(
            f"{redact(text)}: options cannot be read",
            expected="?key=value&key=value",
            got=f"'?{redact(query)}'",
        ) from None
    if len(dict(pairs)) < len(pairs):
        raise RequestError(f"{redact(text)}: an option is given twice")
    if not path:
        examples = {"file": "file:///data/ir.mkv", "v4l2": "v4l2:///dev/video0", "sim": "sim://ir"}
        example = examples.get(scheme, f"{scheme}://0")
        raise RequestError(f"{redact(text)}: names no source", expected=f"an address such as {example}")
    if scheme == "v4l2" and not path.startswith("/"):
        raise RequestError(
            f"{redact(text)}: names no device",
            expected="v4l2:///dev/video0, with three slashes",
            hint="List what is there: tdfusion-edge cameras",
        )
    if "\0" in unquote(path):
        raise RequestError(f"{redact(text)}: names no file", expected="a path without NUL", got="%00")
    return SourceUri(scheme, unquote(path), dict(pairs))


def _not_yet(scheme: str, text: str) -> RequestError:
    return RequestError(
        f"{redact(text)}: a {scheme} source is not supported yet in this version",
        expected=_known(),
        hint=UNSUPPORTED[scheme],
    )
