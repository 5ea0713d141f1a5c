"""What ``mqtt://user:password@host:1883/topic`` says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.redact import redact_address
from tdfusion_edge.runtime.mqtt.tables import Mqtt

PORTS = {"mqtt": 1883, "mqtts": 8883}
OPTION = "?password_file="
TOPIC = "tdfusion-edge"
"""Where an address names none."""
MOST_PASSWORD = 65_535
"""Bytes, by the protocol."""
MOST_TOPIC = 1000
"""Bytes: more than anybody types."""


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


def secret_files(addresses: Iterable[str]) -> list[Path]:
    """Files with passwords that addresses of brokers name, so that no output may replace them."""
    named = (one.partition(OPTION)[2] for one in addresses if is_address(one))
    return [Path(unquote(file)) for file in named if file]


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
    said = redact_address(address)
    scheme, _, rest = address.partition("://")
    rest, _, named_file = rest.partition(OPTION)
    # Up to the last "@": a password may hold "/", "?", "#" and "@" as they are.
    login, _, place = rest.rpartition("@")
    if "?" in place or "#" in place:
        raise _bad(
            said,
            "more behind the topic",
            hint="The only option is password_file with a file behind it; # is %23.",
        )
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _bad(said, "a host or port that is none") from error
    if not host:
        raise _bad(said, "no host")
    name, colon, word = login.partition(":")
    user = unquote(name) or table.user
    file = unquote(named_file) or table.password_file
    password = unquote(word) if colon else None if file is None else _password(Path(file))
    if password is not None and user is None:
        raise _bad(said, "a password without a user", hint="Name a user before the host, or in [mqtt].")
    scheme, topic = scheme.lower(), _topic(parts.path, said)
    plain = redact_address(f"{scheme}://{parts.netloc}/{topic}")
    return Broker(plain, host, port or PORTS[scheme], scheme == "mqtts", topic, user, password)


def _topic(path: str, said: str) -> str:
    topic = unquote(path).strip("/") or TOPIC
    fault = next((sign for sign in "+#\0" if sign in topic), None) or ("$" if topic[0] == "$" else None)
    if fault is not None or len(topic.encode()) > MOST_TOPIC:
        raise _bad(said, f"a topic with {fault!r} in it" if fault else "a topic that is too long")
    return topic


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
    return RequestError(
        f"{said}", expected="mqtt://HOST:1883/TOPIC, and USER with @ before HOST", got=got, hint=hint
    )
