"""What is measured on: the simulated rig in real time, or frames of it that were drawn before."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.sources import open_source
from tdfusion_edge.runtime.sources.base import Source

FPS = 30
"""Rate of the simulated cameras."""
DRAWN = 30
"""Frames of each camera that a replay repeats; 45 MB at 640x480."""


class Replay:
    """A recording in memory, repeated until ``count`` frames are read, as fast as they are asked for."""

    def __init__(self, name: str, frames: Sequence[Frame], count: int, fps: float) -> None:
        self.name, self.live = name, False
        self._frames, self._count, self._fps, self._next = frames, count, fps, 0

    def read(self) -> Frame | None:
        """The next frame, with the number and the capture time that it has in the long recording."""
        number = self._next
        if number >= self._count:
            return None
        self._next += 1
        frame = self._frames[number % len(self._frames)]
        return replace(frame, time_ns=round(number * 1e9 / self._fps), sequence=number)

    def close(self) -> None:
        """End it."""
        self._count = 0


def cameras(size: tuple[int, int], *, depth: int = 16, live: bool) -> dict[rig.Role, Source]:
    """Both simulated cameras.

    Args:
        size: Width and height of both, pixels.
        depth: Bits of infrared, 8 or 16.
        live: In real time, stamped with the clock of now; else as fast as they are asked.
    """
    width, height = size
    pace = f"fps={FPS}&realtime={int(live)}&size={width}x{height}"
    addresses: dict[rig.Role, str] = {
        "infrared": f"sim://ir?{pace}&view={width}x{height}&depth={depth}",
        "visible": f"sim://vis?{pace}",
    }
    epoch_ns = time.monotonic_ns() if live else 0
    return {
        role: open_source(role, rig.Camera(uri=uri), role, epoch_ns=epoch_ns)
        for role, uri in addresses.items()
    }


def drawn(size: tuple[int, int], *, depth: int = 16, count: int = DRAWN) -> dict[rig.Role, list[Frame]]:
    """The first frames of both simulated cameras, for :func:`replayed`."""
    return {role: _first(source, count) for role, source in cameras(size, depth=depth, live=False).items()}


def replayed(frames: Mapping[rig.Role, Sequence[Frame]], count: int) -> dict[rig.Role, Source]:
    """Both cameras as a recording of ``count`` frames, which repeats the given ones."""
    return {role: Replay(role, some, count, FPS) for role, some in frames.items()}


def _first(source: Source, count: int) -> list[Frame]:
    frames = [source.read() for _ in range(count)]
    source.close()
    return [frame for frame in frames if frame is not None]
