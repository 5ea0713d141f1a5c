"""How pictures reach one viewer: by WebSocket, or as a motion JPEG where that cannot be."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.live.hub import Hub, Packet, Viewer
from tdfusion_edge.runtime.live.views import View
from tdfusion_edge.runtime.pipeline.controls import Controls

PERIOD_S = 0.5
"""From one status to the next."""
PATIENCE_S = 30.0
"""A viewer that takes no picture for so long is let go, and its place is free."""
SILENCE_S = 120.0
"""So is one that says nothing for so long: a page that nobody sees may speak once a minute only."""
LEAVE_S = 0.5
"""At the end a viewer has so long to take its last picture."""
BOUNDARY = "tdfusion-edge-picture"

Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Look(msgspec.Struct, tag_field="type", tag="view", forbid_unknown_fields=True):
    """Look at something else."""

    view: View


class Taken(msgspec.Struct, tag_field="type", tag="taken", forbid_unknown_fields=True):
    """A picture has been shown."""


class Change(msgspec.Struct, tag_field="type", tag="change", forbid_unknown_fields=True):
    """Change the run."""

    stretch: Literal["none", "image", "temporal"] | None = None
    score_threshold: Share | None = None


class Ping(msgspec.Struct, tag_field="type", tag="ping", forbid_unknown_fields=True):
    """How late is it there? Answered at once, so that the page can tell how old a picture is."""

    at: float


Wish: TypeAlias = Look | Taken | Change | Ping
_read = msgspec.json.Decoder(Look | Taken | Change | Ping).decode


class Post:
    """What waits to be sent to one viewer: a picture or two, the newest status, answers; never more.

    Made and read in the server's loop; :meth:`picture` may be called from any thread.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._pictures: deque[Packet] = deque()
        self._texts: dict[str, bytes] = {}
        self._over = asyncio.Event()
        self.unanswered = 0
        """Pictures that were sent, and not yet said to be shown."""

    def picture(self, packet: Packet | None) -> None:
        """A picture, or None at the end."""
        with suppress(RuntimeError):  # the loop is closed: nobody looks any more
            self._loop.call_soon_threadsafe(self._put, packet)

    def text(self, kind: str, text: bytes) -> None:
        """A message in the place of an older one of its kind."""
        self._texts[kind] = text
        self._ready.set()

    def _put(self, packet: Packet | None) -> None:
        if packet is None:
            self._over.set()
        else:
            self._pictures.append(packet)
        self._ready.set()

    async def next(self) -> Packet | bytes | None:
        """What is to be sent next, waiting for it; None at the end."""
        while True:
            if self._over.is_set():
                return None
            if self._texts:
                return self._texts.pop(next(iter(self._texts)))
            if self._pictures:
                return self._pictures.popleft()
            self._ready.clear()
            await self._ready.wait()

    async def over(self) -> None:
        """Wait for the end, and as long as saying so to the viewer may take."""
        await self._over.wait()
        await asyncio.sleep(LEAVE_S)


async def serve_socket(
    socket: WebSocket, hub: Hub, controls: Callable[[], Controls | None], status: Callable[[], bytes]
) -> None:
    """Serve one viewer until it leaves, stalls (:data:`PATIENCE_S`, :data:`SILENCE_S`), or the run ends."""
    await socket.accept()
    post = Post()
    try:
        viewer = hub.attach(View(), post.picture)
    except RequestError as error:
        await socket.close(1013, error.what[:100])
        return
    post.text("status", status())
    tasks = [
        asyncio.create_task(work)
        for work in (
            _send(socket, post),
            _listen(socket, hub, viewer, controls, post),
            _tell(post, status),
            post.over(),
        )
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    except (WebSocketDisconnect, TimeoutError, asyncio.TimeoutError):
        pass
    finally:
        hub.detach(viewer)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(RuntimeError, WebSocketDisconnect, TimeoutError, asyncio.TimeoutError):  # it has gone
            await asyncio.wait_for(socket.close(1001, "over"), LEAVE_S)


async def _send(socket: WebSocket, post: Post) -> None:
    while (item := await post.next()) is not None:
        if isinstance(item, Packet):
            size = len(item.header).to_bytes(4, "big")
            await asyncio.wait_for(socket.send_bytes(size + item.header + item.jpeg), PATIENCE_S)
            post.unanswered += 1
        else:
            await asyncio.wait_for(socket.send_text(item.decode()), PATIENCE_S)


async def _tell(post: Post, status: Callable[[], bytes]) -> None:
    while True:
        await asyncio.sleep(PERIOD_S)
        post.text("status", status())


async def _listen(
    socket: WebSocket, hub: Hub, viewer: Viewer, controls: Callable[[], Controls | None], post: Post
) -> None:
    """Do what the viewer wishes; what is no wish is answered, not obeyed."""
    while True:
        message = await asyncio.wait_for(socket.receive(), SILENCE_S)
        if message["type"] == "websocket.disconnect":
            return
        try:
            wish = _read(message.get("text") or message.get("bytes") or b"")
            if isinstance(wish, Taken):
                if post.unanswered:  # of what was not sent nothing can be shown: it makes no room
                    post.unanswered -= 1
                    hub.taken(viewer)
            elif isinstance(wish, Look):
                hub.turn(viewer, wish.view)
            elif isinstance(wish, Ping):
                post.text("pong", msgspec.json.encode({"type": "pong", "at": wish.at, "utc_ms": _now_ms()}))
            else:
                _change(controls(), wish)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            post.text("refused", _refusal(str(error)))
        except RequestError as error:
            post.text("refused", _refusal(str(error).splitlines()[0]))


def _change(controls: Controls | None, wish: Change) -> None:
    if controls is None:
        raise RequestError("the run has not begun")
    controls.ask(stretch=wish.stretch, score_threshold=wish.score_threshold)


def _refusal(why: str) -> bytes:
    return msgspec.json.encode({"type": "refused", "why": why[:300]})


def _now_ms() -> float:
    return time.time_ns() / 1e6


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
