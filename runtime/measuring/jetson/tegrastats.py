"""NVIDIA's ``tegrastats``: what a line of it says, and its run beside a measurement.

A line is a row of words whose order and number differ by module and release: memory, cores, clocks as
``NAME LOAD%@MHZ``, temperatures as ``NAME@45.5C``, and rails as ``NAME 4572mW/4500mW`` (now, and the mean
since it was started), which older releases write without the unit.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

from tdfusion_edge.runtime.measuring.numbers import DIGITS
from tdfusion_edge.runtime.measuring.record import Figure

INTERVAL_MS = 100
_NAME = r"(?:^|\s)([A-Za-z][A-Za-z0-9_]*)"
_LOAD = re.compile(_NAME + r" (\d+)%(?:@\[?([\d,]+)\]?)?(?=\s|$)")
_TEMPERATURE = re.compile(_NAME + r"@(-?\d+(?:\.\d+)?)C(?=\s|$)")
_RAIL = re.compile(_NAME + r" (\d+)(?:mW)?/(\d+)(?:mW)?(?=\s|$)")
_MEMORY = re.compile(r"(?:^|\s)RAM (\d+)/(\d+)MB")
_CORES = re.compile(r"(?:^|\s)CPU \[([^\]]*)\]")
OFF_C = -200.0
"""A part that is switched off tells -256 degrees."""


class Line(NamedTuple):
    """One line."""

    memory_mb: tuple[int, int] | None
    """Used, and all."""
    cores: tuple[tuple[int, int | None], ...]
    """Load in per cent and MHz of every core that is on."""
    loads: dict[str, tuple[int, int | None]]
    """Load in per cent, and MHz where it is told: ``GR3D_FREQ`` is the GPU, ``EMC_FREQ`` the memory."""
    temperatures: dict[str, float]
    """Degrees Celsius."""
    rails: dict[str, int]
    """Milliwatts now."""


def parse(line: str) -> Line | None:
    """What a line says; None for one that is none of tegrastats'.

    >>> words = "RAM 2448/7620MB CPU [2%@1510,off] GR3D_FREQ 41%@[611] tj@46.5C VDD_IN 4572mW/4500mW"
    >>> told = parse(words)
    >>> told.memory_mb, told.cores, told.loads, told.temperatures, told.rails
    ((2448, 7620), ((2, 1510),), {'GR3D_FREQ': (41, 611)}, {'tj': 46.5}, {'VDD_IN': 4572})
    """
    memory = _MEMORY.search(line)
    if memory is None:
        return None
    cores = _CORES.search(line)
    loads = {}
    for name, load, clock in _LOAD.findall(line):
        loads[name] = int(load), max(map(int, clock.split(","))) if clock.strip(",") else None
    found = (
        re.fullmatch(r"(\d+)%(?:@(\d+))?", core.strip()) for core in (cores[1] if cores else "").split(",")
    )
    degrees = {name: float(value) for name, value in _TEMPERATURE.findall(line)}
    return Line(
        memory_mb=(int(memory[1]), int(memory[2])),
        cores=tuple((int(core[1]), int(core[2]) if core[2] else None) for core in found if core),
        loads=loads,
        temperatures={name: value for name, value in degrees.items() if value > OFF_C},
        rails={name: int(now) for name, now, _ in _RAIL.findall(line) if name != "SWAP"},
    )


def figures(lines: Sequence[Line]) -> Iterator[Figure]:
    """Medians over lines, and the highest temperature of each zone."""

    def figure(name: str, values: Sequence[float], unit: str) -> Figure:
        return Figure(name=f"tegrastats: {name}", value=round(float(median(values)), DIGITS), unit=unit)

    for name in _names(line.loads for line in lines):
        told = [line.loads[name] for line in lines if name in line.loads]
        yield figure(f"{name} load", [load for load, _ in told], "%")
        clocks = [clock for _, clock in told if clock is not None]
        if clocks:
            yield figure(f"{name} clock", clocks, "MHz")
    for name in _names(line.rails for line in lines):
        yield figure(name, [line.rails[name] / 1e3 for line in lines if name in line.rails], "W")
    for name in _names(line.temperatures for line in lines):
        highest = max(line.temperatures[name] for line in lines if name in line.temperatures)
        yield Figure(name=f"tegrastats: {name}, highest", value=highest, unit="C")


@contextmanager
def beside(program: str = "tegrastats") -> Iterator[list[Line]]:
    """Run it while the block runs; the list is filled at the end, and stays empty where there is none."""
    lines: list[Line] = []
    found = shutil.which(program)
    if found is None:
        yield lines
        return
    command = [found, "--interval", str(INTERVAL_MS)]
    # Into a file: a pipe that nobody reads is full after some twenty seconds.
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        child = subprocess.Popen(  # noqa: S603 (NVIDIA's own program, no shell)
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.DEVNULL
        )
        try:
            yield lines
        finally:
            child.terminate()
            child.wait()
            said.seek(0)
            lines += (told for line in said if (told := parse(line)) is not None)


def _names(told: Iterator[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for one in told for name in one))
