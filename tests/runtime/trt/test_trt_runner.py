from __future__ import annotations

import ctypes
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trt_graphs as graphs
from msgspec.structs import replace
from onnx import TensorProto, helper
from trt_build_here import BuildHere
from trt_bundles import manifest_of
from trt_fake import VERSIONS, make
from trt_host import ORIN, HostDevice
from trt_requests import asked_of

from tdfusion_edge.errors import BundleError, EngineError
from tdfusion_edge.runtime.engines import Progress
from tdfusion_edge.runtime.engines.base import DeviceEngine
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.engines.tensorrt.device import Gpu
from tdfusion_edge.runtime.engines.tensorrt.runner import KEEP, TensorRtEngine, TensorRtRtxEngine
from tdfusion_edge.runtime.engines.tensorrt.store import EngineStore

ADA = Gpu("Fake RTX 4090", "sm_89")


class Bench:
    """An engine of one version, and everything it stands on."""

    def __init__(
        self,
        folder: Path,
        version: str = "10.13",
        onnx: bytes | None = None,
        gpu: Gpu | None = None,
        **more: Any,
    ) -> None:
        gpu = gpu or (ADA if version == "rtx" else ORIN)
        self.trt, self.device = make(version, gpu), HostDevice(gpu)
        self.build = BuildHere(self.trt)
        self.progress: list[Progress] = []
        kind = TensorRtRtxEngine if version == "rtx" else TensorRtEngine
        onnx = graphs.blend() if onnx is None else onnx
        self.engine = kind(
            onnx,
            graph=more.pop("graph", None) or manifest_of(onnx),
            engine_cache=folder,
            trt=self.trt,
            device=more.pop("device", lambda: self.device),
            gpu=lambda: gpu,
            build=self.build,
            on_progress=self.progress.append,
            **more,
        )


def pictures(height: int = 5, width: int = 7, dtype: Any = np.float32) -> dict[str, Any]:
    """Different in every pixel."""
    ramp = np.arange(height * width, dtype=dtype).reshape(1, 1, height, width)
    return {"infrared": ramp, "visible": ramp[:, :, ::-1, ::-1] * 2}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_gives_what_onnx_runtime_gives(engines: Path, version: str) -> None:
    bench, reference = Bench(engines, version), OnnxRuntimeEngine(graphs.blend())
    assert (bench.engine.inputs, bench.engine.outputs) == (reference.inputs, reference.outputs)
    for size in ((5, 7), (1, 1), (7, 5), (5, 7)):
        got, want = bench.engine.run(pictures(*size)), reference.run(pictures(*size))
        assert list(got) == list(want) == ["fused", "difference"]
        assert all(np.array_equal(got[name], want[name]) for name in want)
    bench.engine.close()
    assert bench.device.closed


def test_a_head_that_sees_colours_is_run_by_both_of_its_inputs(engines: Path) -> None:
    bench = Bench(engines, onnx=graphs.in_colour())
    reference, random = OnnxRuntimeEngine(graphs.in_colour()), np.random.default_rng(0)
    shapes = {tensor.name: tensor.shape for tensor in bench.engine.inputs}
    assert shapes == {"luma": (1, 1, 4, 6), "chroma": (1, 2, 4, 6)}
    for _ in range(2):
        given = {name: random.random(shape, np.float32) for name, shape in shapes.items()}
        assert np.array_equal(bench.engine.run(given)["sum"], reference.run(given)["sum"])
    assert [asked.shapes for asked in bench.build.asked] == [shapes]


def test_an_engine_is_built_for_each_shape_once(engines: Path) -> None:
    bench = Bench(engines)
    for size in ((5, 7), (5, 7), (6, 7), (5, 7)):
        bench.engine.run(pictures(*size))
    assert [asked.shapes["visible"] for asked in bench.build.asked] == [(1, 1, 5, 7), (1, 1, 6, 7)]
    again = Bench(engines)
    again.engine.run(pictures(6, 7))
    assert again.build.asked == []


