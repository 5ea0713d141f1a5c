"""Our kernel as a plugin: what TensorRT is given, when it learns of it, and what it is told else."""

from __future__ import annotations

import enum
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import built_kernels
import numpy as np
import onnx
import pytest
from emulated_device import DESKTOP, ORIN_NANO, EmulatedDevice
from onnx import TensorProto, helper
from trt_fake import ITensor, make
from trt_host import ORIN
from trt_requests import asked_of
from trt_wheels import BINDINGS, fetched

from tdfusion_edge import bundle
from tdfusion_edge.bundle import FUSION, ONE_PASS
from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.driver import Driver
from tdfusion_edge.runtime.engines.cuda.parameters import UnitParameters
from tdfusion_edge.runtime.engines.cuda.tiles import THREADS
from tdfusion_edge.runtime.engines.cuda.unit import PLAIN, TILE, UnitKernel
from tdfusion_edge.runtime.engines.cuda.weights import edge_of, pack
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.engines.tensorrt import plugins
from tdfusion_edge.runtime.engines.tensorrt.build import build
from tdfusion_edge.runtime.engines.tensorrt.log import Log
from tdfusion_edge.runtime.engines.tensorrt.plugins import ahead, callback
from tdfusion_edge.runtime.engines.tensorrt.plugins.node import NAME, NAMESPACE, VERSION
from tdfusion_edge.runtime.picture.units import unit_inputs

SCRIPT = Path(__file__).with_name("trt_plugin_script.py")
ATTRIBUTES = {"plugin_namespace": NAMESPACE, "plugin_version": VERSION, "aot": 1}


