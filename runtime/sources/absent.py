"""A camera that was not there when a run began, and is asked for while it lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tdfusion_edge.errors import SourceError, TdfusionError
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.sources.base import Source, pause_s


class AbsentSource:
    """Stands in for a live camera until it can be opened, and passes its frames on from then.

    Args:
        name: Name for messages, without credentials.
        first: Why it could not be opened; the first read raises it, so that it is told and counted.
        reopen: Opens it.
        pause: Sleeps for seconds; None sleeps so that closing ends it.
    """

    live = True

    def __init__(
        self,
        name: str,
        first: SourceError,
        reopen: Callable[[], Source],
        *,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self.name = name
        self._first: SourceError | None = first
        self._reopen = reopen
        self._closing = threading.Event()
        self._pause = pause or self._closing.wait
        self._lock = threading.Lock()
        self._failures = 1
        self._source: Source | None = None

    def read(self) -> Frame | None:
        """The next frame; None once the source is closed.

        Raises:
            SourceError: it is still not there. Reading again waits, longer each time, and asks for it again.
        """
        if self._first is not None:
            first, self._first = self._first, None
            raise first
        source = self._source or self._opened()
        return None if source is None else source.read()

    def close(self) -> None:
        """Give up waiting, or release the camera; safe to call twice."""
        self._closing.set()
        with self._lock:
            if self._source is not None:
                self._source.close()

    def _opened(self) -> Source | None:
        self._pause(pause_s(self._failures))
        if self._closing.is_set():
            return None
        try:
            source = self._reopen()
        except TdfusionError as error:
            self._failures += 1
            # Whatever it would be when a run begins, later it is the camera that fails.
            raise SourceError(error.what, expected=error.expected, got=error.got, hint=error.hint) from error
        with self._lock:
            if self._closing.is_set():  # while it was being opened
                source.close()
                return None
            self._source = source
        return source
