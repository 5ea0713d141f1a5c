"""What is known of two cameras' time beside their pairs: clocks, content, stale and repeated frames."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.pairing.clocks import CameraClock, ClockReport
from tdfusion_edge.runtime.pairing.content import Content, ContentReport, Place, keep_looking

JOIN_S = 5.0
"""Longest wait for a look that does not end, seconds."""


@dataclass(frozen=True, slots=True)
class TimeReport:
    """Clocks by role, for live cameras whose clocks are followed, and what the content says."""

    clocks: Mapping[rig.Role, ClockReport]
    content: ContentReport | None


class Timing:
    """Corrects capture times of live cameras, and checks them by the content of the pictures.

    Args:
        sync: ``[sync]`` of the rig.
        place: What of the rig the content check needs.
        live: Both cameras are.
        stop: Set when the stream ends.
    """

    def __init__(self, sync: rig.Sync, place: Place, *, live: bool, stop: threading.Event) -> None:
        followed = live and sync.follow_clocks
        self._clocks = {role: CameraClock() for role in rig.OTHER} if followed else {}
        self._content = Content(place, sync.tolerance_ms)
        self._silent_ns = round(sync.silent_ms * 1e6)
        self._stale: Counter[rig.Role] = Counter()
        self._stop = stop
        self._thread = threading.Thread(
            target=keep_looking, args=(self._content, stop), name="content", daemon=True
        )
        self._thread.start()

    def look_at(self, role: rig.Role, frame: Frame) -> None:
        """Take a frame's picture for the check; from one thread a camera."""
        self._content.take(role, frame)

    def corrected(self, role: rig.Role, frame: Frame, now_ns: int) -> Frame | None:
        """The frame with its capture time on our clock; None where its clock may have jumped."""
        clock = self._clocks.get(role)
        if clock is None:
            return frame
        taken = clock.take(frame, now_ns)
        if taken is not None and clock.is_stale(taken, now_ns, self._silent_ns):
            self._stale[role] += 1
        return taken

    def counts(self, role: rig.Role) -> dict[str, int]:
        """Frames that were stale, and those that repeated a picture, if any: beside what became of them."""
        counts = {"stale": self._stale[role], "repeated": self._content.repeated[role]}
        return {reason: count for reason, count in counts.items() if count}

    def report(self) -> TimeReport:
        """What is known now."""
        clocks = {role: clock.report() for role, clock in self._clocks.items()}
        return TimeReport(clocks, self._content.report())

    def close(self) -> None:
        """Wait for the thread, ``stop`` being set."""
        self._thread.join(timeout=JOIN_S)
