"""How a viewer is served over a WebSocket: pictures and figures go out, wishes come in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Literal, TypeAlias

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.live.hub import Hub, Packet, Viewer
from tdfusion_edge.runtime.live.post import LEAVE_S, PATIENCE_S, Post
from tdfusion_edge.runtime.live.views import View
from tdfusion_edge.runtime.pipeline.controls import Controls

PERIOD_S = 0.5
"""From one status to the next."""
SILENCE_S = 120.0
"""A viewer that says nothing for so long is let go: a page that nobody sees may speak once a minute only."""

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
    distance_m: rig.Metres | None = None


class Ping(msgspec.Struct, tag_field="type", tag="ping", forbid_unknown_fields=True):
    """How late is it there? Answered at once, so that the page can tell how old a picture is."""

    at: float


Wish: TypeAlias = Look | Taken | Change | Ping
_read = msgspec.json.Decoder(Look | Taken | Change | Ping).decode


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
    controls.ask(stretch=wish.stretch, score_threshold=wish.score_threshold, distance_m=wish.distance_m)


def _refusal(why: str) -> bytes:
    return msgspec.json.encode({"type": "refused", "why": why[:300]})


def _now_ms() -> float:
    return time.time_ns() / 1e6
