"""What is built before there is a picture must be what the runner looks for, to the last digit of the key."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trt_bundles as bundles
import trt_graphs as graphs
from trt_build_here import BuildHere
from trt_fake import VERSIONS, make
from trt_host import ORIN, HostDevice

from tdfusion_edge import bundle
from tdfusion_edge.bundle import Bundle
from tdfusion_edge.cli import main
from tdfusion_edge.errors import EngineError, RequestError, TdfusionError
from tdfusion_edge.runtime.commands import engines as engines_command
from tdfusion_edge.runtime.engines import Progress
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.engines.tensorrt import runner
from tdfusion_edge.runtime.engines.tensorrt.device import Gpu
from tdfusion_edge.runtime.engines.tensorrt.prebuild import Made, Place, open_place, prebuild
from tdfusion_edge.runtime.engines.tensorrt.runner import TensorRtEngine, TensorRtRtxEngine

ADA = Gpu("Fake RTX 4090", "sm_89")
SIZES = ((7, 5), (12, 8))


PLAIN = runner.TensorRtEngine.__init__


def orin_here() -> Gpu:
    return ORIN


def no_gpu() -> Gpu:
    raise EngineError("no GPU can be used: cudaErrorNoDevice")


def placed(version: str = "10.13") -> Place:
    """On the device, or for TensorRT-RTX without one."""
    if version == "rtx":
        return open_place("tensorrt-rtx", ("sm_89",), trt=make("rtx", ADA), gpu=no_gpu)
    return open_place("tensorrt", trt=make(version), gpu=orin_here)


def built(folder: Path, opened: Bundle, place: Place, **more: Any) -> list[Made]:
    more = {"sizes": SIZES, "build": BuildHere(place.trt), **more}
    return list(prebuild(opened, place, engine_cache=folder, **more))


def pair(size: tuple[int, int]) -> dict[str, Any]:
    """Lumas of a width and a height."""
    values = {"infrared": 0.25, "visible": 0.75}
    return {name: np.full((1, 1, *size[::-1]), value, np.float32) for name, value in values.items()}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_runner_takes_what_was_built_before(engines: Path, version: str) -> None:
    opened, place = bundles.fusing(), placed(version)
    assert [made.fresh for made in built(engines, opened, place)] == [True, True]
    kind, gpu = (TensorRtRtxEngine, ADA) if version == "rtx" else (TensorRtEngine, ORIN)
    never = BuildHere(place.trt)
    graph, onnx = opened.graph("fusion")
    engine = kind(
        onnx,
        graph=graph,
        engine_cache=engines,
        trt=place.trt,
        device=lambda: HostDevice(gpu),
        gpu=lambda: gpu,
        build=never,
    )
    reference = OnnxRuntimeEngine(onnx)
    for size in SIZES:
        assert np.array_equal(engine.run(pair(size))["fused"], reference.run(pair(size))["fused"])
    assert never.asked == []
    engine.run(pair((6, 6)))  # and would have built what is not there
    assert len(never.asked) == 1


def test_every_graph_is_built_in_its_precision_and_size_once(engines: Path) -> None:
    place = placed()
    made = built(engines, bundles.with_detector(), place)
    assert [(one.wanted.graph, one.wanted.precision, one.wanted.shapes["infrared"]) for one in made] == [
        ("fusion", "fp16", (1, 1, 5, 7)),
        ("fusion", "fp16", (1, 1, 8, 12)),
        ("detector", "fp32", (1, 1, 8, 12)),
    ]
    plans = sorted(path.stat().st_size for path in engines.glob("*.plan"))
    assert sorted(one.size for one in made) == plans
    assert {(one.fresh, one.gpu) for one in made} == {(True, ORIN.name)}
    again = built(engines, bundles.with_detector(), place)
    assert [one.fresh for one in again] == [False] * 3
    assert [one.size for one in again] == [one.size for one in made]


def test_one_engine_a_target(engines: Path) -> None:
    place = open_place("tensorrt-rtx", ("sm_89", "sm_120", "sm_89"), trt=make("rtx", ADA), gpu=no_gpu)
    made = built(engines, bundles.fusing(), place, sizes=((8, 8),))
    assert [one.gpu for one in made] == ["sm_89", "sm_120"]
    assert len(list(engines.glob("*.plan"))) == 2


def test_time_and_progress_are_told(engines: Path) -> None:
    ticks = iter([1.0, 3.5, 4.0, 4.25])
    told: list[tuple[str, str]] = []

    def shower(graph: str) -> Callable[[Progress], None]:
        return lambda progress: told.append((graph, progress.phase))

    made = built(engines, bundles.fusing(), placed(), clock=lambda: next(ticks), on_progress=shower)
    assert [one.seconds for one in made] == [2.5, 0.25]
    assert ("fusion", "Building engine") in told


def test_a_build_that_fails_leaves_what_was_built_before(engines: Path) -> None:
    place = placed()
    build = BuildHere(place.trt)
    going = prebuild(bundles.fusing(), place, sizes=SIZES, engine_cache=engines, build=build)
    assert next(going).fresh
    build.fails = EngineError("crashed")
    with pytest.raises(EngineError, match="crashed"):
        next(going)
    assert [one.fresh for one in built(engines, bundles.fusing(), place)] == [False, True]


def test_without_a_one_pass_graph_in_a_precision_the_networks_are_built(engines: Path) -> None:
    fusion = bundles.described({"fp32": "fusion.onnx", "fp16": "fusion.fp16.onnx"}, ("infrared",), ("fused",))
    pipeline = bundles.described({"fp32": "pipeline.onnx"}, ("infrared",), ("fused",))
    files = {
        "fusion.onnx": graphs.one_picture(),
        "fusion.fp16.onnx": graphs.half_inside(),
        "pipeline.onnx": graphs.one_picture(),
    }
    opened = bundle.assembled(bundles.fields({"fusion": fusion, "onepass": pipeline}), files)
    for precision, names in (("fp16", ["fusion"] * 2), ("fp32", ["fusion"] * 2 + ["onepass"] * 2)):
        made = built(engines, opened, placed(), precision=precision)
        assert [one.wanted.graph for one in made] == names


@pytest.mark.parametrize(
    ("opened", "more", "error", "message"),
    [
        (bundles.fusing(), {"sizes": ((8, 8), (3, 8))}, RequestError, "--size 3x8: expected at least 4 pix"),
        (bundles.fusing(), {"precision": "int8"}, TdfusionError, "no fusion graph in int8"),
        (
            bundle.assembled(
                bundles.fields({"fusion": bundles.described({"fp32": "f"}, shape=(1, 1, "depth", 4))}),
                {"f": graphs.blend()},
            ),
            {},
            RequestError,
            "free axes that no size gives: expected width and height, got depth",
        ),
    ],
    ids=["size", "precision", "axis"],
)
def test_a_wrong_request_builds_nothing(
    engines: Path, opened: Bundle, more: dict[str, Any], error: type[TdfusionError], message: str
) -> None:
    with pytest.raises(error, match=message):
        built(engines, opened, placed(), **more)
    assert list(engines.iterdir()) == []


def test_targets_are_for_rtx(engines: Path) -> None:
    with pytest.raises(RequestError, match=r"--target sm_87 is for TensorRT-RTX(.|\n)*--backend tensorrt"):
        open_place("tensorrt", ("sm_87",), trt=make(), gpu=orin_here)
    with pytest.raises(EngineError, match=r"no engine for sm_87: expected sm_75, .* got sm_87"):
        open_place("tensorrt-rtx", ("sm_89", "sm_87"), trt=make("rtx"), gpu=orin_here)


def test_without_a_gpu_the_next_step_is_named() -> None:
    with pytest.raises(EngineError, match=r"cudaErrorNoDevice, and none is named(.|\n)*--target sm_89"):
        open_place("tensorrt-rtx", trt=make("rtx"), gpu=no_gpu)
    with pytest.raises(EngineError, match=r"no GPU can be used: cudaErrorNoDevice$"):
        open_place("tensorrt", trt=make(), gpu=no_gpu)


def test_without_the_library_the_doctor_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match=r"TensorRT (is not installed|cannot be loaded)(.|\n)*doctor"):
        open_place("tensorrt", gpu=orin_here)


# --- through the commands ------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One pair of 64x48 pixels."""
    for side in ("ir", "vi"):
        (tmp_path / "data" / side).mkdir(parents=True)
        ramp = np.arange(48 * 64).reshape(48, 64).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "data" / side / "0.png"), ramp)
    return tmp_path / "data"


