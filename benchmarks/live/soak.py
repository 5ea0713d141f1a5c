"""A long run under faults of every kind: does it live, does it tell, does it count, does it come back?

python -m benchmarks.live.soak                     one minute
python -m benchmarks.live.soak --seconds 3600

The cameras are simulated (:mod:`benchmarks.live.faults`), the rest is what ``tdfusion-edge run`` is made of:
both readers, pairing, the bundle's networks, a video and lines of JSON. A fault is *told* when the camera's
state or what a result says of itself speaks of it, and *over* when neither does any more.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

from benchmarks.live.faults import FPS, KINDS, Fault, FaultyCamera, Kind, schedule
from benchmarks.process import MB, Memory
from benchmarks.schema import Figure, Results
from benchmarks.script import Benchmark, Measured, add_bundle, add_count, add_threads, main
from benchmarks.soak import SETTLED, WARM_UP_S, slope_per_minute
from tdfusion_edge import bundle
from tdfusion_edge.frames import Image
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.heads import annotated
from tdfusion_edge.runtime.measuring.timing import latencies
from tdfusion_edge.runtime.picture.watch import watch_of
from tdfusion_edge.runtime.pipeline.loop import Plan, run
from tdfusion_edge.runtime.pipeline.monitor import Monitor
from tdfusion_edge.runtime.pipeline.report import Report
from tdfusion_edge.runtime.sinks import open_sink
from tdfusion_edge.runtime.sources import open_source

LOOK_S = 0.05
"""A run is looked at this often."""
LOOP_S = 2.0
"""Seconds of the street that are played over and over."""
SIGNS: Mapping[Kind, tuple[str, ...]] = {
    "silent": ("state silent", "state failing"),
    "failing": ("state failing",),
    "dead": ("degraded dead",),
    "frozen": ("degraded frozen",),
}
"""What tells of a fault: a camera's state, or the end of a result's ``degraded`` with the role before it."""


class Look(NamedTuple):
    """A run at one moment."""

    at_s: float
    states: Mapping[rig.Role, str]
    degraded: str | None
    """Of the newest result."""
    pictures: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_count(parser, "seconds", 60, "duration")
    add_count(parser, "seed", 1, "names the faults")
    add_threads(parser)
    add_bundle(parser)


def measure(args: argparse.Namespace) -> Measured:
    """Run under faults and account."""
    faults = schedule(args.seed, args.seconds)
    with tempfile.TemporaryDirectory(prefix="faults") as folder:
        soaked = soak(Path(folder), faults, args.seconds, args.bundle, args.threads)
    figures = [
        *fault_figures(faults, soaked.looks),
        *count_figures(soaked.report.as_dict(), soaked.cameras),
        *process_figures(soaked.before, soaked.after, soaked.memory),
        Figure(name="pictures", value=soaked.report.pictures, unit="pictures"),
        Figure(name="longest time without a picture", value=longest_gap_s(soaked.looks), unit="s"),
    ]
    facts = {
        "bundle": bundle.read(args.bundle).manifest.name,
        "faults": str(len(faults)),
    }
    return Measured(
        Results(latencies=tuple(latencies(soaked.report.as_dict())), figures=tuple(figures)), facts
    )


class Soaked(NamedTuple):
    """What a run under faults left behind."""

    report: Report
    cameras: Mapping[rig.Role, FaultyCamera]
    looks: list[Look]
    memory: list[Memory]
    before: dict[str, int]
    after: dict[str, int]


def soak(folder: Path, faults: Sequence[Fault], seconds: float, bundle_path: Path, threads: int) -> Soaked:
    """Run for so long with these faults.

    Raises:
        TdfusionError: the run failed; that is what this is to find.
    """
    played, sync, monitor = pictures(), rig.Sync(policy="single"), Monitor()
    newest: list[Result] = []
    fuser = Fuser(
        bundle_path,
        threads=threads,
        stretch="temporal",
        visible_size=(640, 480),
        watch=watch_of(sync, recorded=False),
    )
    with fuser:
        sinks = [open_sink(folder / "run.mp4", picture=annotated), open_sink(folder / "run.jsonl")]
        before = _counted()
        epoch_ns = time.monotonic_ns()
        cameras = {role: FaultyCamera(role, played[role], faults, epoch_ns=epoch_ns) for role in played}

        def keep(result: Result) -> None:
            newest[:] = [result]

        plan = Plan(
            cameras, sync, fuser, "latest", sinks, seconds=seconds, monitor=monitor, on_result=keep
        )  # fmt: skip
        with _Looker(monitor, newest, epoch_ns) as looker:
            report = run(plan)
        if report.failure is not None:
            raise report.failure
    return Soaked(report, cameras, looker.looks, looker.memory, before, _counted())


class _Looker:
    """Looks at a run from a thread of its own, as a page would."""

    def __init__(self, monitor: Monitor, newest: list[Result], epoch_ns: int) -> None:
        self.looks: list[Look] = []
        self.memory: list[Memory] = []
        self._monitor, self._newest, self._epoch_ns = monitor, newest, epoch_ns
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="looker", daemon=True)

    def __enter__(self) -> _Looker:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        process = psutil.Process()
        while not self._stop.wait(LOOK_S):
            snapshot, at_s = self._monitor.snapshot(), (time.monotonic_ns() - self._epoch_ns) / 1e9
            states: Mapping[rig.Role, str] = {role: one.state for role, one in snapshot.cameras.items()}
            if self.looks and self.looks[-1].states == states:
                states = self.looks[-1].states  # shared: what is noted here counts as the run's memory
            degraded = self._newest[0].degraded if self._newest else None
            self.looks.append(Look(at_s, states, degraded, snapshot.pictures))
            if not self.memory or at_s - self.memory[-1].seconds >= 2:
                self.memory.append(Memory(at_s, process.memory_info().rss / MB))


def pictures() -> dict[rig.Role, list[Image]]:
    """Two seconds of the simulated street, by role."""
    found: dict[rig.Role, list[Image]] = {}
    roles: tuple[tuple[rig.Role, str], ...] = (("infrared", "sim://ir"), ("visible", "sim://vis"))
    for role, address in roles:
        camera = rig.Camera(uri=f"{address}?realtime=0&fps={FPS}")
        source = open_source(role, camera, role, epoch_ns=0)
        frames = [source.read() for _ in range(round(LOOP_S * FPS))]
        source.close()
        found[role] = [frame.image for frame in frames if frame is not None]
    return found


def fault_figures(faults: Sequence[Fault], looks: Sequence[Look]) -> Iterator[Figure]:
    """For every kind: how many there were, and for those that have a sign when it was told and when over."""
    for kind in KINDS:
        ours = [fault for fault in faults if fault.kind == kind]
        if not ours:
            continue
        yield Figure(name=f"{kind}: faults", value=len(ours), unit="faults")
        gaps = [longest_gap_s([look for look in looks if fault.on(look.at_s)]) for fault in ours]
        yield Figure(name=f"{kind}: longest time without a picture", value=max(gaps), unit="s")
        if kind not in SIGNS:
            again = [resumed_s(fault, looks) for fault in ours]
            yield from _times(f"{kind}: picture after its end", again)
            continue
        yield from _times(f"{kind}: told after", [told_s(fault, looks) for fault in ours])
        yield from _times(f"{kind}: over after its end", [over_s(fault, looks) for fault in ours])


def _times(name: str, seconds: Sequence[float | None]) -> Iterator[Figure]:
    known = [value for value in seconds if value is not None]
    yield Figure(name=f"{name}: never", value=len(seconds) - len(known), unit="faults")
    if known:
        yield Figure(name=f"{name}: median", value=round(float(np.median(known)), 3), unit="s")
        yield Figure(name=f"{name}: longest", value=round(max(known), 3), unit="s")


def shows(fault: Fault, look: Look) -> bool:
    """Whether what is seen of a run at a moment speaks of a fault."""
    state = f"state {look.states.get(fault.role)}"
    degraded = look.degraded or ""
    said = f"degraded {degraded.removeprefix(fault.role).strip()}"
    # "frozen" and "both dead" name no camera.
    return state in SIGNS[fault.kind] or said in SIGNS[fault.kind] or degraded == f"both {fault.kind}"


def told_s(fault: Fault, looks: Sequence[Look]) -> float | None:
    """Seconds from a fault's beginning until it was told; None: never while it was on."""
    return next(
        (look.at_s - fault.start_s for look in looks if fault.on(look.at_s) and shows(fault, look)), None
    )


