"""Engines through Torch-TensorRT: the real networks and programs, a stand-in for what needs a GPU."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import inspect
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import trt_bundles as bundles
import trt_graphs as graphs
from msgspec.structs import replace
from onnx import helper
from torch import Tensor, nn
from trt_fake import make
from trt_host import ORIN, HostDevice
from trt_torch import OUTPUT, Library
from trt_wheels import downloaded

from tdfusion_edge import bundle
from tdfusion_edge.bundle import Bundle
from tdfusion_edge.checkpoint import TaskView
from tdfusion_edge.cli import main
from tdfusion_edge.errors import BundleError, EngineError, TdfusionError
from tdfusion_edge.export import command, networks, torch_tensorrt
from tdfusion_edge.export.engines import prepared
from tdfusion_edge.export.graph import smooth_pair
from tdfusion_edge.export.networks import Chosen, Loaded, Task
from tdfusion_edge.export.torch_tensorrt import (
    WEAK,
    TorchTensorRt,
    _options,
    build_through_torch,
    network_of,
    open_torch_tensorrt,
    why_left_out,
)
from tdfusion_edge.runtime.engines import Engine
from tdfusion_edge.runtime.engines.tensorrt.prebuild import Made
from tdfusion_edge.runtime.engines.tensorrt.runner import TensorRtEngine, TorchTensorRtEngine
from tdfusion_edge.train.models.edge import Edge
from tdfusion_edge.train.models.task import BoxNetwork, BoxPrediction

SIZE = (64, 48)
WHEEL = "torch-tensorrt==2.13.0"


class Boxes(BoxNetwork):
    """A detector of a convolution, whose decoding makes a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 7, 8, 8, bias=False), nn.BatchNorm2d(7))

    def forward(self, luma: Tensor) -> Tensor:
        out: Tensor = self.body(luma)
        return out

    def loss(self, output: Any, targets: Any) -> Any:
        raise NotImplementedError

    def decode(self, output: Tensor) -> BoxPrediction:
        rows = output.flatten(2).transpose(1, 2)
        return BoxPrediction(rows[..., :4] + torch.arange(rows.shape[1])[:, None], rows[..., 4:].sigmoid())


class InColour(Boxes):
    """The same on luma and chroma."""

    colour = True

    def __init__(self) -> None:
        super().__init__()
        self.body[0] = nn.Conv2d(3, 7, 8, 8, bias=False)

    def forward(self, luma: Tensor, chroma: Tensor | None = None) -> Tensor:
        assert chroma is not None
        return super().forward(torch.cat((luma, chroma), dim=1))


@pytest.fixture(scope="module")
def chosen() -> Chosen:
    torch.manual_seed(0)
    none: Any = None  # the headers are for manifests
    view = TaskView(classes=("a", "b", "c"), height=32, width=40)
    return Chosen(Loaded(none, Edge().eval(), ""), {"detector": Task(none, Boxes().eval(), view)}, ())


def outside(inputs: tuple[str, ...], outputs: tuple[str, ...], shape: Any = graphs.FREE) -> bytes:
    """A graph with the names of an exported one: nothing else of it is read on this route."""
    nodes = [helper.make_node("Sum", list(inputs), [name]) for name in outputs]
    return graphs.model(
        nodes,
        [graphs.tensor(name, shape) for name in inputs],
        [graphs.tensor(name, shape) for name in outputs],
    )


@pytest.fixture(scope="module")
def opened(chosen: Chosen) -> Bundle:
    """The bundle of the networks, as far as it matters here."""
    view = chosen.heads["detector"].view
    seen = (1, 1, view.height, view.width)
    pair = ("infrared", "visible")
    files = {
        "fusion.onnx": outside(pair, ("fused",)),
        "fusion.fp16.onnx": outside(pair, ("fused",)),
        "detector.onnx": outside(("luma",), BoxPrediction._fields, seen),
    }
    fusion = bundles.described({"fp32": "fusion.onnx", "fp16": "fusion.fp16.onnx"}, outputs=("fused",))
    boxes, scores = ((1, 4 * 5, width) for width in (4, len(view.classes)))
    detector = replace(
        bundles.described({"fp32": "detector.onnx"}, ("luma",), (), seen),
        outputs=(bundles.info("boxes", boxes), bundles.info("scores", scores)),
    )
    return bundle.assembled(bundles.fields({"fusion": fusion, "detector": detector}), files)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library(make("11.4"))
    put(monkeypatch, made.module)
    return made