@pytest.fixture
def orin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine with TensorRT, which cannot build: its child process would find none."""
    trt = make()
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    given = {"device": HostDevice, "gpu": orin_here}
    monkeypatch.setattr(runner.TensorRtEngine, "__init__", functools.partialmethod(PLAIN, **given))
    return trt


def test_the_folder_travels_to_the_commands_that_run(
    engines: Path, tmp_path: Path, data: Path, orin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = bundles.fusing()
    place = tmp_path / "bundle"
    bundle.write(place, bundles.fields(dict(opened.manifest.graphs)), opened.files)
    built(engines, opened, Place("tensorrt", orin, (ORIN,)), sizes=((64, 48),))
    run = ["verify", str(place), "--backend", "tensorrt", "--data", str(data), "--json"]
    assert main([*run, "--engine-cache", str(engines)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["backend"], told["gap"]["max_error"]) == ("tensorrt", 0)


def test_the_option_for_scratch_comes_to_the_build(
    engines: Path, mean_bundle_path: Path, orin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of `engines`; that of `run` is the runner's."""
    build = BuildHere(orin)
    monkeypatch.setattr(engines_command, "prebuild", functools.partial(prebuild, build=build))
    monkeypatch.setattr(engines_command, "open_place", functools.partial(open_place, gpu=orin_here))
    command = ["engines", str(mean_bundle_path), "--backend", "tensorrt", "--size", "64x48"]
    assert main([*command, "--engine-cache", str(engines), "--workspace", "300"]) == 0
    assert build.workspaces == [300 << 20]


