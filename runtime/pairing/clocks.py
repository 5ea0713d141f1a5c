"""The capture times of a live camera on our clock: jitter, drift and jumps of its own clock taken out.

What was stamped by another clock is paired rightly today and wrongly in an hour: 100 parts in a million are
20 ms after three minutes. What is known of a camera's stamps is used here, and no more than that:

- its **jitter**, where the camera has a rhythm (:mod:`.rhythm`);
- its **drift** against our clock, by the arrival of its frames (:mod:`.drift`), once it is significant and
  such as a clock's drift can be. The times then keep the offset that the stamps had at the beginning;
- a **jump** by more than a quarter of a second, forward or back: stamps go on as if there had been none.

Constant offsets stay: the rig's ``offset_ms`` is for them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime.pairing.drift import Drift
from tdfusion_edge.runtime.pairing.rhythm import Rhythm

JUMP_NS = 250_000_000
"""Clocks are not set by less, and stamps do not tremble by as much."""
CONFIRMED = 3
"""So many frames agree on a jump: a single wild stamp is none."""
CLOCK_PPM = 500.0
"""No crystal is so far off; what changes faster is the delay, and not the clock."""
SETTLED = 48
"""Behind a jump the rhythm of so many frames tells the shift to less than a millisecond."""
SIGNIFICANT = 3.0
"""Drift is corrected where it is above so many standard errors,"""
FROM_MS = 1.0
"""and once it has come to this."""
HOPELESS = 16
"""So many frames behind the newest one: that one was wild, or the camera began anew."""
SLEW = 0.005
"""A correction moves the times by 5 ms a second at most."""


@dataclass(frozen=True, slots=True)
class ClockReport:
    """What is known of one camera's clock."""

    drift_ppm: float | None
    """How fast it runs against ours, in parts in a million; None while that is not known."""
    error_ppm: float | None
    """Standard error of that."""
    jitter_ms: float | None
    """How much its stamps tremble around its rhythm; None while that is not known."""
    corrected_ms: float
    """What is added to its stamps now for drift, milliseconds."""
    jumps: int
    """How often its clock jumped by more than a quarter of a second."""
    steps: int
    """Smaller sudden changes of the delay between stamp and arrival, which may be of either."""


