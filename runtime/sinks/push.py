"""The fused stream as a camera: pushed to a server, which it never waits for (``-o rtsp://server/path``)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from urllib.parse import urlsplit

import av
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from tdfusion_edge.errors import RequestError, SinkError
from tdfusion_edge.frames import Image
from tdfusion_edge.redact import redact
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.sinks.encoding import H264
from tdfusion_edge.runtime.sinks.kinds import PUSHED, shown
from tdfusion_edge.runtime.sinks.slate import slate
from tdfusion_edge.runtime.sinks.timeline import TICKS_PER_S, Timeline

log = logging.getLogger(__name__)

TIMEOUT_S = 2.0
"""A server that does not answer or takes no packet for so long is gone. FFmpeg waits so long for each packet
of a picture, and says nothing at the end: with pictures of ten packets it is known behind 20 s."""
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Before a connection is tried again; the last one again and again."""
REFUSED_S = 30.0
"""Before a server that refused user and password is asked again: some lock out whoever asks often."""
SILENT_S = 1.0
"""Without a new picture for so long the stream is offline."""
SLATE_S = 0.5
"""Between two pictures of that."""
TOLD_S = 30.0
"""A server that stays away is told of so often."""
JOIN_S = 3.0
"""Longest wait for the thread at the end."""
_SIZE = (640, 480)
"""Of the slate, before there is a picture."""

# A second between two key frames: whoever looks in sees a picture that soon.
_CODEC = replace(
    H264,
    options=MappingProxyType(
        {**H264.options, "g": "30", "bf": "0", "crf": "23", "maxrate": "6M", "bufsize": "3M"}
    ),
)


@dataclass(frozen=True)
class PushState:
    """How a push stands."""

    connected: bool = False
    offline: bool = True
    """A slate is shown, if anything."""
    sent: int = 0
    """Fused pictures that were handed to the connection."""
    slates: int = 0
    skipped: int = 0
    """Fused pictures that a newer one replaced before they were sent, or that came while not connected."""
    connections: int = 0
    failures: int = 0
    failure: str | None = None
    """The last one, a line without credentials; None while connected."""


class PushSink:
    """Push results to a server in a thread of its own: the newest picture only, low latency, H.264.

    :meth:`write` never waits and never fails. A server that is not there, goes away or stops taking data is
    asked again with growing pauses while the run lasts. While no picture comes, a slate with the reason and
    the time is sent twice a second, so that viewers see that the stream lives and the cameras do not.

    Args:
        url: ``rtsp://``, ``rtsps://``, ``rtmp://``, ``rtmps://``, ``srt://`` or ``udp://``.
        picture: What of a result is shown; the fused picture as it is where none is given.
        reason: Why there is no picture now, a line.
        size: Width and height of the slate before there is a picture.
        timeout_s: As :data:`TIMEOUT_S`.
        clock: Monotonic nanoseconds.
        wall_clock: Nanoseconds since 1970.

    Raises:
        RequestError: an address without a host, or a PyAV without H.264 or the protocol.
    """

    def __init__(
        self,
        url: str,
        *,
        picture: Callable[[Result], Image] | None = None,
        reason: Callable[[], str] | None = None,
        size: tuple[int, int] | None = None,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], int] = time.monotonic_ns,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._url, self._name = url, shown(url)
        self._format = PUSHED[url.partition("://")[0].lower()]
        try:
            host = urlsplit(url).hostname
        except ValueError:
            host = None
        if not host:
            raise RequestError(f"-o {self._name} names no server", expected="rtsp://server:8554/fused")
        if self._format not in av.formats_available:
            raise RequestError(
                f"this PyAV cannot push to {self._name}", expected=f"the format {self._format}"
            )
        _CODEC.require()
        self._picture = picture or (lambda result: result.picture)
        self._reason = reason or (lambda: "no picture comes from the cameras")
        self._size, self._timeout_s = size or _SIZE, timeout_s
        self._clock, self._wall_clock = clock, wall_clock
        self._newest: Result | None = None
        self._newest_ns = clock()
        self._changed = threading.Condition()
        self._closing = False
        self._state = PushState()
        self._told_ns: int | None = None
        self._thread = threading.Thread(target=self._run, name=f"push {self._name}", daemon=True)
        self._thread.start()

    @property
    def state(self) -> PushState:
        """How it stands; safe from any thread."""
        return self._state

    def counts(self) -> dict[str, object]:
        """The state as the report of a run has it."""
        one = self._state
        return {
            "connected": one.connected, "sent": one.sent, "skipped": one.skipped, "slates": one.slates,
            "connections": one.connections, "failures": one.failures, "failure": one.failure,
        }  # fmt: skip

    def write(self, result: Result) -> None:
        """Take the newest result; never waits."""
        with self._changed:
            if self._newest is not None:
                self._note(skipped=self._state.skipped + 1)
            self._newest, self._newest_ns = result, self._clock()
            self._changed.notify_all()

    def close(self) -> None:
        """End the stream; safe to call twice.

        Raises:
            SinkError: the server never took a picture.
        """
        self.abort()
        state = self._state
        if not state.connections and state.failure is not None:
            raise SinkError(f"{self._name} was never reached: {state.failure}")

    def abort(self) -> None:
        """End the stream; never raises. A connection that hangs is left to end with the process."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(JOIN_S)

    def _note(self, **changes: object) -> None:
        with self._changed:
            self._state = replace(self._state, **changes)  # type: ignore[arg-type]

    def _run(self) -> None:
        failures = 0
        while not self._closing:
            connection = _Connection(self._url, self._format, self._timeout_s)
            begun_ns = self._clock()
            try:
                self._send(connection)
            # Everything: whatever a library says of a server, the next try may go well.
            except Exception as error:
                self._lost(error)
                lasted = self._clock() - begun_ns > 10_000_000_000
                failures = 1 if lasted else failures + 1
                self._pause(_pause_s(error, failures))
            finally:
                connection.close()

    def _send(self, connection: _Connection) -> None:
        """Send pictures until the end, or until the size of them changes; errors of the connection pass."""
        while (found := self._next()) is not None:
            image, result = found
            if connection.opened_for is None:
                connection.open(image)
                self._begun()
            elif connection.opened_for != image.shape[:2]:
                with self._changed:  # a server takes one size a stream: it is announced anew
                    self._newest = self._newest or result
                return
            begun_ns = self._clock()
            connection.send(image, begun_ns)
            if self._clock() - begun_ns >= self._timeout_s * 1e9:
                # Packets were left out: what follows would be read as something else.
                raise TimeoutError
            if result is None:
                self._note(slates=self._state.slates + 1, offline=True)
            else:
                self._note(sent=self._state.sent + 1, offline=False)

    def _next(self) -> tuple[Image, Result | None] | None:
        """The next picture, waiting for it: a result's or a slate; None at the end."""
        with self._changed:
            silent = self._clock() - self._newest_ns >= SILENT_S * 1e9
            wait_s = SLATE_S if silent or not self._state.connected else SILENT_S
            self._changed.wait_for(lambda: self._newest is not None or self._closing, wait_s)
            if self._closing:
                return None
            result, self._newest = self._newest, None
        if result is None:
            return slate(self._size, self._reason(), self._wall_clock()), None
        image = self._picture(result)
        self._size = image.shape[1], image.shape[0]
        return image, result

    def _begun(self) -> None:
        if self._told_ns is not None:
            log.warning("%s: it takes pictures again", self._name)
        log.debug("%s: connected", self._name)
        self._told_ns = None
        self._note(connected=True, connections=self._state.connections + 1, failure=None)

    def _lost(self, error: Exception) -> None:
        why = _why(error, self._url)
        self._note(connected=False, failures=self._state.failures + 1, failure=why)
        now_ns = self._clock()
        if self._told_ns is None or now_ns - self._told_ns >= TOLD_S * 1e9:
            self._told_ns = now_ns
            log.warning("%s: %s; it is asked again, the other outputs go on", self._name, why)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing, seconds)
            if self._newest is not None and not self._closing:
                # Nobody wants to see what was before the connection.
                self._newest = None
                self._note(skipped=self._state.skipped + 1)


