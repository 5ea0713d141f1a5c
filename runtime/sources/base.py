"""The seam every camera, video and simulation stands behind."""

from __future__ import annotations

from typing import Protocol

from tdfusion_edge.frames import Frame


class Source(Protocol):
    """One stream of frames.

    A test source is these four members and fifteen lines.
    """

    @property
    def name(self) -> str:
        """Name for messages and counters, without credentials."""

    @property
    def live(self) -> bool:
        """True where the world sets the pace: a frame that nobody reads in time is lost."""

    def read(self) -> Frame | None:
        """The next frame, waiting for it up to a few seconds; None at the end of the stream.

        Raises:
            FrameLost: this frame of a recording is damaged; the next one can be read.
            SourceError: the camera is gone or silent, or the file is damaged. A live source may be
                read again after it: it tries to come back.
        """

    def close(self) -> None:
        """Release the device or file; safe to call twice."""


class Wrapped:
    """Base of a source that does something with every frame of another one.

    Args:
        source: Gives the frames.
    """

    def __init__(self, source: Source) -> None:
        self.source = source

    @property
    def name(self) -> str:
        """Name for messages and counters, without credentials."""
        return self.source.name

    @property
    def live(self) -> bool:
        """Whether the world sets the pace."""
        return self.source.live

    def read(self) -> Frame | None:
        """The next frame; None at the end. Raises what the source does, and :meth:`passed`."""
        frame = self.source.read()
        return None if frame is None else self.passed(frame)

    def close(self) -> None:
        """Release what gives the frames."""
        self.source.close()

    def passed(self, frame: Frame) -> Frame:
        """What is passed on for a frame."""
        raise NotImplementedError
