"""A camera that does what a list says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.sources.base import Source

PATIENCE_S = 30.0
WAIT = object()
"""The read waits until the camera is closed."""


class Scripted:
    """Gives a frame for a number (its sequence and its pixels), raises an error, ends at None."""

    live = True

    def __init__(self, *events: Any, side: int = 32) -> None:
        self.name, self.closed = "ir", 0
        self._events, self._side = list(events), side
        self._closing = threading.Event()

    def read(self) -> Frame | None:
        event = self._events.pop(0) if self._events else WAIT
        if event is WAIT:
            assert self._closing.wait(PATIENCE_S)
            return None
        if isinstance(event, Exception):
            raise event
        if callable(event):
            event = event()
        if event is None:
            return None
        picture = np.full((self._side, self._side), event % 256, np.uint8)
        return Frame(picture, event, event, self.name)

    def close(self) -> None:
        self.closed += 1
        self._closing.set()


def opening(*answers: Exception | Source) -> Callable[[], Source]:
    """An opener that answers so, one after the other."""
    left = list(answers)

    def opened() -> Source:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return opened
