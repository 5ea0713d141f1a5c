"""Energy by rail: counters that begin again, rails whose power is summed over time."""

from __future__ import annotations

from pathlib import Path

import pytest
from jetson_files import INA3221, RAILS, write

from tdfusion_edge.runtime.measuring import power
from tdfusion_edge.runtime.measuring.power import Energy, PowerMeter

RAPL = "sys/class/powercap/intel-rapl:0"
COUNTERS = {
    f"{RAPL}/name": "package-0\n",
    f"{RAPL}/energy_uj": "262000000000\n",
    f"{RAPL}/max_energy_range_uj": "262143328850\n",
    f"{RAPL}:0/name": "core\n",
    f"{RAPL}:0/energy_uj": "5000000\n",
    f"{RAPL}:0/max_energy_range_uj": "262143328850\n",
}


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def test_counters_tell_what_was_taken_also_when_they_begin_again(tmp_path: Path) -> None:
    root, clock, energy = write(tmp_path, COUNTERS), Clock(), Energy()
    meter = PowerMeter(root, clock)
    assert meter.why_not is None
    with meter.measuring(energy):
        write(root, {f"{RAPL}/energy_uj": "6671150\n", f"{RAPL}:0/energy_uj": "12000000\n"})
        clock.now_ns += 3_000_000_000
    assert energy.joules == pytest.approx({"package-0": 150.0, "package-0 core": 7.0})
    assert energy.seconds == 3
    with meter.measuring(energy):  # one object adds up
        write(root, {f"{RAPL}:0/energy_uj": "13000000\n"})
        clock.now_ns += 1_000_000_000
    assert energy.joules == pytest.approx({"package-0": 150.0, "package-0 core": 8.0})
    assert energy.seconds == 4


def test_rails_are_summed_over_time_whenever_they_are_looked_at(tmp_path: Path) -> None:
    root, clock, energy = write(tmp_path, RAILS), Clock(), Energy()
    meter = PowerMeter(root, clock, interval_s=0.001)
    with meter.measuring(energy):
        for _ in range(10):
            clock.now_ns += 200_000_000
    assert energy.joules == pytest.approx({"VDD_IN": 14.0, "VDD_CPU_GPU_CV": 4.0})  # 7 W and 2 W over 2 s


def test_power_between_two_looks_is_a_straight_line(tmp_path: Path) -> None:
    root, clock = write(tmp_path, RAILS), Clock()
    sampler = power._Sampler(PowerMeter(root).rails, clock)
    sampler.look()
    clock.now_ns = 2_000_000_000
    write(root, {f"{INA3221}/curr1_input": "2000\n"})
    sampler.look()
    assert sampler.joules["VDD_IN"] == pytest.approx((7 + 10) / 2 * 2)


def test_a_machine_that_tells_nothing_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PowerMeter(tmp_path).why_not == "this machine has neither RAPL counters nor an INA3221"
    root = write(tmp_path, COUNTERS)

    def refused(path: Path) -> float:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(power, "_number", refused)
    meter = PowerMeter(root)
    assert meter.why_not == f"the system lets only root read it: sudo chmod a+r /{RAPL}/energy_uj"
    energy = Energy()
    with meter.measuring(energy):
        pass
    assert energy.joules == {}
