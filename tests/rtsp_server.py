"""GStreamer's RTSP server in RECORD mode, for the system's Python.

``rtsp_server.py PORT OUT [USER PASSWORD]``: clients push to ``rtsp://127.0.0.1:PORT/live``. Every picture
that is decoded is appended to OUT as a line of JSON with its width and height, and its grey levels behind it.
"ready" is printed when the server listens.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

LAUNCH = (
    "( rtph264depay name=depay0 ! h264parse ! avdec_h264 ! videoconvert ! video/x-raw,format=GRAY8 "
    "! appsink name=out emit-signals=true sync=false )"
)


def main(port: str, out: str, *credentials: str) -> None:
    Gst.init(None)
    file = open(out, "ab", buffering=0)  # noqa: SIM115, PTH123

    def taken(sink: Any) -> Any:
        sample = sink.emit("pull-sample")
        shape = sample.get_caps().get_structure(0)
        width, height = shape.get_int("width")[1], shape.get_int("height")[1]
        data = sample.get_buffer().extract_dup(0, sample.get_buffer().get_size())
        stride = (width + 3) // 4 * 4
        rows = b"".join(data[y * stride : y * stride + width] for y in range(height))
        file.write(json.dumps([width, height]).encode() + b"\n" + rows)
        return Gst.FlowReturn.OK

    def configured(factory: Any, media: Any) -> None:
        media.get_element().get_by_name("out").connect("new-sample", taken)

    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(LAUNCH)
    factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    factory.set_latency(100)
    factory.connect("media-configure", configured)
    if credentials:
        secure(server, factory, *credentials)
    server.get_mount_points().add_factory("/live", factory)
    if not server.attach(None):
        raise SystemExit(f"port {port} is taken")
    print("ready", flush=True)  # noqa: T201
    GLib.MainLoop().run()


def secure(server: Any, factory: Any, user: str, password: str) -> None:
    permissions = GstRtspServer.RTSPPermissions()
    for permission in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("user", permission, True)
    factory.set_permissions(permissions)
    auth = GstRtspServer.RTSPAuth.new()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)


if __name__ == "__main__":
    main(*sys.argv[1:])
