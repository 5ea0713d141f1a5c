"""``HOST:PORT`` of a server."""

from __future__ import annotations

import argparse
import ipaddress
from typing import NamedTuple


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    """An address or a name; IPv6 without brackets."""
    port: int
    """0: any that is free."""

    def __str__(self) -> str:
        """As it is written: ``127.0.0.1:8080``, ``[::1]:8080``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it. Of names only ``localhost`` is known to be so."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


DEFAULT = Address("127.0.0.1", 8080)


def parse_address(text: str) -> Address:
    """``HOST:PORT``, ``HOST``, ``:PORT`` or ``PORT``; an argparse type.

    >>> parse_address("9000"), parse_address("[::1]:80").host, parse_address("0.0.0.0").port
    (Address(host='127.0.0.1', port=9000), '::1', 8080)

    Raises:
        ArgumentTypeError: it is none.
    """
    host, port = text, ""
    if text.isdecimal():
        host, port = "", text
    elif text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    host = host or DEFAULT.host
    good = all(sign.isalnum() or sign in ".-:%_" for sign in host) and len(host) < 254
    if not good or (port and not (port.isascii() and port.isdecimal() and int(port) < 65536)):
        raise argparse.ArgumentTypeError(
            f"expected an address and a port such as 127.0.0.1:8080, got '{text}'"
        )
    return Address(host, int(port) if port else DEFAULT.port)
