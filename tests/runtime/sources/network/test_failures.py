"""Servers that refuse, err, hang or end: each failure has its name, in time, and no credential in it."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image as Picture

from tdfusion_edge.errors import FailureKind, SourceError
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.sources.network.options import Options
from tdfusion_edge.runtime.sources.network.source import NetworkSource

SECRET = "hunter2QZX"
BRIEF = Options(timeout_s=0.5)


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port at which each connection gets that answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                taken.append(connection)
                answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for connection in taken:
                connection.close()


def rtsp(status: str) -> Callable[[socket.socket], None]:
    """Answers every request with a status."""

    def answer(connection: socket.socket) -> None:
        connection.settimeout(5)
        sequence = 1
        try:
            while connection.recv(4096):
                reply = f'RTSP/1.0 {status}\r\nCSeq: {sequence}\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n'
                connection.sendall(reply.encode())
                sequence += 1
        except OSError:
            return

    return answer


def opened(address: str) -> SourceError:
    begun = time.monotonic()
    with pytest.raises(SourceError) as caught:
        NetworkSource("cam", address, BRIEF).read()
    assert time.monotonic() - begun < 10, "no hang"
    error: BaseException | None = caught.value
    while error is not None:
        assert error.__cause__ is None, "FFmpeg's own error quotes the address"
        error = error.__cause__
    assert SECRET not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("401 Unauthorized", "unauthorised"),
        ("403 Forbidden", "unauthorised"),
        ("404 Not Found", "not-found"),
        ("503 Service Unavailable", "other"),
        ("454 Session Not Found", "other"),
    ],
)
def test_what_an_rtsp_server_answers_is_classified(status: str, kind: FailureKind) -> None:
    with listening(rtsp(status)) as port:
        error = opened(f"rtsp://admin:{SECRET}@127.0.0.1:{port}/live")
    assert error.kind == kind
    assert error.hint


def test_nobody_there() -> None:
    with listening(lambda connection: None) as port:
        pass
    error = opened(f"rtsp://admin:{SECRET}@127.0.0.1:{port}/live")
    assert (error.kind, error.got) == ("unreachable", "Connection refused")


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_server_that_accepts_and_says_nothing(scheme: str) -> None:
    with listening(lambda connection: None) as port:
        error = opened(f"{scheme}://admin:{SECRET}@127.0.0.1:{port}/live")
    assert error.kind == "timeout"
    assert error.expected == "an answer within 0.5 s"


@pytest.mark.parametrize("noise", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"\0" * 5000])
def test_a_server_that_speaks_something_else_or_hangs_up(noise: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(noise)
        connection.close()

    with listening(answer) as port:
        error = opened(f"rtsp://admin:{SECRET}@127.0.0.1:{port}/live")
    assert error.kind in ("ended", "unreachable", "format", "timeout")


class Pages(BaseHTTPRequestHandler):
    """``/mjpg`` is a stream of twelve pictures; the rest are pages and errors."""

    def do_GET(self) -> None:
        status = {"/401": 401, "/404": 404, "/500": 500}.get(self.path, 200)
        self.send_response(status)
        if self.path != "/mjpg":
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", "950")
            self.end_headers()
            self.wfile.write(b"<html>a page</html>" * 50)
            return
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        for number in range(12):
            written = io.BytesIO()
            Picture.fromarray(np.full((48, 64, 3), 20 * number, np.uint8)).save(written, "JPEG")
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {written.tell()}\r\n\r\n"
            self.wfile.write(head.encode() + written.getvalue() + b"\r\n")
            time.sleep(0.03)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://admin:{SECRET}@127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.mark.parametrize(
    ("page", "kind"),
    [("/401", "unauthorised"), ("/404", "not-found"), ("/500", "other"), ("/page", "format")],
)
def test_what_a_web_server_answers_is_classified(pages: str, page: str, kind: FailureKind) -> None:
    assert opened(pages + page).kind == kind


def test_pictures_over_http_are_taken_as_of_their_arrival_and_their_end_is_told(pages: str) -> None:
    source = NetworkSource("cam", pages + "/mjpg", BRIEF)
    frames: list[Frame] = []
    with pytest.raises(SourceError) as caught:
        frames.extend(iter(source.read, None))
    assert caught.value.kind == "ended"
    # What gathered while the stream was opened is not shown; extend keeps what came before an error.
    shown = [round(float(frame.image.mean()) / 20) for frame in frames]
    assert shown == list(range(shown[0], 12))
    assert len(shown) >= 5
    assert source.origin == "arrival"
    assert (np.diff([frame.time_ns for frame in frames]) > 0).all()
    source.close()
    source.close()
    assert source.read() is None
