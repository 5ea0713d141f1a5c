"""The page's server: a thread with a loop of its own, which opens before the cameras do."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tdfusion_edge.console import note
from tdfusion_edge.errors import RequestError
from tdfusion_edge.install import imported
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.heads import annotated
from tdfusion_edge.runtime.live.address import Address
from tdfusion_edge.runtime.live.hub import MOST_VIEWERS, Hub
from tdfusion_edge.runtime.pipeline.analysis import Analysis
from tdfusion_edge.runtime.pipeline.controls import Controls
from tdfusion_edge.runtime.pipeline.monitor import Monitor

if TYPE_CHECKING:
    from tdfusion_edge.runtime.live.alignment import Rigged

EXTRA = ("starlette", "uvicorn", "websockets", "prometheus_client")
"""What the extra ``serve`` brings; uvicorn imports websockets only when it starts."""
CONNECTIONS = 3 * MOST_VIEWERS
"""At once; a viewer has two or three while a page loads."""
CLOSING_S = 1.5
"""Viewers have so long to take their leave; whose line is stuck is cut off then."""
SEND_BUFFER = 1 << 18
"""Bytes that the system keeps for one viewer: about five pictures, lest a slow line shows old ones."""

log = logging.getLogger(__name__)


def _is_of_account(record: logging.LogRecord) -> bool:
    """Of what uvicorn says, all but that a motion JPEG was given up: its viewer had stopped reading."""
    return "returned without completing response" not in record.getMessage()


@dataclass
class PageSink:
    """The live page as an output: the newest result goes to whoever looks."""

    hub: Hub

    def write(self, result: Result) -> None:
        """Take one result; never waits."""
        self.hub.offer(result)

    def close(self) -> None:
        """The last picture stays until the page closes."""

    def abort(self) -> None:
        """As :meth:`close`."""


class Page:
    """The live page of one run; a context manager that serves while its block runs.

    Args:
        address: Where to listen. Port 0 takes any.
        token: What visitors must know; None lets everybody in, which only a loopback address may.
        names: Host names that lead here beside the machine's own.
        registration: ``[registration]`` of the rig.
        rigged: The run's cameras and their rig file; None: how infrared lies on visible is not changed here.
        monitor: Knows how the run stands; None: :attr:`monitor` gives one that the run is to tell.

    Raises:
        RequestError: the extra ``serve`` is not installed, the address is open to others and there is no
            token, or it cannot be listened at.
    """

    def __init__(
        self,
        address: Address,
        *,
        token: str | None = None,
        names: tuple[str, ...] = (),
        registration: rig.Registration | None = None,
        rigged: Rigged | None = None,
        monitor: Monitor | None = None,
    ) -> None:
        for library in EXTRA:
            imported(library, "serve", f"--serve needs {library}", RequestError)
        import uvicorn

        from tdfusion_edge.runtime.live.app import About, make_app
        from tdfusion_edge.runtime.live.encoder import Encoder
        from tdfusion_edge.runtime.live.token import Doorkeeper
        from tdfusion_edge.runtime.live.views import Painter

        if token is None and not address.is_loopback:
            raise RequestError(
                f"--serve {address}: others can reach this address",
                expected="--serve-token FILE beside it, so that not everybody sees what the cameras see",
                got="none",
                hint="If FILE does not exist, it is made, with a new token in it.",
            )
        self._socket = _bound(address)
        port = self._socket.getsockname()[1]
        self.address = Address(address.host, port)
        """With the port that was taken."""
        self._about = About(monitor)
        if rigged is not None:
            from tdfusion_edge.runtime.live.alignment import Alignment

            self._about.alignment = Alignment(rigged, lambda: self._about.hub.newest)
        self._painter = Painter(registration, annotated)
        self._encoder = Encoder(self._about.hub, self._painter)
        own = {"localhost", socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}
        app = make_app(self._about, Doorkeeper(token, port), frozenset({*own, address.host.lower(), *names}))
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http="h11",  # which limits the length of headers
                ws="websockets-sansio",
                ws_max_size=4096,
                ws_max_queue=16,
                ws_per_message_deflate=False,
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=round(4 * CLOSING_S),
                h11_max_incomplete_event_size=16_384,
            )
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._serve, name="page server", daemon=True)

    @property
    def sink(self) -> PageSink:
        """The output that shows pictures on the page."""
        return PageSink(self._about.hub)

    @property
    def monitor(self) -> Monitor:
        """Where the page asks how the run stands."""
        return self._about.monitor

    def controls(self, fuser: Fuser, analyse: Analysis | None = None) -> Controls:
        """What carries the page's wishes to the loop; from now on it takes them.

        Args:
            fuser: Of the run.
            analyse: What else must know how infrared lies on visible.
        """
        self._about.title = str(fuser)
        self._about.controls = Controls(fuser, analyse, self._painter.place)
        return self._about.controls

    def __enter__(self) -> Page:
        logging.getLogger("uvicorn.error").addFilter(_is_of_account)
        self._encoder.start()
        self._thread.start()
        limit = time.monotonic() + 10
        while not self._server.started and self._thread.is_alive() and time.monotonic() < limit:
            time.sleep(0.01)
        if not self._server.started:
            self.close()
            raise RequestError(f"--serve {self.address}: the server does not start")
        note(f"live page: http://{self.address}/")
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Say goodbye to all viewers and end the server; safe to call twice."""
        self._about.hub.close()
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(CLOSING_S)
            if self._thread.is_alive() and self._loop is not None:
                with suppress(RuntimeError):  # it has just ended
                    self._loop.call_soon_threadsafe(self._cut_off)
            self._thread.join(4 * CLOSING_S)
            self._encoder.join(CLOSING_S)
        self._socket.close()
        logging.getLogger("uvicorn.error").removeFilter(_is_of_account)

    def _cut_off(self) -> None:
        """Drop the lines that are left, in the server's loop: nobody reads at their other end."""
        for line in list(self._server.server_state.connections):
            transport = getattr(line, "transport", None)
            if transport is not None:
                transport.abort()

    def _serve(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            await self._server.serve(sockets=[self._socket])

        try:
            asyncio.run(serve())
        # The run goes on without its page, but not without a word.
        except (Exception, SystemExit):
            log.exception("the live page has ended")


def _bound(address: Address) -> socket.socket:
    """A socket that listens.

    Raises:
        RequestError: the port is taken, or the address none of this machine.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise RequestError(f"--serve {address}: there is no such address: {error}") from error
    family, _, _, _, place = found[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)  # that of every line, too
        listening.bind(place)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise RequestError(
            f"--serve {address} cannot be listened at: {error.strerror}",
            hint=f"Another port: --serve {Address(address.host, 0)} takes one that is free.",
        ) from error
    return listening
