"""What a Jetson says of itself: module, Jetson Linux, power mode, clocks, temperatures, throttling.

All of it from files of the device, with a root of choice: what a file does not tell is left out, and nothing
is guessed. It loads no library, so that ``doctor`` can ask it. :mod:`tegrastats` reads NVIDIA's own program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

RELEASE = "etc/nv_tegra_release"
_GPU = re.compile(r"gpu|gv11b|ga10b|gp10b|gm20b")
"""In the names of the GPU's clocks: ``17000000.gpu``, ``17000000.ga10b``, ``gpu-gpc-0``."""


class Reading(NamedTuple):
    """One number."""

    name: str
    value: float
    unit: str


def is_jetson(root: Path = Path("/")) -> bool:
    """Whether this is one."""
    return (root / RELEASE).exists()


def release(root: Path = Path("/")) -> str | None:
    """Version of Jetson Linux, such as ``36.4.3``; None where it is not told."""
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", _text(root / RELEASE) or "")
    return None if found is None else f"{found[1]}.{found[2]}"


def jetpack(root: Path = Path("/")) -> str | None:
    """Version of the package ``nvidia-jetpack``; None where it is not installed."""
    told = _text(root / "var/lib/dpkg/status") or ""
    found = re.search(r"^Package: nvidia-jetpack\n(?:.+\n)*?Version: (\S+)", told, re.MULTILINE)
    return None if found is None else found[1]


def facts(root: Path = Path("/")) -> dict[str, str]:
    """Module, versions and power mode, in words; nothing where this is no Jetson."""
    if not is_jetson(root):
        return {}
    told = {
        "module": _text(root / "proc/device-tree/model"),
        "Jetson Linux": release(root),
        "JetPack": jetpack(root),
        "power mode": power_mode(root),
    }
    return {name: value for name, value in told.items() if value}


def power_mode(root: Path = Path("/")) -> str | None:
    """Number and name of nvpmodel's mode, such as ``2 MAXN_SUPER``; None where it was never set."""
    found = re.search(r"pmode:(\d+)", _text(root / "var/lib/nvpmodel/status") or "")
    if found is None:
        return None
    number = int(found[1])
    modes = _text(root / "etc/nvpmodel.conf") or ""
    named = re.search(rf"<\s*POWER_MODEL\s+ID={number}\s+NAME=(\S+?)\s*>", modes)
    return str(number) if named is None else f"{number} {named[1]}"


def clocks(root: Path = Path("/")) -> Iterator[Reading]:
    """What the GPU, the memory and each kind of core run at now, and at most, MHz."""
    for folder in sorted((root / "sys/class/devfreq").glob("*")):
        if _GPU.search(folder.name):
            yield from _clock(f"{folder.name}", folder / "cur_freq", folder / "max_freq", 1e6)
    emc = root / "sys/kernel/debug/bpmp/debug/clk/emc"  # root's alone
    yield from _clock("memory (EMC)", emc / "rate", emc / "max_rate", 1e6)
    for policy in sorted((root / "sys/devices/system/cpu/cpufreq").glob("policy*")):
        now, most = policy / "scaling_cur_freq", policy / "scaling_max_freq"
        yield from _clock(f"CPU {policy.name}", now, most, 1e3)


def temperatures(root: Path = Path("/")) -> Iterator[Reading]:
    """Of all thermal zones that can be read, degrees Celsius; a zone whose part is off cannot."""
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        name, value = _text(zone / "type"), _value(zone / "temp")
        if name and value is not None and value > -200_000:
            yield Reading(f"temperature {name} ({zone.name})", round(value / 1e3, 1), "C")


def throttle_events(root: Path = Path("/")) -> dict[str, int]:
    """Counters of what slowed the machine down since it was started.

    Over-current events of a Jetson (``soctherm_oc``), and thermal ones of a PC's processor.
    """
    counts: dict[str, int] = {}
    for path in sorted((root / "sys/class/hwmon").glob("hwmon*/oc*_event_cnt")):
        if (value := _value(path)) is not None:
            counts[f"over-current {path.name.removesuffix('_event_cnt')}"] = int(value)
    for kind in ("core", "package"):
        cores = (root / "sys/devices/system/cpu").glob(f"cpu*/thermal_throttle/{kind}_throttle_count")
        values = [value for path in cores if (value := _value(path)) is not None]
        if values:
            counts[f"thermal, {kind}"] = int(sum(values))
    return counts


def slowed_now(root: Path = Path("/")) -> list[str]:
    """What cools by slowing down at this moment: names of the system's cooling devices that are no fans."""
    slowed = []
    for device in sorted((root / "sys/class/thermal").glob("cooling_device*")):
        kind, state = _text(device / "type") or "", _value(device / "cur_state")
        if state and "fan" not in kind.lower():
            slowed.append(kind or device.name)
    return slowed


def _clock(name: str, now: Path, most: Path, hertz: float) -> Iterator[Reading]:
    for what, path in (("clock", now), ("most", most)):
        value = _value(path)
        if value is not None:
            suffix = "" if what == "clock" else ", limit"
            yield Reading(f"clock {name}{suffix}", round(value / hertz, 1), "MHz")


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip("\0 \n")
    except OSError:
        return None


def _value(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None
