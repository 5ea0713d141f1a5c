"""One opening of a camera, read by a thread of its own, so that a call that hangs holds up nobody else."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from tdfusion_edge.errors import FrameLost
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.sources.base import Source

MOST_WAITING = 8
"""Frames that nobody has taken; of more, the oldest is dropped, which leaves a gap in the numbers."""
LOST_S = 0.01
"""Pause behind a damaged frame: a source whose every read says so at once would take a core for itself."""


class Overdue(Exception):
    """Nothing came in time: a call into the driver hangs, or the source does not watch its own time."""


class Connection:
    """Opens a source and reads it, in a thread that ends when the source does or nobody wants it any more.

    Args:
        name: For the thread.
        opener: Opens the source; called in the thread.
    """

    def __init__(self, name: str, opener: Callable[[], Source]) -> None:
        self._opener = opener
        self._changed = threading.Condition()
        self._frames: deque[Frame | FrameLost] = deque()
        self._source: Source | None = None
        self._error: BaseException | None = None
        self._over = self._abandoned = False
        self._thread = threading.Thread(target=self._work, name=f"camera {name}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Its thread has not ended: the camera is in use, or a call into its driver hangs."""
        return self._thread.is_alive()

    @property
    def opened(self) -> bool:
        """The camera was opened."""
        return self._source is not None

    def source(self, patience_s: float) -> Source | None:
        """The open source; None once it was abandoned.

        Raises:
            Overdue: it is not open after ``patience_s``.
            Exception: whatever the opener raised.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._source or self._over or self._abandoned, patience_s):
                raise Overdue
            if self._source is None:
                self._raise()
            return None if self._abandoned else self._source

    def take(self, patience_s: float) -> Frame | None:
        """The next frame; None at the end of the stream, and once it was abandoned.

        Raises:
            Overdue: none came for ``patience_s``.
            FrameLost: a frame is damaged; the next one can be taken.
            Exception: whatever the source raised.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._frames or self._over or self._abandoned, patience_s):
                raise Overdue
            if self._abandoned:
                return None
            if self._frames:
                frame = self._frames.popleft()
                if isinstance(frame, FrameLost):
                    raise frame
                return frame
            self._raise()
            return None

    def _raise(self) -> None:
        """Raise what ended the thread, once: kept, it and its traceback would hold this object for ever."""
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error

    def abandon(self, wait_s: float = 0.0) -> None:
        """Close the source, and wait so long for that; whoever waits for a frame gets None at once."""
        with self._changed:
            self._abandoned = True
            self._frames.clear()
            self._changed.notify_all()
            source = self._source
        if source is not None and self.alive:
            # Closing ends a read that waits. It may itself hang in the driver.
            threading.Thread(target=source.close, name="close camera", daemon=True).start()
        self._thread.join(wait_s)

    def _work(self) -> None:
        source: Source | None = None
        try:
            source = self._opener()
            with self._changed:
                self._source = source
                self._changed.notify_all()
            if not source.live:
                source = None  # whoever asked for it reads and closes it
                return
            while not self._abandoned and self._hand_over(source):
                pass
        # Also a defect: it is raised where the frames are asked for, not lost in this thread.
        except BaseException as error:
            self._error = error
        finally:
            try:
                if source is not None:
                    source.close()
            except Exception as error:
                self._error = self._error or error
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _hand_over(self, source: Source) -> bool:
        """Read once; False at the end."""
        frame: Frame | FrameLost | None
        try:
            frame = source.read()
        except FrameLost as error:
            frame = error
        if frame is None:
            return False
        with self._changed:
            if len(self._frames) == MOST_WAITING:
                self._frames.popleft()
            self._frames.append(frame)
            self._changed.notify_all()
            if isinstance(frame, FrameLost):
                self._changed.wait_for(lambda: self._abandoned, LOST_S)
        return True
