"""Two simulated cameras without pictures: stamps, arrivals, the truth, and the best that pairing can do."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.pairing.content import Place
from tdfusion_edge.runtime.pairing.sync import Synchroniser
from tdfusion_edge.runtime.pairing.timing import TimeReport, Timing
from tdfusion_edge.runtime.simulation.faults import Faults

Couple = tuple[int, int]
"""Numbers of an infrared and a visible frame."""

EPOCH_NS = 100_000_000_000
TICK_NS = 5_000_000
"""The synchroniser is asked this often, as by the loop."""
_PICTURE = np.zeros((2, 2), np.uint8)


@dataclass(frozen=True)
class SimulatedCamera:
    """A camera by its rate, its faults and the way of its frames."""

    fps: float
    faults: Faults
    way_ms: float
    """Least time from exposure to arrival."""
    wait_ms: float = 3.0
    """Mean of what comes on top of that, exponentially distributed."""


class Exposure(NamedTuple):
    """One frame that arrived."""

    role: rig.Role
    number: int
    true_ns: int
    stamp_ns: int
    arrival_ns: int


def exposures(cameras: Mapping[rig.Role, SimulatedCamera], seconds: float, seed: int) -> list[Exposure]:
    """All frames in the order of their arrival, each camera's in that of their numbers."""
    found = []
    for place, (role, camera) in enumerate(cameras.items()):
        rng = np.random.default_rng((seed, place))
        before_ns = 0
        for number in range(int(seconds * camera.fps)):
            on_top_ms = rng.exponential(camera.wait_ms)
            if camera.faults.lost(number, camera.fps):
                continue
            true_ns = EPOCH_NS + round(number * 1e9 / camera.fps)
            stamp_ns = true_ns + camera.faults.stamp_error_ns(number, camera.fps)
            before_ns = max(before_ns, true_ns + round((camera.way_ms + on_top_ms) * 1e6))
            found.append(Exposure(role, number, true_ns, stamp_ns, before_ns))
    return sorted(found, key=lambda one: one.arrival_ns)


class Played(NamedTuple):
    """What came of the frames."""

    pairs: list[Pair]
    waits_ms: list[float]
    """Of each pair, from the arrival of its later frame to the decision."""
    times: TimeReport
    counts: dict[rig.Role, dict[str, int]]
    most_waiting: int
    """Most frames of one camera that waited at once."""


def play(found: list[Exposure], sync: rig.Sync, offsets_ms: Mapping[rig.Role, float] | None = None) -> Played:
    """Give frames to what pairs a live rig, as the threads of a run do, on a clock that is advanced."""
    stop = threading.Event()
    timing = Timing(sync, Place(), live=True, stop=stop)
    paired = Synchroniser(sync, live=True)
    arrived: dict[Couple, int] = {}
    pairs: list[Pair] = []
    waits_ms: list[float] = []
    most = 0
    for one, now_ns in _ticks(found):
        if one is not None:
            offset_ns = round((offsets_ms or {}).get(one.role, 0.0) * 1e6)
            frame = Frame(_PICTURE, one.stamp_ns + offset_ns, one.number, one.role)
            timed = timing.corrected(one.role, frame, now_ns)
            arrived[one.role == "visible", one.number] = now_ns
            if timed is None:
                paired.count(one.role, "jumped")
            else:
                paired.push(one.role, timed, now_ns)
        elif not (paired.waits("infrared") or paired.waits("visible")):
            continue
        for pair in paired.ready(now_ns):
            pairs.append(pair)
            frames = [(False, pair.infrared), (True, pair.visible)]
            later_ns = max(arrived[key, frame.sequence] for key, frame in frames if frame is not None)
            waits_ms.append((now_ns - later_ns) / 1e6)
        most = max(most, *(paired.waiting(role) for role in rig.OTHER))
    stop.set()
    timing.close()
    counts = {
        role: {str(reason): count for reason, count in reasons.items()}
        for role, reasons in paired.counts.items()
    }
    return Played(pairs, waits_ms, timing.report(), counts, most)


def _ticks(found: list[Exposure]) -> Iterator[tuple[Exposure | None, int]]:
    """Every arrival, and the moments in between at which the loop looks."""
    now_ns = found[0].arrival_ns
    for one in found:
        while now_ns + TICK_NS < one.arrival_ns:
            now_ns += TICK_NS
            yield None, now_ns
        now_ns = max(now_ns, one.arrival_ns)
        yield one, now_ns
    for _ in range(400):
        now_ns += TICK_NS
        yield None, now_ns


def best_pairs(found: list[Exposure], tolerance_ms: float) -> set[Couple]:
    """The most pairs within the tolerance by the true times, and of those the nearest (Hungarian method)."""
    times = {
        role: np.array([(one.number, one.true_ns) for one in found if one.role == role], np.int64)
        for role in rig.OTHER
    }
    infrared, visible = times["infrared"], times["visible"]
    limit_ns = tolerance_ms * 1e6
    best: set[Couple] = set()
    for rows, columns in _groups(infrared[:, 1], visible[:, 1], limit_ns):
        away = np.abs(infrared[rows, 1][:, None] - visible[columns, 1][None]).astype(np.float64)
        # Every pair that is possible is worth more than all nearness together.
        cost = np.where(away <= limit_ns, away / limit_ns - 1e6, 0.0)
        for row, column in zip(*linear_sum_assignment(cost), strict=True):
            if away[row, column] <= limit_ns:
                best.add((int(infrared[rows[row], 0]), int(visible[columns[column], 0])))
    return best


def _groups(
    one_ns: npt.NDArray[np.int64], other_ns: npt.NDArray[np.int64], limit_ns: float
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Frames that can have a partner among each other, by their places; no pair crosses two groups."""
    times = np.concatenate([one_ns, other_ns])
    order = np.argsort(times, kind="stable")
    cuts = np.flatnonzero(np.diff(times[order]) > limit_ns) + 1
    for group in np.split(order, cuts):
        rows, columns = group[group < len(one_ns)], group[group >= len(one_ns)] - len(one_ns)
        if len(rows) and len(columns):
            yield rows, columns


def couples(pairs: list[Pair]) -> list[Couple]:
    """The numbers of the frames of each fresh pair."""
    return [
        (pair.infrared.sequence, pair.visible.sequence)
        for pair in pairs
        if pair.infrared is not None and pair.visible is not None and not pair.held
    ]
