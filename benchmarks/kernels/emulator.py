"""The kernels' own sources, built by g++ and run on a CPU: threads are fibres, tensor cores are loops.

Two forms: a program under the address and undefined-behaviour sanitizers, which takes launches in a file,
and a library, which takes them in this process. ``emulation/`` has the sources.
"""

from __future__ import annotations

import ctypes
import shutil
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tdfusion_edge.errors import EngineError

SOURCES = Path(__file__).resolve().parent / "emulation"
KERNELS = Path(__file__).resolve().parents[2] / "runtime" / "engines" / "cuda" / "kernels"
SANITIZED = ("-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DPROGRAM")
QUICK = ("-O2", "-shared", "-fPIC")


class Traffic(NamedTuple):
    """What a launch moved between multiprocessors and memory."""

    loaded: int
    """Bytes that instructions asked for."""
    stored: int
    sectors_loaded: int
    """Sectors of 32 bytes, each once a warp's instruction: what passes between L1 and L2."""
    sectors_stored: int
    once_loaded: int
    """Sectors that the launch touches at all: what passes to memory where the L2 cache holds the rest."""
    once_stored: int
    matrices: int
    """8x8 halves that tensor cores took from shared memory."""
    passes: int
    """In how many passes; as many as matrices where no two rows of one lie in the same banks."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch: kernel, its size, its parameters, and what their addresses are to point at."""

    kernel: str
    blocks: int
    threads: int
    shared: int
    parameters: ctypes.Structure
    buffers: Mapping[str, npt.NDArray[Any]]
    """By the field that takes the address; changed in place."""
    backwards: bool = False
    """Whether blocks, warps and lanes run in the other order."""


def compiler() -> str | None:
    """The path of g++, if there is one."""
    return shutil.which("g++")


EDGE, RESTORMER = "edge", "restormer"
"""Kernels that are built together: those of ``edge`` with the thermal limits, and those of the paper's F."""


def build(folder: Path, flags: Sequence[str], *, tensor_cores: bool = True, kernels: str = EDGE) -> Path:
    """Compile the kernels for the CPU.

    Args:
        folder: Where the result goes.
        flags: :data:`SANITIZED` or :data:`QUICK`.
        tensor_cores: Which of the two ways through the network.
        kernels: :data:`EDGE` or :data:`RESTORMER`.

    Raises:
        EngineError: the compiler is missing or refuses.
    """
    way, form = "tensor" if tensor_cores else "plain", "program" if "-DPROGRAM" in flags else "library"
    target = folder / f"{kernels}-{way}-{form}"
    command = [
        compiler() or "g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", *flags,
        f"-DTENSOR_CORES={int(tensor_cores)}", f"-DRESTORMER={int(kernels == RESTORMER)}",
        f"-I{KERNELS}", f"-I{SOURCES}", "-o", str(target),
        str(SOURCES / "emulation.cpp"),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise EngineError(f"g++ cannot be run: {error}") from error
    if done.returncode:
        raise EngineError(f"g++ refuses the kernels: {done.stderr[:2000]}")
    return target


def run(program: Path, launches: Sequence[Launch], folder: Path) -> list[Traffic]:
    """Run launches, one behind the other, in the program under the sanitizers.

    Raises:
        EngineError: a launch failed, or a sanitizer found something.
    """
    given, taken = folder / "launches.bin", folder / "results.bin"
    with given.open("wb") as file:
        for one in launches:
            raw = bytes(one.parameters)
            head = (
                one.kernel.encode(),
                one.blocks,
                one.threads,
                one.shared,
                one.backwards,
                len(raw),
                len(one.buffers),
            )
            file.write(struct.pack("32s6I", *head) + raw)
            for field, array in one.buffers.items():
                offset = getattr(type(one.parameters), field).offset
                file.write(struct.pack("2I", offset, array.nbytes) + array.tobytes())
    # What fibres hold when something goes wrong is no leak of the kernels'.
    quiet = {"ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run([program, given, taken], capture_output=True, text=True, check=False, env=quiet)
    if done.returncode:
        raise EngineError(f"the emulated kernels failed: {done.stderr[:4000]}")
    figures = []
    with taken.open("rb") as file:
        for one in launches:
            figures.append(Traffic(*struct.unpack("8Q", file.read(64))))
            for array in one.buffers.values():
                array[...] = np.frombuffer(file.read(array.nbytes), array.dtype).reshape(array.shape)
    return figures


class Library:
    """The kernels in this process, for addresses of this process's memory."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.emulated_value.restype = ctypes.c_float
        self._library.emulated_half.argtypes = [ctypes.c_float]

    def launch(
        self,
        kernel: str,
        blocks: int,
        threads: int,
        shared: int,
        parameters: bytes,
        *,
        backwards: bool = False,
    ) -> Traffic:
        """One launch, done when it returns.

        Raises:
            EngineError: it is refused, or went wrong.
        """
        error = ctypes.create_string_buffer(256)
        size = ctypes.c_size_t(len(parameters))
        failed = self._library.emulated_launch(
            kernel.encode(),
            blocks,
            threads,
            shared,
            parameters,
            size,
            int(backwards),
            error,
            ctypes.c_size_t(256),
        )
        if failed:
            raise EngineError(f"CUDA: {error.value.decode()} ({kernel})")
        figures = (ctypes.c_uint64 * 8)()
        self._library.emulated_traffic(figures)
        return Traffic(*figures)

    def half(self, value: float) -> int:
        """The bits of a float rounded to FP16."""
        return int(self._library.emulated_half(value))

    def value(self, half: int) -> float:
        """What 16 bits of FP16 are worth."""
        return float(self._library.emulated_value(half))
