"""The kernels built by g++ once a test run, whichever process asks first."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.kernels import emulator


def built(
    factory: pytest.TempPathFactory,
    flags: Sequence[str],
    *,
    tensor_cores: bool = True,
    kernels: str = emulator.EDGE,
) -> Path:
    """The program or library of one way through the network."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "built_kernels"
    form = "program" if "-DPROGRAM" in flags else "library"
    way = f"{kernels}-{'tensor' if tensor_cores else 'plain'}-{form}"
    (folder / way).mkdir(parents=True, exist_ok=True)
    with (folder / f"{way}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        there = list((folder / way).iterdir())
        if there:
            return there[0]
        return emulator.build(folder / way, flags, tensor_cores=tensor_cores, kernels=kernels)


def library(factory: pytest.TempPathFactory, kernels: str = emulator.EDGE) -> emulator.Library:
    """The kernels of the tensor cores' way in this process."""
    return emulator.Library(built(factory, emulator.QUICK, kernels=kernels))
