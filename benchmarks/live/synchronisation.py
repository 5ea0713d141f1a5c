"""Two cameras of 30 and 9 Hz whose clocks, stamps and streams are bad, paired, against the truth.

python -m benchmarks.live.synchronisation                  all of it
python -m benchmarks.live.synchronisation --minutes 120    pairing over two hours

Stamps and arrivals are simulated, and the clock is advanced, not waited for: figures do not depend on the
machine, the timings aside.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from benchmarks.live.rig import (
    EPOCH_NS,
    Played,
    SimulatedCamera,
    best_pairs,
    couples,
    exposures,
    play,
)
from benchmarks.schema import Figure, Results
from benchmarks.script import Benchmark, Measured, add_count, main
from tdfusion_edge.console import say
from tdfusion_edge.frames import Frame
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.measuring.timing import interleaved, timing
from tdfusion_edge.runtime.pairing.clocks import CameraClock
from tdfusion_edge.runtime.pairing.content import Content, ContentReport, Place
from tdfusion_edge.runtime.simulation.faults import Faults
from tdfusion_edge.runtime.simulation.scene import Scene

OFFSET_MS, DRIFT_PPM, JITTER_MS, LOST = 40.0, 100.0, 5.0, 0.05
TOLERANCE_MS = 20.0
WAYS_MS: dict[rig.Role, float] = {"infrared": 20.0, "visible": 8.0}
RATES: dict[rig.Role, float] = {"infrared": 9.0, "visible": 30.0}


def cameras(
    seed: int, *, offset_ms: float = OFFSET_MS, jump_s: float = 0.0, jumps_at_s: float = 90.0
) -> dict[rig.Role, SimulatedCamera]:
    """The rig that is measured: infrared's clock is off, drifts, and may jump."""
    common = Faults(jitter_ms=JITTER_MS, drop=LOST)
    faults: dict[rig.Role, Faults] = {
        "infrared": replace(
            common,
            offset_ms=offset_ms,
            drift_ppm=DRIFT_PPM,
            jump=(jumps_at_s, jump_s) if jump_s else None,
            seed=2 * seed + 1,
        ),
        "visible": replace(common, seed=2 * seed + 2),
    }
    return {role: SimulatedCamera(RATES[role], faults[role], WAYS_MS[role]) for role in RATES}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_count(parser, "minutes", 10, "simulated minutes of pairing")
    add_count(parser, "seeds", 3, "rigs that are simulated")
    add_count(parser, "seconds", 240, "simulated seconds of the street that the content is looked at for")
    add_count(parser, "rounds", 300, "frames that the cost is measured with")


def measure(args: argparse.Namespace) -> Measured:
    """Pair, look, time."""
    figures: list[Figure] = []
    for seed in range(args.seeds):
        say(f"pairing rig {seed} ...", error=True)
        figures += pairing_figures(args.minutes * 60.0, seed)
        figures += nearest_figures(min(args.minutes * 60.0, 600.0), seed)
    for jump_s in (3600.0, -3600.0):
        figures += pairing_figures(300.0, 0, jump_s=jump_s)
    for seed, offset_ms in ((3, OFFSET_MS), (5, OFFSET_MS), (3, 120.0)):
        say(f"looking at street {seed} for {args.seconds} s ...", error=True)
        figures += content_figures(args.seconds, seed, offset_ms)
    samples = interleaved(cost_cases(), rounds=args.rounds, warmup=50)
    timings = tuple(timing(name, values) for name, values in samples.items())
    return Measured(Results(timings=timings, figures=tuple(figures)), {"tolerance": f"{TOLERANCE_MS:g} ms"})


def pairing_figures(seconds: float, seed: int, *, jump_s: float = 0.0) -> Iterator[Figure]:
    """Pairs against the best possible, clocks followed and as stamped, and the drift that was found."""
    found = exposures(cameras(seed, jump_s=jump_s), seconds, seed)
    best = best_pairs(found, TOLERANCE_MS)
    title = f"rig {seed}, jump of {jump_s:+g} s" if jump_s else f"rig {seed}"
    for follow, name in ((True, "clocks followed"), (False, "as stamped")):
        sync = rig.Sync(policy="drop", tolerance_ms=TOLERANCE_MS, follow_clocks=follow)
        played = play(found, sync, {"infrared": -OFFSET_MS})
        made = couples(played.pairs)
        right = len(best & set(made))
        yield _figure(f"{title}, {name}: best pairs that were made", 100 * right / len(best), "%")
        yield _figure(f"{title}, {name}: pairs made that are the best", 100 * right / max(len(made), 1), "%")
        if follow:
            yield _figure(f"{title}: pairs", len(made), "pairs")
            yield _figure(f"{title}: wait for a pair, p99", float(np.percentile(played.waits_ms, 99)), "ms")
            yield from _drifts(title, played)


