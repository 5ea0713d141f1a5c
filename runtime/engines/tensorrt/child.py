"""The process that builds one engine: ``python -m tdfusion_edge.runtime.engines.tensorrt.child FOLDER``.

Its folder holds what it is asked (:data:`JOB`, :data:`GRAPH`, perhaps :data:`TIMES`) and gets what it makes
(:data:`PLAN`, :data:`TIMES_MADE`), each written aside and renamed. Reports go out as lines of JSON on
standard output, everything that libraries print goes to standard error.
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

import msgspec

from tdfusion_edge import config
from tdfusion_edge.bundle import Graph
from tdfusion_edge.config import Table
from tdfusion_edge.errors import BundleError, EngineError, RequestError, TdfusionError
from tdfusion_edge.files import write_aside
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.build import build
from tdfusion_edge.runtime.engines.tensorrt.log import Log
from tdfusion_edge.runtime.engines.tensorrt.store.request import Request

JOB, GRAPH, TIMES = "job.json", "graph.onnx", "times.in"
PLAN, TIMES_MADE = "engine.plan", "times.out"
EMPTY = "empty"
"""The folder it works in: a parser that looked for a file beside the graph would find none."""
KINDS = {kind.__name__: kind for kind in (EngineError, BundleError, RequestError)}
"""Errors that keep their kind on the way to the process that waits; the others become the first."""
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Job(Table, frozen=True, kw_only=True):
    """What to build."""

    request: Request
    graph: Graph | None
    """What the manifest says; None where there is none."""
    verbose: bool
    """Every fused kernel is named in the log."""
    parent: int
    """Process that waits for it; without that one it ends."""


class Phase(Table, frozen=True, kw_only=True, tag="phase"):
    """A part of the work begins."""

    name: str


class Failed(Table, frozen=True, kw_only=True, tag="failed"):
    """The fields of the error that ended it."""

    kind: str
    what: str
    expected: str | None
    got: str | None
    hint: str | None

    @staticmethod
    def of(error: TdfusionError) -> Failed:
        """Taken apart."""
        return Failed(
            kind=type(error).__name__,
            what=error.what,
            expected=error.expected,
            got=error.got,
            hint=error.hint,
        )

    def error(self) -> TdfusionError:
        """Put together again."""
        kind = KINDS.get(self.kind, EngineError)
        return kind(self.what, expected=self.expected, got=self.got, hint=self.hint)


class Reports:
    """Reports on their way to the process that waits."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._phase = stream, ""
        self._lock = threading.Lock()  # the library may report from several threads

    def phase(self, name: str) -> None:
        """A part of the work begins; the same one is named once."""
        if name != self._phase:
            self._phase = name
            self.send(Phase(name=name))

    def send(self, report: Phase | Failed) -> None:
        """Any report, at once."""
        with self._lock:
            try:
                self._stream.write(msgspec.json.encode(report).decode() + "\n")
                self._stream.flush()
            except OSError:  # nobody waits for the engine any more
                os._exit(1)


def main() -> int:
    """Build what the folder in the first argument asks for; exit code 0, or 1 with a Failed report."""
    reports = Reports(os.fdopen(os.dup(1), "w"))
    os.dup2(2, 1)  # what the library prints must not get between the reports
    folder = Path(sys.argv[1]).resolve()
    try:
        job = config.load(folder / JOB, Job)
        _yield_to(job.parent)
        _work(folder, job, reports)
    except TdfusionError as error:
        reports.send(Failed.of(error))
        return 1
    except MemoryError:
        reports.send(Failed.of(EngineError("the build ran out of memory")))
        return 1
    return 0


def _work(folder: Path, job: Job, reports: Reports) -> None:
    reports.phase(f"loading {bindings.TITLES[job.request.flavour]}")
    os.chdir(folder / EMPTY)
    times = folder / TIMES
    plan, measured = build(
        bindings.load(job.request.flavour),
        job.request,
        (folder / GRAPH).read_bytes(),
        job.graph,
        log=Log(sys.stderr, verbose=job.verbose),
        on_phase=reports.phase,
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