def test_the_list_of_engines_needs_neither_library_nor_gpu(
    engines: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    built(engines, bundles.with_detector(), placed())
    assert main(["engines", "--list", "--engine-cache", str(engines)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert (
        sum("TensorRT 10.13.0  Fake Orin (sm_87, 8 SMs, 8 GiB)  1x1x5x7  fp16  " in line for line in lines)
        == 1
    )
    assert sum("  1x1x8x12  fp32  0.0 MB, used 0.0 days ago" in line for line in lines) == 1
    assert lines[-1].endswith(f"in {engines}")
    assert lines[-1].startswith("3 engines, ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--backend is missing: expected tensorrt or tensorrt-rtx"),
        (["--list", "--backend", "tensorrt"], "--backend with --list: expected --engine-cache or nothing"),
        (["bundle", "--prune", "3"], "BUNDLE with --prune"),
        (["--list", "--workspace", "300"], "--workspace with --list: expected --engine-cache or nothing"),
        (["--prune", "-1"], "--prune: expected days, 0 or more, got -1"),
        (["--prune", "nan"], "got nan"),
        (["--backend", "tensorrt", "--size", "640"], "--size: expected WxH, such as 640x480, got 640"),
        (["--backend", "tensorrt", "--size", "0x480"], "got 0x480"),
        (["--backend", "tensorrt", "--target", "sm_89"], "--target sm_89 is for TensorRT-RTX"),
        (["nowhere", "--backend", "tensorrt"], "there is no bundle at nowhere"),
    ],
)
def test_a_wrong_command_line_is_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["engines", *arguments]) == 2
    assert message in capsys.readouterr().err
