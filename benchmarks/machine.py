"""What the benchmarks run on: processor, memory, system, versions, commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

import psutil

from benchmarks.schema import Load, Machine

PACKAGES = {
    "tdfusion-edge": ("tdfusion-edge",),
    "numpy": ("numpy",),
    "opencv": ("opencv-python-headless", "opencv-python"),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "onnx": ("onnx",),
    "torch": ("torch",),
    "av": ("av",),
}
"""What the numbers depend on, with the distributions that may bring it."""


def describe(load_before: Load | None) -> Machine:
    """This machine, with its load now as the load after the run."""
    return Machine(
        cpu=cpu_model(),
        cores=usable_cores(),
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        system=f"{_system()}, {platform.machine()}",
        load_before=load_before,
        load_after=load_average(),
    )


def load_average() -> Load | None:
    """Load averages over 1, 5 and 15 minutes, None where the system has none."""
    if not hasattr(os, "getloadavg"):
        return None
    one, five, fifteen = os.getloadavg()
    return round(one, 2), round(five, 2), round(fifteen, 2)


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """Name of the processor or, on a board without one, of the board."""
    cpuinfo, board = Path("/proc/cpuinfo"), Path("/proc/device-tree/model")
    named = model_in(cpuinfo.read_text(encoding="utf-8", errors="replace")) if cpuinfo.is_file() else None
    if named is None and board.is_file():
        named = board.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    return named or platform.processor() or platform.machine()


def model_in(cpuinfo: str) -> str | None:
    """The processor that a ``/proc/cpuinfo`` names; on ARM most name none, and some the board."""
    match = re.search(r"^(?:model name|Model)\s*:\s*(\S.*?)\s*$", cpuinfo, re.MULTILINE)
    return None if match is None else match.group(1)


def versions() -> dict[str, str]:
    """Python and those of :data:`PACKAGES` that are installed."""
    found = {"python": platform.python_version()}
    for name, distributions in PACKAGES.items():
        for distribution in distributions:
            try:
                found.setdefault(name, importlib.metadata.version(distribution))
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def commit(root: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout at ``root``, and whether files outside ``benchmarks/results`` differ from it.

    The results are left out: the first of two benchmarks would make the tree dirty for the second.
    """
    head = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", ".", ":(exclude)benchmarks/results")
    return (None, None) if head is None or changes is None else (head, bool(changes))


def _git(root: Path, *arguments: str) -> str | None:
    # Without its optional locks git writes nothing, so that a benchmark leaves the checkout alone.
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _system() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        name = platform.system()
    return f"{name} ({platform.system()} {platform.release()})"
