"""Addresses of cameras and recordings: ``v4l2:///dev/video0?format=Y16``, ``sim://ir``, a path.

::

    v4l2:///dev/video0?format=Y16&size=640x512&fps=30   a camera; /dev/video0 alone means the same
    sim://ir?...                                        a simulated camera
    csi://0?size=1920x1080&flip=180                     a CSI camera of a Jetson
    gst:v4l2src device=/dev/video0 ! videoconvert       a GStreamer pipeline, taken literally
    rtsp://user:password@10.0.0.5/live?channel=1#transport=udp
                                                        a camera on the network; "#" begins our options
    file:///data/ir?fps=10                              a video or a folder, "%20" for a blank
    walk.mcap?topic=/thermal/image_raw                  a topic of a bag
    genicam://SERIAL?...                                whatever an installed package opens
    recordings/ir                                       the same as a plain path, taken literally
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode

from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.redact import redact, redact_address
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.sources import plugins

NETWORK = ("rtsp", "rtsps", "http", "https")
"""Streams from the network. Their query is the camera's; our options stand behind ``#``."""
SCHEMES = ("v4l2", "csi", "gst", "sim", "file", *NETWORK)
"""What this version opens; :mod:`.plugins` adds what other packages open."""
RECORDED = ("file",)
"""What is not live: it is there when a run begins, or never."""
BAG_SUFFIXES = (".mcap", ".db3", ".bag")
"""Files of ROS and MCAP, which hold many streams."""


@dataclass(frozen=True, slots=True)
class SourceUri:
    """One address, taken apart. ``str()`` puts it together again."""

    scheme: str
    """One of :data:`SCHEMES`, or one that a plug-in opens."""
    path: str
    """Device, file or folder, percent-decoded; the name of the view for ``sim``, a pipeline for ``gst``; of
    :data:`NETWORK` all between ``://`` and ``#``, as it was given: user, password, host, path and query."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Options, percent-decoded."""

    def __str__(self) -> str:
        if self.scheme in NETWORK:
            return self.remote() + (f"#{urlencode(self.query)}" if self.query else "")
        query = f"?{urlencode(self.query)}" if self.query else ""
        if self.scheme == "gst":
            return f"gst:{self.path}"
        # User and password stay what they look like, for redact() to see them.
        return f"{self.scheme}://{quote(self.path, safe='/:@')}{query}"

    def asking(self, **options: str | None) -> SourceUri:
        """This address with further options; one that is None is left out.

        Raises:
            RequestError: an option is in the address already, with another value.
        """
        added = {key: value for key, value in options.items() if value is not None}
        if self.scheme in NETWORK:
            # A camera on the network is set up in its own pages. What size it has may be said all the same.
            if "fps" in added:
                raise RequestError(
                    f"{redact_address(str(self))}: a stream from the network has the rate that its camera "
                    "gives it",
                    expected="no fps in the rig",
                    hint="Remove it, and set the rate in the camera.",
                )
            return self
        for key, value in added.items():
            if self.query.get(key, value) != value:
                raise RequestError(
                    f"{redact_address(str(self))}: {key} is given twice",
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
                    f"{redact_address(str(self))}: unknown option '{key}'",
                    hint=f"Did you mean '{near[0]}'?" if near else options,
                )

    def refuse_any(self, because: str) -> None:
        """Check that there is no option, for a recording that brings all with it.

        Args:
            because: What it brings, for the message.

        Raises:
            RequestError: there is one, in the address or from the rig.
        """
        if self.query:
            raise RequestError(
                f"{self.path}: {because}",
                expected="no options",
                got=", ".join(sorted(self.query)),
                hint="Remove them from the address or from the rig.",
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

    def liveness(self) -> Literal["live", "recorded"] | None:
        """Who sets the pace; None where that shows only when it is open: of pipelines and plug-ins."""
        if self.scheme == "gst" or self.scheme not in SCHEMES:
            return None
        return "recorded" if self.scheme in RECORDED else "live"

    def is_bag(self) -> bool:
        """Whether the file is a recording of ROS or MCAP, or the folder one of ROS 2."""
        path = self.local_path()
        # access() answers for names that are too long, too.
        return path.suffix.lower() in BAG_SUFFIXES or os.access(path / "metadata.yaml", os.F_OK)

    def remote(self) -> str:
        """The address of a stream from the network as its server is to get it, credentials included."""
        return f"{self.scheme}://{self.path}"

    def with_password(self, password: str) -> SourceUri:
        """This address of a stream from the network with the password of its user.

        Raises:
            RequestError: it is no such address, names no user, or has a password.
        """
        user, at, rest = self.path.partition("@")
        if self.scheme not in NETWORK or not at or not user or ":" in user:
            raise RequestError(
                f"{redact_address(str(self))}: a password from a file is for an address with a user and "
                "no password",
                expected="an address such as rtsp://admin@10.0.0.5/live",
            )
        return replace(self, path=f"{user}:{quote(password, safe='')}@{rest}")

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
        return RequestError(f"{redact_address(str(self))}: bad {key}", expected=expected, got=f"'{got}'")


def parse(text: str) -> SourceUri:
    """Take an address apart.

    A plain path is taken literally, blanks and ``%`` included; one below ``/dev/`` is a camera.

    Raises:
        RequestError: an empty or unreadable address, or an unknown scheme (the nearest one is named).
    """
    if text[:4].lower() == "gst:":  # whose pipeline may hold other addresses
        return _pipeline(text)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _plain(text)
    scheme = scheme.lower()
    if scheme not in SCHEMES and scheme not in plugins.installed():
        raise _unknown(scheme, text)
    if scheme in NETWORK:
        return _remote(scheme, rest, text)
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
            f"{redact_address(text)}: a pipeline's address has no slashes",
            expected="gst: and elements, such as gst:videotestsrc is-live=true",
        )
    if not text[4:].strip():
        raise RequestError("gst: names no pipeline", expected="such as gst:videotestsrc is-live=true")
    return SourceUri("gst", text[4:].strip())


