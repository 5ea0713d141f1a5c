"""What a build may take, and what a device of little memory holds meanwhile."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trt_graphs as graphs
from trt_build_here import BuildHere
from trt_bundles import manifest_of
from trt_fake import make
from trt_host import ORIN, HostDevice

from tdfusion_edge.cli import main
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.commands.engine_options import choice_of
from tdfusion_edge.runtime.engines.tensorrt import child, workspace
from tdfusion_edge.runtime.engines.tensorrt.device import GIB, Gpu
from tdfusion_edge.runtime.engines.tensorrt.device.probe import probe
from tdfusion_edge.runtime.engines.tensorrt.runner import TensorRtEngine
from tdfusion_edge.runtime.engines.tensorrt.workspace import LEAST, UNKNOWN, workspace_here, workspace_of

NANO = dataclasses.replace(ORIN, integrated=True)
AGX = dataclasses.replace(NANO, multiprocessors=16, memory=61 * GIB)


class Machine:
    """One GPU. A process has it open or not, and what builds notes which."""

    def __init__(self, gpu: Gpu, folder: Path) -> None:
        self.gpu, self.folder, self.trt = gpu, folder, make()
        self.open: list[HostDevice] = []
        self.held_while_building: list[int] = []
        self.build = BuildHere(self.trt)

    def device(self) -> HostDevice:
        self.open.append(HostDevice(self.gpu))
        return self.open[-1]

    def holding(self) -> int:
        """Bytes of buffers, and one for every device that is open."""
        there = [device for device in self.open if not device.closed]
        return sum(1 + sum(map(len, device.memory.values())) for device in there)

    def engine(self, onnx: bytes, **more: Any) -> TensorRtEngine:
        def build(*given: Any, **options: Any) -> Any:
            self.held_while_building.append(self.holding())
            return self.build(*given, **options)

        return TensorRtEngine(
            onnx,
            graph=manifest_of(onnx),
            engine_cache=self.folder,
            trt=self.trt,
            device=self.device,
            gpu=lambda: self.gpu,
            build=build,
            **more,
        )


def pair(height: int = 5) -> dict[str, Any]:
    return dict.fromkeys(("infrared", "visible"), np.ones((1, 1, height, 7), np.float32))


@pytest.mark.parametrize(("gpu", "free"), [(NANO, True), (AGX, False), (ORIN, False)])
def test_on_little_memory_nothing_is_held_while_another_process_builds(
    engines: Path, gpu: Gpu, free: bool
) -> None:
    machine = Machine(gpu, engines)
    with closing(machine.engine(graphs.blend())) as engine:
        for height in (5, 6, 5):
            assert engine.run(pair(height))["fused"].shape == (1, 1, height, 7)
        first, second = machine.held_while_building
        assert first == 0, "the GPU is opened when there is something to run"
        assert (second == 0) == free
    assert machine.holding() == 0
    assert len(machine.open) == (2 if free else 1)


@pytest.mark.parametrize(("gpu", "count"), [(NANO, 1), (AGX, 0)])
def test_on_little_memory_a_graph_of_one_size_is_built_before_anything_runs(
    engines: Path, gpu: Gpu, count: int
) -> None:
    """The detector's, behind the fusion that would hold the GPU by the time that its first picture comes."""
    machine = Machine(gpu, engines)
    fixed = graphs.in_colour()
    with closing(machine.engine(fixed)) as engine:
        assert len(machine.build.asked) == count
        assert machine.open == []
        given = {tensor.name: np.zeros(tensor.shape, np.float32) for tensor in engine.inputs}  # type: ignore[arg-type]
        engine.run(given)
        assert len(machine.build.asked) == 1


def test_a_device_that_cannot_start_the_library_is_closed(engines: Path) -> None:
    machine = Machine(ORIN, engines)

    class Broken:
        def __init__(self, logger: Any) -> None:
            raise TypeError("no object")

    machine.trt.Runtime = Broken
    engine = machine.engine(graphs.blend())
    with pytest.raises(EngineError, match="cannot start"):
        engine.run(pair())
    assert machine.holding() == 0


def test_shared_memory_is_not_copied(engines: Path) -> None:
    for gpu, copies in ((NANO, 0), (ORIN, 4)):
        machine = Machine(gpu, engines)
        with closing(machine.engine(graphs.blend())) as engine:
            engine.run(pair())
            assert machine.open[0].copies == copies


