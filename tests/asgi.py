"""Requests to an ASGI application without a server: what a test sends, and all that comes back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    """What an application sent."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    messages: list[dict[str, Any]] = field(default_factory=list)


def ask(
    app: Any,
    path: str = "/",
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    query: bytes = b"",
    client: str = "127.0.0.1",
) -> Answer:
    """One request over HTTP, with ``Host: 127.0.0.1`` unless ``headers`` say another, from ``client``."""
    answer, parts = Answer(), [body[:50], body[50:]]

    async def receive() -> dict[str, Any]:
        if parts:
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        answer.messages.append(message)
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    scope = _scope("http", path, headers, query) | {"method": method, "client": (client, 1)}
    asyncio.run(asyncio.wait_for(app(scope, receive, send), 10))
    return answer


def talk(app: Any, texts: list[str | bytes], *, headers: dict[str, str] | None = None) -> Answer:
    """A WebSocket at ``/live``: sends all of ``texts``, then hears what comes for a moment, and leaves."""
    answer = Answer()

    async def run() -> None:
        given: list[dict[str, Any]] = [{"type": "websocket.connect"}]
        for text in texts:
            kind = "text" if isinstance(text, str) else "bytes"
            given.append({"type": "websocket.receive", kind: text})

        async def receive() -> dict[str, Any]:
            if given:
                return given.pop(0)
            for _ in range(20):  # the others in the loop get their turn
                await asyncio.sleep(0)
            return {"type": "websocket.disconnect", "code": 1000}

        async def send(message: dict[str, Any]) -> None:
            answer.messages.append(message)

        await asyncio.wait_for(app(_scope("websocket", "/live", headers, b""), receive, send), 10)

    asyncio.run(run())
    return answer


def _scope(kind: str, path: str, headers: dict[str, str] | None, query: bytes) -> dict[str, Any]:
    given = {"host": "127.0.0.1"} | (headers or {})
    return {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http" if kind == "http" else "ws",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogateescape"),
        "query_string": query,
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in given.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8080),
        "subprotocols": [],
    }
