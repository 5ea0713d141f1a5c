"""TensorRT-RTX compiles kernels when an engine runs: from the second start on they are there."""

from __future__ import annotations

import dataclasses
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trt_graphs as graphs
from trt_build_here import BuildHere
from trt_bundles import manifest_of
from trt_fake import make
from trt_host import COMPILED, HostDevice

from tdfusion_edge.runtime.engines import Progress
from tdfusion_edge.runtime.engines.tensorrt import store
from tdfusion_edge.runtime.engines.tensorrt.device import Gpu
from tdfusion_edge.runtime.engines.tensorrt.runner import TensorRtEngine, TensorRtRtxEngine
from tdfusion_edge.runtime.engines.tensorrt.store import EngineStore
from tdfusion_edge.runtime.engines.tensorrt.store.private import locked

ADA = Gpu("Fake RTX 4090", "sm_89", 128, 24 << 30, driver="580.95.05, CUDA 13.0")


@pytest.fixture(autouse=True)
def compiled() -> list[Any]:
    """Engines that have compiled since the test began."""
    COMPILED.clear()
    return COMPILED


def start(
    folder: Path, gpu: Gpu = ADA, *, version: str = "rtx", heights: tuple[int, ...] = (5,)
) -> list[Progress]:
    """One start of the program: an engine of both inputs runs once for each height."""
    said: list[Progress] = []
    trt, onnx = make(version, gpu), graphs.blend()
    kind = TensorRtRtxEngine if version == "rtx" else TensorRtEngine
    engine = kind(
        onnx,
        graph=manifest_of(onnx),
        engine_cache=folder,
        trt=trt,
        device=lambda: HostDevice(gpu),
        gpu=lambda: gpu,
        build=BuildHere(trt),
        on_progress=said.append,
    )
    with closing(engine):
        for height in heights:
            engine.run(dict.fromkeys(("infrared", "visible"), np.ones((1, 1, height, 7), np.float32)))
    return said


def kernels(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.kernels"))


def test_the_second_start_compiles_nothing(engines: Path, compiled: list[Any]) -> None:
    for count in (2, 2):
        start(engines, heights=(5, 6, 5))
        assert len(compiled) == count
    assert len(kernels(engines)) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in kernels(engines)} == {0o600}
    assert {path.suffix for path in engines.iterdir()} == {".plan", ".json", ".kernels"}


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Fake RTX 4070"},
        {"multiprocessors": 46},
        {"memory": 12 << 30},
        {"driver": "581.1, CUDA 13.0"},
    ],
)
def test_another_gpu_or_driver_compiles_its_own(
    engines: Path, compiled: list[Any], change: dict[str, Any]
) -> None:
    """The engine is the same, since it is for all GPUs of its target."""
    start(engines)
    start(engines, dataclasses.replace(ADA, **change))
    assert len(compiled) == 2
    assert (len(kernels(engines)), len(list(engines.glob("*.plan")))) == (2, 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b"\0" * 32 + path.read_bytes()[32:]),
        lambda path: path.write_bytes(b""),
        lambda path: path.chmod(0o622),
        lambda path: path.unlink(),
    ],
    ids=["cut", "digest", "empty", "writable", "gone"],
)
def test_what_is_not_whole_or_not_ours_is_compiled_anew(
    engines: Path, compiled: list[Any], damage: Any
) -> None:
    start(engines)
    damage(kernels(engines)[0])
    start(engines)
    assert len(compiled) == 2
    start(engines)
    assert len(compiled) == 2


def test_what_the_library_refuses_is_compiled_anew(
    engines: Path, compiled: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks at driver and version by itself, and gives False."""
    start(engines)
    trt = make("rtx", ADA)
    monkeypatch.setattr(trt.IRuntimeCache, "deserialize", lambda cache, blob: False)
    start(engines)
    assert len(compiled) == 2


def test_kernels_go_with_their_engine(engines: Path) -> None:
    start(engines)
    (kept,) = EngineStore(engines).kept()
    assert kept.size == sum(path.stat().st_size for path in engines.iterdir())
    assert EngineStore(engines).prune(0) == [kept]
    assert list(engines.iterdir()) == []


def test_a_library_with_its_kernels_in_the_engine_keeps_none(engines: Path) -> None:
    start(engines, version="10.13")
    assert kernels(engines) == []


def test_where_they_cannot_be_kept_it_runs_and_says_so(
    engines: Path, compiled: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    start(engines)
    kernels(engines)[0].unlink()
    monkeypatch.setattr(store, "write_aside", _refused)
    said = [one.phase for one in start(engines)]
    assert [line for line in said if "what was compiled is not kept" in line] == said[-1:] != []
    assert len(compiled) == 2


def test_two_processes_that_keep_the_same_do_not_wait_for_each_other(engines: Path) -> None:
    start(engines)
    (path,) = kernels(engines)
    path.unlink()
    with locked(path.with_suffix(".lock"), limit_s=0):
        start(engines)
    assert kernels(engines) == []
    (engines / f"{path.stem}.part").mkdir()  # of one that was killed
    start(engines)
    assert kernels(engines) == [path]
    assert list(engines.glob("*.part")) == []


def _refused(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")
