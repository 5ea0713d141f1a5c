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
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tdfusion_edge import config
from tdfusion_edge.bundle import Graph
from tdfusion_edge.errors import BundleError, EngineError
from tdfusion_edge.runtime.engines.base import OnProgress, Progress
from tdfusion_edge.runtime.engines.tensorrt import bindings, child
from tdfusion_edge.runtime.engines.tensorrt.device.probe import child_environment
from tdfusion_edge.runtime.engines.tensorrt.store import LIMIT_S
from tdfusion_edge.runtime.engines.tensorrt.store.request import Request

POLL_S = 0.5
"""Without a report, progress is shown this often, and Ctrl-C and the time limit are looked at."""
LOG = "build.log"
TAIL = 12
"""Lines of the log in an error."""


def build_in(
    request: Request,
    onnx: bytes,
    graph: Graph | None,
    folder: Path,
    times: bytes | None = None,
    *,
    workspace: int | None = None,
    limit_s: float = LIMIT_S,
    on_progress: OnProgress | None = None,
    log_to: Path | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[bytes, bytes | None]:
    """Build one engine in an empty folder that nobody else can write to.

    Args:
        request: What is asked.
        onnx: The graph.
        graph: What the manifest says about it; None where there is no manifest.
        folder: Gets whatever the build needs; removing it is the caller's.
        times: Earlier kernel times.
        workspace: Most bytes of GPU memory for scratch; None takes a share of what is free then.
        limit_s: Seconds after which the build is killed.
        on_progress: Called in this thread; what it raises ends the build.
        log_to: Gets the log, with the fused kernels in it, also where the build fails.
        clock: Monotonic seconds.

    Returns:
        The engine, and the kernel times where the library keeps some.

    Raises:
        BundleError: the graph is not what the manifest says.
        EngineError: the build failed, crashed or took too long.
    """
    job = child.Job(
        request=request,
        graph=graph,
        workspace=workspace,
        verbose=log_to is not None,
        parent=os.getpid(),
    )
    files = {child.JOB: config.to_json(job), child.GRAPH: onnx} | (
        {} if times is None else {child.TIMES: times}
    )
    plan, made = folder / child.PLAN, folder / child.TIMES_MADE
    try:
        with _started(folder, files) as process:
            code = _watch(process, limit_s, on_progress, clock)
        with _named_errors(folder):
            if (folder / child.FAILED).exists():
                failed = config.load(folder / child.FAILED, child.Failed)
                kind = BundleError if failed.bundle else EngineError
                raise kind(failed.what, expected=failed.expected, got=failed.got, hint=failed.hint)
            if code != 0 or not plan.exists():
                raise _ended(code, folder / LOG, bindings.TITLES[request.flavour])
            return plan.read_bytes(), made.read_bytes() if made.exists() else None
    finally:
        if log_to is not None:
            with contextlib.suppress(OSError):  # the build's own error says more
                shutil.copyfile(folder / LOG, log_to)


@contextlib.contextmanager
def _named_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # the disk is full, or no process can be had, for example
        raise EngineError(f"no engine can be built in {folder}: {error.strerror or error}") from error


@contextlib.contextmanager
def _started(folder: Path, files: Mapping[str, bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The child at work on these files, which is dead at the end of the block, however that is left."""
    with _named_errors(folder):
        (folder / child.EMPTY).mkdir()
        for name, raw in files.items():
            (folder / name).write_bytes(raw)
        with (folder / LOG).open("wb") as log:
            process = subprocess.Popen(  # noqa: S603  # our own module, no shell
                [sys.executable, "-X", "faulthandler", "-m", child.__name__, str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env=child_environment(),
                start_new_session=True,  # Ctrl-C comes to this process, which ends the child
            )
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
    limit_s: float,
    on_progress: OnProgress | None,
    clock: Callable[[], float],
) -> int:
    """Exit code of the child."""
    assert process.stdout is not None
    begin, phase, rest = clock(), b"", b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = begin + limit_s - clock()
            if left <= 0:
                raise _too_long(limit_s, phase)
            phases = [phase]  # also without a report
            if selector.select(min(left, POLL_S)):
                chunk = os.read(process.stdout.fileno(), 1 << 16)
                if not chunk:
                    break
                *phases, rest = (rest + chunk).split(b"\n")
            for phase in filter(None, phases):
                if on_progress is not None:
                    on_progress(Progress(phase.decode(errors="replace"), clock() - begin))
    try:
        # It is at its end, but a library that hangs while it is unloaded is known.
        return process.wait(max(begin + limit_s - clock(), 0.001))
    except subprocess.TimeoutExpired:
        raise _too_long(limit_s, phase) from None


def _too_long(limit_s: float, phase: bytes) -> EngineError:
    during = ", in '" + phase.decode(errors="replace") + "'" if phase else ""
    return EngineError(
        f"the engine was not built in time{during}",
        expected=f"at most {limit_s:g} s",
        hint="Give it a longer time limit, or build it before the cameras run.",
    )


def _ended(code: int, log: Path, title: str) -> EngineError:
    ended = f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
    memory = " (the machine may be out of memory)" if code == -signal.SIGKILL else ""
    return EngineError(
        f"{title} ended {ended}{memory} while it built the engine", hint="Its last words:\n" + _tail(log)
    )


def _tail(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - (1 << 16)))
        lines = stream.read().decode(errors="replace").splitlines()
    said = [line for line in lines if line.strip() and not line.startswith("[VERBOSE]")]
    # Python's own account of a crash names our lines, which would push out the library's last words.
    crash = next((at for at, line in enumerate(said) if line.startswith("Fatal Python error")), len(said))
    said = said[: crash + 1]
    return "\n".join(f"  {line[:300]}" for line in said[-TAIL:]) or "  none"