def _drifts(title: str, played: Played) -> Iterator[Figure]:
    for role, truth in (("infrared", DRIFT_PPM), ("visible", 0.0)):
        clock = played.times.clocks[role]  # type: ignore[index]
        if clock.drift_ppm is not None:
            yield _figure(f"{title}: drift of {role}, error", clock.drift_ppm - truth, "ppm")


def nearest_figures(seconds: float, seed: int) -> Iterator[Figure]:
    """Policy nearest: which visible frames got the infrared frame that is nearest by the truth."""
    found = exposures(cameras(seed), seconds, seed)
    played = play(found, rig.Sync(policy="nearest", age_ms=120.0), {"infrared": -OFFSET_MS})
    shown = {pair.visible.sequence: pair for pair in played.pairs if pair.visible and pair.infrared}
    times = {(one.role, one.number): one.true_ns for one in found}
    infrared = np.array(sorted(ns for (role, _), ns in times.items() if role == "infrared"))
    visible = {number: ns for (role, number), ns in times.items() if role == "visible"}
    ages_ms, right = [], 0
    for number, pair in shown.items():
        assert pair.infrared is not None
        age_ns = abs(visible[number] - times["infrared", pair.infrared.sequence])
        ages_ms.append(age_ns / 1e6)
        right += bool(age_ns <= np.abs(infrared - visible[number]).min() + 1_000)
    degraded = sum(pair.held and not pair.current for pair in shown.values())
    title = f"rig {seed}, nearest"
    yield _figure(f"{title}: visible frames shown with infrared", 100 * len(shown) / len(visible), "%")
    yield _figure(f"{title}: of those with the nearest one", 100 * right / len(shown), "%")
    yield _figure(f"{title}: age of infrared, median", float(np.median(ages_ms)), "ms")
    yield _figure(f"{title}: age of infrared, p99", float(np.percentile(ages_ms, 99)), "ms")
    yield _figure(f"{title}: degraded", 100 * degraded / len(shown), "%")
    yield _figure(f"{title}: wait for a pair, p99", float(np.percentile(played.waits_ms, 99)), "ms")


def content_figures(seconds: float, seed: int, offset_ms: float) -> Iterator[Figure]:
    """The offset that the content of the pictures tells, against the true one."""
    report, error = look(seconds, seed, offset_ms)
    title = f"street {seed}, infrared {offset_ms:g} ms late"
    if report is None:
        return
    yield _figure(f"{title}: offset by content, error", error, "ms")
    yield _figure(f"{title}: standard error that is told", report.error_ms, "ms")
    yield _figure(f"{title}: told with confidence", float(report.confidence == "good"), "yes or no")


def look(seconds: float, seed: int, offset_ms: float) -> tuple[ContentReport | None, float]:
    """What the content says, and how far that is from the truth in ms.

    Args:
        seconds: Of the simulated street.
        seed: Which street, and which jitter and losses.
        offset_ms: By which infrared's stamps are late at the beginning.
    """
    rigged = cameras(seed, offset_ms=offset_ms)
    scene, content = Scene(seed), Content(Place(), TOLERANCE_MS)
    clocks = {role: CameraClock() for role in rigged}
    pictures = {"infrared": scene.infrared, "visible": scene.visible}
    looked_ns = EPOCH_NS
    for one in exposures(rigged, seconds, seed):
        image = pictures[one.role]((one.true_ns - EPOCH_NS) / 1e9)
        timed = clocks[one.role].take(Frame(image, one.stamp_ns, one.number, one.role), one.arrival_ns)
        if timed is not None:
            content.take(one.role, timed)
        if one.arrival_ns - looked_ns >= 1_000_000_000:
            looked_ns = one.arrival_ns
            content.look()
    report = content.report()
    return report, float("nan") if report is None else report.offset_ms + offset_ms


def cost_cases() -> dict[str, Callable[[], object]]:
    """What a frame costs the thread that reads it, at 640x480."""
    scene, content, clock = Scene(3), Content(Place(), TOLERANCE_MS), CameraClock()
    images = {
        "infrared": [scene.infrared(number / 9) for number in range(4)],
        "visible": [scene.visible(number / 30) for number in range(4)],
    }
    numbers = itertools.count()

    def seen(role: rig.Role) -> None:
        number = next(numbers)
        content.take(role, Frame(images[role][number // 3 % 4], number * 40_000_000, number, role))

    def timed() -> None:
        number = next(numbers)
        frame = Frame(images["infrared"][0], number * 40_000_000, number, "infrared")
        clock.take(frame, number * 40_000_000 + 5_000_000)

    return {
        "content, infrared": lambda: seen("infrared"),
        "content, visible": lambda: seen("visible"),
        "clock": timed,
    }


def _figure(name: str, value: float, unit: str) -> Figure:
    return Figure(name=name, value=round(float(value), 3), unit=unit)


BENCHMARK = Benchmark("live.synchronisation", __doc__, add_arguments, measure)

if __name__ == "__main__":
    raise SystemExit(main(BENCHMARK))
