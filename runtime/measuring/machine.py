"""What is measured on: processor, memory, system, versions."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
from pathlib import Path

import tdfusion_edge
import tdfusion_edge.runtime
from tdfusion_edge.runtime.measuring.record import Load, Machine

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


STAGES = ("train", "export", "runtime")
"""Folders of the package, or links to them."""
CODE = (".py", ".cu", ".h", ".fatbin")


def describe(load_before: Load | None) -> Machine:
    """This machine, with its load now as the load after the run."""
    return Machine(
        cpu=cpu_model(),
        cores=usable_cores(),
        memory_gb=round(memory_bytes() / 1e9, 1),
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


def memory_bytes() -> int:
    """Memory of the machine, less what the system never gives."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def package() -> str:
    """Digest of the code that is measured, wherever it is installed: names and bytes of modules and kernels.

    It covers what the runtime consists of; training and export have no part in what is measured here.
    """
    folder = Path(tdfusion_edge.__file__).parent
    shared = (path for path in folder.rglob("*") if path.relative_to(folder).parts[0] not in STAGES)
    files = {path.relative_to(folder).as_posix(): path for path in shared}
    stage = Path(tdfusion_edge.runtime.__file__).parent
    files |= {f"runtime/{path.relative_to(stage).as_posix()}": path for path in stage.rglob("*")}
    digest = hashlib.sha256()
    for name in sorted(files):
        if files[name].suffix in CODE:
            digest.update(name.encode() + b"\0" + hashlib.sha256(files[name].read_bytes()).digest())
    return digest.hexdigest()


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


def _system() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        name = platform.system()
    return f"{name} ({platform.system()} {platform.release()})"
