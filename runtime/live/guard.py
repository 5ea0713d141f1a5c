"""What stands before every request: who is asked, by which page, with which right; and the headers."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response

from tdfusion_edge.runtime.live.token import Doorkeeper

Message: TypeAlias = Any
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Any, Receive, Send], Awaitable[None]]

OPEN = frozenset({"/login", "/pattern", "/healthz", "/readyz"})
"""Paths that need no token: they show nothing of what the cameras see. So do the files in ``/static/``."""
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with none a form would be sent without its Origin
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


class Guard:
    """Lets through to ``app`` what may pass.

    - ``Host`` must be an address or a known name. A page of somebody else's whose name leads here (DNS
      rebinding) sends its own.
    - ``Origin``, where there is one, must be this page for a WebSocket and for whatever changes something,
      and so must ``Sec-Fetch-Site`` for all but a link that is followed.
    - A token, where there is one, must come as cookie or ``Authorization: Bearer``.

    Args:
        app: What is guarded.
        door: Knows the token.
        names: Host names that lead here, without port; addresses always do.
        login: The page that asks for the token.
    """

    def __init__(
        self, app: App, door: Doorkeeper, names: frozenset[str], login: Callable[[int], Response]
    ) -> None:
        self._app, self._door, self._names, self._login = app, door, names, login

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        refusal = self._refusal(request)

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in given),
                ]
            await send(message)

        if refusal is None:
            await self._app(scope, receive, headed)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: 403
        else:
            await refusal(scope, receive, headed)

    def _refusal(self, request: HTTPConnection) -> Response | None:
        header = request.headers.get
        host, websocket = header("host", ""), request.scope["type"] == "websocket"
        if not is_known(host, self._names):
            return _refused(421, "this Host is none of this page's names")
        origin, site = header("origin"), header("sec-fetch-site", "none")
        reads = not websocket and request.scope["method"] in ("GET", "HEAD")
        foreign = origin is not None and not is_same(origin, host)
        follows = reads and header("sec-fetch-mode") == "navigate" and header("sec-fetch-dest") == "document"
        if (foreign and not reads) or (site not in ("none", "same-origin") and not follows):
            return _refused(403, "another page's request")
        path = request.scope["path"]
        if path in OPEN or path.startswith("/static/"):
            return None
        if self._door.admits(header("authorization", ""), request.cookies):
            return None
        return self._login(401) if path == "/" else _refused(401, "a token is needed")


def may_change(request: HTTPConnection, door: Doorkeeper) -> str | None:
    """Why a request that got past the guard may yet change nothing on this machine; None where it may.

    It must come from the page itself, as its ``Origin`` says. Without a token only who sits at this machine,
    or has a tunnel to it, may do so: the request must come from a loopback address, to one. A proxy makes all
    the world come from there, and gives itself away by the name that it is asked under.
    """
    header = request.headers.get
    origin, host = header("origin"), header("host", "")
    if origin is None or not is_same(origin, host):
        return "only the page itself may change this"
    if door.closed:
        return None
    peer = "" if request.client is None else request.client.host
    if not (is_loopback(urlsplit(f"//{host}").hostname or "") and is_loopback(peer)):
        return "without a token this may be changed from the machine itself alone: --serve-token FILE"
    if header("forwarded") or header("x-forwarded-for"):
        return "behind a proxy this may be changed with a token alone: --serve-token FILE"
    return None


def is_loopback(name: str) -> bool:
    """Whether only this machine is meant. Of names only ``localhost`` is known to be so."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _refused(code: int, why: str) -> Response:
    return JSONResponse({"error": why}, code)


def is_known(host: str, names: frozenset[str]) -> bool:
    """Whether ``Host`` is an address, or one of these names.

    >>> [is_known(host, frozenset({"rig.local"})) for host in ("127.0.0.1:8080", "rig.local", "evil.example")]
    [True, True, False]
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if "@" in host or "/" in host or "\\" in host:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True


def is_same(origin: str, host: str) -> bool:
    """Whether a page of ``Origin`` came from ``Host``, port included."""
    try:
        parts = urlsplit(origin)
        standard = {"http": 80, "https": 443}[parts.scheme]
        asked = urlsplit(f"//{host}")
        return (parts.hostname, parts.port or standard) == (asked.hostname, asked.port or standard)
    except (ValueError, KeyError):
        return False