def _unknown(scheme: str, text: str) -> RequestError:
    near = difflib.get_close_matches(scheme, (*SCHEMES, *plugins.installed()), n=1)
    return RequestError(
        f"{redact_address(text)}: unknown kind of source '{redact(scheme)}://'",
        expected=_known(),
        hint=f"Did you mean '{near[0]}:{'' if near[0] == 'gst' else '//'}'?" if near else None,
    )


def _known() -> str:
    """What an address may begin with, for people."""
    known = dict.fromkeys((*SCHEMES, *sorted(plugins.installed())))
    return f"{', '.join('gst:' if one == 'gst' else f'{one}://' for one in known)} or a path"


def _remote(scheme: str, rest: str, text: str) -> SourceUri:
    path, mark, fragment = rest.partition("#")
    options = _options(fragment, marked=bool(mark), text=text, begin="#")
    if not path or any(sign <= " " or sign == "\x7f" for sign in path):
        raise RequestError(
            f"{redact_address(text)}: names no stream",
            expected=f"an address such as {scheme}://admin:password@10.0.0.5/live, without blanks",
        )
    host = _HOST.match(path)
    # "admin:pa/ss@cam" ends its host at the slash, so that "pa" stands where a port would.
    if host is None or not (host["name"] or host["six"]):
        raise RequestError(
            f"{redact_address(text)}: its host cannot be read",
            expected=f"an address such as {scheme}://admin:password@10.0.0.5:554/live",
            hint="In user and password '/' is written %2F, '?' %3F, '#' %23, ':' %3A, '@' %40 and '%' %25.",
        )
    return SourceUri(scheme, path, options)


_HOST = re.compile(
    r"(?:[^/?#]*@)?(?:\[(?P<six>[0-9a-fA-F:.%\w]+)\]|(?P<name>[^/?#:@\[\]]*))(?::\d{1,5})?(?=[/?]|\Z)"
)
"""User, host and port, as RFC 3986 has them."""


def _options(query: str, *, marked: bool, text: str, begin: str = "?") -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=marked)
    except ValueError:
        raise RequestError(
            f"{redact_address(text)}: options cannot be read",
            expected=f"{begin}key=value&key=value",
            got=f"'{begin}{redact(query) if begin == '?' else '...'}'",
        ) from None
    if len(dict(pairs)) < len(pairs):
        raise RequestError(f"{redact_address(text)}: an option is given twice")
    return dict(pairs)


def _with_query(scheme: str, rest: str, text: str) -> SourceUri:
    path, mark, query = rest.partition("?")
    options = _options(query, marked=bool(mark), text=text)
    if not path:
        examples = {"file": "file:///data/ir.mkv", "v4l2": "v4l2:///dev/video0", "sim": "sim://ir"}
        example = examples.get(scheme, f"{scheme}://0")
        raise RequestError(
            f"{redact_address(text)}: names no source", expected=f"an address such as {example}"
        )
    if scheme == "v4l2" and not path.startswith("/"):
        raise RequestError(
            f"{redact_address(text)}: names no device",
            expected="v4l2:///dev/video0, with three slashes",
            hint="List what is there: tdfusion-edge cameras",
        )
    if "\0" in unquote(path):
        raise RequestError(f"{redact_address(text)}: names no file", expected="a path without NUL", got="%00")
    return SourceUri(scheme, unquote(path), options)
