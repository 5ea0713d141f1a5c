"""The process that builds one engine: ``python -m tdfusion_edge.runtime.engines.tensorrt.child FOLDER``.

Its folder holds what it is asked (:data:`JOB`, :data:`GRAPH`, perhaps :data:`TIMES`) and gets what it makes
(:data:`PLAN`, :data:`TIMES_MADE`, or :data:`FAILED`), each written aside and renamed. The phases of the work
go out as lines on standard output, everything that libraries print goes to standard error.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TextIO

from tdfusion_edge import config
from tdfusion_edge.bundle import Graph
from tdfusion_edge.config import Table
from tdfusion_edge.errors import BundleError, EngineError, TdfusionError
from tdfusion_edge.files import write_aside
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.build import build
from tdfusion_edge.runtime.engines.tensorrt.log import Log
from tdfusion_edge.runtime.engines.tensorrt.store.request import Request
from tdfusion_edge.runtime.engines.tensorrt.workspace import workspace_here

JOB, GRAPH, TIMES = "job.json", "graph.onnx", "times.in"
PLAN, TIMES_MADE, FAILED = "engine.plan", "times.out", "failed.json"
EMPTY = "empty"
"""The folder it works in: a parser that looked for a file beside the graph would find none."""
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Job(Table, frozen=True, kw_only=True):
    """What to build."""

    request: Request
    graph: Graph | None
    """What the manifest says; None where there is none."""
    workspace: int | None = None
    """Most bytes of GPU memory for scratch; None takes a share of what is free."""
    verbose: bool
    """Every fused kernel is named in the log."""
    parent: int
    """Process that waits for it; without that one it ends."""


class Failed(Table, frozen=True, kw_only=True):
    """The error that ended it."""

    bundle: bool
    """It was a BundleError; otherwise it is an EngineError."""
    what: str
    expected: str | None
    got: str | None
    hint: str | None


class Phases:
    """Lines for the process that waits, each phase once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._last = stream, ""
        self._lock = threading.Lock()  # the library may report from several threads

    def begin(self, name: str) -> None:
        """A phase begins."""
        with self._lock:
            if name == self._last:
                return
            self._last = name
            try:
                self._stream.write(" ".join(name.split()) + "\n")
                self._stream.flush()
            except OSError:  # nobody waits for the engine any more
                os._exit(1)


def main() -> int:
    """Build what the folder in the first argument asks for; exit code 0, or 1 with :data:`FAILED`."""
    phases = Phases(os.fdopen(os.dup(1), "w", errors="replace"))
    os.dup2(2, 1)  # what the library prints must not get between the phases
    folder = Path(sys.argv[1]).resolve()
    try:
        job = config.load(folder / JOB, Job)
        _yield_to(job.parent)
        _work(folder, job, phases)
    except TdfusionError as error:
        return _failed(folder, error)
    except MemoryError:
        return _failed(folder, EngineError("the build ran out of memory"))
    return 0


def _failed(folder: Path, error: TdfusionError) -> int:
    failed = Failed(
        bundle=isinstance(error, BundleError),
        what=error.what,
        expected=error.expected,
        got=error.got,
        hint=error.hint,
    )
    write_aside(folder / FAILED, config.to_json(failed))
    return 1


def _work(folder: Path, job: Job, phases: Phases) -> None:
    phases.begin(f"loading {bindings.TITLES[job.request.flavour]}")
    os.chdir(folder / EMPTY)
    times = folder / TIMES
    plan, measured = build(
        bindings.load(job.request.flavour),
        job.request,
        (folder / GRAPH).read_bytes(),
        job.graph,
        workspace=workspace_here() if job.workspace is None else job.workspace,
        log=Log(sys.stderr, verbose=job.verbose),
        on_phase=phases.begin,
        times=times.read_bytes() if times.exists() else None,
    )
    try:
        if measured is not None:
            write_aside(folder / TIMES_MADE, measured)
        write_aside(folder / PLAN, plan)
    except OSError as error:
        raise EngineError(f"the engine cannot be written: {error.strerror or error}") from error


def _yield_to(parent: int) -> None:
    """End with the parent, and be the first to go where memory runs out."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before it could be watched
            os._exit(1)
        with contextlib.suppress(OSError):  # not allowed in every container
            Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    sys.exit(main())
