"""ONNX Runtime, without its reports to Microsoft.

Official builds of today, for Linux, macOS and Windows, send events over the network and keep an identifier
for them in the user's cache folder, unless ``ORT_DISABLE_TELEMETRY`` is set before they are imported (their
``Privacy.md``). A program that watches through cameras sends nothing that it was not asked to send, so
everything here imports ONNX Runtime from this module. Who sets the variable himself, to 0 say, keeps it.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

if os.environ["ORT_DISABLE_TELEMETRY"] == "1":
    # Of use where somebody imported it before: then a first event and the identifier are out already.
    onnxruntime.disable_telemetry_events()

__all__ = ["onnxruntime"]