def test_the_option_comes_to_the_build(engines: Path) -> None:
    for asked in (None, 300 << 20):
        machine = Machine(ORIN, engines / str(asked))
        with closing(machine.engine(graphs.blend(), workspace=asked)) as engine:
            engine.run(pair())
        assert machine.build.workspaces == [asked]


def test_the_same_engine_is_found_whatever_was_free(engines: Path) -> None:
    for asked in (None, 300 << 20):
        machine = Machine(ORIN, engines)
        with closing(machine.engine(graphs.blend(), workspace=asked)) as engine:
            engine.run(pair())
        assert len(machine.build.asked) == (asked is None)


def test_scratch_is_a_share_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    assert workspace_of(NANO, 4 * GIB) == 2 * GIB
    assert workspace_of(ORIN, 4 * GIB) == 3 * GIB
    assert workspace_of(NANO, 0) == LEAST
    monkeypatch.setattr(workspace, "open_device", lambda: HostDevice(NANO, limit=6 * GIB))
    assert workspace_here() == 3 * GIB

    def none() -> HostDevice:
        raise EngineError("no GPU")

    monkeypatch.setattr(workspace, "open_device", none)
    assert workspace_here() == UNKNOWN


@pytest.mark.parametrize("text", ["0", "-5", "1.5", "much", "", "1e3"])
def test_what_is_no_size_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--camera", "ir0,vis0", f"--workspace={text}"])
    assert "expected a whole number of MiB" in capsys.readouterr().err


def test_the_child_takes_the_option_or_asks_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []

    def build(*_: Any, workspace: int, **__: Any) -> tuple[bytes, None]:
        taken.append(workspace)
        return b"plan", None

    monkeypatch.setattr(child, "build", build)
    monkeypatch.setattr(child, "workspace_here", lambda: 77)
    monkeypatch.setitem(sys.modules, "tensorrt", make())
    (tmp_path / child.EMPTY).mkdir()
    (tmp_path / child.GRAPH).write_bytes(graphs.blend())
    monkeypatch.chdir(tmp_path)
    asked = Machine(ORIN, tmp_path / "engines")
    with closing(asked.engine(graphs.blend())) as engine:
        engine.run(pair())
    (request,) = asked.build.asked
    for given in (None, 5):
        job = child.Job(request=request, graph=None, workspace=given, verbose=False, parent=0)
        child._work(tmp_path, job, child.Phases(sys.stderr))
    assert taken == [77, 5]


# --- a GPU that is asked in another process ------------------------------------------------------


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a module that the child imports in place of cuda-python."""
    folder = tmp_path / "libraries" / "cuda" / "bindings"
    folder.mkdir(parents=True)
    for place in (folder, folder.parent):
        (place / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "libraries")

    def write(source: str) -> None:
        (folder / "runtime.py").write_text(source)

    return write


def test_a_library_that_crashes_on_its_way_to_the_gpu_ends_its_own_process(stub: Any) -> None:
    stub("import os, signal\nprint('noise')\nos.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(EngineError, match=r"the library of CUDA ended by SIGSEGV"):
        probe()


def test_what_the_other_process_found_comes_back(stub: Any) -> None:
    stub(
        "import sys; sys.path.append('.')\nprint('noise')\n"
        "from trt_cuda import FakeRuntime, ORIN\n"
        "one = FakeRuntime(properties=ORIN)\n"
        "globals().update({name: getattr(one, name) for name in dir(one) if name.startswith('cuda')})"
    )
    found = probe()
    assert (found.gpu.name, found.gpu.multiprocessors, found.gpu.integrated) == ("Orin", 8, True)
    assert found.provider.startswith("cuda-bindings")
    assert found.free_memory > 0


def test_an_error_there_is_an_error_here(stub: Any) -> None:
    stub("raise ImportError('libcudart.so: cannot open')")
    with pytest.raises(
        EngineError, match=r"no GPU can be used: cuda-bindings .*: libcudart\.so: cannot open"
    ):
        probe()


@pytest.mark.parametrize(
    ("source", "message"),
    [("print('no json')", "cannot be asked"), ("import threading; threading.Event().wait()", "timed out")],
)
def test_whatever_that_process_does_is_an_error(source: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        probe([sys.executable, "-c", source], limit_s=1)


def test_choice_has_the_option() -> None:
    import argparse

    from tdfusion_edge.runtime.commands.engine_options import add_engine_arguments

    parser = argparse.ArgumentParser()
    add_engine_arguments(parser)
    assert choice_of(parser.parse_args(["--workspace", "512"])).workspace == 512 << 20
    assert choice_of(parser.parse_args([])).workspace is None
