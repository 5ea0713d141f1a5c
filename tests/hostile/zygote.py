"""Loads the program once and runs each command line in a fork of itself.

A process a case would spend most of its time on imports. What is loaded here has no threads, so that a fork of
it is a process like any other: it begins with the command line and ends as an interpreter ends.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

# Not onnxruntime nor ``export``, which imports it: that starts a thread, which a fork would not have and would
# wait for at its end.
LIGHT = (
    "av",
    "cv2",
    "tdfusion_edge.runtime.fuser",
    "tdfusion_edge.runtime.sinks.folder",
    "tdfusion_edge.runtime.sinks.jsonl",
    "tdfusion_edge.runtime.sinks.video",
    "tdfusion_edge.runtime.sources.folder",
    "tdfusion_edge.runtime.sources.video",
)
HEAVY = (*LIGHT, "torch", "onnx", "onnxscript", "tdfusion_edge.train.setup")
TAUGHT = ("train", "export")
"""Commands that need what is heavy; forks of what has loaded it take twice the time."""
LARGEST_FILE = 64 << 20
"""Bytes; a runaway must not fill the disk."""
PRIVILEGES = 1 << 1 | 1 << 2 | 1 << 3
"""Of root, to pass over the rights of files (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER)."""


def preload(*, heavy: bool) -> None:
    """Load what commands load."""
    from tdfusion_edge.cli import COMMANDS, command_parser

    for command in COMMANDS:
        if command.name != "export" and (heavy or command.name not in TAUGHT):
            command_parser(command)
    for module in HEAVY if heavy else LIGHT:
        importlib.import_module(module)
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        sys.exit(f"a module started a thread: {threads} run")
    gc.freeze()


def serve() -> dict[str, Any]:
    """Answer requests, a line each; in a fork, return the one that it was made for."""
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        if "reap" in request:
            _, status, usage = os.wait4(request["reap"], 0)
            answer = {"code": os.waitstatus_to_exitcode(status), "peak": usage.ru_maxrss * 1024}
        else:
            child = os.fork()
            if child == 0:
                return request
            answer = {"pid": child}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    os._exit(0)


def become(request: dict[str, Any]) -> None:
    """Take the folder, the environment and the streams of a request."""
    os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["env"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    if os.geteuid() == 0:
        drop_privileges()
    sys.stdin = Path(os.devnull).open()  # noqa: SIM115 (it lives as long as the process)
    os.dup2(sys.stdin.fileno(), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        target = request[name]
        if target is None:
            os.close(number)
            setattr(sys, name, None)  # as the interpreter does it
        else:
            opened = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(opened, number)
            os.close(opened)


def drop_privileges() -> None:
    """Let root meet the rights of files as every user does."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    for call, change in ((libc.capget, False), (libc.capset, True)):
        if change:
            data[0] &= ~PRIVILEGES
        if call(header, data):
            raise OSError(ctypes.get_errno(), "capabilities")


if __name__ == "__main__":
    preload(heavy=sys.argv[1] == "heavy")
    wanted = serve()
    become(wanted)
    sys.argv = ["tdfusion-edge", *wanted["arguments"]]
    from tdfusion_edge.cli import main

    sys.exit(main())