def graph(*, other: bool = False) -> bytes:
    """Our node over two lumas, and the function that it stands for; or somebody else's node and function."""
    name, domain = ("Theirs", "their") if other else (NAME, NAMESPACE)
    body = [helper.make_node("Add", ["infrared", "visible"], ["fused"])]
    function = helper.make_function(
        domain, name, ["infrared", "visible", "weights"], ["fused"], body, [helper.make_opsetid("", 18)],
        list(ATTRIBUTES),
    )  # fmt: skip
    node = helper.make_node(name, ["infrared", "visible", "w"], ["fused"], domain=domain, **ATTRIBUTES)
    inputs, outputs = (
        [helper.make_tensor_value_info(one, TensorProto.FLOAT, [1, 1, 6, 8]) for one in some]
        for some in (("infrared", "visible"), ("fused",))
    )
    weights = onnx.numpy_helper.from_array(np.zeros(4, np.int32), "w")
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(domain, 1)]
    made = helper.make_graph([node], "node", inputs, outputs, [weights])
    model = helper.make_model(made, opset_imports=opsets, functions=[function], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    raw: bytes = model.SerializeToString()
    return raw


class Module(SimpleNamespace):
    """As a module, it is itself alone."""

    __hash__ = object.__hash__


def with_plugins(version: str) -> Any:
    """The stand-in of a library that has them."""
    trt = Module(**vars(make(version)))
    trt.INetworkDefinition = type("INetworkDefinition", (), {"add_plugin_v3": None})
    for name in (
        "IPluginV3",
        "IPluginV3OneCore",
        "IPluginV3OneBuild",
        "IPluginV3OneRuntime",
        "IPluginCreatorV3One",
    ):
        setattr(trt, name, type(name, (), {"__init__": lambda self: None}))
    trt.PluginFieldCollection = list
    registry = SimpleNamespace(all_creators=[])
    registry.register_creator = lambda creator, namespace: registry.all_creators.append(creator) or True
    trt.get_plugin_registry = lambda: registry
    parser = trt.OnnxParser
    seen: list[bytes] = []

    class Parser(parser):  # type: ignore[misc, valid-type]
        def parse(self, model: bytes) -> bool:
            seen.append(model)
            if not registry.all_creators or plugins.holds(model):
                return bool(super().parse(model))
            kind = SimpleNamespace(name="PLUGIN_V3")
            layer = SimpleNamespace(
                name=NAME, type=kind, num_outputs=1, get_output=lambda at: ITensor(trt.DataType.FLOAT)
            )
            shape = 1, 1, 6, 8
            network = self._network
            network._layers, network.num_layers, network._raw = [layer], 1, model
            network._inputs = [ITensor(trt.DataType.FLOAT, name, shape) for name in ("infrared", "visible")]
            network._outputs = [ITensor(trt.DataType.FLOAT, "fused", shape)]
            network.num_inputs, network.num_outputs = 2, 1
            return True

    trt.OnnxParser, trt.seen = Parser, seen
    return trt


def launches(monkeypatch: pytest.MonkeyPatch, kernel: Any) -> None:
    """What gives the kernel that the plugin launches."""
    monkeypatch.setattr(callback, "register", partial(callback.register, kernel=kernel))


def built(trt: Any, onnx: bytes, flavour: str = "tensorrt") -> Any:
    shapes = dict.fromkeys(("infrared", "visible"), (1, 1, 6, 8))
    target: Any = "sm_89" if flavour == "tensorrt-rtx" else ORIN
    request = asked_of(trt, onnx, shapes, gpu=target, precision="fp16")
    plan, _ = build(trt, request, onnx, None, workspace=1 << 30, log=Log(), on_phase=lambda phase: None)
    return request, plan


def test_the_function_is_told_from_others_and_taken_out_alone() -> None:
    ours, theirs = graph(), graph(other=True)
    assert (plugins.holds(ours), plugins.holds(theirs)) == (True, False)
    alone = onnx.load_from_string(plugins.without_function(ours))
    assert len(alone.functions) == 0
    assert alone.graph == onnx.load_from_string(ours).graph
    assert plugins.without_function(theirs) == theirs
    assert not plugins.holds(ours[:-3] + b"\xff")  # which the parser refuses in its own words
    assert not plugins.holds(b"graph")


def test_each_library_takes_its_way() -> None:
    ways = {version: plugins.way_of(with_plugins(version), graph()) for version in ("10.3", "10.13")}
    assert ways == {"10.3": "python", "10.13": "python"}
    assert [plugins.way_of(make(version), graph()) for version in ("8.6", "rtx")] == ["", ""]
    assert plugins.way_of(with_plugins("10.3"), graph(other=True)) == ""
    assert plugins.asked_by("") == ""
    assert plugins.asked_by("aot") != plugins.asked_by("python")


def test_the_plugin_is_known_before_the_graph_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    trt = with_plugins("10.3")
    launches(monkeypatch, lambda: "kernel")
    request, plan = built(trt, graph())
    (creator,) = trt.get_plugin_registry().all_creators
    assert (creator.name, creator.plugin_namespace) == (NAME, NAMESPACE)
    assert [plugins.holds(one) for one in trt.seen] == [False]
    assert plan is not None
    assert request.plugins.startswith("python ")
    bare = asked_of(trt, graph(other=True), request.shapes, gpu=ORIN, precision="fp16")
    assert bare.plugins == ""
    built(trt, graph())
    assert len(trt.get_plugin_registry().all_creators) == 1


def test_without_kernels_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise EngineError("this installation has no compiled kernels", hint="Compile them.")

    launches(monkeypatch, missing)
    with pytest.raises(EngineError) as error:
        built(with_plugins("10.3"), graph())
    said = str(error.value)
    assert "EdgeFusion" in said
    assert "no compiled kernels" in said
    assert "Compile them.\nOr run the graph without it: export the bundle without --plugins." in said.replace(
        "  ", ""
    )


def test_a_plugin_that_is_not_found_is_told_in_plain_words() -> None:
    trt = make("10.13")
    with pytest.raises(EngineError) as error:
        built(trt, plugins.without_function(graph(other=True)))
    said = str(error.value)
    assert "node 0 (Theirs): Plugin not found" in said
    assert "nobody has registered a plugin for it" in said
    assert "export the bundle again" in said
    for words in (
        'creator && "Plugin not found, are the plugin name, version, and namespace correct?"',
        "getPluginCreator could not find plugin: EdgeFusion version: 1",
        "IPluginRegistry::getCreator: Error Code 4: API Usage Error (Cannot find plugin: EdgeFusion)",
        "IPluginCreator not found for plugin EdgeFusion",
    ):
        told = plugins.missing(words, building=False)
        assert told is not None
        assert "tdfusion-edge engines BUNDLE --backend tensorrt" in told
    assert plugins.missing("OutOfMemory (Requested size 7)", building=True) is None


def test_an_engine_whose_plugin_is_missing_is_told_so(engines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from test_trt_runner import Bench, pictures

    bench = Bench(engines)
    runtime = bench.trt.Runtime

    class Lacking(runtime):  # type: ignore[misc, valid-type]
        def deserialize_cuda_engine(self, plan: bytes) -> None:
            self._logger.log(bench.trt.ILogger.Severity.ERROR, "Cannot find plugin: EdgeFusion, version: 1")

    monkeypatch.setattr(bench.trt, "Runtime", Lacking)
    with pytest.raises(
        EngineError, match=r"cannot load the engine: Cannot find plugin(?s:.*)tdfusion-edge engines"
    ):
        bench.engine.run(pictures())


def test_what_the_kernel_does_not_take_is_refused() -> None:
    good = (1, 1, 6, 8), (1, 1, 6, 8), (2612,)
    callback.require_shapes(list(good))
    for at, shape in ((0, (1, 1, 6, 9)), (1, (1, 3, 6, 8)), (2, (2611,))):
        wrong = [shape if index == at else one for index, one in enumerate(good)]
        with pytest.raises(EngineError, match="inputs of our kernel"):
            callback.require_shapes(wrong)


def test_without_a_driver_nothing_is_compiled_ahead() -> None:
    trt = with_plugins("10.13")
    with pytest.raises(EngineError, match="no NVIDIA driver"):
        ahead.register(trt, 87, known=lambda: Driver(None, ""), ptx=lambda driver, capability: b"")


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with")
@pytest.mark.parametrize("size", [(48, 70), (33, 21), (1, 1)])
def test_the_kernel_is_the_fusion_network(
    tmp_path_factory: pytest.TempPathFactory, size: tuple[int, int]
) -> None:
    """On memory and a stream of somebody else; and so is the one whose parameters stand side by side."""
    library = built_kernels.library(tmp_path_factory)
    device = EmulatedDevice(library, ORIN_NANO if size[0] % 2 else DESKTOP)
    kernel = UnitKernel(lambda: device, lambda driver, capability: b"fatbin")
    random = np.random.default_rng(3)
    infrared, visible = random.integers(0, 256, (2, *size), dtype=np.uint8)
    fusion = bundle.read(bundle.place("edge")).graph(FUSION, "fp32")[1]
    given = unit_inputs(infrared, visible)
    at = {}
    for name, array in {
        **given,
        "weights": pack(edge_of(fusion)),
        "fused": np.zeros(size, np.float32),
    }.items():
        at[name] = device.allocate(array.nbytes)
        device.memory[at[name]].array[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    stream, event = device.open_stream(), device.open_event()
    kernel.fuse(at["infrared"], at["visible"], at["weights"], at["fused"], size, device.number_of(stream))
    device.record(event, stream)
    device.await_event(event)
    got = device.memory[at["fused"]].array.view(np.float32).reshape(size).copy()
    wanted = OnnxRuntimeEngine(fusion, threads=1).run(given)["fused"][0, 0]
    np.testing.assert_allclose(got, wanted, atol=2e-3, rtol=0)
    device.memory[at["fused"]].array[:] = 0xA5
    p = UnitParameters(*(at[name] for name in ("infrared", "visible", "weights", "fused")), *size)
    blocks = TILE.tiles_of(size[1], size[0])
    library.launch(PLAIN, blocks, THREADS, TILE.shared_bytes, bytes(p), backwards=True)
    np.testing.assert_array_equal(device.memory[at["fused"]].array.view(np.float32).reshape(size), got)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tdfusion_edge.export.plugins import placed

    opened = bundle.read(bundle.place("edge"))
    path = tmp_path_factory.mktemp("placed") / "onepass.onnx"
    path.write_bytes(placed(opened.graph(ONE_PASS, "fp16")[1], opened.graph(FUSION, "fp16")[1]))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("version", BINDINGS)
def test_the_real_library_takes_them(version: str, shipped: Path) -> None:
    """Its own classes are the bases, and its own code asks for shapes, types, kernel and blocks."""
    wheel, libraries = fetched(version)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(wheel), *sys.path]),
        "LD_LIBRARY_PATH": str(libraries),
    }
    done = subprocess.run(
        [sys.executable, SCRIPT, shipped], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["way"] == {"8.6": "", "10.3": "python"}.get(version, "aot")
    assert answer["none"] == ""
    if version == "8.6":
        return
    called = answer["callback"]
    assert called.pop("launched") == [[16, 32, 48, 64, [48, 70], 7]]
    assert called == {
        "creators": 1, "types": ["FLOAT"], "supports": [True] * 4, "supports_half": False,
        "interfaces": [True] * 3, "name": True, "outputs": 1, "fields": 0,
    }  # fmt: skip
    if version == "10.3":
        return
    made = answer["ahead"]
    assert made["asked"] == [[[13, 0], 87]]
    assert (made["types"], made["shapes"]) == (["FLOAT"], [[1, 1, 48, 70]])
    assert made["launch"]["grid_x"] == 2 * 3
    assert made["launch"]["block_x"] == 256
    assert made["launch"]["shared_mem"] <= 48 << 10  # what needs no leave
    assert made["arguments"] == [2, 48, 70]
    assert made["kernel"] == ["edge_unit_plain", "the kernel"]


@pytest.mark.slow
def test_a_library_without_plugins_builds_the_function(rtx: None, shipped: Path) -> None:
    import tensorrt_rtx as trt  # type: ignore[import-not-found, import-untyped, unused-ignore]

    raw = shipped.read_bytes()
    shapes = {"infrared": (480, 640), "visible": (480, 640, 3), "limits": (2,)}
    request = asked_of(trt, raw, shapes, gpu="sm_89", precision="fp16")
    assert request.plugins == ""
    plan, _ = build(trt, request, raw, None, workspace=1 << 30, log=Log(), on_phase=lambda phase: None)
    assert len(plan) > 1_000_000


@pytest.mark.parametrize("way", ["python", "aot"])
def test_it_is_known_before_an_engine_is_loaded_that_calls_it(
    engines: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """An engine that holds the kernel needs nobody; the next process finds the engine and registers alone."""
    from test_trt_runner import Bench, pictures

    done: list[str] = []
    monkeypatch.setattr(plugins, "way_of", lambda trt, onnx: way)
    monkeypatch.setattr(plugins, "without_function", lambda onnx: onnx)
    monkeypatch.setattr(
        plugins, "register", lambda trt, asked, capability: done.append(f"{asked[:3]} {capability}")
    )
    for _ in range(2):
        bench = Bench(engines, "10.3")
        flags = bench.trt.NetworkDefinitionCreationFlag
        if way == "aot":
            bits = {**{one.name: one.value for one in flags}, "PREFER_AOT_PYTHON_PLUGINS": 2}
            bench.trt.NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", bits)
        runtime = bench.trt.Runtime

        class Noting(runtime):  # type: ignore[misc, valid-type]
            def deserialize_cuda_engine(self, plan: bytes) -> Any:
                done.append("loaded")
                return super().deserialize_cuda_engine(plan)

        bench.trt.Runtime = Noting
        bench.engine.run(pictures())
        bench.engine.close()
    known = f"{way[:3]} 87"
    assert done == (
        [known, known, "loaded", known, "loaded"] if way == "python" else [known, "loaded", "loaded"]
    )
