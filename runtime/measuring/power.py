"""Energy that the machine says it takes, by rail: Intel's and AMD's RAPL counters, and a Jetson's INA3221.

RAPL (``sys/class/powercap``) counts microjoules. An INA3221 (``sys/bus/i2c/drivers/ina3221``) tells the
voltage and current of up to three rails at a time, whose product is summed over time. Rails may lie inside
each other: they are told side by side, and never added.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

INTERVAL_S = 0.02
"""Between two looks at a rail: an INA3221 of a Jetson averages over some milliseconds."""
UNREADABLE = "the system lets only root read it: sudo chmod a+r {}"


class Counter(NamedTuple):
    """A counter of energy."""

    name: str
    energy: Path
    """Microjoules since some time."""
    span: int
    """Microjoules after which it begins again at 0; 0 where that is not told."""


class Rail(NamedTuple):
    """A supply line."""

    name: str
    millivolts: Path
    milliamperes: Path


class Energy:
    """Joules by rail of one or several spans of time; add them up by using one object again."""

    def __init__(self) -> None:
        self.joules: dict[str, float] = {}
        self.seconds = 0.0

    def add(self, name: str, joules: float) -> None:
        """More of one rail."""
        self.joules[name] = self.joules.get(name, 0.0) + joules


class PowerMeter:
    """What tells of energy on this machine.

    Args:
        root: Where ``sys`` lies.
        clock: Monotonic nanoseconds.
        interval_s: Between two looks at the rails.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        clock: Callable[[], int] = time.monotonic_ns,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._clock, self._interval_s = clock, interval_s
        self.counters, refused = _counters(root)
        self.rails = tuple(_rails(root))
        self.why_not: str | None = None
        """Why no energy is told; None where some is."""
        if not (self.counters or self.rails):
            self.why_not = refused or "this machine has neither RAPL counters nor an INA3221"

    @property
    def names(self) -> list[str]:
        """Of everything that tells of energy."""
        return [*(counter.name for counter in self.counters), *(rail.name for rail in self.rails)]

    @contextmanager
    def measuring(self, energy: Energy) -> Iterator[None]:
        """Add what is taken while the block runs."""
        counted = [_number(counter.energy) for counter in self.counters]
        sampler = _Sampler(self.rails, self._clock)
        stop = threading.Event()
        thread = threading.Thread(target=self._sample, args=(sampler, stop), name="power", daemon=True)
        start_ns = sampler.look()
        if self.rails:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            if self.rails:
                thread.join()
            energy.seconds += (sampler.look() - start_ns) / 1e9
            for counter, before in zip(self.counters, counted, strict=True):
                taken = _number(counter.energy) - before
                energy.add(counter.name, (taken if taken >= 0 else taken + counter.span) / 1e6)
            for name, joules in sampler.joules.items():
                energy.add(name, joules)

    def _sample(self, sampler: _Sampler, stop: threading.Event) -> None:
        while not stop.wait(self._interval_s):
            sampler.look()


class _Sampler:
    """Sums the power of rails over time, as straight lines between two looks."""

    def __init__(self, rails: tuple[Rail, ...], clock: Callable[[], int]) -> None:
        self._rails, self._clock = rails, clock
        self._last: tuple[int, list[float]] | None = None
        self.joules = {rail.name: 0.0 for rail in rails}

    def look(self) -> int:
        watts = [_number(rail.millivolts) * _number(rail.milliamperes) / 1e6 for rail in self._rails]
        now_ns = self._clock()
        if self._last is not None:
            before_ns, before = self._last
            for rail, old, new in zip(self._rails, before, watts, strict=True):
                self.joules[rail.name] += (old + new) / 2 * (now_ns - before_ns) / 1e9
        self._last = now_ns, watts
        return now_ns


def _counters(root: Path) -> tuple[tuple[Counter, ...], str | None]:
    """RAPL's, by name; those of a second processor by its name too. And why none can be read."""
    found: list[Counter] = []
    refused: str | None = None
    for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
        energy = zone / "energy_uj"
        try:
            _number(energy)
            name = (zone / "name").read_text().strip()
            span = _number(zone / "max_energy_range_uj")
        except PermissionError:
            refused = refused or UNREADABLE.format(Path("/") / energy.relative_to(root))
            continue
        except (OSError, ValueError):
            continue
        if zone.name.count(":") > 1:  # a part of a processor, whose zone begins alike
            name = f"{(zone.parent / zone.name.rpartition(':')[0] / 'name').read_text().strip()} {name}"
        found.append(Counter(name, energy, int(span)))
    return tuple(found), None if found else refused


def _rails(root: Path) -> Iterator[Rail]:
    """Those of all INA3221 that have a name, a voltage and a current."""
    for label in sorted((root / "sys/bus/i2c/drivers/ina3221").glob("*/hwmon/hwmon*/in*_label")):
        number = label.name[len("in") : -len("_label")]
        volts, amperes = label.with_name(f"in{number}_input"), label.with_name(f"curr{number}_input")
        try:
            name = label.read_text().strip()
            _number(volts), _number(amperes)
        except (OSError, ValueError):  # sums of shunts have no current; a rail may be switched off
            continue
        if name and name != "NC":
            yield Rail(name, volts, amperes)


def _number(path: Path) -> float:
    return float(path.read_text())
