"""The program as a process of its own: its memory while it runs, and the report it prints."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from msgspec.structs import replace

from tdfusion_edge.config import to_json
from tdfusion_edge.errors import WorkError
from tdfusion_edge.runtime.measuring.recording import FPS
from tdfusion_edge.runtime.rig import SIMULATED

MB = 1e6
GRACE_S = 60.0
"""A process may take so much longer than it was asked to run, for its start and its end."""


class Memory(NamedTuple):
    """Resident memory of a process."""

    seconds: float
    """Since its start."""
    megabytes: float


class Watched(NamedTuple):
    """What a process did."""

    memory: list[Memory]
    """By time, from shortly after the start to shortly before the end."""
    peak_megabytes: float
    output: str
    """Its standard output."""


def run_command(folder: Path, seconds: float, bundle: Path, *, threads: int, video: bool) -> list[str]:
    """``tdfusion-edge run`` on the simulated rig, whatever rig the user has.

    Args:
        folder: A temporary folder, for the rig file and the video.
        seconds: Time after which it ends.
        bundle: The network.
        threads: CPU threads.
        video: Write a video.
    """
    described = folder / "rig.json"
    cameras = {name: replace(camera, fps=FPS) for name, camera in SIMULATED.cameras.items()}
    described.write_bytes(to_json(replace(SIMULATED, cameras=cameras)))
    command = [sys.executable, "-m", "tdfusion_edge", "run", "--json", "--camera", "ir0,vis0"]
    command += ["--rig", str(described), "--seconds", f"{seconds:g}"]
    command += ["--bundle", str(bundle), "--threads", str(threads)]
    return [*command, "--output", str(folder / "run.mp4")] if video else command


def report_in(output: str) -> dict[str, Any]:
    """The report that ``run --json`` printed.

    Raises:
        WorkError: there is none.
    """
    with contextlib.suppress(ValueError):
        report = json.loads(output)
        if isinstance(report, dict):
            return report
    raise WorkError("the run printed no report", expected="one JSON object", got=output[-200:] or "nothing")


def watch(command: Sequence[str], *, interval_s: float, timeout_s: float) -> Watched:
    """Run a process to its end and look at its memory every ``interval_s`` seconds.

    Raises:
        WorkError: it failed, ended before the first look, or took longer than ``timeout_s``.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        # Files, not pipes: nobody reads here while the process runs, and a full pipe would stop it.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        try:
            memory, peak = _look(process, interval_s, timeout_s)
        finally:
            _end(process)
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            said = errors.read().decode(errors="replace")[-2000:]
            raise WorkError(
                f"{' '.join(command[2:4])} ended with code {process.returncode}", got=said or "no message"
            )
        if not memory:
            raise WorkError(f"{' '.join(command[2:4])} ended before its memory was read")
        return Watched(memory, peak, output.read().decode())


def _look(
    process: subprocess.Popen[bytes], interval_s: float, timeout_s: float
) -> tuple[list[Memory], float]:
    start_s = time.monotonic()
    memory: list[Memory] = []
    peak = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        seen = psutil.Process(process.pid)
        while (elapsed_s := time.monotonic() - start_s) < timeout_s:
            resident = seen.memory_info().rss / MB
            if resident:  # a process that has ended and was not waited for has none
                memory.append(Memory(round(elapsed_s, 3), resident))
                peak = max(peak, resident, high_water_mark(process.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(interval_s)
                return memory, peak
        raise WorkError("the process does not end", expected=f"at most {timeout_s:g} s")
    process.wait(timeout_s)
    return memory, peak


def high_water_mark(pid: int) -> float:
    """Largest resident memory since the process's start in megabytes, 0 where the system keeps none.

    Not ``getrusage``: what it reports of a child begins with the memory of the process that forked.
    """
    with contextlib.suppress(OSError):
        match = re.search(
            r"^VmHWM:\s*(\d+) kB$", Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.MULTILINE
        )
        return 0.0 if match is None else int(match.group(1)) * 1024 / MB
    return 0.0


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
