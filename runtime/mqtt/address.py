"""What ``mqtt://user:password@host:1883/topic`` says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.redact import redact
from tdfusion_edge.runtime.mqtt.tables import Mqtt

PORTS = {"mqtt": 1883, "mqtts": 8883}
TOPIC = "tdfusion-edge"
"""Where an address names none."""
MOST_PASSWORD = 65_535
"""Bytes, by the protocol; of a topic as well."""


@dataclass(frozen=True)
class Broker:
    """Where messages go, and as whom."""

    said: str
    """The address without credentials, for messages."""
    host: str
    port: int
    tls: bool
    topic: str
    """What every topic begins with."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def nearby(self) -> bool:
        """It is this machine, so that nobody listens on the way."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


def is_address(text: str) -> bool:
    """Whether an output is an MQTT broker."""
    return "://" in text and text.partition("://")[0].lower() in PORTS


def parse(address: str, table: Mqtt = Mqtt()) -> Broker:  # noqa: B008 (immutable)
    """The broker that an address names.

    ``mqtt://`` or ``mqtts://`` (TLS), then ``user:password@`` or ``user@`` or nothing, host, port and topic.
    A password may stand in a file: ``?password_file=/run/secrets/mqtt``, or in the rig's table.

    Args:
        address: The address.
        table: ``[mqtt]`` of the rig.

    Raises:
        RequestError: it cannot be read so, or names a topic that is none.
        InputMissing: the password's file is missing or empty.
    """
    said = redact(address)
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise _bad(said, redact(str(error))) from error
    if not parts.hostname or parts.fragment:
        raise _bad(said, "a fragment: write # as %23" if parts.hostname else "no host")
    query = _options(parts.query, said)
    user = unquote(parts.username) if parts.username else table.user
    password = None if parts.password is None else unquote(parts.password)
    file = query.get("password_file", table.password_file)
    if password is None and file is not None:
        password = _password(Path(file))
    if password is not None and user is None:
        raise _bad(said, "a password without a user", hint="Write mqtt://USER@host, or user in [mqtt].")
    scheme, topic = parts.scheme.lower(), _topic(parts, said)
    port = port or PORTS[scheme]
    plain = redact(f"{scheme}://{parts.netloc.rpartition('@')[2]}/{topic}")
    return Broker(plain, parts.hostname, port, scheme == "mqtts", topic, user, password)


def _topic(parts: SplitResult, said: str) -> str:
    topic = unquote(parts.path).strip("/") or TOPIC
    fault = next((sign for sign in "+#\0" if sign in topic), None) or ("$" if topic[0] == "$" else None)
    if fault is not None or len(topic.encode()) > MOST_PASSWORD - 100:
        raise _bad(said, f"a topic with {fault!r} in it" if fault else "a topic that is too long")
    return topic


def _options(query: str, said: str) -> dict[str, str]:
    # Not parse_qs, for which "+" is a blank.
    pairs = [part.partition("=")[::2] for part in query.split("&") if part]
    unknown = [key for key, _ in pairs if key != "password_file"]
    if unknown:
        raise _bad(said, f"option '{unknown[0]}'", hint="The only option is password_file=FILE.")
    return {key: unquote(value) for key, value in pairs}


def _password(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            password = file.readline(MOST_PASSWORD + 1).rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise InputMissing(f"the password's file {path} cannot be read: {reason}") from error
    if not password or len(password.encode()) > MOST_PASSWORD:
        raise InputMissing(f"the password's file {path}", expected="a password in its first line")
    return password


def _bad(said: str, got: str, hint: str | None = None) -> RequestError:
    return RequestError(f"{said}", expected="mqtt://user@host:1883/topic", got=got, hint=hint)