class CameraClock:
    """Corrects the capture times of one camera's frames, in the order in which they come."""

    def __init__(self) -> None:
        self._rhythm, self._drift = Rhythm(), Drift()
        self._newest: tuple[int, int, int] | None = None
        """Sequence number, stamp and arrival of the newest frame in order."""
        self._suspects: list[tuple[int, int, int]] = []
        self._shift_ns = 0
        """Against all jumps so far."""
        self._unsettled, self._away_ns = 0, 0
        """Frames until the shift is settled, and the sum of how far they are away from the rhythm."""
        self._anchor: tuple[float, float] | None = None
        """A time within the line of the drift, and what was added to the stamps then."""
        self._reference_ns = 0.0
        """The delay at which nothing is to be added."""
        self._behind = 0
        """Frames in a row that are older than the newest one."""
        self._follows = False
        self._correction_ns = 0.0
        self._corrected_at_ns: int | None = None
        self._given_ns: int | None = None
        self._jumps = 0

    def take(self, frame: Frame, now_ns: int) -> Frame | None:
        """The frame with its capture time corrected; None where its clock may have jumped.

        Args:
            frame: Its time is the stamp, with the rig's offset.
            now_ns: Time of arrival on our clock.
        """
        stamp_ns = frame.time_ns
        if self._newest is not None and self._has_jumped(frame.sequence, stamp_ns, now_ns):
            self._suspects.append((frame.sequence, stamp_ns, now_ns))
            if len(self._suspects) < CONFIRMED or not self._confirmed():
                return None
        self._suspects = []
        in_order = self._newest is None or (stamp_ns > self._newest[1] and frame.sequence != self._newest[0])
        if not in_order:  # too late or twice: the synchroniser is to see it as such
            assert self._newest is not None
            assert self._given_ns is not None
            behind_ns = min(stamp_ns - self._newest[1], 0)
            self._behind += 1
            if self._behind >= HOPELESS:
                self._restart()
            else:
                return replace(frame, time_ns=self._given_ns + behind_ns)
        self._behind = 0
        self._newest = frame.sequence, stamp_ns, now_ns
        self._settle(frame.sequence, stamp_ns)
        steady_ns = self._rhythm.take(frame.sequence, stamp_ns + self._shift_ns)
        if self._drift.take(stamp_ns + self._shift_ns, now_ns):
            self._refer()
        time_ns = steady_ns + round(self._correct(now_ns))
        if self._given_ns is not None:
            time_ns = max(time_ns, self._given_ns + 1)
        self._given_ns = time_ns
        return replace(frame, time_ns=time_ns) if time_ns != stamp_ns else frame

    def is_stale(self, frame: Frame, now_ns: int, silent_ns: int) -> bool:
        """Whether a frame was on its way for longer than usual by the time after which a camera is silent."""
        least_ns = self._drift.least_ns
        if least_ns is None:
            return False
        return now_ns - frame.time_ns - least_ns + self._correction_ns > silent_ns

    def _restart(self) -> None:
        """Begin anew: nothing that was known of the stamps holds."""
        self._rhythm.restart()
        self._drift.restart()
        self._anchor, self._given_ns, self._shift_ns, self._follows = None, None, 0, False
        self._correction_ns = 0.0

    def report(self) -> ClockReport:
        """What is known now."""
        found = self._drift.estimate
        return ClockReport(
            None if found is None else found.ppm,
            None if found is None else found.error_ppm,
            self._rhythm.jitter_ms,
            self._correction_ns / 1e6,
            self._jumps,
            self._drift.steps,
        )

    def _has_jumped(self, sequence: int, stamp_ns: int, now_ns: int) -> bool:
        """Whether a stamp is one that only a clock that was set, or a wild one, gives."""
        assert self._newest is not None
        number, last_ns, arrived_ns = self._newest
        ahead_ns = (stamp_ns - last_ns) - (now_ns - arrived_ns)
        interval_ns, least_ns = self._rhythm.interval_ns, self._drift.least_ns
        if abs(ahead_ns) <= JUMP_NS or least_ns is None:
            return False
        numbered_ns = max(sequence - number, 1) * (interval_ns or 0)
        if ahead_ns < 0:
            # A frame that waited on its way comes late, but its stamp went on by an interval a number.
            return numbered_ns - (stamp_ns - last_ns) > JUMP_NS
        if interval_ns is not None and abs(stamp_ns - last_ns - numbered_ns) <= JUMP_NS:
            return False
        # One that waited less than those before it; but none can be faster than the way.
        return now_ns - (stamp_ns + self._shift_ns) < least_ns - JUMP_NS

    def _confirmed(self) -> bool:
        """Whether the newest suspects agree; the shift is set anew then."""
        suspects = self._suspects = self._suspects[-CONFIRMED:]
        for (_, one_ns, came_ns), (_, other_ns, later_ns) in pairwise(suspects):
            if other_ns <= one_ns or abs((other_ns - one_ns) - (later_ns - came_ns)) > JUMP_NS:
                return False
        assert self._newest is not None
        number, last_ns, arrived_ns = self._newest
        by_arrival_ns = median((stamp - last_ns) - (came - arrived_ns) for _, stamp, came in suspects)
        shift_ns = self._shift_ns - round(by_arrival_ns)
        # By the arrivals it is known to some milliseconds; by the rhythm, which goes on, better.
        expected = [self._rhythm.expected_ns(sequence, stamp + shift_ns) for sequence, stamp, _ in suspects]
        away = [
            stamp + shift_ns - due
            for (_, stamp, _), due in zip(suspects, expected, strict=True)
            if due is not None
        ]
        self._shift_ns = shift_ns - round(median(away)) if away else shift_ns
        self._newest = number, suspects[-1][1] - 1, arrived_ns
        self._unsettled, self._away_ns = (SETTLED if away else 0), 0
        self._jumps += 1
        return True

    def _settle(self, sequence: int, stamp_ns: int) -> None:
        """Behind a jump: by how much the shift is wrong tells itself by the rhythm, stamp by stamp."""
        if not self._unsettled:
            return
        due_ns = self._rhythm.expected_ns(sequence, stamp_ns + self._shift_ns)
        if due_ns is None:
            self._unsettled = 0
            return
        self._away_ns += stamp_ns + self._shift_ns - due_ns
        self._unsettled -= 1
        if not self._unsettled:
            self._shift_ns -= round(self._away_ns / SETTLED)

    def _refer(self) -> None:
        """The line of the drift moved: what the anchor's delay is by it."""
        found = self._drift.estimate
        if found is None:  # a step of the delay is not known to be one of the clock: what is added stays
            self._anchor = None
            return
        if self._anchor is None:
            self._anchor = found.begins_ns, self._correction_ns
        if self._anchor[0] >= found.begins_ns:
            self._reference_ns = found.at(self._anchor[0]) - self._anchor[1]

    def _correct(self, now_ns: int) -> float:
        """What is to be added to a stamp for drift, moving slowly towards what is known."""
        since_ns = 0 if self._corrected_at_ns is None else max(now_ns - self._corrected_at_ns, 0)
        self._corrected_at_ns = now_ns
        found = self._drift.estimate
        if found is None or self._anchor is None or abs(found.ppm) > CLOCK_PPM:
            return self._correction_ns
        wanted_ns = found.at(now_ns) - self._reference_ns
        if not self._follows:
            significant = abs(found.ppm) > SIGNIFICANT * found.error_ppm
            self._follows = significant and abs(wanted_ns) > FROM_MS * 1e6
        if self._follows:
            most_ns = SLEW * since_ns
            self._correction_ns += min(max(wanted_ns - self._correction_ns, -most_ns), most_ns)
        return self._correction_ns
