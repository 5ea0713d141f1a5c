"""Has an engine built in another process, and watches it.

A crash of the library, a build without end and a machine without memory become an EngineError here:
whoever runs cameras goes on, or ends in order.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tdfusion_edge.config import to_json
from tdfusion_edge.errors import EngineError, RequestError
from tdfusion_edge.runtime.engines.tensorrt import bindings, child
from tdfusion_edge.runtime.engines.tensorrt.bindings import Flavour
from tdfusion_edge.runtime.engines.tensorrt.graph import read_graph
from tdfusion_edge.runtime.engines.tensorrt.options import BuildOptions, check_profiles

LIMIT_S = 1800.0
"""Seconds a build may take: a small device needs minutes for a large network."""
POLL_S = 0.5
"""Without a report, progress is shown this often, and Ctrl-C and the time limit are looked at."""
LOG = "build.log"
TAIL = 12
"""Lines of the log in an error."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is."""

    phase: str
    done: int
    of: int
    """Steps of the phase; 0 where their number is unknown."""
    elapsed_s: float


OnProgress = Callable[[Progress], None]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Built:
    """What a build left in its folder."""

    plan: Path
    timing: Path | None
    seconds: float


def build_engine(
    onnx: bytes,
    options: BuildOptions,
    flavour: Flavour,
    *,
    limit_s: float = LIMIT_S,
    on_progress: OnProgress | None = None,
    log_to: Path | None = None,
) -> bytes:
    """Build one engine and keep it nowhere; arguments and errors are those of :func:`build_in`."""
    with tempfile.TemporaryDirectory(prefix="tdfusion-edge-") as folder:
        built = build_in(
            Path(folder), onnx, options, flavour, limit_s=limit_s, on_progress=on_progress, log_to=log_to
        )
        return built.plan.read_bytes()


def build_in(
    folder: Path,
    onnx: bytes,
    options: BuildOptions,
    flavour: Flavour,
    *,
    timing: bytes | None = None,
    limit_s: float = LIMIT_S,
    on_progress: OnProgress | None = None,
    log_to: Path | None = None,
    clock: Clock = time.monotonic,
) -> Built:
    """Build one engine in an empty folder that nobody else can write to.

    Args:
        folder: Gets the engine and whatever the build needs; removing it is the caller's.
        onnx: The graph.
        options: What is asked.
        flavour: Which library builds.
        timing: An earlier timing cache.
        limit_s: Seconds after which the build is killed.
        on_progress: Called in this thread; what it raises ends the build.
        log_to: Gets the log, with the fused kernels in it, also where the build fails.
        clock: Monotonic seconds.

    Raises:
        EngineError: the build failed, crashed or took too long.
        RequestError: the options do not fit the graph.
    """
    check_profiles(options, read_graph(onnx).inputs)  # again in the child; here it costs no process
    try:
        _write_job(folder, onnx, options, flavour, timing, verbose=log_to is not None)
        with _started(folder) as process:
            begin = clock()
            code, report = _watch(process, begin + limit_s, limit_s, on_progress, clock)
            seconds = clock() - begin
        _judge(code, report, folder / LOG, flavour)
    finally:
        if log_to is not None:
            with contextlib.suppress(OSError):  # the build's own error says more
                shutil.copyfile(folder / LOG, log_to)
    made = folder / child.TIMING_MADE
    return Built(folder / child.PLAN, made if made.exists() else None, seconds)


def _write_job(
    folder: Path,
    onnx: bytes,
    options: BuildOptions,
    flavour: Flavour,
    timing: bytes | None,
    *,
    verbose: bool,
) -> None:
    job = child.Job(flavour=flavour, options=options, verbose=verbose, parent=os.getpid())
    try:
        (folder / child.EMPTY).mkdir()
        (folder / child.GRAPH).write_bytes(onnx)
        (folder / child.JOB).write_bytes(to_json(job))
        if timing is not None:
            (folder / child.TIMING).write_bytes(timing)
    except OSError as error:
        raise EngineError(f"no engine can be built in {folder}: {error.strerror or error}") from error


@contextlib.contextmanager
def _started(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The child, which is dead at the end of the block, however that is left."""
    # It imports what this process imports, also from a checkout that is not installed.
    paths = [str(Path(path).absolute()) for path in sys.path]
    try:
        with (folder / LOG).open("wb") as log:
            process = subprocess.Popen(  # noqa: S603  # our own module, no shell
                [sys.executable, "-X", "faulthandler", "-m", child.__name__, str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,  # Ctrl-C comes to this process, which ends the child
            )
    except OSError as error:  # no process can be had, for example
        raise EngineError(f"no engine can be built in {folder}: {error.strerror or error}") from error
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _watch(
    process: subprocess.Popen[bytes],
    deadline: float,
    limit_s: float,
    on_progress: OnProgress | None,
    clock: Clock,
) -> tuple[int, child.Report | None]:
    """Exit code and last report of the child."""
    assert process.stdout is not None
    last: child.Report | None = None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - clock()
            if left <= 0:
                raise _too_long(limit_s, last)
            if selector.select(min(left, POLL_S)):
                chunk = os.read(process.stdout.fileno(), 1 << 16)
                if not chunk:
                    break
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    last = msgspec.json.decode(line, type=child.Report)
            if on_progress is not None and isinstance(last, child.Step):
                on_progress(Progress(last.phase, last.done, last.of, clock() - (deadline - limit_s)))
    try:
        # It is at its end, but a library that hangs while it is unloaded is known.
        return process.wait(max(deadline - clock(), 0.001)), last
    except subprocess.TimeoutExpired:
        raise _too_long(limit_s, last) from None


def _too_long(limit_s: float, last: child.Report | None) -> EngineError:
    phase = f", in '{last.phase}'" if isinstance(last, child.Step) else ""
    return EngineError(
        f"the engine was not built in time{phase}",
        expected=f"at most {limit_s:g} s",
        hint="Give it a longer time limit, or build it before the cameras run.",
    )


def _judge(code: int, report: child.Report | None, log: Path, flavour: Flavour) -> None:
    if isinstance(report, child.Failed):
        kind = RequestError if report.request else EngineError
        raise kind(report.what, expected=report.expected, got=report.got, hint=report.hint)
    if code == 0 and isinstance(report, child.Done):
        return
    ended = f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
    memory = " (the machine may be out of memory)" if code == -signal.SIGKILL else ""
    raise EngineError(
        f"{bindings.TITLES[flavour]} ended {ended}{memory} while it built the engine",
        hint="Its last words:\n" + _tail(log),
    )


def _tail(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - (1 << 16)))
        lines = stream.read().decode(errors="replace").splitlines()
    told = [line for line in lines if line.strip() and not line.startswith("[VERBOSE]")]
    # Python's own account of a crash names our lines, which would push out the library's last words.
    crash = next((at for at, line in enumerate(told) if line.startswith("Fatal Python error")), len(told))
    told = told[: crash + 1]
    return "\n".join(f"  {line[:300]}" for line in told[-TAIL:]) or "  none"
