"""The page's requests: which path gives what."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from importlib.resources import files
from urllib.parse import parse_qs

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.live import health, viewing
from tdfusion_edge.runtime.live.aligning import align_routes
from tdfusion_edge.runtime.live.alignment import Alignment
from tdfusion_edge.runtime.live.guard import App, Guard
from tdfusion_edge.runtime.live.hub import Hub
from tdfusion_edge.runtime.live.metrics import exposition
from tdfusion_edge.runtime.live.mjpeg import Mjpeg, view_of
from tdfusion_edge.runtime.live.status import health as health_body
from tdfusion_edge.runtime.live.status import status
from tdfusion_edge.runtime.live.token import LONGEST, Doorkeeper
from tdfusion_edge.runtime.pipeline.controls import Controls
from tdfusion_edge.runtime.pipeline.monitor import Monitor

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
WRONG_S = 0.5
"""A wrong token is answered so much later."""
COOKIE_S = 30 * 24 * 3600


class About:
    """What the page tells of: filled in by the run as it begins.

    Args:
        monitor: Knows how the run stands.
        clock: Seconds that only grow.
    """

    def __init__(self, monitor: Monitor | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.hub = Hub()
        self.monitor = Monitor() if monitor is None else monitor
        self.controls: Controls | None = None
        """None before the run begins."""
        self.alignment: Alignment | None = None
        """None where the cameras of the run are not known."""
        self.title = ""
        """What runs, for people."""
        self._clock, self._begun = clock, clock()
        self._told: tuple[float, bytes] | None = None

    def since_start_s(self) -> float:
        """Seconds since the page opened."""
        return self._clock() - self._begun

    def status(self) -> bytes:
        """The status as JSON; reckoned once for all who ask within a fifth of a second."""
        now = self._clock()
        if self._told is None or now - self._told[0] > 0.2:
            controls, aligned = self.controls, None
            if controls is not None and self.alignment is not None:
                aligned = self.alignment.told(controls)
            settings = None if controls is None else controls.settings
            told = status(self.monitor.snapshot(), settings, len(self.hub), self.title, aligned)
            self._told = now, msgspec.json.encode(told)
        return self._told[1]


def make_app(about: About, door: Doorkeeper, names: frozenset[str]) -> App:
    """The page as an ASGI application.

    Args:
        about: The run.
        door: Lets in who may see it.
        names: Host names that lead here.
    """
    static = {
        item.name: (item.read_bytes(), TYPES[item.name[item.name.rindex(".") :]])
        for item in (files("tdfusion_edge.runtime") / "live" / "static").iterdir()
        if item.name[item.name.rfind(".") :] in TYPES
    }

    def file(name: str, code: int = 200) -> Response:
        if name not in static:
            return JSONResponse({"error": "no such file"}, 404)
        raw, kind = static[name]
        return Response(raw, code, media_type=kind)

    def asset(request: Request) -> Response:
        return file(request.path_params["name"])  # looked up in a table: no path reaches the disk

    async def socket(socket: WebSocket) -> None:
        await viewing.serve_socket(socket, about.hub, lambda: about.controls, about.status)

    def login(code: int) -> Response:
        return file("login.html", code)

    routes: list[BaseRoute] = [
        Route("/", _async(lambda request: file("page.html"))),
        Route("/pattern", _async(lambda request: file("pattern.html"))),
        Route("/static/{name}", _async(asset)),
        Route("/login", _logging_in(door, login), methods=["GET", "POST"]),
        Route("/stream.mjpg", _async(lambda request: _stream(about.hub, request)), methods=["GET"]),
        Route(
            "/status.json", _async(lambda request: Response(about.status(), media_type="application/json"))
        ),
        WebSocketRoute("/live", socket),
        *align_routes(door, lambda: about.alignment, lambda: about.controls),
        *_health_routes(about),
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    return Guard(app, door, names, login)


def _async(answer: Callable[[Request], Response]) -> Callable[[Request], object]:
    """In the loop's own thread: Starlette would start a thread for what is no coroutine."""

    async def endpoint(request: Request) -> Response:
        return answer(request)

    return endpoint


def _stream(hub: Hub, request: Request) -> Response:
    if request.method == "HEAD":  # it would never end
        return Response(media_type="multipart/x-mixed-replace")
    try:
        return Mjpeg(hub, view_of(request))
    except RequestError as error:
        return JSONResponse({"error": str(error)}, 400)


def _health_routes(about: About) -> list[BaseRoute]:
    def answer(verdict: health.Verdict, word: str) -> Response:
        body = health_body(verdict, about.monitor.snapshot(), word)
        return JSONResponse(body, 200 if verdict.good else 503)

    def healthz(request: Request) -> Response:
        del request
        return answer(health.alive(about.monitor.snapshot(), about.since_start_s()), "ok")

    def readyz(request: Request) -> Response:
        del request
        return answer(health.ready(about.monitor.snapshot()), "ready")

    def metrics(request: Request) -> Response:
        del request
        text = exposition(about.monitor.snapshot, lambda: len(about.hub))
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return [
        Route("/healthz", _async(healthz)),
        Route("/readyz", _async(readyz)),
        Route("/metrics", _async(metrics)),
    ]


def _logging_in(door: Doorkeeper, login: Callable[[int], Response]) -> Callable[[Request], object]:
    async def endpoint(request: Request) -> Response:
        if request.method != "POST":
            return login(200)
        raw = b""
        async for part in request.stream():
            raw += part
            if len(raw) > 4 * LONGEST:
                return JSONResponse({"error": "too long for a token"}, 413)
        given = _token_in(raw)
        if not door.closed or not door.knows(given):
            await asyncio.sleep(WRONG_S)
            return login(401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            door.cookie, door.ticket, max_age=COOKIE_S, path="/", httponly=True, samesite="strict"
        )  # fmt: skip
        return answer

    return endpoint


def _token_in(raw: bytes) -> str:
    """What a form gives as token; empty where it gives none."""
    try:
        return parse_qs(raw.decode("latin-1"), max_num_fields=4).get("token", [""])[0].strip()
    except ValueError:
        return ""
