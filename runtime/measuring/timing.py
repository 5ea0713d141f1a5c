"""Interleaved timing and its statistics, as the contract in ``benchmarks/README.md`` wants them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.measuring.numbers import DIGITS, spread
from tdfusion_edge.runtime.measuring.record import Latency, Ratio, Timing, pairwise

Samples: TypeAlias = dict[str, dict[int, float]]
"""Milliseconds of every case by round."""


def interleaved(
    cases: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warmup: int,
    every: Mapping[str, int] | None = None,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Samples:
    """Time cases in turns, so that a slow minute of the machine meets all of them.

    The order rotates by one from round to round: no case always runs behind the same other one,
    whose data fills the caches.

    Args:
        cases: What to time, by name. What a case starts must be over when it returns.
        rounds: Times that every case runs.
        warmup: Runs of every case before, not timed.
        every: Cases that take part in every n-th round only, the first included.
        clock: Nanoseconds.

    Raises:
        RequestError: no round, or a negative warm-up.
    """
    if rounds < 1 or warmup < 0:
        got = f"{rounds} rounds, {warmup} warm-up runs"
        raise RequestError("interleaved runs", expected="1 round or more, 0 warm-up runs or more", got=got)
    strides = dict.fromkeys(cases, 1) | dict(every or {})
    for _ in range(warmup):
        for case in cases.values():
            case()
    names = list(cases)
    samples: Samples = {name: {} for name in names}
    for number in range(rounds):
        for name in in_turn(names, number):
            if number % strides[name] == 0:
                start_ns = clock()
                cases[name]()
                samples[name][number] = round((clock() - start_ns) / 1e6, DIGITS)
    return samples


def in_turn(names: Sequence[str], number: int) -> list[str]:
    """The order of one round: it rotates by one from round to round."""
    turn = number % len(names)
    return [*names[turn:], *names[:turn]]


def timing(name: str, samples: Mapping[int, float]) -> Timing:
    """Statistics of one case with its samples, milliseconds by round."""
    values = tuple(samples.values())
    return Timing(
        name=name, count=len(values), rounds=tuple(samples), samples=values, **spread(values)._asdict()
    )


def summary(name: str, milliseconds: list[float]) -> Timing:
    """Median and quartiles without samples, for cases of many frames that no ratio rests on."""
    return Timing(name=name, count=len(milliseconds), **spread(milliseconds)._asdict())


def ratio(samples: Samples, numerator: str, denominator: str) -> Ratio:
    """How many times as long one case takes as another, over the rounds that ran both.

    Each round gives one quotient, so that what slows both does not show.

    Raises:
        ValueError: no round ran both.
    """
    quotients = pairwise(samples[numerator], samples[denominator])
    if not quotients:
        raise ValueError(f"no round ran both '{numerator}' and '{denominator}'")
    median, q1, q3, _ = spread(quotients)
    return Ratio(
        numerator=numerator, denominator=denominator, rounds=len(quotients), median=median, q1=q1, q3=q3
    )


def percentiles(name: str, milliseconds: Sequence[float]) -> Latency:
    """Percentiles of at least one sample, interpolated linearly."""
    found = np.percentile(milliseconds, (50, 90, 95, 99, 100))
    p50, p90, p95, p99, most = (round(float(value), DIGITS) for value in found)
    return Latency(name=name, p50=p50, p90=p90, p95=p95, p99=p99, max=most)


def latencies(report: Mapping[str, Any], prefix: str = "") -> Iterator[Latency]:
    """The stages of a run as its own report tells them, those that ran."""
    for stage, percentiles in report["latency_ms"].items():
        if percentiles:
            yield Latency(
                name=prefix + stage, **{key: round(value, DIGITS) for key, value in percentiles.items()}
            )
