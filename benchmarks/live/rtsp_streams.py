"""What ``benchmarks/live/rtsp_server.py`` serves, and the server itself as a process that can be killed."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

SCRIPT = Path(__file__).with_name("rtsp_server.py")
PYTHON = "/usr/bin/python3"
PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad"
)
FPS = 30


def absent() -> str | None:
    """Why GStreamer's RTSP server cannot run here; None where it can."""
    if sys.platform != "linux" or not shutil.which(PYTHON):
        return "no system Python"
    asked = (
        "import gi; gi.require_version('GstRtspServer', '1.0')\n"
        "from gi.repository import Gst, GstRtspServer\n"
        "Gst.init(None); assert all(map(Gst.ElementFactory.find, ('h264parse', 'rtph264pay', 'appsrc')))"
    )
    done = subprocess.run([PYTHON, "-c", asked], capture_output=True, timeout=60, check=False)
    return None if done.returncode == 0 else f"no RTSP server: apt-get install {PACKAGES}"


def encode(path: Path, pictures: Iterable[npt.NDArray[Any]]) -> Path:
    """Write pictures, uint8 (H, W) or (H, W, 3) BGR, as H.264, each decodable by itself."""
    pictures = list(pictures)
    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.height, codec.width = pictures[0].shape[:2]
    codec.pix_fmt, codec.time_base, codec.framerate = "yuv420p", Fraction(1, FPS), Fraction(FPS)
    codec.options = {
        "preset": "ultrafast", "tune": "zerolatency", "crf": "16", "threads": "1",
        "x264-params": "keyint=1:repeat-headers=1:annexb=1",
    }  # fmt: skip
    written = bytearray()
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="gray" if picture.ndim == 2 else "bgr24")
        frame = frame.reformat(format="yuv420p")
        frame.pts = number
        for packet in codec.encode(frame):
            written += struct.pack(">I", packet.size) + bytes(packet)
    path.write_bytes(written)
    return path


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Server:
    """The server as a process, which may be killed and started anew on the same port."""

    def __init__(self, streams: dict[str, Path], user: str | None = None, port: int = 0) -> None:
        self._arguments = [f"--stream={name}={path}" for name, path in streams.items()]
        self._arguments += [f"--user={user}"] if user else []
        self.port = port
        self.start()

    def start(self) -> None:
        """Start it, and return once it listens."""
        command = [PYTHON, str(SCRIPT), *self._arguments, f"--port={self.port}", f"--fps={FPS}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        word, _, port = self.process.stdout.readline().partition(" ")
        if word != "ready":
            raise RuntimeError(f"the RTSP server does not start: {word!r}")
        self.port, self.ready = int(port), time.monotonic()

    def kill(self) -> None:
        """End it as a power cut does; safe to call twice."""
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def address(self, stream: str, user: str = "") -> str:
        """Of one of its streams."""
        return f"rtsp://{user}{'@' if user else ''}127.0.0.1:{self.port}/{stream}"


def true_times_ns(number: int, count: int) -> npt.NDArray[np.int64]:
    """Monotonic moments around now at which picture ``number`` of ``count`` was shown."""
    period = 1_000_000_000 // FPS
    newest = (time.monotonic_ns() // period - number) // count
    return np.asarray([((newest - back) * count + number) * period for back in range(3)], np.int64)
