"""Which infrared and visible frames belong to the same moment.

Let ``a`` be the older and ``b`` the newer of the two frames that wait longest, one a camera.

- More than the tolerance apart: ``a`` has no partner, for ``b`` is the nearest it can still get.
- The next frame of ``a``'s camera is nearer to ``b``: ``a`` has no partner.
- Otherwise they are a pair.

So every pair is one of mutual nearest neighbours among the frames not passed yet, the slower
camera leads, and the result does not depend on the order in which frames arrived. A recording
waits for the next frame to decide. A live rig decides as soon as the rhythm and the delivery
delay of a camera tell that its next frame cannot change the outcome.

With policy ``nearest`` the visible camera leads, and every frame of it gets the infrared frame nearest in
time, whether or not that was shown before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal, TypeAlias

from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.pairing import nearest
from tdfusion_edge.runtime.pairing.skew import SkewReport, SkewWindow
from tdfusion_edge.runtime.pairing.waiting import Stream

Reason: TypeAlias = Literal[
    "paired",
    "held",
    "single",
    "unmatched",
    "late",
    "duplicate",
    "jumped",
    "overrun",
    "missing",
    "superseded",
    "left",
]


class Synchroniser:
    """Pairs the frames of two cameras by capture time; no thread and no clock of its own.

    What became of every frame pushed is counted once, under the camera it came from: ``paired``,
    ``held`` (shown with an infrared frame that was passed before), ``single`` (shown alone), or
    dropped as ``unmatched``, ``late`` (not after the frame before it), ``duplicate`` (same sequence
    number), ``overrun`` (too many were waiting, the oldest goes), ``superseded`` (its pair was too
    old to be shown) or ``left`` (not shown when the stream ended). ``missing`` counts gaps in the
    sequence: frames that were never pushed, and ``jumped`` those that a caller did not push, for their
    camera's clock had jumped.

    Args:
        sync: ``[sync]`` of the rig.
        live: The world sets the pace: ``now_ns`` and the delays between capture and arrival count.
            False for recordings: capture times alone decide, and a frame waits until the other
            camera's next frame or end is known. Ask :meth:`room` before reading on.
        capacity: Frames of one camera that may wait, 2 or more. Live, it must cover the difference
            of the cameras' delivery delays.
    """

    def __init__(self, sync: rig.Sync, *, live: bool, capacity: int = 8) -> None:
        if capacity < 2:
            raise ValueError(f"capacity must be 2 or more, got {capacity}")
        self._policy, self._live, self._capacity = sync.policy or "single", live, capacity
        self._on_missing = sync.on_missing
        self._tolerance_ns, self._silent_ns = round(sync.tolerance_ms * 1e6), round(sync.silent_ms * 1e6)
        self._age_ns = self._silent_ns if sync.age_ms is None else round(sync.age_ms * 1e6)
        self._streams: dict[rig.Role, Stream] = {"infrared": Stream(), "visible": Stream()}
        self._counts: dict[rig.Role, Counter[Reason]] = {"infrared": Counter(), "visible": Counter()}
        self._skew = SkewWindow()
        self._start_ns: int | None = None
        """First arrival (live) or earliest capture time (recording) of either camera."""
        self._emitted_ns: int | None = None
        """Time of the last pair; pairs only go forward."""
        self._shown: Frame | None = None
        """Infrared frame of the last pair that ``nearest`` made; it may wait for further ones."""
        self._passed_uncounted = 0
        """1 where ``nearest`` passed an infrared frame that may still be shown."""

    @property
    def counts(self) -> Mapping[rig.Role, Counter[Reason]]:
        """Frames of each camera by reason."""
        return self._counts

    def count(self, role: rig.Role, reason: Reason, frames: int = 1) -> None:
        """Add to the counters."""
        if frames:
            self._counts[role][reason] += frames

    def supersede(self, pair: Pair, reason: Literal["superseded", "left"]) -> None:
        """Count the frames of a pair under ``reason`` instead: it was given out but not shown."""
        single = pair.infrared is None or pair.visible is None
        told: Reason = "held" if pair.held else "single" if single else "paired"
        roles: list[rig.Role] = []
        if pair.infrared is not None and not pair.held:
            roles.append("infrared")
        if pair.visible is not None:
            roles.append("visible")
        for role in roles:
            self._counts[role][told] -= 1
            self._counts[role][reason] += 1

    def close(self) -> None:
        """Count what still waits for a partner as ``left``; safe to call twice."""
        for role, stream in self._streams.items():
            self.count(role, "left", self._uncounted(role))
            stream.waiting.clear()
        self._passed_uncounted = 0

    def skew_report(self) -> SkewReport:
        """Median and drift of the skew over the last pairs."""
        return self._skew.report(self._streams["infrared"].interval_ns, self._streams["visible"].interval_ns)

    def room(self, role: rig.Role) -> bool:
        """True where one more frame of this camera can wait without loss.

        After :meth:`ready` at least one of two cameras that have not finished has room.
        """
        return len(self._streams[role].waiting) < self._capacity

    def waits(self, role: rig.Role) -> bool:
        """Whether a frame of this camera waits for a partner."""
        return bool(self._streams[role].waiting)

    def waiting(self, role: rig.Role) -> int:
        """How many frames of this camera wait: never more than the capacity."""
        return len(self._streams[role].waiting)

    def push(self, role: rig.Role, frame: Frame, now_ns: int) -> None:
        """Take the next frame of a camera.

        Args:
            role: Its camera.
            frame: The frame, its capture time corrected for the camera's offset.
            now_ns: Time of arrival in nanoseconds, on a clock that never goes back.
        """
        stream = self._streams[role]
        if self._live and stream.set_back(frame, now_ns, self._silent_ns):
            self.count(role, "late", self._uncounted(role))
            self._passed_uncounted = 0 if role == "infrared" else self._passed_uncounted
            stream.restart()
            self._emitted_ns = None if self._emitted_ns is None else min(self._emitted_ns, frame.time_ns - 1)
        stream.heard_ns = now_ns
        refused = self._refused(role, frame)
        if refused is not None:
            self.count(role, "missing", stream.refuse(frame))
            self.count(role, refused)
            return
        if not self.room(role):
            self._drop(role, "overrun")
        self.count(role, "missing", stream.take(frame, now_ns))
        first_ns = now_ns if self._live else frame.time_ns
        self._start_ns = first_ns if self._start_ns is None else min(self._start_ns, first_ns)

    def leave_out(self, role: rig.Role, frame: Frame) -> None:
        """Count a frame that is not pushed because its camera's clock had ``jumped``."""
        self.count(role, "missing", self._streams[role].refuse(frame))
        self.count(role, "jumped")

    def finish(self, role: rig.Role) -> None:
        """The camera's stream has ended."""
        self._streams[role].finished = True

    def ready(self, now_ns: int) -> list[Pair]:
        """All pairs that can be told now, in order of their times.

        Times increase from pair to pair; only a live camera whose clock was set back begins anew.

        Call it after every :meth:`push` and :meth:`finish`; live also every few milliseconds, for
        a frame whose partner does not come is told by the clock.
        """
        pairs: list[Pair] = []
        while self._decide(pairs, now_ns):
            pass
        return pairs

    def _refused(self, role: rig.Role, frame: Frame) -> Literal["duplicate", "late"] | None:
        last = self._streams[role].last
        if last is not None and frame.sequence == last[0]:
            return "duplicate"
        # A visible frame gives its pair the time; one before the last pair can only go backwards.
        behind = role == "visible" and self._emitted_ns is not None and frame.time_ns <= self._emitted_ns
        return "late" if behind or (last is not None and frame.time_ns <= last[1]) else None

    def _decide(self, pairs: list[Pair], now_ns: int) -> bool:
        """Settle the oldest waiting frame, alone or with its partner; False where it is too early."""
        infrared, visible = self._streams["infrared"].waiting, self._streams["visible"].waiting
        if not infrared and not visible:
            return False
        if self._policy == "nearest":
            return self._decide_nearest(pairs, now_ns)
        if not infrared or not visible:
            role: rig.Role = "infrared" if infrared else "visible"
            if not self._partner_excluded(role, now_ns):
                return False
            return self._part(role, pairs, now_ns)
        role = "infrared" if infrared[0].frame.time_ns <= visible[0].frame.time_ns else "visible"
        nearest = self._nearest(role, now_ns)
        if nearest is None:
            return False
        return self._join(pairs) if nearest else self._part(role, pairs, now_ns)

    def _decide_nearest(self, pairs: list[Pair], now_ns: int) -> bool:
        """Settle the oldest visible frame, or an infrared one that no visible one will come for."""
        infrared, visible = self._streams["infrared"], self._streams["visible"]
        if not visible.waiting:
            over = visible.finished or self._silent("infrared", infrared.waiting[0].frame, now_ns)
            return over and self._part("infrared", pairs, now_ns)
        frame, since_ns = visible.waiting[0]
        while infrared.waiting and infrared.waiting[0].frame.time_ns <= frame.time_ns:
            self._drop("infrared", "unmatched")
        around = nearest.neighbours(infrared)
        if around.after is None and not self._last_is_nearest(around.before, frame, since_ns, now_ns):
            return False
        found = around.nearest(frame.time_ns)
        if found is None or abs(found.time_ns - frame.time_ns) > self._age_ns:
            return self._part("visible", pairs, now_ns)
        return self._join_nearest(found, pairs)

    def _last_is_nearest(self, last: Frame | None, frame: Frame, since_ns: int, now_ns: int) -> bool:
        """Whether no infrared frame nearer to a visible one than the last one is still to come."""
        infrared = self._streams["infrared"]
        away_ns = self._age_ns if last is None else min(abs(frame.time_ns - last.time_ns), self._age_ns)
        if self._passed(infrared, frame.time_ns + away_ns, since_ns, now_ns):
            return True
        return self._live and (
            nearest.is_announced_farther(infrared, frame.time_ns) or self._silent("visible", frame, now_ns)
        )

    def _join_nearest(self, infrared: Frame, pairs: list[Pair]) -> bool:
        visible = self._streams["visible"].pop()
        if self._emitted_ns is not None and visible.time_ns <= self._emitted_ns:
            self.count("visible", "unmatched")
            return True
        again = infrared is self._shown
        current = again and nearest.is_current(self._streams["infrared"], infrared, visible.time_ns)
        pair = Pair(infrared, visible, held=again, current=current)
        assert pair.skew_ns is not None
        self.count("visible", "held" if again else "paired")
        self.count("infrared", "paired", 0 if again else 1)
        if infrared is self._streams["infrared"].passed:
            self._passed_uncounted = 0
        self._shown = infrared
        self._skew.add(pair.time_ns, pair.skew_ns)
        return self._emit(pair, pairs)

    def _uncounted(self, role: rig.Role) -> int:
        """Frames of a camera that were taken, and neither shown nor dropped yet."""
        waiting = self._streams[role].waiting
        passed = self._passed_uncounted if role == "infrared" else 0
        return passed + len(waiting) - bool(waiting and waiting[0].frame is self._shown)

    def _drop(self, role: rig.Role, reason: Literal["unmatched", "overrun"]) -> None:
        """Pass the oldest waiting frame; an infrared one may still be shown with policy ``nearest``."""
        frame = self._streams[role].pop()
        if role == "visible" or self._policy != "nearest":
            self.count(role, reason)
            return
        self.count(role, reason, self._passed_uncounted)
        self._passed_uncounted = int(frame is not self._shown)

    def _partner_excluded(self, role: rig.Role, now_ns: int) -> bool:
        """True where the oldest frame of ``role`` gets no partner from the other, empty, queue."""
        other = self._streams[rig.OTHER[role]]
        frame, since_ns = self._streams[role].waiting[0]
        latest_ns = frame.time_ns + self._tolerance_ns
        if self._passed(other, latest_ns, since_ns, now_ns):
            return True
        if not self._live:
            return False
        # A jitter of one tolerance is granted to the frame that the rhythm announces.
        announced_ns = other.last[1] + other.interval_ns if other.last and other.interval_ns else None
        return self._silent(role, frame, now_ns) or (
            announced_ns is not None and announced_ns > latest_ns + self._tolerance_ns
        )

    def _nearest(self, role: rig.Role, now_ns: int) -> bool | None:
        """Whether the oldest frame of ``role`` is the nearest to the other's; None: too early to say."""
        stream, other = self._streams[role], self._streams[rig.OTHER[role]]
        (older, older_since_ns), (newer, newer_since_ns) = stream.waiting[0], other.waiting[0]
        gap_ns = newer.time_ns - older.time_ns
        if gap_ns > self._tolerance_ns:
            return False
        if len(stream.waiting) > 1:
            return abs(stream.waiting[1].frame.time_ns - newer.time_ns) >= gap_ns
        if self._live and stream.interval_ns is not None and 2 * gap_ns <= stream.interval_ns:
            return True
        since_ns = max(older_since_ns, newer_since_ns)
        return True if self._passed(stream, newer.time_ns + gap_ns, since_ns, now_ns) else None

    def _passed(self, stream: Stream, time_ns: int, since_ns: int, now_ns: int) -> bool:
        """True where frames captured up to ``time_ns`` would have arrived; waited for since ``since_ns``."""
        if stream.finished:
            return True
        if not self._live:
            return False
        waited_ns = now_ns - since_ns
        if stream.delay_ns is None:
            return waited_ns > self._tolerance_ns
        return now_ns > time_ns + stream.delay_ns or waited_ns >= self._silent_ns

    def _silent(self, role: rig.Role, frame: Frame, now_ns: int) -> bool:
        """True where the other camera had been silent for long when ``frame`` was taken."""
        other = self._streams[rig.OTHER[role]]
        if other.finished and (self._live or other.last is None):
            return True
        assert self._start_ns is not None
        if self._live:
            heard_ns = self._start_ns if other.heard_ns is None else other.heard_ns
            return now_ns - heard_ns >= self._silent_ns
        heard_ns = other.passed.time_ns if other.passed else self._start_ns
        return frame.time_ns - heard_ns >= self._silent_ns

    def _join(self, pairs: list[Pair]) -> bool:
        pair = Pair(self._streams["infrared"].pop(), self._streams["visible"].pop())
        assert pair.skew_ns is not None
        self.count("infrared", "paired")
        self.count("visible", "paired")
        self._skew.add(pair.time_ns, pair.skew_ns)
        return self._emit(pair, pairs)

    def _part(self, role: rig.Role, pairs: list[Pair], now_ns: int) -> bool:
        frame = self._streams[role].pop()
        if role == "infrared":
            self.count(role, "unmatched", self._passed_uncounted)
            self._passed_uncounted = 0
        if frame is self._shown:
            return True
        pair = self._without_partner(role, frame, now_ns)
        if pair is None or (self._emitted_ns is not None and pair.time_ns <= self._emitted_ns):
            self.count(role, "unmatched")
            return True
        self.count(role, "held" if pair.held else "single")
        return self._emit(pair, pairs)

    def _without_partner(self, role: rig.Role, frame: Frame, now_ns: int) -> Pair | None:
        """What the policy makes of a frame without partner."""
        held = self._streams["infrared"].passed
        if self._policy == "hold-last" and role == "visible" and held is not None:
            fresh = abs(frame.time_ns - held.time_ns) <= self._age_ns
            return Pair(held, frame, held=True) if fresh else None
        borne = self._policy in ("single", "nearest") and self._on_missing in (None, rig.OTHER[role])
        if borne and self._silent(role, frame, now_ns):
            return Pair(None, frame) if role == "visible" else Pair(frame, None)
        return None

    def _emit(self, pair: Pair, pairs: list[Pair]) -> bool:
        self._emitted_ns = pair.time_ns
        pairs.append(pair)
        return True