def test_the_last_few_shapes_stay_loaded_and_no_more(engines: Path) -> None:
    bench = Bench(engines)
    for height in (1, 2, 3, 1, 4):
        bench.engine.run(pictures(height))
        assert len(bench.device.memory) <= KEEP * 4
    assert [key[0][2] for key in bench.engine._loaded] == [3, 1, 4]
    bench.engine.close()
    assert bench.device.memory == {}


def test_the_build_is_shown_while_it_lasts(engines: Path) -> None:
    bench = Bench(engines)
    bench.engine.run(pictures())
    assert [progress.phase for progress in bench.progress] == ["Building engine"]


def test_rtx_takes_an_engine_that_was_built_without_a_gpu(engines: Path) -> None:
    """Its request names the target alone; the other flavours build on the device itself."""

    trt, onnx = make("rtx", ADA), graphs.blend()
    request = asked_of(trt, onnx, dict.fromkeys(("infrared", "visible"), (1, 1, 5, 7)), gpu="sm_89")
    build = partial(BuildHere(trt), request, onnx, manifest_of(onnx), on_progress=None)
    EngineStore(engines).find_or_build(request, build)
    bench = Bench(engines, "rtx")
    bench.engine.run(pictures())
    assert bench.build.asked == []


@pytest.mark.parametrize("other", ["version", "gpu", "graph"])
def test_an_engine_of_another_version_gpu_or_graph_is_not_used(engines: Path, other: str) -> None:
    """Also under the name of the one that is wanted, which is where a copied folder would have it."""
    wanted = Bench(engines)
    wanted.engine.run(pictures())
    (key,) = (path.stem for path in engines.glob("*.plan"))
    for path in engines.iterdir():
        path.unlink()
    foreign = Bench(
        engines,
        "10.3" if other == "version" else "10.13",
        graphs.blend(shape=(1, 1, 5, 7)) if other == "graph" else None,
        gpu=Gpu("Orin Nano", "sm_87") if other == "gpu" else ORIN,
    )
    foreign.engine.run(pictures())
    for path in list(engines.iterdir()):
        path.rename(path.with_name(key + path.suffix))
    bench = Bench(engines)
    want = OnnxRuntimeEngine(graphs.blend()).run(pictures())["fused"]
    assert np.array_equal(bench.engine.run(pictures())["fused"], want)
    assert len(bench.build.asked) == 1
    assert bench.progress[0].phase.endswith("it was built from something else")


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-1], lambda raw: raw.replace(b"halve", b"halvE"), lambda raw: b""]
)
def test_a_damaged_engine_is_built_anew_and_said_so(engines: Path, damage: Any) -> None:
    Bench(engines).engine.run(pictures())
    plan = next(engines.glob("*.plan"))
    plan.write_bytes(damage(plan.read_bytes()))
    bench = Bench(engines)
    want = OnnxRuntimeEngine(graphs.blend()).run(pictures())["fused"]
    assert np.array_equal(bench.engine.run(pictures())["fused"], want)
    assert len(bench.build.asked) == 1
    assert bench.progress[0].phase.startswith("building anew, since the kept engine is no good")


def test_an_engine_that_the_library_refuses_is_built_anew_once(engines: Path) -> None:
    bench, refused = Bench(engines), []
    Bench(engines).engine.run(pictures())
    real = bench.trt.Runtime.deserialize_cuda_engine

    def picky(runtime: Any, plan: bytes) -> Any:
        if refused:
            return real(runtime, plan)
        refused.append(plan)
        return None

    bench.trt.Runtime.deserialize_cuda_engine = picky
    bench.engine.run(pictures())
    assert len(bench.build.asked) == len(refused) == 1


def test_a_new_engine_that_the_library_refuses_is_an_error(engines: Path) -> None:
    bench = Bench(engines)
    bench.build.trt = make("10.3")  # builds what 10.13 cannot load
    with pytest.raises(
        EngineError, match=r"TensorRT 10\.13\.0 cannot load the engine: the engine is of another"
    ):
        bench.engine.run(pictures())
    assert len(bench.build.asked) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), EngineError("crashed")])
