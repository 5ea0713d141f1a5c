"""What an address of a network camera says: all before ``#`` is the camera's, what is behind it is ours.

A query belongs to the camera: many choose channel and stream by it, under any name. No part of an address
behind ``#`` is ever sent to a server (RFC 3986, section 3.5), so it cannot be taken for one of theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.redact import redact, redact_address
from tdfusion_edge.runtime.sources.network.stamps import Times
from tdfusion_edge.runtime.sources.uri import SourceUri

Transport: TypeAlias = Literal["tcp", "udp"]

TIMEOUT_S = 5.0
"""So long may opening take, and so long may a stream be silent. A shutter of a thermal camera (up to 3 s) is
no failure."""
_SHORTEST_S, _LONGEST_S = 0.5, 6.0
"""The longest is below that of the supervision, which leaves behind what hangs."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a stream is opened."""

    transport: Transport = "tcp"
    """How RTSP carries pictures. ``tcp`` loses none; ``udp`` does not wait for those that were lost."""
    times: Times = "auto"
    """Which clocks capture times may rest on."""
    timeout_s: float = TIMEOUT_S
    """Seconds for opening, and of silence."""


def options(uri: SourceUri) -> Options:
    """What is behind ``#`` in an address.

    Raises:
        RequestError: an unknown option, or a value that it does not take.
    """
    rtsp = uri.scheme in ("rtsp", "rtsps")
    uri.refuse_unknown(("times", "timeout_s", *(("transport",) if rtsp else ())))
    transport = _one_of(uri, "transport", get_args(Transport), "tcp")
    times = _one_of(uri, "times", get_args(Times), "auto")
    text = uri.query.get("timeout_s", f"{TIMEOUT_S}")
    try:
        timeout_s = float(text)
    except ValueError:
        timeout_s = float("nan")
    if not _SHORTEST_S <= timeout_s <= _LONGEST_S:
        raise _wrong(uri, "timeout_s", f"{_SHORTEST_S:g} to {_LONGEST_S:g}", text)
    return Options(cast(Transport, transport), cast(Times, times), timeout_s)


def read_password(path: Path) -> str:
    """The password in a file: its first line.

    Raises:
        InputMissing: there is no such file, or it may not be read.
        RequestError: it holds no password.
    """
    try:
        with path.expanduser().open(encoding="utf-8") as file:
            password = file.readline(1024).rstrip("\r\n")
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputMissing(f"password_file {path} cannot be read: {why}") from None
    except UnicodeDecodeError:
        password = ""
    if not password or "\0" in password:
        raise RequestError(
            f"password_file {path}", expected="a password in its first line, in UTF-8", got="none"
        )
    return password


def _one_of(uri: SourceUri, key: str, known: tuple[str, ...], default: str) -> str:
    value = uri.query.get(key, default)
    if value not in known:
        raise _wrong(uri, key, " or ".join(known), value)
    return value


def _wrong(uri: SourceUri, key: str, expected: str, got: str) -> RequestError:
    return RequestError(f"{redact_address(str(uri))}: bad {key}", expected=expected, got=f"'{redact(got)}'")