def put(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    """Install a module of this name, as far as imports tell."""
    module.__spec__ = importlib.util.spec_from_loader("torch_tensorrt", None)
    monkeypatch.setitem(sys.modules, "torch_tensorrt", module)


def opening(library: Library) -> TorchTensorRt:
    return open_torch_tensorrt(device="cpu", trt=library.trt, gpu=HostDevice)


class Once(NamedTuple):
    """Engines of both networks, and what was asked for them."""

    library: Library
    folder: Path
    made: list[Made]


@pytest.fixture(scope="module")
def once(chosen: Chosen, opened: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Once:
    folder = tmp_path_factory.mktemp("engines")
    folder.chmod(0o700)
    library = Library(make("11.4"))
    with pytest.MonkeyPatch.context() as patch:
        put(patch, library.module)
        return Once(library, folder, built(library, chosen, opened, folder))


def built(library: Library, chosen: Chosen, opened: Bundle, folder: Path) -> list[Made]:
    return list(build_through_torch(opening(library), chosen, opened, (SIZE,), folder))


def running(library: Library, opened: Bundle, name: str, folder: Path, precision: Any) -> Engine:
    graph, onnx = opened.graph(name, precision)
    return TorchTensorRtEngine(
        onnx,
        graph=graph,
        engine_cache=folder,
        precision=precision,
        trt=library.trt,
        device=lambda: HostDevice(limit=1 << 24),
        gpu=lambda: ORIN,
    )


@pytest.mark.parametrize("name", ["fusion", "detector"])
def test_the_runner_takes_what_came_through_pytorch(
    once: Once, chosen: Chosen, opened: Bundle, name: Any
) -> None:
    """And gives what the network gives, under the names of its fields."""
    pair = smooth_pair(*SIZE[::-1], 3)
    luma = smooth_pair(32, 40, 3)[0]
    with torch.inference_mode():
        if name == "fusion":
            inputs, precision, atol = {"infrared": pair[0], "visible": pair[1]}, "fp16", 2e-3
            want: Any = chosen.fusion.network(*map(torch.from_numpy, pair))
        else:
            network: Any = chosen.heads["detector"].network
            inputs, precision, atol = {"luma": luma}, "fp32", 1e-4
            want = network.decode(network(torch.from_numpy(luma)))
    got = running(once.library, opened, name, once.folder, precision).run(inputs)
    assert tuple(got) == want._fields
    for key in want._fields:
        np.testing.assert_allclose(got[key], getattr(want, key).numpy(), atol=atol)


def test_they_are_built_once(once: Once, library: Library, chosen: Chosen, opened: Bundle) -> None:
    told = [(one.wanted.graph, one.wanted.precision, one.fresh) for one in once.made]
    assert told == [("fusion", "fp16", True), ("detector", "fp32", True)]
    again = built(library, chosen, opened, once.folder)
    assert [(one.fresh, one.size) for one in again] == [(False, one.size) for one in once.made]
    assert library.programs == []


def test_the_export_builds_them_as_its_last_step(
    once: Once,
    library: Library,
    chosen: Chosen,
    opened: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = tmp_path / "bundle"
    bundle.write(place, bundles.fields(dict(opened.manifest.graphs)), opened.files)
    monkeypatch.setattr(torch_tensorrt, "open_torch_tensorrt", lambda workspace: opening(library))
    monkeypatch.setattr(networks, "choose", lambda paths, allowed: chosen)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    build = ["--engine", "torch-tensorrt", "--size", "64x48", "--engine-cache", str(once.folder)]
    step = prepared(parser.parse_args(["x.safetensors", "-o", str(place), *build]))
    assert step is not None
    step()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("fusion in fp16, 1x1x48x64, Fake Orin: already there")
    assert lines[0].endswith("(Torch-TensorRT 2.13.0)")
    assert lines[-1].endswith(f"verify {place} --backend torch-tensorrt --engine-cache {once.folder}")


def test_the_program_keeps_names_types_and_size(once: Once) -> None:
    fusion, detector = once.library.programs
    assert fusion.graph_signature.user_inputs == ("infrared", "visible")
    assert detector.graph_signature.user_inputs == ("luma",)
    kinds = [node.meta["val"].dtype for node in fusion.graph.nodes if "conv2d" in str(node.target)]
    assert kinds
    assert set(kinds) == {torch.float16}
    (output,) = fusion.graph.output_node().args[0]  # type: ignore[misc]
    value = output.meta["val"]  # type: ignore[union-attr]
    assert (value.dtype, tuple(value.shape)) == (torch.float32, (1, 1, *SIZE[::-1]))
    asked, workspace = once.library.asked[0], 64 << 20  # the least: the stand-in has a megabyte
    assert asked == {"device": torch.device("cpu"), "disable_tf32": True, "workspace_size": workspace}


def test_a_head_that_sees_colours_takes_both(chosen: Chosen) -> None:
    head = chosen.heads["detector"]
    torch.manual_seed(0)
    coloured = head._replace(network=InColour().eval())
    network = network_of(chosen._replace(heads={"detector": coloured}), "detector", "fp16")
    luma, chroma = torch.rand(1, 1, 32, 40), torch.rand(1, 2, 32, 40)
    program = torch.export.export(network, (luma, chroma))
    assert program.graph_signature.user_inputs == ("luma", "chroma")
    (_, scores), (_, want) = program.module()(luma, chroma), coloured.network.graph_output(luma, chroma)
    assert torch.allclose(scores, want, atol=1e-3)
    assert not torch.allclose(scores, coloured.network.graph_output(luma, 1 - chroma)[1], atol=1e-2)


def test_kernel_times_are_kept_with_the_engines(once: Once) -> None:
    """The library's own place for them is a folder that everybody can write to."""
    assert once.library.times == [None, b"times"]
    assert {path.suffix for path in once.folder.iterdir()} == {".plan", ".json", ".timing"}


def test_the_two_routes_do_not_take_each_other_s_engines(
    once: Once, opened: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(*_: Any, **__: Any) -> Any:
        raise EngineError("it builds")

    graph, onnx = opened.graph("fusion", "fp16")
    other = TensorRtEngine(
        onnx,
        graph=graph,
        engine_cache=once.folder,
        precision="fp16",
        trt=once.library.trt,
        device=HostDevice,
        gpu=lambda: ORIN,
        build=build,
    )
    with pytest.raises(EngineError, match="it builds"):
        other.run(dict.fromkeys(("infrared", "visible"), np.zeros((1, 1, *SIZE[::-1]), np.float32)))
    assert main(["engines", "--list", "--engine-cache", str(once.folder)]) == 0
    assert (
        capsys.readouterr().out.count("TensorRT 11.4.0 by Torch-TensorRT  Fake Orin (sm_87, 8 SMs, 8 GiB)")
        == 2
    )


def test_an_engine_that_is_not_there_is_asked_of_the_export(
    engines: Path, library: Library, opened: Bundle
) -> None:
    engine = running(library, opened, "fusion", engines, "fp16")
    pair = dict.fromkeys(("infrared", "visible"), np.zeros((1, 1, 48, 64), np.float32))
    with pytest.raises(
        EngineError, match=r"no engine(.|\n)*in fp16(.|\n)*--engine torch-tensorrt --size 64x48;"
    ):
        engine.run(pair)
    assert list(engines.iterdir()) == []


def averaging(output: str, width: int) -> bytes:
    """A fusion of fixed size."""
    shape = (1, 1, 48, width)
    node = helper.make_node("Mean", ["infrared", "visible"], [output])
    return graphs.model(
        [node],
        [graphs.tensor(name, shape) for name in ("infrared", "visible")],
        [graphs.tensor(output, shape)],
    )


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (
            {"instead": averaging("out", 64)},
            BundleError,
            r"2\.13\.0 graph is not what the manifest says: expected infrared .* out float32",
        ),
        (
            {"instead": averaging("output0", 32)},
            EngineError,
            r"of another size: expected {'infrared': \(1, 1, 48, 64\), .* got {'infrared': \(1, 1, 48, 32\)",
        ),
        (
            {"fails": RuntimeError("aten.foo cannot be converted\ngraph():\n" + 999 * "node\n")},
            EngineError,
            r"2\.13\.0 cannot build the engine: aten.foo cannot be converted\n  Take the other route",
        ),
        (
            {"instead": averaging("output0", 64), "trt": SimpleNamespace(__version__="11.0.0")},
            EngineError,
            "cannot be loaded: the engine is of another version",
        ),
    ],
    ids=["names", "size", "operation", "version"],
)
def test_what_the_runner_could_not_use_is_not_kept(
    engines: Path,
    library: Library,
    chosen: Chosen,
    opened: Bundle,
    change: dict[str, Any],
    kind: type[TdfusionError],
    message: str,
) -> None:
    place = opening(library)
    for name, value in change.items():
        setattr(library, name, value)
    with pytest.raises(kind, match=message):
        list(build_through_torch(place, chosen, opened, (SIZE,), engines))
    assert list(engines.glob("*.plan")) == list(engines.glob("*.json")) == []


# --- what is missing -----------------------------------------------------------------------------


def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"not installed\n  pip install .*\[torch-tensorrt\]"):
        open_torch_tensorrt()


def test_a_machine_without_a_gpu(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match="PyTorch finds none"):
        open_torch_tensorrt(trt=library.trt, gpu=HostDevice)


def lacking(exported_program: Any, *, arg_inputs: Any, device: Any, **kwargs: Any) -> bytes:
    raise AssertionError("it is not called")


@pytest.mark.parametrize(
    ("convert", "message"),
    [
        (lacking, "got one without disable_tf32, .*workspace_size"),
        (None, "cannot be loaded: .*convert_exported_program"),
    ],
)
def test_a_version_that_works_in_another_way(
    monkeypatch: pytest.MonkeyPatch, convert: Any, message: str
) -> None:
    dynamo = SimpleNamespace()
    if convert is not None:
        dynamo.convert_exported_program_to_serialized_trt_engine = convert
    put(monkeypatch, SimpleNamespace(__version__="9", dynamo=dynamo))
    with pytest.raises(EngineError, match=message):
        open_torch_tensorrt(device="cpu", trt=make("11.4"), gpu=HostDevice)


def test_a_version_that_chooses_types_is_refused(library: Library) -> None:
    real = library.module.dynamo.convert_exported_program_to_serialized_trt_engine
    kinds = inspect.Parameter(WEAK, inspect.Parameter.KEYWORD_ONLY)
    known = list(inspect.signature(real).parameters.values())
    real.__signature__ = inspect.Signature([*known[:-1], kinds, known[-1]])
    with pytest.raises(EngineError, match=f"strongly typed networks, got one with {WEAK}"):
        opening(library)


# --- the real library, read and not imported -----------------------------------------------------


def test_the_stand_in_is_like_the_real_one(library: Library) -> None:
    with zipfile.ZipFile(downloaded(WHEEL)) as wheel:
        compiler = ast.parse(wheel.read("torch_tensorrt/dynamo/_compiler.py"))
        interpreter = wheel.read("torch_tensorrt/dynamo/conversion/_TRTInterpreter.py").decode()
    name = "convert_exported_program_to_serialized_trt_engine"
    (found,) = (node for node in compiler.body if isinstance(node, ast.FunctionDef) and node.name == name)
    real = {one.arg for one in (*found.args.args, *found.args.kwonlyargs)}
    stand_in = inspect.signature(library.module.dynamo.convert_exported_program_to_serialized_trt_engine)
    assert set(stand_in.parameters) - {"kwargs"} <= real
    assert set(_options(Path(), 0, torch.device("cpu"))) | {"arg_inputs"} <= real
    assert WEAK not in real
    assert f'f"{OUTPUT.format("{i}")}"' in interpreter
    assert "NetworkDefinitionCreationFlag.STRONGLY_TYPED" in interpreter


def test_what_is_left_out_is_said_with_its_reason() -> None:
    """A mask is uint8, which Torch-TensorRT gives no engine for, and one pass is several networks."""
    luma, mask = (
        bundle.TensorInfo(name=name, dtype=dtype, shape=(1, 1, 8, 12), content="")
        for name, dtype in (("luma", "float32"), ("mask", "uint8"))
    )
    plain = bundles.described({"fp32": "fusion.onnx"})
    masks = bundle.Graph(files={"fp32": "m.onnx"}, inputs=(luma,), outputs=(mask,), minimum_size=8, opset=17)
    graphs_ = {"fusion": plain, "onepass": plain, "segmentation": masks}
    files = {"fusion.onnx": b"", "m.onnx": b""}
    manifest = bundle.assembled(bundles.fields(graphs_), files).manifest
    assert {name: why_left_out(manifest, name) for name in graphs_} == {
        "fusion": None,
        "onepass": "it is more than one network",
        "segmentation": "it gives uint8",
    }
