"""A server to push to, on loopback, and the pictures that it got."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tdfusion_edge.frames import Image

PYTHON = Path("/usr/bin/python3")
SERVER = Path(__file__).with_name("rtsp_server.py")
PACKAGES = (
    "apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-libav"
)
ASKS = """
import gi
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst
Gst.init(None)
needed = ("avdec_h264", "h264parse", "rtph264depay")
raise SystemExit(any(Gst.ElementFactory.find(name) is None for name in needed))
"""


def require_gstreamer() -> None:
    """Skip where GStreamer's RTSP server is not installed."""
    found = PYTHON.exists() and subprocess.run([PYTHON, "-c", ASKS], capture_output=True).returncode == 0
    if not found:
        pytest.skip(f"needs GStreamer's RTSP server: {PACKAGES}")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """GStreamer's RTSP server, which takes pictures."""

    def __init__(self, folder: Path, *credentials: str) -> None:
        self.port, self._out, self._credentials = free_port(), folder / "got", credentials
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, user: str = "") -> str:
        return f"rtsp://{user}127.0.0.1:{self.port}/live"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [PYTHON, SERVER, str(self.port), self._out, *self._credentials],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.communicate()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def pictures(self) -> list[Image]:
        data = self._out.read_bytes() if self._out.exists() else b""
        at, found = 0, []
        while (end := data.find(b"\n", at)) >= 0:
            width, height = json.loads(data[at:end])
            at = end + 1 + width * height
            if at <= len(data):
                found.append(np.frombuffer(data[end + 1 : at], np.uint8).reshape(height, width))
        return found


def until(true: Callable[[], object], seconds: float = 15.0, pause_s: float = 0.05) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(pause_s)