def over_s(fault: Fault, looks: Sequence[Look]) -> float | None:
    """Seconds from a fault's end until nothing speaks of it any more; None: for ten seconds something did."""
    end_s = fault.start_s + fault.seconds
    for look in looks:
        if end_s <= look.at_s <= end_s + 10 and not shows(fault, look):
            return look.at_s - end_s
    return None


def resumed_s(fault: Fault, looks: Sequence[Look]) -> float | None:
    """Seconds from a fault's end until the next new picture; None: there was none."""
    end_s = fault.start_s + fault.seconds
    before = max((look.pictures for look in looks if look.at_s <= end_s), default=0)
    return next((look.at_s - end_s for look in looks if look.at_s > end_s and look.pictures > before), None)


def longest_gap_s(looks: Sequence[Look]) -> float:
    """Longest time in which the number of pictures stood still, seconds."""
    if not looks:
        return 0.0
    longest, since_s, count = 0.0, looks[0].at_s, looks[0].pictures
    for look in looks:
        if look.pictures != count:
            count, since_s = look.pictures, look.at_s
        longest = max(longest, look.at_s - since_s)
    return round(longest, 3)


def count_figures(report: dict[str, Any], cameras: Mapping[rig.Role, FaultyCamera]) -> Iterator[Figure]:
    """What the cameras did against what the run counted; each difference is to be 0."""
    for role, camera in cameras.items():
        told, did = report["cameras"][role], camera.counts
        settled = sum(told.get(reason, 0) for reason in SETTLED if reason != "missing")
        yield Figure(name=f"{role}: frames given", value=did["given"], unit="frames")
        differences = {
            "frames unaccounted": did["given"] - settled,
            "lost frames not counted": did["lost"] - told.get("missing", 0),
            "doubled frames not counted": did["again"] - told.get("duplicate", 0),
            "failures not counted": did["failed"] - told["failures"],
        }
        for name, value in differences.items():
            yield Figure(name=f"{role}: {name}", value=value, unit="frames")


def process_figures(
    before: Mapping[str, int], after: Mapping[str, int], memory: Sequence[Memory]
) -> Iterator[Figure]:
    """What the process gained: threads, descriptors, memory behind the warm-up."""
    for name in before:
        yield Figure(name=f"{name} gained", value=after[name] - before[name], unit=name)
    yield Figure(name="memory: largest", value=round(max(m.megabytes for m in memory), 1), unit="MB")
    slope = slope_per_minute([point for point in memory if point.seconds >= WARM_UP_S])
    if slope is not None:
        yield Figure(name="memory: slope", value=round(slope, 4), unit="MB a minute")


def _counted() -> dict[str, int]:
    """Threads and descriptors of this process."""
    return {"threads": threading.active_count(), "descriptors": len(os.listdir("/proc/self/fd"))}  # noqa: PTH208


BENCHMARK = Benchmark("live.soak", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
