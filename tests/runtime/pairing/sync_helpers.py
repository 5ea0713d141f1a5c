"""Two cameras for the tests of the synchroniser: frames, a recording, a live rig, what must always hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.pairing.sync import Synchroniser

MS = 1_000_000
FATES = {"paired", "held", "single", "unmatched", "late", "duplicate", "overrun"}
ROLES: tuple[rig.Role, rig.Role] = ("infrared", "visible")
Push = tuple[rig.Role, Frame, int]


def frame(role: rig.Role, sequence: int, time_ms: float) -> Frame:
    """A frame whose pixels are its sequence number."""
    return Frame(np.full((2, 2), sequence, np.uint16), round(time_ms * MS), sequence, role)


def frames(role: rig.Role, times_ms: Iterable[float]) -> list[Frame]:
    return [frame(role, sequence, time) for sequence, time in enumerate(times_ms)]


def recorded(
    infrared: Iterable[Frame],
    visible: Iterable[Frame],
    sync: rig.Sync | None = None,
    order: Iterable[rig.Role] = (),
    capacity: int = 1000,
) -> tuple[list[Pair], Synchroniser]:
    """Pairs of a recording, read in the order given and then to the end."""
    paired = Synchroniser(sync or rig.Sync(policy="drop"), live=False, capacity=capacity)
    waiting = {"infrared": list(infrared), "visible": list(visible)}
    pairs: list[Pair] = []
    turns = [*order, *(role for _ in range(max(map(len, waiting.values())) + 1) for role in ROLES)]
    for role in turns:
        if waiting[role]:
            paired.push(role, waiting[role].pop(0), 0)
        else:
            paired.finish(role)
        pairs += paired.ready(0)
    return pairs, paired


def live(
    pushes: Iterable[Push],
    sync: rig.Sync | None = None,
    poll_ms: float = 1,
    capacity: int = 8,
    until_ms: float = 0,
) -> tuple[list[tuple[Pair, float]], Synchroniser]:
    """Pairs of a live rig with the time in ms when each came out, polled beside every arrival."""
    paired = Synchroniser(sync or rig.Sync(policy="drop"), live=True, capacity=capacity)
    pushes = sorted(pushes, key=lambda push: push[2])
    pairs: list[tuple[Pair, float]] = []
    now_ns = pushes[0][2] if pushes else 0
    end_ns = max(round(until_ms * MS), pushes[-1][2] + 1000 * MS if pushes else 0)
    while now_ns <= end_ns:
        while pushes and pushes[0][2] <= now_ns:
            role, picture, arrival_ns = pushes.pop(0)
            paired.push(role, picture, arrival_ns)
            pairs += [(pair, arrival_ns / MS) for pair in paired.ready(arrival_ns)]
        pairs += [(pair, now_ns / MS) for pair in paired.ready(now_ns)]
        now_ns += round(poll_ms * MS)
    return pairs, paired


def arriving(role: rig.Role, pictures: Iterable[Frame], delay_ms: float) -> list[Push]:
    return [(role, picture, picture.time_ns + round(delay_ms * MS)) for picture in pictures]


def sequences(pairs: Iterable[Pair]) -> list[tuple[int | None, int | None]]:
    return [
        (pair.infrared and int(pair.infrared.image[0, 0]), pair.visible and int(pair.visible.image[0, 0]))
        for pair in pairs
    ]


def check_invariants(pushes: list[Push], pairs: list[Pair], paired: Synchroniser, sync: rig.Sync) -> None:
    for role in ROLES:
        pushed = sum(push[0] == role for push in pushes)
        assert sum(count for reason, count in paired.counts[role].items() if reason in FATES) == pushed
    fates = Counter("held" if pair.held else "single" if pair.skew_ns is None else "paired" for pair in pairs)
    assert fates["held"] == paired.counts["visible"]["held"]
    assert fates["single"] == paired.counts["visible"]["single"] + paired.counts["infrared"]["single"]
    assert fates["paired"] == paired.counts["visible"]["paired"] == paired.counts["infrared"]["paired"]

    moments = [pair.time_ns for pair in pairs]
    assert moments == sorted(set(moments))
    shown = Counter(id(pair.infrared) for pair in pairs if pair.infrared and not pair.held)
    shown += Counter(id(pair.visible) for pair in pairs if pair.visible)
    assert set(shown.values()) <= {1}
    for pair in pairs:
        if pair.skew_ns is not None:
            limit_ms = sync.silent_ms if pair.held else sync.tolerance_ms
            assert abs(pair.skew_ns) <= limit_ms * MS
