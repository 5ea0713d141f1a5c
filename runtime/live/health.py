"""Whether a run is well: two questions that a supervisor asks, answered from what happened lately."""

from __future__ import annotations

from typing import NamedTuple

from tdfusion_edge.runtime.pipeline.monitor import Snapshot

STUCK_S = 10.0
"""So long without a turn of the loop: a network hangs."""
STARTING_S = 300.0
"""So long a run may take to begin: an engine is built, or a street drawn."""
FRESH_S = 2.0
"""A ready run's newest picture is younger."""


class Verdict(NamedTuple):
    """An answer, and why."""

    good: bool
    reasons: tuple[str, ...] = ()
    """Why not; nothing of an address or a file stands in them."""


def alive(snapshot: Snapshot, since_start_s: float) -> Verdict:
    """Whether the process does its work; where not, starting it anew may help.

    Cameras that are silent are no reason: a new process finds them silent too.

    Args:
        snapshot: The run.
        since_start_s: Seconds since the page opened.
    """
    if not snapshot.running:
        if snapshot.pictures:
            return Verdict(False, ("the run has ended",))
        if since_start_s > STARTING_S:
            return Verdict(False, (f"the run has not begun in {since_start_s:.0f} s",))
        return Verdict(True)
    if snapshot.loop_age_s is not None and snapshot.loop_age_s > STUCK_S:
        return Verdict(False, (f"the loop has not turned for {snapshot.loop_age_s:.0f} s",))
    return Verdict(True)


def ready(snapshot: Snapshot) -> Verdict:
    """Whether fresh pictures of both cameras come out."""
    if not snapshot.running:
        return Verdict(False, ("the run has ended" if snapshot.pictures else "the run has not begun",))
    reasons = [
        f"{role} camera: {camera.state}"
        + (", no frame yet" if camera.age_s is None else f", newest frame {camera.age_s:.1f} s old")
        for role, camera in snapshot.cameras.items()
        if camera.state != "live"
    ]
    if snapshot.age_s is None:
        reasons.append("no picture yet")
    elif snapshot.age_s > FRESH_S:
        reasons.append(f"newest picture {snapshot.age_s:.1f} s old")
    return Verdict(not reasons, tuple(reasons))
