"""Requests by which the page takes a still, tries an alignment, goes back and saves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tdfusion_edge.errors import TdfusionError
from tdfusion_edge.runtime.live.alignment import Alignment, Points, why_not
from tdfusion_edge.runtime.live.guard import may_change
from tdfusion_edge.runtime.live.token import Doorkeeper
from tdfusion_edge.runtime.pipeline.controls import Controls

MOST_BYTES = 16_384
"""Of a request: the most points that there may be are shorter."""
JSON = "application/json"
"""A form of another page cannot have this type without asking first."""

Answer: TypeAlias = Callable[[Alignment, Controls, Request], Awaitable[Response]]
_read = msgspec.json.Decoder(Points).decode


def align_routes(
    door: Doorkeeper, alignment: Callable[[], Alignment | None], controls: Callable[[], Controls | None]
) -> list[BaseRoute]:
    """The paths below ``/align/``. Work is done in a thread: the pictures of all viewers go on meanwhile.

    Args:
        door: Knows whether there is a token.
        alignment: Of the run; None where it cannot be changed.
        controls: Of the run; None before it begins.
    """

    def endpoint(answer: Answer, *, changes: bool) -> Callable[[Request], Awaitable[Response]]:
        async def answered(request: Request) -> Response:
            why = may_change(request, door) if changes else None
            if why is not None:
                return JSONResponse({"error": why}, 403)
            aligned, carried = alignment(), controls()
            if aligned is None or carried is None:
                return JSONResponse({"error": "the run has not begun, or is none of cameras"}, 409)
            try:
                return await answer(aligned, carried, request)
            except TdfusionError as error:
                return JSONResponse(why_not(error), 422)

        return answered

    return [
        Route("/align/still", endpoint(_still, changes=False), methods=["GET"]),
        Route("/align/back", endpoint(_back, changes=True), methods=["POST"]),
        Route("/align/try", endpoint(_posted(Alignment.tried), changes=True), methods=["POST"]),
        Route("/align/save", endpoint(_posted(_saved), changes=True), methods=["POST"]),
    ]


async def _still(aligned: Alignment, controls: Controls, request: Request) -> Response:
    if request.method == "HEAD":
        return Response(media_type="application/octet-stream")
    raw = await asyncio.to_thread(aligned.still, controls)
    return Response(raw, media_type="application/octet-stream")


async def _back(aligned: Alignment, controls: Controls, request: Request) -> Response:
    del request
    await asyncio.to_thread(aligned.undone, controls)
    return JSONResponse({})


def _posted(work: Callable[[Alignment, Points, Controls], dict[str, Any]]) -> Answer:
    async def answer(aligned: Alignment, controls: Controls, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
            return JSONResponse({"error": f"expected {JSON}"}, 415)
        raw = b""
        async for part in request.stream():
            raw += part
            if len(raw) > MOST_BYTES:
                return JSONResponse({"error": "too long for points"}, 413)
        try:
            wish = _read(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return JSONResponse({"error": str(error)[:300]}, 400)
        made = await asyncio.to_thread(work, aligned, wish, controls)
        return JSONResponse(made, 422 if "error" in made else 200)

    return answer


def _saved(aligned: Alignment, wish: Points, controls: Controls) -> dict[str, Any]:
    """Save; where that fails, what was picked is not lost: the command that has it comes with the refusal."""
    try:
        return aligned.saved(wish, controls)
    except TdfusionError as error:
        return {**why_not(error), "command": aligned.command(wish)}
