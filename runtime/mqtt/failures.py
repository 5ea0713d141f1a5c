"""Why there is no connection to a broker, in words that name the remedy."""

from __future__ import annotations

import socket
import ssl

from tdfusion_edge.escape import one_line
from tdfusion_edge.redact import redact

REFUSED = {
    "bad user name or password": "it refuses user or password",
    "not authorized": "it refuses user or password",
    "client identifier not valid": "it refuses the client_id",
    "unsupported protocol version": "it does not speak MQTT 3.1.1",
    "server unavailable": "it is not available",
    "server busy": "it is not available",
    "banned": "it has banned this client",
}


def of_answer(reason: str) -> str:
    """What a broker's answer to a connection means."""
    return REFUSED.get(reason.lower(), f"it answers '{one_line(redact(reason))}'")


def of_error(error: BaseException | None) -> str:
    """Why the broker was not reached."""
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, socket.gaierror):
        return "there is no host of that name"
    if isinstance(error, ssl.SSLCertVerificationError):
        why = one_line(redact(error.verify_message))
        return f"its certificate is not trusted: {why}; name the authority's with ca_file in [mqtt]"
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS: write mqtt://, or the port for TLS"
    if isinstance(error, TimeoutError):
        return "no answer"
    return one_line(redact(str(error))) if error is not None and str(error) else "no connection"
