"""Capture times of a stream from the network: by the sender's clock, its time stamps, or the arrival.

A stream's time stamps tell how far apart pictures were taken, and not when. Three clocks can say that: the
sender's wall clock, which RTCP carries (RFC 3550, section 6.4); the arrival of the pictures that were least
under way; and the arrival of each, where there are no usable stamps.
"""

from __future__ import annotations

import logging
from typing import Literal, TypeAlias

Origin: TypeAlias = Literal["sender", "stream", "arrival"]
"""``sender``: the sender's wall clock; ``stream``: its time stamps, which begin at the arrival of the
pictures that came quickest; ``arrival``: when each picture came."""
Times: TypeAlias = Literal["auto", "stream", "arrival"]
"""What may be used: ``auto`` everything, ``stream`` all but the sender's wall clock."""

log = logging.getLogger(__name__)

_MS = 1_000_000
BUCKET_NS = 2_000 * _MS
"""The smallest difference is that of the last two to four seconds."""
DRIFT = 200e-6
"""Two clocks run apart by no more than that."""
STEP_NS = 1_000 * _MS
"""A difference that stays so much above the smallest one was a step of a clock."""
OLDEST_NS, NEWEST_NS = 2_000 * _MS, 20 * _MS
"""By the sender's clock a picture comes at most so late, and at most so early: else that clock is wrong."""
PROBATION_NS = 500 * _MS
"""The sender's clock is used when it was known for so long: what is said of the first pictures may be that of
their neighbours."""
MOST_STEPS = 3
"""Stamps that jump more often than that in one connection are not usable."""
MOST_WITHOUT = 10
"""So many pictures in a row without a stamp: there are none. (The first ones of a stream may lack theirs.)"""


class Anchor:
    """How far two clocks are apart, from differences of which each holds a delay, and some hardly any.

    It is the smallest difference of late, follows a drift of the clocks, and begins anew at a step.
    """

    def __init__(self) -> None:
        self._offset: int | None = None
        self._lows: tuple[int | None, int | None] = None, None
        """The smallest difference of this bucket and of the one before."""
        self._begun_ns = 0
        self.steps = 0
        """How often the difference rose for good."""

    def take(self, difference_ns: int, now_ns: int) -> int:
        """The distance of the two clocks, with one more difference known.

        Args:
            difference_ns: First clock minus second clock, plus a delay.
            now_ns: On a clock that never goes back.
        """
        if self._offset is None:
            self._offset, self._begun_ns = difference_ns, now_ns
        low, before = self._lows
        if now_ns - self._begun_ns >= BUCKET_NS:
            self._rise(now_ns - self._begun_ns, [known for known in (low, before) if known is not None])
            low, before, self._begun_ns = None, low, now_ns
        self._lows = (difference_ns if low is None else min(low, difference_ns)), before
        self._offset = min(self._offset, difference_ns)
        return self._offset

    def _rise(self, passed_ns: int, lows: list[int]) -> None:
        assert self._offset is not None
        above = min(lows, default=self._offset) - self._offset
        if above > STEP_NS:
            self._offset += above
            self.steps += 1
            self._lows = None, None
        elif above > 0:
            self._offset += min(above, round(passed_ns * DRIFT))