def test_a_failed_build_leaves_nothing_and_can_be_tried_again(engines: Path, error: BaseException) -> None:
    bench = Bench(engines)
    bench.build.fails = error
    with pytest.raises(type(error)):
        bench.engine.run(pictures())
    assert list(engines.iterdir()) == []
    assert bench.device.memory == {}
    bench.build.fails = None
    assert bench.engine.run(pictures())["fused"][0, 0, 0, 0] == 34


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "engine inputs: expected infrared, visible, got none"),
        ({"infrared": pictures()["infrared"]}, "expected infrared, visible, got infrared"),
        (pictures() | {"mask": pictures()["visible"]}, "got infrared, mask, visible"),
        (pictures(dtype=np.float64), "engine input 'infrared': expected float32"),
        ({name: picture[0] for name, picture in pictures().items()}, r"got float32 \(1, 5, 7\)"),
        ({name: np.repeat(picture, 3, 1) for name, picture in pictures().items()}, r"\(1, 3, 5, 7\)"),
        (pictures(0, 7), r"got float32 \(1, 1, 0, 7\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(engines: Path, inputs: dict[str, Any], message: str) -> None:
    bench = Bench(engines)
    with pytest.raises(EngineError, match=message):
        bench.engine.run(inputs)
    assert bench.build.asked == []
    assert bench.engine.run(pictures())["difference"].shape == (1, 1, 5, 7)


def test_inputs_stay_as_they_are_and_outputs_are_the_callers(engines: Path) -> None:
    bench, given = Bench(engines), pictures()
    first = bench.engine.run(given)
    kept = first["fused"].copy()
    bench.engine.run({name: picture + 1 for name, picture in given.items()})
    assert np.array_equal(first["fused"], kept)
    assert np.array_equal(given["infrared"], pictures()["infrared"])


def test_half_precision_is_run_where_it_is_asked_for(engines: Path) -> None:
    bench = Bench(engines, onnx=graphs.half_inside(), precision="fp16")
    picture = np.full((1, 1, 4, 4), 0.25, np.float32)
    assert bench.engine.run({"infrared": picture})["fused"][0, 0, 0, 0] == 0.125
    wrong = Bench(engines, onnx=graphs.blend(), precision="fp16")
    with pytest.raises(EngineError, match="the graph is not fp16"):
        wrong.engine.run(pictures())


def test_an_engine_with_other_types_than_the_graph_is_refused(engines: Path) -> None:
    """TensorRT 8 makes 64-bit integers 32 bits wide."""
    node = helper.make_node("Cast", ["x"], ["y"], name="cast", to=TensorProto.FLOAT)
    onnx = graphs.model([node], [graphs.tensor("x", ("n",), TensorProto.INT64)], [graphs.tensor("y", ("n",))])
    bench = Bench(engines, "8.6", onnx)
    with pytest.raises(BundleError, match=r"not what the manifest says: expected x int64 .*, got x int32"):
        bench.engine.run({"x": np.arange(3)})
    assert list(engines.iterdir()) == []


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (
            manifest_of(graphs.blend(shape=(1, 3, "height", "width"))),
            r"fused float32 \(1, 3, .* \(1, 1, 5, 7",
        ),
        (manifest_of(graphs.blend(shape=(1, 1, "width"))), r"fused float32 \(1, 1, 'width'\).* \(1, 1, 5, 7"),
        (manifest_of(graphs.half_inside()), r"got infrared .*, difference float32"),
    ],
)
def test_a_kept_engine_is_held_against_the_manifest_too(engines: Path, graph: Any, message: str) -> None:
    """The bytes are the same, and the manifest beside them is another one."""
    Bench(engines).engine.run(pictures())
    same = manifest_of(graphs.blend())
    bench = Bench(engines, graph=replace(graph, inputs=same.inputs))
    with pytest.raises(BundleError, match=message):
        bench.engine.run(pictures())
    assert bench.build.asked == []
    assert bench.device.memory == {}


def test_a_manifest_with_a_type_that_is_none_is_refused(engines: Path) -> None:
    graph = manifest_of(graphs.blend())
    odd = replace(graph, outputs=(replace(graph.outputs[0], dtype="object"),))
    with pytest.raises(BundleError, match=r"graph tensor 'fused': expected float32, .*, got object"):
        Bench(engines, graph=odd)


