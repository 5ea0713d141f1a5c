"""The page over real sockets: ten viewers, one of them stalled; endings; what is no HTTP at all."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
from served_run import served

from tdfusion_edge import bundle
from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.live.address import Address
from tdfusion_edge.runtime.live.hub import WINDOW
from tdfusion_edge.runtime.live.server import Page

pytestmark = pytest.mark.slow
UPGRADE = (
    b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
ROOT = Path(__file__).resolve().parents[3]


def get(address: str, path: str) -> bytes:
    with urlopen(f"http://{address}{path}", timeout=10) as answer:
        return bytes(answer.read())


def crowd(address: str, *options: str) -> list[list[dict[str, float]]]:
    command = [sys.executable, "-m", "benchmarks.live.viewers", address, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return list(json.loads(done.stdout))


def page_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("page ")]


def test_ten_viewers_see_fresh_pictures_though_one_stalls(mean_bundle: bundle.Bundle) -> None:
    with served(mean_bundle) as running:
        running.begin()
        while not running.page.monitor.snapshot().pictures:
            time.sleep(0.02)
        for _ in range(3):  # a machine that other programs keep busy gets another try
            before = running.page.monitor.snapshot().pictures
            seen = crowd(running.address, "--viewers", "10", "--stalled", "1", "--seconds", "4")
            made = running.page.monitor.snapshot().pictures - before
            ages = sorted(picture["age"] for viewer in seen for picture in viewer)
            if ages[len(ages) * 99 // 100] < 150:
                break
        assert all(viewer.travelling <= WINDOW for viewer in running.page._about.hub._viewers)
        running.end()
        assert running.report is not None
        assert running.report.as_dict()["sink_dropped"] == 0  # the page never made the sinks' thread late
    assert len(seen) == 9
    for viewer in seen:
        numbers = [picture["index"] for picture in viewer]
        assert numbers == sorted(set(numbers))
        assert len(numbers) > made / 3
    assert ages[len(ages) * 99 // 100] < 150, ages[-20:]
    assert not page_threads()


def test_it_ends_with_everybody_still_looking(
    mean_bundle: bundle.Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    with served(mean_bundle, size="320x240") as running:
        running.begin()
        host, port = running.address.split(":")
        lookers = [socket.create_connection((host, int(port))) for _ in range(2)]
        for looker in lookers:
            looker.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        first = b""
        stuck = socket.socket()
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        stuck.connect((host, int(port)))
        taken = b'\x81\x91\0\0\0\0{"type": "taken"}'
        stuck.sendall(UPGRADE + taken * 300)
        while b"\xff\xd8\xff" not in first:
            first += lookers[0].recv(4096)
        assert b"200 OK" in first
        for _ in range(20):  # until its line is full
            stuck.sendall(taken * 20)
            time.sleep(0.1)
        running.end()
        begun = time.monotonic()
    assert time.monotonic() - begun < 8
    assert not page_threads()
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]
    rest = b""
    while part := lookers[0].recv(1 << 16):
        rest += part
    assert rest.rstrip().endswith((b"--tdfusion-edge-picture--", b"--tdfusion-edge-picture--\r\n\r\n0"))
    for looker in (*lookers, stuck):
        looker.close()


def test_what_is_no_http_leaves_it_as_it_was(mean_bundle: bundle.Bundle) -> None:
    chance = random.Random(7)
    upgrade = UPGRADE
    wholes = [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"GET " + b"/a" * 9000, upgrade,
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 4000 + b"\r\n",
        upgrade + b"\x81\xff" + b"\xff" * 14,
        b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n",
        upgrade + b"\x82\xfe\xff\xff\0\0\0\0" + b"x" * 9000,
        b"GET /../../etc/passwd HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"GET /static/..%2f..%2fapp.py HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ]  # fmt: skip
    answers = []
    with served(mean_bundle) as running:
        host, port = running.address.split(":")
        for turn in range(80):
            raw = bytearray(chance.choice(wholes) if turn >= len(wholes) else wholes[turn])
            if turn >= len(wholes):
                for _ in range(chance.randrange(1, 9)):
                    raw[chance.randrange(len(raw))] = chance.randrange(256)
            with socket.create_connection((host, int(port)), timeout=5) as client:
                client.settimeout(0.05)
                try:
                    client.sendall(raw)
                    answers.append(client.recv(1 << 16))
                except (TimeoutError, ConnectionError):
                    continue
        assert json.loads(get(running.address, "/healthz"))["status"] == "ok"
        assert len(running.page._about.hub) <= 32
    assert answers
    for answer in answers:
        assert b"root:" not in answer
        assert b"Traceback" not in answer
        assert b"import " not in answer or b"text/javascript" in answer


def test_a_port_that_is_taken_is_told(mean_bundle: bundle.Bundle) -> None:
    with served(mean_bundle) as running, pytest.raises(RequestError, match="in use"):
        Page(Address("127.0.0.1", running.page.address.port))


def test_the_command_serves_and_ends_at_ctrl_c(mean_bundle_path: Path, tmp_path: Path) -> None:
    token = tmp_path / "page.token"
    command = [
        sys.executable, "-m", "tdfusion_edge", "run",
        "--camera", "sim://ir?size=320x240&view=320x240,sim://vis?size=320x240",
        "--bundle", str(mean_bundle_path),
        "--serve", "127.0.0.1:0", "--serve-token", str(token), "--threads", "1",
    ]  # fmt: skip
    log = tmp_path / "log"
    with log.open("w") as told, subprocess.Popen(command, cwd=ROOT, stdout=told, stderr=told) as process:
        limit = time.monotonic() + 60
        while "first picture" not in log.read_text() and time.monotonic() < limit:
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        address = log.read_text().split("http://")[1].split("/")[0]
        cmdline = (
            Path(f"/proc/{process.pid}/cmdline").read_text()
            + Path(f"/proc/{process.pid}/environ").read_text()
        )
        assert token.read_text().strip() not in cmdline
        with socket.create_connection((address.split(":")[0], int(address.split(":")[1]))) as looker:
            secret = token.read_text().strip()
            head = f"GET /stream.mjpg HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {secret}\r\n\r\n"
            looker.sendall(head.encode())
            assert b"200 OK" in looker.recv(4096)
            taken = [*command[:-4], "--threads", "1"]
            taken[taken.index("127.0.0.1:0")] = address
            second = subprocess.run(taken, cwd=ROOT, capture_output=True, text=True, timeout=60)
            assert second.returncode == 2, second.stderr
            assert "cannot be listened at" in second.stderr
            assert "opening the cameras" not in second.stderr
            assert "drawing" not in second.stderr
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0, log.read_text()
    text = log.read_text()
    assert secret not in text
    assert "Traceback" not in text
    assert "error" not in text.lower()
    assert "pictures in" in text
    assert token.stat().st_mode & 0o077 == 0
