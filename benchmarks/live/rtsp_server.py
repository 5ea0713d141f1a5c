"""Serves videos as RTSP streams on loopback, with GStreamer's server from Debian's packages.

A program of its own, for the system's Python, which has PyGObject::

    /usr/bin/python3 benchmarks/live/rtsp_server.py --stream ir=ir.au --stream vis=vis.au [--user U:P]

It prints ``ready PORT`` once it listens. A stream is a file of encoded pictures, each decodable by itself
(see ``benchmarks/live/rtsp_streams.py``). At every moment all streams show the picture of the same number,
which follows from the monotonic clock alone, ``clock * fps % pictures``: so that of a picture its true moment
is known, also across restarts, and pictures of one moment have one number.
"""

from __future__ import annotations

import argparse
import struct
import threading
import time
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

LAUNCH = (
    "( appsrc name=feed is-live=true do-timestamp=true format=time "
    "caps=video/x-h264,stream-format=byte-stream,alignment=au,framerate={fps}/1 "
    "! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


class Stream:
    """One path: its pictures, and whoever is to be fed with them."""

    def __init__(self, path: str, fps: int) -> None:
        name, _, file = path.partition("=")
        self.name, self.pictures = name, list(pictures(Path(file).read_bytes()))
        self.feeds: list[Any] = []
        self.factory = GstRtspServer.RTSPMediaFactory()
        self.factory.set_launch(LAUNCH.format(fps=fps))
        self.factory.set_shared(True)
        self.factory.connect("media-configure", self.configure)

    def configure(self, factory: Any, media: Any) -> None:
        """Feed a pipeline that was made for someone who looks."""
        feed = media.get_element().get_child_by_name("feed")
        self.feeds.append(feed)
        media.connect("unprepared", lambda media: self.feeds.remove(feed) if feed in self.feeds else None)

    def show(self, number: int) -> None:
        """Give the picture of a number to all who look."""
        for feed in list(self.feeds):
            feed.emit("push-buffer", Gst.Buffer.new_wrapped(self.pictures[number % len(self.pictures)]))


def pictures(raw: bytes) -> Any:
    """The encoded pictures of a file, each behind its length in four bytes."""
    at = 0
    while at < len(raw):
        (length,) = struct.unpack_from(">I", raw, at)
        yield raw[at + 4 : at + 4 + length]
        at += 4 + length


def tick(streams: list[Stream], fps: int) -> None:
    """Show a picture at every multiple of the period."""
    period_ns = 1_000_000_000 // fps
    number = time.monotonic_ns() // period_ns + 1
    while True:
        time.sleep(max(0.0, (number * period_ns - time.monotonic_ns()) / 1e9))
        for stream in streams:
            stream.show(number)
        number = max(number + 1, time.monotonic_ns() // period_ns)


def guard(server: Any, streams: list[Stream], user: str) -> None:
    """Let in who gives this user and password alone."""
    name, _, password = user.partition(":")
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(name, password), token)
    server.set_auth(auth)
    for stream in streams:
        permissions = GstRtspServer.RTSPPermissions()
        for permission in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role("viewer", permission, True)
        stream.factory.set_permissions(permissions)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stream", action="append", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--user")
    args = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(args.port))
    streams = [Stream(stream, args.fps) for stream in args.stream]
    if args.user:
        guard(server, streams, args.user)
    for stream in streams:
        server.get_mount_points().add_factory(f"/{stream.name}", stream.factory)
    if not server.attach(None):
        raise SystemExit("cannot listen")
    threading.Thread(target=tick, args=(streams, args.fps), daemon=True).start()
    print("ready", server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


main()
