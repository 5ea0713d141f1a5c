"""Pictures as motion JPEG, where a WebSocket cannot be, and for other programs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.live.hub import Hub, Packet, Viewer
from tdfusion_edge.runtime.live.post import PATIENCE_S, Post
from tdfusion_edge.runtime.live.views import View

BOUNDARY = "tdfusion-edge-picture"


class Mjpeg(Response):
    """Pictures as ``multipart/x-mixed-replace``, until the viewer leaves or the run ends.

    Args:
        hub: Gives the pictures.
        view: What is looked at.
    """

    def __init__(self, hub: Hub, view: View) -> None:
        super().__init__(media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        del self.headers["content-length"]
        self._hub, self._view = hub, view

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        post = Post()
        try:
            viewer = self._hub.attach(self._view, post.picture)
        except RequestError as error:
            await JSONResponse({"error": error.what}, 503)(scope, receive, send)
            return
        work = self._send(send, post, viewer), _gone(receive), post.over()
        tasks = [asyncio.create_task(one) for one in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                with suppress(OSError, TimeoutError, asyncio.TimeoutError):
                    task.result()
        finally:
            self._hub.detach(viewer)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, send: Send, post: Post, viewer: Viewer) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        while (item := await post.next()) is not None:
            assert isinstance(item, Packet)
            head = (
                f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(item.jpeg)}\r\n\r\n"
            ).encode()
            body = {"type": "http.response.body", "body": head + item.jpeg + b"\r\n", "more_body": True}
            await asyncio.wait_for(send(body), PATIENCE_S)
            self._hub.taken(viewer)
        await send({"type": "http.response.body", "body": f"--{BOUNDARY}--\r\n".encode()})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def view_of(request: Request) -> View:
    """The view that a query asks for.

    Raises:
        RequestError: it asks for none that there is.
    """
    asked: dict[str, Any] = dict(request.query_params)
    try:
        return msgspec.convert(asked, View, strict=False)
    except msgspec.ValidationError as error:
        raise RequestError("view", got=str(error)) from error
