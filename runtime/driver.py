"""What the NVIDIA driver says of itself, without any library of ours or a context on the GPU."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import NamedTuple


class Driver(NamedTuple):
    """The driver of this machine."""

    cuda: tuple[int, int] | None
    """Newest CUDA that it takes; None where there is none, or it does not say."""
    version: str
    """Of its kernel module, such as ``580.95.05``; empty where that is not told."""

    def __str__(self) -> str:
        cuda = "" if self.cuda is None else "CUDA {}.{}".format(*self.cuda)
        return ", ".join(part for part in (self.version, cuda) if part)


def driver_here(library: str = "libcuda.so.1", root: Path = Path("/")) -> Driver:
    """The driver of this machine.

    Args:
        library: Its part that programs call.
        root: Where ``proc`` lies.
    """
    return Driver(_cuda(library), module_version(root) or "")


def module_version(root: Path = Path("/")) -> str | None:
    """Version of the kernel module, ``unknown`` where it does not say; None where none is loaded."""
    try:
        told = (root / "proc/driver/nvidia/version").read_text(errors="replace")
    except OSError:
        return None
    version = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", told)
    return version[1] if version else "unknown"


def _cuda(library: str) -> tuple[int, int] | None:
    number = ctypes.c_int()
    try:
        code = ctypes.CDLL(library).cuDriverGetVersion(ctypes.byref(number))  # 1000 major + 10 minor
    except (OSError, AttributeError):
        return None
    return (number.value // 1000, number.value % 1000 // 10) if code == 0 and number.value else None