def test_too_little_memory_is_an_error_and_nothing_is_kept(engines: Path) -> None:
    bench = Bench(engines)
    bench.device.limit = 5 * 7 * 4 - 1
    with pytest.raises(EngineError, match="out of memory"):
        bench.engine.run(pictures())
    assert bench.device.memory == {}
    assert bench.engine.run(pictures(4))["fused"].shape == (1, 1, 4, 7)


def test_a_pass_that_fails_says_what_the_library_said(engines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(engines)
    bench.engine.run(pictures())

    def fail(context: Any, stream: int) -> bool:
        bench.engine._logger.log(bench.trt.ILogger.Severity.ERROR, "illegal\nmemory access")
        return False

    monkeypatch.setattr(bench.trt.IExecutionContext, "execute_async_v3", fail)
    with pytest.raises(EngineError, match=r"TensorRT 10\.13\.0 failed: illegal memory access"):
        bench.engine.run(pictures())


def test_a_closed_engine_says_so(engines: Path) -> None:
    bench = Bench(engines)
    bench.engine.run(pictures())
    bench.engine.close()
    bench.engine.close()
    with pytest.raises(EngineError, match="the engine is closed"):
        bench.engine.run(pictures())
    assert len(bench.engine.inputs) == 2


def test_threads_share_one_engine(engines: Path) -> None:
    bench, wrong, sizes = Bench(engines), [], range(2, KEEP + 3)
    reference = {size: OnnxRuntimeEngine(graphs.blend()).run(pictures(size)) for size in sizes}

    def work(size: int) -> None:
        for _ in range(5):
            if not np.array_equal(bench.engine.run(pictures(size))["fused"], reference[size]["fused"]):
                wrong.append(size)

    threads = [threading.Thread(target=work, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_graph_with_weights_elsewhere_never_comes_to_the_library(engines: Path) -> None:
    bench = Bench(engines, onnx=graphs.external_weight("../weights.bin"))
    with pytest.raises(EngineError, match="lies in another file"):
        bench.engine.run({"infrared": pictures()["infrared"]})
    assert list(engines.iterdir()) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_graph_of_one_size_runs_where_its_inputs_lie(engines: Path, version: str) -> None:
    """Others put the inputs there and take the outputs away, on a stream that they know the number of."""
    bench, reference = Bench(engines, version, graphs.in_colour()), OnnxRuntimeEngine(graphs.in_colour())
    random = np.random.default_rng(0)
    given = {tensor.name: random.random(tensor.shape, np.float32) for tensor in bench.engine.inputs}  # type: ignore[arg-type]
    assert isinstance(bench.engine, DeviceEngine)
    placed = bench.engine.on_device()
    for name, array in given.items():
        ctypes.memmove(bench.device.at(placed.addresses[name], array.nbytes), array.ctypes.data, array.nbytes)
    placed.enqueue(bench.device.stream)
    assert len(bench.device.queue) == 1  # no copy, and nobody waits
    bench.device.synchronise()
    wanted = reference.run(given)
    for name, array in wanted.items():
        got = np.empty_like(array)
        ctypes.memmove(got.ctypes.data, bench.device.at(placed.addresses[name], got.nbytes), got.nbytes)
        np.testing.assert_array_equal(got, array)
        np.testing.assert_array_equal(bench.engine.run(given)[name], array)
    bench.engine.close()
    with pytest.raises(EngineError, match="closed"):
        placed.enqueue(0)
    with pytest.raises(EngineError, match="closed"):
        bench.engine.on_device()


def test_a_graph_of_many_sizes_is_not_run_there_and_a_refusal_is_told(
    engines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineError, match="expected one size, got free axes"):
        Bench(engines).engine.on_device()
    bench = Bench(engines, onnx=graphs.in_colour())
    placed = bench.engine.on_device()
    monkeypatch.setattr(bench.trt.IExecutionContext, "execute_async_v3", lambda self, stream: False)
    with pytest.raises(EngineError, match="failed: it gave no reason"):
        placed.enqueue(bench.device.stream)
