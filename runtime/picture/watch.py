"""Which camera of a stream tells nothing about the scene, so that the other one is shown alone.

A *dead* picture has one level all over; a *frozen* one is repeated to the last bit, and beside one that lives
makes ghosts of all that moves. Both come back with the first picture that is neither.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import NamedTuple

from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.runtime.picture.dead import Dead
from tdfusion_edge.runtime.picture.frozen import Frozen
from tdfusion_edge.runtime.rig import OTHER, Role, Sync

log = logging.getLogger(__name__)

REPEAT_WARNING_NS = 5_000_000_000
"""A camera that comes and goes is told of this often, in capture time."""
FROZEN_MS = 2000.0
"""A live camera that repeats one picture for longer is left out; a thermal one's shutter is done by then."""
BOTH_DEAD = "both dead"
FROZEN = "frozen"


@dataclass(frozen=True, slots=True)
class Watch:
    """When a camera beside another one is left out."""

    dead_ms: float = 500.0
    """After so much capture time with nothing in its pictures, unless the other one shows nothing either."""
    frozen_ms: float | None = None
    """After so much of it with one picture repeated, if the other one lives; None: never."""


def watch_of(sync: Sync, *, recorded: bool) -> Watch:
    """What ``[sync]`` of a rig says about it; its defaults differ for cameras and for recordings."""
    frozen_ms = FROZEN_MS if sync.frozen_ms is None and not recorded else sync.frozen_ms
    return Watch(dead_ms=sync.silent_ms, frozen_ms=frozen_ms)


class Judged(NamedTuple):
    """What is wrong with a pair."""

    left_out: Role | None = None
    """The camera whose picture is not to be shown."""
    degraded: str | None = None
    """As :attr:`tdfusion_edge.result.Result.degraded` has it."""


class Watcher:
    """Follows both cameras of one stream.

    Args:
        watch: When one is left out.
    """

    def __init__(self, watch: Watch) -> None:
        self._dead_ns = watch.dead_ms * 1e6
        self._frozen_ns = None if watch.frozen_ms is None else watch.frozen_ms * 1e6
        self._dead: dict[Role, Dead] = {"infrared": Dead(), "visible": Dead()}
        self._frozen: dict[Role, Frozen] = {"infrared": Frozen(), "visible": Frozen()}
        self._told: dict[Role, str] = {}
        self._told_ns: int | None = None

    def judge(self, pair: Pair) -> Judged:
        """Take the next pair of both cameras, and say what is wrong with it.

        The pictures are kept until the next call, not copied: a source must not write into them again.
        """
        assert pair.infrared is not None
        assert pair.visible is not None
        self._take("infrared", pair.infrared)  # of a held one no time passes
        self._take("visible", pair.visible)
        left_out, why = self._left_out()
        self._tell(left_out, why, pair)
        if left_out is not None:
            return Judged(left_out, f"{left_out} {why}")
        if self._is_dead("infrared") and self._is_dead("visible"):
            return Judged(degraded=BOTH_DEAD)
        if pair.held and not pair.current:
            return Judged(degraded="held")
        return Judged(degraded=FROZEN if self._frozen["infrared"].told else None)

    def _take(self, role: Role, frame: Frame) -> None:
        self._dead[role].update(frame)
        if role == "infrared" or self._frozen_ns is not None:
            self._frozen[role].update(frame)

    def _left_out(self) -> tuple[Role | None, str]:
        for role, other in OTHER.items():
            if self._is_dead(role) and not self._is_dead(other):
                return role, "dead"
        for role, other in OTHER.items():
            still = self._frozen[role]
            if self._frozen_ns is None or not still.told or still.for_ns < self._frozen_ns:
                continue
            if not self._frozen[other].told and self._dead[other].for_ns is None:
                return role, FROZEN
        return None, ""

    def _is_dead(self, role: Role) -> bool:
        for_ns = self._dead[role].for_ns
        return for_ns is not None and for_ns >= self._dead_ns

    def _tell(self, left_out: Role | None, why: str, pair: Pair) -> None:
        """Say once what happens to a camera, and when it is over."""
        before = dict(self._told)
        now: dict[Role, str] = {} if left_out is None else {left_out: why}
        if now == before:
            return
        if self._told_ns is not None and 0 <= pair.time_ns - self._told_ns < REPEAT_WARNING_NS and now:
            return
        self._told = now
        if left_out is None:
            log.warning("%s camera: it is back", next(iter(before)))
            return
        self._told_ns = pair.time_ns
        what = "its pictures show nothing" if why == "dead" else "it repeats one picture"
        log.warning("%s camera: %s; %s goes on alone", left_out, what, OTHER[left_out])
