"""What the GPU is, asked in a process of its own: ``python -m`` and the name of this module.

A process that has asked keeps a context, some hundreds of megabytes, until it ends. On a device whose
memory is small it would hold them while another one builds an engine. And a library that crashes on its way
to the GPU ends that process alone.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tdfusion_edge import config
from tdfusion_edge.config import Table
from tdfusion_edge.errors import ConfigError, EngineError, TdfusionError
from tdfusion_edge.runtime.engines.tensorrt.device import Gpu, open_device

LIMIT_S = 120.0
"""Seconds; a small device takes some for the libraries of CUDA."""


class Probed(Table, frozen=True, kw_only=True):
    """A GPU that could be opened."""

    gpu: Gpu
    provider: str
    """Library that opened it, with its version."""
    free_memory: int
    """Bytes."""


class Answer(Table, frozen=True, kw_only=True):
    """What the process writes: a GPU, or the error."""

    found: Probed | None = None
    what: str = ""
    expected: str | None = None
    got: str | None = None
    hint: str | None = None


def child_environment() -> dict[str, str]:
    """Of a child that imports what this process imports, also from a checkout that is not installed."""
    paths = [str(Path(path).absolute()) for path in sys.path]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def probe(command: Sequence[str] | None = None, limit_s: float = LIMIT_S) -> Probed:
    """Open the first GPU, copy nothing, and close it again, all in another process.

    Args:
        command: What is run; None takes this module.
        limit_s: Seconds that it may take.

    Raises:
        EngineError: no library is there, none opens a GPU, or one crashed or hung.
    """
    asked = [sys.executable, "-m", __name__] if command is None else list(command)
    try:
        done = subprocess.run(  # noqa: S603  # our own module, no shell
            asked, stdin=subprocess.DEVNULL, capture_output=True, env=child_environment(), timeout=limit_s
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"the GPU cannot be asked what it is: {error}") from error
    if done.returncode < 0:
        ended = signal.Signals(-done.returncode).name
        raise EngineError(f"the GPU cannot be asked what it is: the library of CUDA ended by {ended}")
    try:
        answer = config.parse(done.stdout, Answer, name="what it is")
    except ConfigError as error:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise EngineError(f"the GPU cannot be asked what it is: {said[-1] if said else error}") from error
    if answer.found is None:
        raise EngineError(answer.what, expected=answer.expected, got=answer.got, hint=answer.hint)
    return answer.found


@functools.cache
def gpu_here() -> Gpu:
    """The first GPU by :func:`probe`, asked once while it can be had.

    Raises:
        EngineError: as there.
    """
    return probe().gpu


def main() -> int:
    """Write the answer."""
    written = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no part of it
    try:
        with closing(open_device()) as device:
            free = device.free_memory()
            answer = Answer(found=Probed(gpu=device.gpu, provider=device.provider, free_memory=free))
    except TdfusionError as error:
        answer = Answer(what=error.what, expected=error.expected, got=error.got, hint=error.hint)
    with written:
        written.write(config.to_json(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
