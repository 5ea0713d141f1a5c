"""A process whose thread stands in C++ code ends with its own exit code: real processes, a real library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import pytest

HEAD = """
import atexit, sys, threading, time
import cv2, numpy as np
from tdfusion_edge.leaving import ended_by

def hang():
    picture = np.zeros((1500, 1500), np.uint8)
    while True:
        began.set()
        cv2.GaussianBlur(picture, (31, 31), 5)

began = threading.Event()
def work():
    threading.Thread(target=hang, daemon=True).start()
    began.wait()
    atexit.register(lambda: print("tidied"))
    print("done")
"""
SOURCE = """
import cv2, numpy as np
from tdfusion_edge.frames import Frame

class Camera:
    live = True
    def __init__(self, name, clock):
        self.name, self.clock, self.number = name, clock, 0
    def read(self):
        self.number += 1
        picture = np.zeros((1500, 1500), np.uint8)
        while self.number > 3:
            cv2.GaussianBlur(picture, (31, 31), 5)
        return Frame(np.full((64, 80), self.number, np.uint8), self.clock(), self.number, self.name)
    def close(self):
        pass

def from_uri(name, uri, *, epoch_ns, clock):
    return Camera(name, clock)
"""


@pytest.mark.parametrize(
    ("ending", "code"),
    [("return 0", 0), ("return 3", 3), ("sys.exit(2)", 2), ("sys.exit()", 0), ("1 / 0", 1)],
)
def test_a_thread_that_is_left_behind_costs_neither_code_nor_words(ending: str, code: int) -> None:
    program = f"{HEAD}    {ending}\nsys.exit(ended_by(work))\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (code, "done\ntidied\n"), done.stderr
    assert ("ZeroDivisionError" in done.stderr) == (code == 1)


@pytest.mark.slow
def test_a_run_with_a_reader_that_hangs_ends_as_any_other(tmp_path: Path) -> None:
    folder = tmp_path / "plugin"
    (folder / "hang-1.dist-info").mkdir(parents=True)
    (folder / "hang.py").write_text(SOURCE)
    (folder / "hang-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: hang\nVersion: 1\n")
    (folder / "hang-1.dist-info" / "entry_points.txt").write_text(
        "[tdfusion_edge.sources]\nhang = hang:from_uri\n"
    )
    command = [
        *(sys.executable, "-m", "tdfusion_edge", "run", "--camera", "hang://x,sim://vis", "--seconds", "2"),
        *("--no-detect", "-o", "x.mp4", "-o", "x.jsonl"),
    ]  # fmt: skip
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "infrared missing" in done.stdout
    with av.open(str(tmp_path / "x.mp4")) as video:
        pictures = sum(1 for _ in video.decode(video=0))
    assert pictures == (tmp_path / "x.jsonl").read_bytes().count(b"\n") > 0
