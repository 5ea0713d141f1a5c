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
