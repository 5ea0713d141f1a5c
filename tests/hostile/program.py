"""The program under test: starts command lines, watches them, and ends what does not end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from hostile.case import MEMORY, Case, Run
from hostile.zygote import TAUGHT

ROOT = Path(__file__).resolve().parents[2]
PAUSE_S = 0.004
"""Between two looks at a process."""
PAGE, TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
SLOWEST = 10
"""How much slower a busy machine may be than one that does nothing else."""


class Program:
    """The loaded program (``zygote.py``), of which every command line is a fork: light, or with PyTorch."""

    def __init__(self) -> None:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": "1",
            "LC_ALL": "C.UTF-8",
        }
        self._zygotes: dict[str, subprocess.Popen[str]] = {}

    def _zygote(self, kind: str) -> subprocess.Popen[str]:
        if kind not in self._zygotes:
            self._zygotes[kind] = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("zygote.py")), kind],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=self._env,
                start_new_session=True,
            )
        return self._zygotes[kind]

    def close(self) -> None:
        """End it."""
        for zygote in self._zygotes.values():
            zygote.kill()
            zygote.communicate()

    def run(self, case: Case, lines: Sequence[Sequence[object]], place: Path) -> list[Run]:
        """Run command lines in ``place/work``, all at once."""
        kind = "heavy" if lines[0] and str(lines[0][0]) in TAUGHT else "light"
        zygote = self._zygote(kind)
        started = [self._start(zygote, case, line, place, number) for number, line in enumerate(lines)]
        return [self._watch(zygote, case, place, number, pid) for number, pid in enumerate(started)]

    def _start(
        self, zygote: subprocess.Popen[str], case: Case, arguments: Sequence[object], place: Path, number: int
    ) -> int:
        home = place / "home"
        home.mkdir(exist_ok=True)
        streams = {name: _stream(getattr(case, name), place, name, number) for name in ("stdout", "stderr")}
        request = {
            "folder": str(place / "work"),
            "arguments": [os.fspath(one) if isinstance(one, Path) else str(one) for one in arguments],
            "env": self._env | {"HOME": str(home), "TMPDIR": str(home)} | dict(case.env),
            **streams,
        }
        pid: int = _ask(zygote, request)["pid"]
        return pid

    def _watch(self, zygote: subprocess.Popen[str], case: Case, place: Path, number: int, pid: int) -> Run:
        clock, peak, killed = _Clock(), 0, None
        pending = list(case.interrupts)
        while (look := _look(pid)).state != "Z":
            peak = max(peak, look.held)
            seconds = clock.passed(look)
            if pending and seconds >= pending[0]:
                pending.pop(0)
                os.kill(pid, signal.SIGINT)
            if killed is None and (look.held > MEMORY or seconds > case.limit):
                hangs = f"hangs beyond {case.limit:g} s"
                killed = f"takes {look.held >> 20} MB" if look.held > MEMORY else hangs
                _kill(pid)
            time.sleep(PAUSE_S)
        done = _ask(zygote, {"reap": pid})
        left = _kill_group(pid)
        texts = [_said(place, name, number) for name in ("stdout", "stderr")]
        code = None if killed else done["code"]
        return Run(code, *texts, clock.seconds, max(peak, done["peak"]), killed, left)


def _ask(zygote: subprocess.Popen[str], request: dict[str, Any]) -> dict[str, Any]:
    assert zygote.stdin is not None
    assert zygote.stdout is not None
    zygote.stdin.write(json.dumps(request) + "\n")
    zygote.stdin.flush()
    answer: dict[str, Any] = json.loads(zygote.stdout.readline())
    return answer


def _stream(kind: str, place: Path, name: str, number: int) -> str | None:
    return {"file": str(place / f"{name}{number}"), "full": "/dev/full", "closed": None}[kind]


def _said(place: Path, name: str, number: int) -> str:
    path = place / f"{name}{number}"
    return path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""


class _Look(NamedTuple):
    """What the kernel says of a process."""

    state: str
    cpu_s: float
    held: int
    """Bytes of memory."""


def _look(pid: int) -> _Look:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return _Look(fields[0], ticks / TICKS, int(fields[21]) * PAGE)


class _Clock:
    """Seconds that a process works or sleeps; those in which it waits for a busy machine do not count.

    A process that gets nothing at all is given up after ten times its limit: see ``SLOWEST``.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._seen_s, self._cpu_s = time.monotonic(), 0.0

    def passed(self, look: _Look) -> float:
        """Take a look into account."""
        now_s = time.monotonic()
        waited, worked = now_s - self._seen_s, look.cpu_s - self._cpu_s
        self.seconds += max(worked, waited if look.state in "SD" else waited / SLOWEST)
        self._seen_s, self._cpu_s = now_s, look.cpu_s
        return self.seconds


def _kill(pid: int) -> None:
    """End a process with all that it started."""
    if not _kill_group(pid):  # it has no group of its own yet
        os.kill(pid, signal.SIGKILL)


def _kill_group(pid: int) -> bool:
    """End all processes of a group; whether there was one."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
        return True
    return False
