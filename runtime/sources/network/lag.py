"""Whether pictures wait to be decoded, and which of them are left out then."""

from __future__ import annotations

AT_THE_EDGE_NS = 1_500_000
"""Whoever waited so long for a picture has nothing older left to decode."""
LATE_NS = 300_000_000
"""So long without having waited: the pictures that come now are old."""
HOPELESS_NS = 2_000_000_000
"""So long: decoding is too slow by itself, and goes on at the next picture that needs no other."""
SHOWN_AT_LEAST_NS = 250_000_000
"""However late, a picture is shown so often."""
FIRST_NS = 1_000_000_000
"""Pictures that gathered while a stream was opened are not shown, for their times are not known well; longer
than that nobody is kept waiting."""


class Lag:
    """Knows from the waits for pictures whether the reader keeps up with the stream.

    That is exact where a comparison of clocks would not be: a network that becomes slower makes pictures
    older without any of them waiting here.

    Args:
        now_ns: Monotonic nanoseconds.
    """

    def __init__(self, now_ns: int) -> None:
        self._begun_ns = self._edge_ns = self._shown_ns = self._now_ns = now_ns
        self._skipping = False
        self._first = True
        """The reader was not yet at the edge."""

    @property
    def late_ns(self) -> int:
        """How long the reader has not been at the edge of the stream."""
        return self._now_ns - self._edge_ns

    @property
    def hopeless(self) -> bool:
        """Nothing is to be decoded until a picture comes that needs no other."""
        self._skipping = self._skipping or self.late_ns >= HOPELESS_NS
        return self._skipping

    def waited(self, begun_ns: int, ended_ns: int) -> None:
        """A picture was asked for and came."""
        self._now_ns = ended_ns
        if ended_ns - begun_ns >= AT_THE_EDGE_NS:
            self._edge_ns, self._first = ended_ns, False

    def key(self) -> None:
        """A picture came that needs no other."""
        if self._skipping and self.late_ns < LATE_NS:
            self._skipping = False

    def shows(self, now_ns: int) -> bool:
        """Whether a picture that was decoded is to be shown."""
        if self._first and now_ns - self._begun_ns < FIRST_NS:
            return False
        if self.late_ns >= LATE_NS and now_ns - self._shown_ns < SHOWN_AT_LEAST_NS:
            return False
        self._shown_ns = now_ns
        return True
