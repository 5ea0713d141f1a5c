"""What the library does to its process must not reach ours. A stand-in does it here; ``test_trt_rtx.py`` has
the real one."""

from __future__ import annotations

import itertools
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trt_graphs as graphs
from trt_bundles import manifest_of

from tdfusion_edge.errors import BundleError, EngineError
from tdfusion_edge.runtime.engines import Progress
from tdfusion_edge.runtime.engines.tensorrt.builder import build_in
from tdfusion_edge.runtime.engines.tensorrt.store.request import Request

SHAPE = (1, 1, 8, 8)
ASKED = Request(
    onnx_sha256="0",
    precision="fp32",
    shapes={"infrared": SHAPE, "visible": SHAPE},
    flavour="tensorrt",
    version="10.13.0",
    gpu="Fake Orin",
    targets=("sm_87",),
)
FAKE = "import trt_fake\nglobals().update(vars(trt_fake.make('10.13')))\n"
HANG = "import threading\nthreading.Event().wait()\n"
BREAK = """
__version__ = "1"
class ILogger: ...
class NetworkDefinitionCreationFlag: STRONGLY_TYPED = 0
class Runtime: ...
class OnnxParser: ...
class Builder:
    def __init__(self, logger):
        {}
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that the child, which imports what this process imports, takes for TensorRT."""
    folder = tmp_path / "library"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder / "tensorrt.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "build"
    made.mkdir(mode=0o700)
    return made


def build(folder: Path, **more: Any) -> tuple[bytes, bytes | None]:
    onnx = graphs.blend()
    return build_in(ASKED, onnx, more.pop("manifest", manifest_of(onnx)), folder, **more)


def test_an_engine_comes_back_with_progress_and_log(library: Path, folder: Path, tmp_path: Path) -> None:
    library.write_text(FAKE + "print('the library prints')")
    seen: list[Progress] = []
    plan, times = build(folder, times=b"old;", on_progress=seen.append, log_to=tmp_path / "log")
    assert plan.endswith(graphs.blend())
    assert times == b"old;measured;"
    assert seen[0].phase == "loading TensorRT"
    assert "Building engine" in {progress.phase for progress in seen}
    assert [progress.elapsed_s for progress in seen] == sorted(progress.elapsed_s for progress in seen)
    told = (tmp_path / "log").read_text()
    assert "the library prints" in told
    assert "[VERBOSE] kernel __myl_Add" in told


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ("import os; os.abort()", r"TensorRT ended by SIGABRT while it built(.*\n)+.*\[INFO\] last words"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", r"SIGKILL \(the machine may be out of"),
        ("import os; os._exit(0)", "ended with exit code 0 while"),
        ("raise MemoryError", "the build ran out of memory"),
        ("raise RuntimeError('of pybind11')", "ended with exit code 1(.*\n)+.*RuntimeError: of pybind11"),
        ("raise TypeError('nullptr')", "TensorRT 1 cannot start: it gave no reason\n.*tdfusion-edge doctor"),
    ],
)
def test_whatever_ends_the_child_is_an_error(library: Path, folder: Path, harm: str, message: str) -> None:
    words = "import sys; print('[INFO] last words', file=sys.stderr, flush=True); "
    library.write_text(BREAK.format(words + harm))
    with pytest.raises(EngineError, match=message):
        build(folder)
    assert not (folder / "engine.plan").exists()


def test_an_error_keeps_its_kind_on_the_way(library: Path, folder: Path) -> None:
    library.write_text(FAKE)
    with pytest.raises(BundleError, match=r"10\.13\.0 graph is not what the manifest says(.|\n)*Export the"):
        build(folder, manifest=manifest_of(graphs.one_picture()))


def children() -> set[int]:
    """Processes of this one, dead or alive."""
    told = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return {int(number) for number in told.split()}


def test_a_build_without_end_is_killed_at_its_limit(library: Path, folder: Path) -> None:
    library.write_text(HANG)
    now = itertools.chain([0.0, 0.0], itertools.repeat(59.9, 3), itertools.repeat(60.0))
    before = children()
    with pytest.raises(EngineError, match=r"not built in time.*expected at most 60 s"):
        build(folder, limit_s=60, clock=lambda: next(now))
    assert children() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError, EngineError])
def test_what_the_display_raises_ends_the_build(
    library: Path, folder: Path, error: type[BaseException]
) -> None:
    library.write_text(HANG)
    before = children()

    def interrupt(progress: Progress) -> None:
        raise error("Ctrl-C")

    with pytest.raises(error, match="Ctrl-C"):
        build(folder, on_progress=interrupt)
    assert children() == before


PARENT = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
import test_trt_child
test_trt_child.build(Path({folder!r}), on_progress=lambda step: print("running", flush=True))
"""


def test_the_child_does_not_outlive_a_parent_that_is_killed(library: Path, folder: Path) -> None:
    pid = folder / "pid"
    library.write_text(
        f"import os, pathlib, threading\npathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\n"
        "threading.Event().wait()"
    )
    paths = [str(library.parent), *map(os.path.abspath, sys.path)]
    script = PARENT.format(paths=paths, folder=str(folder))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        while parent.stdout.readline() and not (pid.exists() and pid.read_text()):
            pass
        watched = os.pidfd_open(int(pid.read_text()))
        parent.send_signal(signal.SIGKILL)
    try:
        assert select.select([watched], [], [], 60)[0], "the child lives on"
    finally:
        os.close(watched)


def test_a_folder_that_is_not_there_is_an_error(library: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no engine can be built in .*absent"):
        build(tmp_path / "absent")