class _Connection:
    """One connection to the server, and the encoder behind it."""

    def __init__(self, url: str, name: str, timeout_s: float) -> None:
        self._url, self._name, self._timeout_s = url, name, timeout_s
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._timeline = Timeline()
        self._keyframe = 0
        self.opened_for: tuple[int, ...] | None = None
        """Shape of the pictures."""

    def open(self, image: Image) -> None:
        """Connect and announce pictures like this one; what PyAV raises passes."""
        microseconds = str(round(self._timeout_s * 1e6))
        options = {"rw_timeout": microseconds}
        if self._name == "rtsp":
            options = {"rtsp_transport": "tcp", "timeout": microseconds}
        elif self._url.lower().startswith("srt"):
            options = {"timeout": microseconds, "connect_timeout": str(round(self._timeout_s * 1e3))}
        elif self._url.lower().startswith("udp"):
            options = {}  # nobody answers, so that nothing can be waited for
        self._container = av.open(
            self._url, "w", format=self._name, options={**options, "flush_packets": "1"}
        )
        self._stream = _CODEC.add_to(self._container, image, Fraction(30))
        self._container.start_encoding()
        self.opened_for = image.shape[:2]

    def send(self, image: Image, now_ns: int) -> None:
        """Encode and send a picture; what PyAV raises passes."""
        assert self._container is not None
        assert self._stream is not None
        frame = _CODEC.frame(image)
        frame.pts = self._timeline.place(now_ns)
        frame.time_base = Fraction(1, TICKS_PER_S)
        if frame.pts == 0 or frame.pts - self._keyframe >= TICKS_PER_S:
            frame.pict_type, self._keyframe = PictureType.I, frame.pts
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def close(self) -> None:
        """End it, politely if that is possible; never raises."""
        container, self._container = self._container, None
        if container is not None:
            try:
                container.close()
            except (OSError, ValueError):
                return


def _pause_s(error: Exception, failures: int) -> float:
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        return REFUSED_S
    return PAUSES_S[min(failures, len(PAUSES_S)) - 1]


def _why(error: Exception, url: str) -> str:
    """What an error of a connection means, in a line without credentials."""
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        told = "no user and password in the address" if "@" not in url else "a wrong user or password"
        return f"the server refuses: {told}"
    if isinstance(error, av.error.HTTPNotFoundError):
        return "the server knows no such path, or takes no stream there"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, (TimeoutError, BlockingIOError)):
        return "no answer in time"
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return redact(text.replace(url, shown(url))).splitlines()[0]
