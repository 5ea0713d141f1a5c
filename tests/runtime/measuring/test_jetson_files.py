"""What a Jetson says of itself, from files as NVIDIA describes them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from jetson_files import AGX_ORIN, AGX_XAVIER, FILES, ORIN_NANO, write

from tdfusion_edge.runtime.measuring import jetson
from tdfusion_edge.runtime.measuring.jetson import tegrastats


def test_a_device_tells_its_module_its_versions_and_its_power_mode(tmp_path: Path) -> None:
    root = write(tmp_path, FILES)
    assert jetson.facts(root) == {
        "module": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        "Jetson Linux": "36.4.3",
        "JetPack": "6.2+b77",
        "power mode": "2 MAXN_SUPER",
    }
    told = {reading.name: (reading.value, reading.unit) for reading in jetson.clocks(root)}
    assert told == {
        "clock 17000000.gpu": (1020, "MHz"),
        "clock 17000000.gpu, limit": (1020, "MHz"),
        "clock CPU policy0": (1728, "MHz"),
        "clock CPU policy0, limit": (1728, "MHz"),
    }
    # A part that is off tells -256 degrees, and one that is gone nothing.
    assert [(zone.name, zone.value) for zone in jetson.temperatures(root)] == [
        ("temperature cpu-thermal (thermal_zone0)", 52.3)
    ]


def test_a_device_that_is_no_jetson_tells_nothing(tmp_path: Path) -> None:
    assert jetson.facts(write(tmp_path, {"proc/device-tree/model": "Raspberry Pi 5\0"})) == {}
    assert jetson.throttle_events(tmp_path) == {}
    assert [*jetson.clocks(tmp_path), *jetson.temperatures(tmp_path), *jetson.slowed_now(tmp_path)] == []


@pytest.mark.parametrize(
    ("left_out", "mode"),
    [
        ("etc/nvpmodel.conf", "2"),  # its number is known, its name is not
        ("var/lib/nvpmodel/status", None),
    ],
)
def test_a_power_mode_is_told_as_far_as_it_is_known(tmp_path: Path, left_out: str, mode: str | None) -> None:
    root = write(tmp_path, {name: text for name, text in FILES.items() if name != left_out})
    assert jetson.power_mode(root) == mode


def test_what_slows_a_machine_down_is_told_and_a_fan_is_not(tmp_path: Path) -> None:
    root = write(tmp_path, FILES)
    assert jetson.throttle_events(root) == {"over-current oc1": 0, "over-current oc3": 4}
    assert jetson.slowed_now(root) == []
    write(root, {"sys/class/thermal/cooling_device1/cur_state": "1\n"})
    assert jetson.slowed_now(root) == ["cpu-throttle-alert"]
    cpu = "sys/devices/system/cpu/cpu{}/thermal_throttle/core_throttle_count"
    write(root, {cpu.format(0): "3\n", cpu.format(1): "4\n"})
    assert jetson.throttle_events(root)["thermal, core"] == 7


def test_lines_of_tegrastats_of_three_modules() -> None:
    nano = tegrastats.parse(ORIN_NANO)
    assert nano is not None
    assert nano.memory_mb == (2448, 7620)
    assert nano.cores == ((12, 1728), (3, 1728), (0, 1036), (1, 1728))
    assert nano.loads == {"EMC_FREQ": (4, 3199), "GR3D_FREQ": (41, 1015)}
    assert nano.rails == {"VDD_IN": 7163, "VDD_CPU_GPU_CV": 2345, "VDD_SOC": 1512}
    assert nano.temperatures["tj"] == 53.5
    assert "cv0" not in nano.temperatures
    xavier = tegrastats.parse(AGX_XAVIER)
    assert xavier is not None
    assert xavier.loads == {"EMC_FREQ": (0, None), "GR3D_FREQ": (0, None)}
    assert xavier.rails == {"GPU": 463, "CPU": 618, "SOC": 2936, "SYS5V": 3306}
    orin = tegrastats.parse(AGX_ORIN)
    assert orin is not None
    assert orin.loads == {"GR3D_FREQ": (99, 1300)}  # two clusters: the faster one
    assert tegrastats.parse("tegrastats: command not found") is None


def test_tegrastats_runs_beside_and_is_ended(tmp_path: Path) -> None:
    program, arguments = tmp_path / "tegrastats", tmp_path / "arguments"
    lines = [
        ORIN_NANO,
        "",
        ORIN_NANO.replace("VDD_IN 7163mW", "VDD_IN 9163mW"),
        ORIN_NANO.replace("53.5C", "60C"),
    ]
    program.write_text(
        f"#!{sys.executable}\nimport pathlib, sys, time\n"
        f"print({chr(10).join(lines)!r}, flush=True)\n"
        f"pathlib.Path({str(arguments)!r}).write_text(' '.join(sys.argv[1:]))\n"
        "while True: time.sleep(10)\n"
    )
    program.chmod(0o755)
    with tegrastats.beside(str(program)) as told:
        while not (arguments.exists() and arguments.read_text()):
            pass
    assert arguments.read_text() == "--interval 100"
    assert len(told) == 3
    figures = {figure.name: (figure.value, figure.unit) for figure in tegrastats.figures(told)}
    assert figures["tegrastats: VDD_IN"] == (7.163, "W")
    assert figures["tegrastats: GR3D_FREQ load"] == (41, "%")
    assert figures["tegrastats: EMC_FREQ clock"] == (3199, "MHz")
    assert figures["tegrastats: tj, highest"] == (60, "C")
    with tegrastats.beside(str(tmp_path / "nowhere")) as told:
        pass
    assert list(tegrastats.figures(told)) == []
