"""What outputs there are by name: known without loading what writes them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from tdfusion_edge.redact import HIDDEN, redact

PipeFormat: TypeAlias = Literal["mkv", "mpegts", "rawvideo", "jsonl"]
VisibleCodec: TypeAlias = Literal["h264", "ffv1"]

PUSHED: Mapping[str, str] = MappingProxyType(
    {"rtsp": "rtsp", "rtsps": "rtsp", "rtmp": "flv", "rtmps": "flv", "srt": "mpegts", "udp": "mpegts"}
)
"""Scheme of an address to FFmpeg's format."""


def shown(url: str) -> str:
    """The address as it may be told: without user, password, stream keys and options."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{url.partition('://')[0]}://{HIDDEN}"
    if parts.scheme.lower() in ("rtmp", "rtmps"):  # the path is the key
        return redact(f"{parts.scheme}://{parts.netloc}/{HIDDEN}")
    return redact(f"{parts.scheme}://{parts.netloc}{parts.path}" + (f"?{HIDDEN}" if parts.query else ""))
