"""What ``tdfusion-edge bench`` measures: back ends in turns, their throughput, and the way from a camera.

Three parts, each after a warm-up, and each with the back ends in turns: pairs that were drawn before, one by
one (latencies, and the ratios of two back ends); the same pairs through the whole loop, as fast as it takes
them (throughput, and energy where the machine tells it); the simulated cameras in real time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from tdfusion_edge.errors import RequestError
from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.result import Result
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.heads import kind_of
from tdfusion_edge.runtime.measuring import recording
from tdfusion_edge.runtime.measuring.jetson import tegrastats
from tdfusion_edge.runtime.measuring.numbers import DIGITS
from tdfusion_edge.runtime.measuring.power import Energy, PowerMeter
from tdfusion_edge.runtime.measuring.record import Figure, Latency, Numbers, Ratio, Timing
from tdfusion_edge.runtime.measuring.timing import Samples, in_turn, percentiles, ratio, timing
from tdfusion_edge.runtime.pipeline.loop import Plan, run
from tdfusion_edge.runtime.sources.base import Source

WHOLE = "fuse"
"""The whole way of a pair through :meth:`~tdfusion_edge.runtime.fuser.Fuser.fuse`."""
WARM_UP = 5
"""First pairs of a back end that are not counted, and first pictures of a run of the loop."""
TURNS = 3
"""Runs of the loop that each back end gets."""
FEWEST = 20
"""Pictures of such a run at least."""
IDLE_S = 2.0
"""The machine is watched for so long before the work begins."""
REPORTED = (50, 90, 95, 99)


class Amount(NamedTuple):
    """How much is measured of each back end in each part: one of the two."""

    seconds: float | None = None
    pictures: int | None = None

    def reached(self, rounds: int, elapsed_s: float, cases: int) -> bool:
        """Whether so many rounds of so many back ends are enough."""
        if self.pictures is not None:
            return rounds >= self.pictures
        assert self.seconds is not None
        return rounds > 0 and elapsed_s >= self.seconds * cases

    def of(self, milliseconds: float) -> int:
        """Pictures of such a duration in one run of the loop."""
        if self.pictures is not None:
            return max(FEWEST, self.pictures // TURNS)
        assert self.seconds is not None
        return max(FEWEST, int(self.seconds / TURNS * 1e3 / milliseconds))

    @property
    def live_s(self) -> float:
        """Seconds of the simulated cameras."""
        if self.seconds is not None:
            return self.seconds
        assert self.pictures is not None
        return self.pictures / recording.FPS


@dataclass
class Stages:
    """Milliseconds of the last pair, by stage."""

    clock: Callable[[], int] = time.perf_counter_ns
    milliseconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """As :data:`~tdfusion_edge.runtime.executors.base.Timed` wants it."""
        start_ns = self.clock()
        yield
        self.milliseconds[stage] = round((self.clock() - start_ns) / 1e6, DIGITS)


def measure(
    fusers: Mapping[str, Fuser],
    size: tuple[int, int],
    amount: Amount,
    *,
    meter: PowerMeter,
    tell: Callable[[str], None] = lambda text: None,
) -> Numbers:
    """All three parts.

    Args:
        fusers: Bundles that are open, by the name of their back end.
        size: Width and height of both cameras, pixels.
        amount: How much.
        meter: Of the machine's energy.
        tell: Told of what begins.

    Raises:
        RequestError: the size does not fit the network.
        EngineError: a network failed.
    """
    tell("drawing the simulated street ...")
    frames = recording.drawn(size)
    tell(f"one by one: {', '.join(fusers)} ...")
    samples = latencies(fusers, pairs_of(frames), amount)
    timings, ratios, told = tabled(fusers, samples)
    figures: list[Figure] = []
    if meter.why_not is None:
        tell("the machine at rest ...")
        figures += at_rest(meter, IDLE_S)
    tell("through the loop ...")
    with tegrastats.beside() as lines:
        medians = {name: median(samples[row(name, WHOLE)].values()) for name in fusers}
        figures += throughput(fusers, frames, {name: amount.of(ms) for name, ms in medians.items()}, meter)
    figures += tegrastats.figures(lines)
    for name, fuser in fusers.items():
        tell(f"from the simulated cameras: {name} ...")
        rows, counted = from_cameras(name, fuser, size, amount.live_s)
        told += rows
        figures += counted
    return Numbers(timings=timings, ratios=ratios, latencies=tuple(told), figures=tuple(figures))


def row(backend: str, what: str) -> str:
    """Name of a row."""
    return f"{backend}: {what}"


def pairs_of(frames: Mapping[rig.Role, Sequence[Frame]]) -> list[Pair]:
    """Frames of both cameras that were drawn alike."""
    return [Pair(*both) for both in zip(frames["infrared"], frames["visible"], strict=True)]


def latencies(
    fusers: Mapping[str, Fuser],
    pairs: Sequence[Pair],
    amount: Amount,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Samples:
    """Milliseconds of every stage of every back end by round; the back ends take turns.

    Raises:
        RequestError: nothing came of a pair.
    """
    stages = Stages(clock)
    samples: Samples = {}
    for fuser in fusers.values():
        fuser.forget()
        for pair in pairs[:WARM_UP]:
            _fused(fuser, pair, stages)
    names, start_ns, number = list(fusers), clock(), 0
    while not amount.reached(number, (clock() - start_ns) / 1e9, len(names)):
        for name in in_turn(names, number):
            fuser = fusers[name]
            if number % len(pairs) == 0:
                fuser.forget()  # the recording begins anew, and its time with it
            for stage, milliseconds in _fused(fuser, pairs[number % len(pairs)], stages).items():
                samples.setdefault(row(name, stage), {})[number] = milliseconds
        number += 1
    return samples


def _fused(fuser: Fuser, pair: Pair, stages: Stages) -> dict[str, float]:
    stages.milliseconds = {}
    with stages.timed(WHOLE):
        result = fuser.fuse(pair, stages.timed)
    if result is None:
        raise RequestError("no picture was made of a pair", expected="frames of both cameras")
    return stages.milliseconds


def tabled(
    fusers: Mapping[str, Fuser], samples: Samples
) -> tuple[tuple[Timing, ...], tuple[Ratio, ...], list[Latency]]:
    """Statistics of the samples, and each back end against the first one.

    What ``network`` holds depends on the way: in one pass, and from the cameras' pictures themselves, also
    what is a stage of its own network by network. It is compared where both went alike.
    """
    names, timings, told = list(fusers), [], []
    for name, fuser in fusers.items():
        heads = [kind_of(kind).stage for kind in fuser.heads]
        for stage in (WHOLE, "network", *heads):
            if row(name, stage) in samples:
                timings.append(timing(row(name, stage), samples[row(name, stage)]))
        for stage in (WHOLE, *fuser.stages):
            if found := samples.get(row(name, stage)):
                told.append(percentiles(row(name, stage), list(found.values())))
    ways = {
        name: {stage for stage in fuser.stages if row(name, stage) in samples}
        for name, fuser in fusers.items()
    }
    ratios = [
        ratio(samples, row(name, stage), row(names[0], stage))
        for name in names[1:]
        for stage in ((WHOLE, "network") if ways[name] == ways[names[0]] else (WHOLE,))
    ]
    return tuple(timings), tuple(ratios), told


def at_rest(meter: PowerMeter, seconds: float) -> Iterator[Figure]:
    """What the machine takes without this work."""
    energy = Energy()
    with meter.measuring(energy):
        time.sleep(seconds)
    for name, joules in energy.joules.items():
        yield Figure(name=f"at rest: {name}", value=round(joules / energy.seconds, DIGITS), unit="W")


def throughput(
    fusers: Mapping[str, Fuser],
    frames: Mapping[rig.Role, Sequence[Frame]],
    counts: Mapping[str, int],
    meter: PowerMeter,
) -> Iterator[Figure]:
    """Pictures a second through the whole loop, its median over the turns, and energy a picture.

    Args:
        fusers: By the name of their back end.
        frames: Of both cameras.
        counts: Pictures of one run of each.
        meter: Of the machine's energy.
    """
    rates: dict[str, list[float]] = {name: [] for name in fusers}
    energies = {name: Energy() for name in fusers}
    pictures = dict.fromkeys(fusers, 0)
    for number in range(TURNS):
        for name in in_turn(list(fusers), number):
            times_ns: list[int] = []
            with meter.measuring(energies[name]):
                _looped(fusers[name], recording.replayed(frames, counts[name] + WARM_UP), times_ns)
            pictures[name] += len(times_ns)
            counted = times_ns[WARM_UP:]
            rates[name].append((len(counted) - 1) / (counted[-1] - counted[0]) * 1e9)
    for name, found in rates.items():
        yield Figure(name=row(name, "throughput"), value=round(median(found), 2), unit="pictures a second")
        for rail, joules in energies[name].joules.items():
            yield Figure(
                name=row(name, f"energy a picture, {rail}"),
                value=round(joules / pictures[name], 5),
                unit="J",
            )


def _looped(fuser: Fuser, sources: Mapping[rig.Role, Source], times_ns: list[int]) -> None:
    fuser.forget()

    def note(result: Result) -> None:
        del result
        times_ns.append(time.perf_counter_ns())

    report = run(Plan(sources, rig.Sync(), fuser, "every", on_result=note))
    if report.failure is not None:
        raise report.failure


def from_cameras(
    name: str, fuser: Fuser, size: tuple[int, int], seconds: float
) -> tuple[list[Latency], list[Figure]]:
    """One back end on the simulated cameras, which draw on the same cores: the program's own report."""
    fuser.forget()
    sources = recording.cameras(size, live=True)
    report = run(Plan(sources, rig.Sync(), fuser, "latest", seconds=seconds))
    if report.failure is not None:
        raise report.failure
    told = [
        Latency(
            name=row(name, f"in real time, {stage}"),
            **{key: round(value, DIGITS) for key, value in histogram.summary(REPORTED).items()},
        )
        for stage, histogram in report.latency.items()
        if len(histogram)
    ]
    shown = row(name, "in real time, pictures")
    counted = [Figure(name=shown, value=report.pictures / report.as_dict()["seconds"], unit="a second")]
    return told, counted
