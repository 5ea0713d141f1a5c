"""Outputs: files that survive a power cut, a window, and the seam behind which more can stand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Image
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.sinks.base import Sink

__all__ = ["Sink", "open_sink"]


def open_sink(
    target: str | Path,
    *,
    fps_hint: float | None = None,
    stem: Callable[[Result], str] | None = None,
    picture: Callable[[Result], Image] | None = None,
) -> Sink:
    """The file or folder that a name stands for.

    ========================  =========================================
    ``out.mp4``, ``out.mkv``  video (:class:`.video.VideoSink`)
    ``out.jsonl``             detections (:class:`.jsonl.JsonlSink`)
    ``out/``, ``out``         one PNG a result (:class:`.folder.FolderSink`)
    ========================  =========================================

    Args:
        target: File or folder; a trailing slash, no suffix or a folder that exists makes a folder.
        fps_hint: Nominal frame rate of a video.
        stem: Names the pictures of a folder.
        picture: What of a result a video or folder holds; its fused picture by default.

    Raises:
        RequestError: an unknown suffix, a single picture, or a place that cannot be written. Nothing
            was created or changed then.
    """
    # Imported at use: whoever needs the seam alone does not pay for PyAV.
    path = Path(target)
    suffix = path.suffix.lower()
    if str(target).endswith(("/", os.sep)):
        suffix = ""
    if suffix in (".mp4", ".mkv"):
        from tdfusion_edge.runtime.sinks.video import VideoSink

        return VideoSink(path, fps_hint=fps_hint, picture=picture)
    if suffix == ".jsonl":
        from tdfusion_edge.runtime.sinks.jsonl import JsonlSink

        return JsonlSink(path)
    if suffix == "" or path.is_dir():
        from tdfusion_edge.runtime.sinks.folder import FolderSink

        return FolderSink(path, stem=stem, picture=picture)
    if suffix in (".png", ".jpg", ".jpeg"):
        raise RequestError(
            f"{path} is one picture, the output is a stream of them",
            hint=f"A folder of pictures: {path.with_suffix('')}/   a video: {path.with_suffix('.mp4')}",
        )
    raise RequestError(
        f"{path}: unknown kind of output", expected=".mp4, .mkv, .jsonl or a folder", got=suffix
    )
