"""What every benchmark shares: interleaved timing, its statistics, and writing the result file."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.numbers import DIGITS, spread
from benchmarks.schema import Latency, Ratio, ResultFile, Timing, pairwise
from tdfusion_edge.config import parse, to_json
from tdfusion_edge.errors import RequestError, SinkError

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
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            if number % strides[name] == 0:
                start_ns = clock()
                cases[name]()
                samples[name][number] = round((clock() - start_ns) / 1e6, DIGITS)
    return samples


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


def latencies(report: Mapping[str, Any], prefix: str = "") -> Iterator[Latency]:
    """The stages of a run as its own report tells them, those that ran."""
    for stage, percentiles in report["latency_ms"].items():
        if percentiles:
            yield Latency(
                name=prefix + stage, **{key: round(value, DIGITS) for key, value in percentiles.items()}
            )


def write(path: Path, result: ResultFile) -> None:
    """Write a result file aside and rename it, so that an older one stays until the new one is whole.

    Raises:
        ConfigError: the file could not be read back; nothing is written.
        SinkError: the disk is full or not writable.
    """
    raw = to_json(result)
    parse(raw, ResultFile, name=str(path))
    with contextlib.ExitStack() as stack:
        try:
            handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            stack.callback(Path(aside).unlink, missing_ok=True)
            with os.fdopen(handle, "wb") as stream:
                stream.write(raw)
                stream.flush()
                os.fsync(stream.fileno())
            Path(aside).chmod(0o644)  # mkstemp's 0600 is for secrets
            Path(aside).replace(path)
        except OSError as error:
            raise SinkError(f"{path} cannot be written: {error.strerror}") from error
