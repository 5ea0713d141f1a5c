"""The process that builds one engine: ``python -m tdfusion_edge.runtime.engines.tensorrt.child FOLDER``.

Its folder holds what it is asked (:data:`JOB`, :data:`GRAPH`, perhaps :data:`TIMING`) and gets what it makes
(:data:`PLAN`, :data:`TIMING_MADE`), each written aside and renamed. Reports go out as lines of JSON on
standard output, everything that libraries print goes to standard error.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import msgspec

from tdfusion_edge import config
from tdfusion_edge.config import Table
from tdfusion_edge.errors import EngineError, TdfusionError
from tdfusion_edge.files import write_aside
from tdfusion_edge.runtime.engines.tensorrt import bindings
from tdfusion_edge.runtime.engines.tensorrt.bindings import Flavour
from tdfusion_edge.runtime.engines.tensorrt.build import build
from tdfusion_edge.runtime.engines.tensorrt.log import Log
from tdfusion_edge.runtime.engines.tensorrt.options import BuildOptions

JOB, GRAPH, TIMING = "job.json", "graph.onnx", "timing.in"
PLAN, TIMING_MADE = "engine.plan", "timing.out"
EMPTY = "empty"
"""The folder it works in: a parser that looked for a file beside the graph would find none."""

EVERY_S = 0.1
"""A step within a phase is told this often; large networks have thousands."""
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Job(Table, frozen=True, kw_only=True):
    """What to build."""

    flavour: Flavour
    options: BuildOptions
    verbose: bool
    parent: int
    """Process that waits for it; without that one it ends."""


class Step(Table, frozen=True, kw_only=True, tag="step"):
    """Progress."""

    phase: str
    done: int
    of: int
    """0 where the number of steps is unknown."""


class Failed(Table, frozen=True, kw_only=True, tag="failed"):
    """The fields of the error that ended it."""

    what: str
    expected: str | None
    got: str | None
    hint: str | None
    request: bool
    """It was a RequestError."""


class Done(Table, frozen=True, kw_only=True, tag="done"):
    """The engine lies in the folder."""


Report = Step | Failed | Done


class Reporter:
    """Writes reports, at most one step each :data:`EVERY_S` within a phase."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()  # the library may report from several threads
        self._phase, self._at = "", -EVERY_S

    def step(self, phase: str, done: int, of: int) -> None:
        """Progress of a phase."""
        now = self._clock()
        if phase == self._phase and now - self._at < EVERY_S:
            return
        self._phase, self._at = phase, now
        self.tell(Step(phase=phase, done=done, of=of))

    def tell(self, report: Report) -> None:
        """Any report, at once."""
        with self._lock:
            try:
                self._stream.write(msgspec.json.encode(report).decode() + "\n")
                self._stream.flush()
            except OSError:  # nobody waits for the engine any more
                os._exit(1)


def main() -> int:
    """Build what the folder in the first argument asks for; exit code 0, or 1 with a Failed report."""
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the library prints must not get between the reports
    reporter = Reporter(stream)
    folder = Path(sys.argv[1]).resolve()
    try:
        job = config.load(folder / JOB, Job)
        _yield_to(job.parent)
        _work(folder, job, reporter)
    except TdfusionError as error:
        reporter.tell(_failed(error))
        return 1
    except MemoryError:
        reporter.tell(_failed(EngineError("the build ran out of memory")))
        return 1
    reporter.tell(Done())
    return 0


def _work(folder: Path, job: Job, reporter: Reporter) -> None:
    reporter.step(f"loading {bindings.TITLES[job.flavour]}", 0, 0)
    os.chdir(folder / EMPTY)
    trt = bindings.load(job.flavour)
    timing = folder / TIMING
    plan, made = build(
        trt,
        job.flavour,
        (folder / GRAPH).read_bytes(),
        job.options,
        log=Log(sys.stderr, verbose=job.verbose),
        step=reporter.step,
        timing=timing.read_bytes() if timing.exists() else None,
    )
    try:
        if made is not None:
            write_aside(folder / TIMING_MADE, made)
        write_aside(folder / PLAN, plan)
    except OSError as error:
        raise EngineError(f"the engine cannot be written: {error.strerror or error}") from error


def _failed(error: TdfusionError) -> Failed:
    return Failed(
        what=error.what,
        expected=error.expected,
        got=error.got,
        hint=error.hint,
        request=not isinstance(error, EngineError),
    )


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
