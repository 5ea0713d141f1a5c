"""Compile the kernels for all supported GPUs into one fat binary, with its digest in a manifest.

  python -m tdfusion_edge.runtime.engines.cuda.build
  python -m tdfusion_edge.runtime.engines.cuda.build --nvcc /usr/local/cuda-12.6/bin/nvcc

It needs nvcc and no GPU, and is run before a wheel is made; the wheel then holds what it made. A driver loads
what a compiler of its own CUDA version or an older one made, so that a second run with nvcc 12 adds a set for
JetPack 6.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tdfusion_edge.console import say
from tdfusion_edge.errors import EngineError, TdfusionError
from tdfusion_edge.files import write_aside
from tdfusion_edge.runtime.engines.cuda.binaries import (
    FOLDER,
    PLUGIN_SOURCE,
    SOURCE,
    Binary,
    Ptx,
    manifest_with,
    sources_digest,
)

TARGETS = (75, 80, 86, 87, 89, 90, 110, 120)
"""Compute capabilities: Turing, A100, RTX 30, Orin, RTX 40, H100 and H200, Thor, RTX 50."""
PLUGIN_FAMILIES = (75, 80)
"""What PTX is made of for a plugin: the way without tensor cores, and the one with them."""
FAMILIES = (75, 80, 90)
"""What the code of a target is translated from: the newest that is not newer, for these three differ in what
the kernels use. A GPU that is newer than all targets gets the last one's, from its driver."""
_FLAGS = ("-std=c++17", "-O3", "-Xptxas", "-v", "-Werror", "all-warnings")


class Resources(NamedTuple):
    """What ptxas says that a kernel takes of one GPU."""

    kernel: str
    target: int
    registers: int
    spilled: int
    """Bytes of spill stores and loads, and of the stack."""


def compile_kernels(
    nvcc: str, target: Path, targets: Sequence[int] = TARGETS, *, source: Path = FOLDER / SOURCE
) -> tuple[Resources, ...]:
    """Make one fat binary, with PTX of the newest family behind it.

    Args:
        nvcc: The compiler.
        target: What to write.
        targets: Compute capabilities that this compiler knows; see :func:`known_targets`.
        source: What to compile.

    Raises:
        EngineError: the compiler is missing or refuses.
    """
    codes: dict[int, list[str]] = {}
    for one in targets:
        codes.setdefault(max(family for family in FAMILIES if family <= one), []).append(f"sm_{one}")
    codes[max(codes)].append(f"compute_{max(codes)}")
    wanted = [f"-gencode=arch=compute_{family},code=[{','.join(some)}]" for family, some in codes.items()]
    command = [nvcc, *_FLAGS, "--threads", "0", *wanted, "-fatbin", "-o", str(target), str(source)]
    return resources(_run(command))


def resources(report: str) -> tuple[Resources, ...]:
    r"""Read ``ptxas -v``.

    >>> resources(
    ...     "ptxas info    : Compiling entry function 'k' for 'sm_87'\n"
    ...     "ptxas info    : Function properties for k\n"
    ...     "    0 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads\n"
    ...     "ptxas info    : Used 40 registers, used 1 barriers\n"
    ... )
    (Resources(kernel='k', target=87, registers=40, spilled=12),)
    """
    found: list[Resources] = []
    kernel, target, spilled = "", 0, 0
    for line in report.splitlines():
        if match := re.search(r"Compiling entry function '(\w+)' for 'sm_(\d+)", line):
            kernel, target = match[1], int(match[2])
        elif match := re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line
        ):
            spilled = sum(map(int, match.groups()))
        elif (match := re.search(r"Used (\d+) registers", line)) and kernel:
            found.append(Resources(kernel, target, int(match[1]), spilled))
            kernel = ""
    return tuple(found)


def version_of(nvcc: str) -> tuple[int, int]:
    """Major and minor version of CUDA that a compiler is of.

    Raises:
        EngineError: it cannot be asked.
    """
    match = re.search(r"release (\d+)\.(\d+)", _run([nvcc, "--version"]))
    if match is None:
        raise EngineError(f"{nvcc} does not tell its version", expected="nvcc of CUDA 12 or later")
    return int(match[1]), int(match[2])


def known_targets(nvcc: str) -> tuple[int, ...]:
    """Those of :data:`TARGETS` that a compiler knows."""
    known = {int(one) for one in re.findall(r"compute_(\d+)\b", _run([nvcc, "--list-gpu-arch"]))}
    return tuple(target for target in TARGETS if target in known)


def build(nvcc: str, folder: Path = FOLDER) -> Binary:
    """Make the set of one compiler and enter it into the manifest.

    Args:
        nvcc: The compiler.
        folder: Where the sources lie and the set goes.

    Raises:
        EngineError: the compiler is missing or refuses, or a kernel spills.
    """
    major, minor = version_of(nvcc)
    name = f"kernels-cuda{major}.fatbin"
    aside = folder / f".{name}.new"
    targets = known_targets(nvcc)
    try:
        found = compile_kernels(nvcc, aside, targets, source=folder / SOURCE)
        spilling = [f"{one.kernel} for sm_{one.target}" for one in found if one.spilled]
        if spilling:
            raise EngineError(f"kernels do not fit the registers: {', '.join(spilling)}")
        raw = aside.read_bytes()
    finally:
        aside.unlink(missing_ok=True)
    write_aside(folder / name, raw)
    ptx = tuple(
        _plugin_ptx(nvcc, f"plugin-cuda{major}-{family}.ptx", family, folder) for family in PLUGIN_FAMILIES
    )
    binary = Binary(
        file=name, sha256=hashlib.sha256(raw).hexdigest(), cuda=(major, minor), targets=targets,
        sources=sources_digest(folder), ptx=ptx,
    )  # fmt: skip
    manifest_with(binary, folder)
    return binary


def _plugin_ptx(nvcc: str, name: str, family: int, folder: Path) -> Ptx:
    aside = folder / f".{name}.new"
    command = [nvcc, "-std=c++17", "-O3", "-ptx", f"-arch=compute_{family}", "-o", str(aside)]
    try:
        _run([*command, str(folder / PLUGIN_SOURCE)])
        raw = aside.read_bytes()
    finally:
        aside.unlink(missing_ok=True)
    write_aside(folder / name, raw)
    return Ptx(file=name, sha256=hashlib.sha256(raw).hexdigest(), family=family)


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603
    except OSError as error:
        raise EngineError(
            f"{command[0]} cannot be run: {error.strerror}",
            hint="Install NVIDIA's CUDA toolkit, or name its nvcc with --nvcc.",
        ) from error
    if done.returncode:
        raise EngineError(f"{command[0]} failed: {(done.stderr or done.stdout)[-2000:]}")
    return done.stdout + done.stderr


def main(argv: Sequence[str] | None = None) -> int:
    """Build, and say what was made."""
    parser = argparse.ArgumentParser(
        prog="python -m tdfusion_edge.runtime.engines.cuda.build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--nvcc", default=shutil.which("nvcc") or "nvcc", help="the compiler (default: the one on the path)"
    )
    args = parser.parse_args(argv)
    try:
        binary = build(args.nvcc)
    except TdfusionError as error:
        say(f"error: {error}", error=True)
        return error.exit_code
    targets = ", ".join(f"sm_{one}" for one in binary.targets)
    say(f"{FOLDER / binary.file}: CUDA {binary.cuda[0]}.{binary.cuda[1]}, {targets}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