class Stamps:
    """Gives every picture of one connection its capture time.

    Times never lie after the arrival. They go forward, but for the moment at which the sender's clock is
    first known, and for jumps of that clock.

    Args:
        name: For messages.
        times: What may be used.
        wall_ns: Our wall clock minus our monotonic clock, nanoseconds. It is taken once, so that a wall clock
            that is set while the program runs moves no picture.
    """

    def __init__(self, name: str, times: Times, wall_ns: int) -> None:
        self._name, self._wall_ns = name, wall_ns
        self._origin: Origin | None = None
        self._usable, self._believed = times != "arrival", times == "auto"
        self._arrivals, self._senders = Anchor(), Anchor()
        self._newest: tuple[int, int] | None = None
        """Stamp and arrival of the newest packet."""
        self._offset: int | None = None
        """Our clock minus the stream's clock, and the shortest delay."""
        self._sender: int | None = None
        """The sender's wall clock minus the stream's clock."""
        self._sender_since_ns: int | None = None
        self._last: int | None = None
        self._resets = self._without = 0

    @property
    def origin(self) -> Origin | None:
        """What the last capture time rests on; None before the first."""
        return self._origin

    def came(self, stamp_ns: int, arrival_ns: int) -> None:
        """A packet came.

        Args:
            stamp_ns: Of its picture, on the stream's clock; one that refers to a later one comes after it.
            arrival_ns: The earliest moment at which it is known to have been here, monotonic nanoseconds.
        """
        self._newest = stamp_ns, arrival_ns
        self._offset = self._arrivals.take(arrival_ns - stamp_ns, arrival_ns)

    def sent(self, stamp_ns: int, wall_ns: int, arrival_ns: int) -> None:
        """The sender's wall clock at a stamp.

        Args:
            stamp_ns: On the stream's clock.
            wall_ns: Nanoseconds since 1970.
            arrival_ns: Monotonic nanoseconds.
        """
        self._sender = self._senders.take(wall_ns - stamp_ns, arrival_ns)
        if self._sender_since_ns is None:
            self._sender_since_ns = arrival_ns

    def time_ns(self, stamp_ns: int | None, arrival_ns: int) -> int | None:
        """Capture time of a picture in monotonic nanoseconds; its packet was told of by :meth:`came`.

        Args:
            stamp_ns: Its stamp on the stream's clock; None where it has none.
            arrival_ns: When it was here, monotonic nanoseconds.

        Returns:
            None for a picture without a stamp where others have one: when it was taken is not known.
        """
        if self._usable and (stamp_ns is None or self._offset is None):
            self._without += 1
            if self._without < MOST_WITHOUT:
                return None
            self._give_up("there are none")
        if not self._usable or stamp_ns is None or self._offset is None:
            return self._by("arrival", arrival_ns)
        self._without = 0
        if self._last is not None and stamp_ns < self._last:
            self._reset()
        self._last = stamp_ns
        anchored = min(stamp_ns + self._offset, arrival_ns)
        if self._resets + self._arrivals.steps > MOST_STEPS:
            self._give_up("they jump again and again")
            return self._by("arrival", arrival_ns)
        sent = self._by_sender(stamp_ns, anchored, arrival_ns)
        return self._by("stream", anchored) if sent is None else self._by("sender", sent)

    def _by_sender(self, stamp_ns: int, anchored_ns: int, arrival_ns: int) -> int | None:
        """By the sender's wall clock; None where it is not known, or cannot be right.

        It is judged by the pictures that came quickest: one that was long under way does not refute it.
        """
        since_ns = self._sender_since_ns
        if not self._believed or self._sender is None or since_ns is None:
            return None
        if arrival_ns - since_ns < PROBATION_NS:
            return None
        time_ns = stamp_ns + self._sender - self._wall_ns
        if -NEWEST_NS <= anchored_ns - time_ns <= OLDEST_NS:
            return min(time_ns, arrival_ns)
        self._believed = False
        log.info(
            "%s: by the sender's clock pictures come %.3f s after they were taken; that clock is not used",
            self._name, (anchored_ns - time_ns) / 1e9,
        )  # fmt: skip
        return None

    def _reset(self) -> None:
        """The stream's clock went back: nothing that was known of it holds."""
        steps, self._resets = self._arrivals.steps, self._resets + 1
        self._arrivals, self._senders, self._sender = Anchor(), Anchor(), None
        self._sender_since_ns = None
        self._arrivals.steps = steps
        if self._newest is not None:
            self.came(*self._newest)
        if self._resets == 1:
            log.warning("%s: the time stamps of its stream went back; they begin anew", self._name)

    def _give_up(self, why: str) -> None:
        self._usable = False
        log.warning(
            "%s: the time stamps of its stream are not used, %s; frames are taken as of when they arrive",
            self._name, why,
        )  # fmt: skip

    def _by(self, origin: Origin, time_ns: int) -> int:
        if origin != self._origin:
            self._origin = origin
            log.info("%s: capture times by %s", self._name, _WORDS[origin])
        return time_ns


_WORDS = {
    "sender": "the sender's wall clock",
    "stream": "the stream's time stamps",
    "arrival": "the arrival of the frames",
}
