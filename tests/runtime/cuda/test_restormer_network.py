"""The paper's F behind the back end `cuda`: told from its exported graph, and run on the emulated device."""

from __future__ import annotations

import ctypes
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import built_kernels
import numpy as np
import onnx
import pytest
import torch
from emulated_device import DESKTOP, ORIN_NANO, EmulatedDevice
from onnx import helper, numpy_helper
from restormer_cases import network

from benchmarks.kernels import emulator
from benchmarks.kernels.restormer import merge_of, weights_of
from tdfusion_edge import Fuser, bundle
from tdfusion_edge.errors import EngineError
from tdfusion_edge.export.fusion import fusion_onnx
from tdfusion_edge.runtime.engines.cuda import engine as module
from tdfusion_edge.runtime.engines.cuda import parameters
from tdfusion_edge.runtime.engines.cuda.engine import KEEP, CudaEngine
from tdfusion_edge.runtime.engines.cuda.restormer import pack, plan
from tdfusion_edge.runtime.engines.cuda.restormer.path import packed, program
from tdfusion_edge.runtime.engines.cuda.restormer.recognise import network_of
from tdfusion_edge.runtime.engines.cuda.tiles import Limits
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine

TOLERANCE = 2e-3
ORIN = Limits(8, 166_912, 167_936, 1536)
TURING = Limits(40, 65_536, 65_536, 1024)
CONTRAST = 0.05
"""Least deviation of a fused luma that errors can be told in."""


@pytest.fixture(scope="module")
def net() -> Any:
    made = network(1)
    with torch.no_grad():  # a fresh network's picture is all grey
        made.head1.weight *= 2
        made.head2.weight *= 4
    return made


@pytest.fixture(scope="module")
def onnx_of_net(net: Any) -> bytes:
    return fusion_onnx(net)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> emulator.Library:
    return built_kernels.library(tmp_path_factory, emulator.RESTORMER)


def flat(weights: Any) -> list[Any]:
    if isinstance(weights, np.ndarray):
        return [weights]
    return [array for one in weights for array in flat(one)]


def edge_graph() -> Any:
    return bundle.read(bundle.default_path()).graph("fusion", "fp32")[0]


def engine_on(device: EmulatedDevice, raw: bytes) -> CudaEngine:
    return CudaEngine(raw, graph=edge_graph(), device=device, image=b"fatbin")


def lumas(size: tuple[int, int], seed: int) -> dict[str, Any]:
    width, height = size
    random = np.random.default_rng(seed)
    levels = random.integers(0, 256, (2, 1, 1, height, width)).astype(np.float32) / np.float32(255)
    return {"infrared": levels[0], "visible": levels[1]}


@pytest.mark.slow
def test_weights_are_told_from_the_exported_graph(net: Any, onnx_of_net: bytes) -> None:
    wanted, got = flat(weights_of(net)), flat(network_of(onnx_of_net))
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with")
@pytest.mark.parametrize("gpu", [DESKTOP, ORIN_NANO], ids=["desktop", "integrated"])
@pytest.mark.parametrize("size", [(40, 30), (37, 21), (1, 1)])
def test_the_fused_luma_is_onnxruntimes(
    onnx_of_net: bytes, library: emulator.Library, gpu: Any, size: tuple[int, int]
) -> None:
    device = EmulatedDevice(library, gpu)
    engine, reference = engine_on(device, onnx_of_net), OnnxRuntimeEngine(onnx_of_net, threads=1)
    for seed in range(2):  # the second picture through the same graph and the same memory
        given = lumas(size, seed)
        got, wanted = engine.run(given)["fused"], reference.run(given)["fused"]
        np.testing.assert_allclose(got, wanted, atol=TOLERANCE, rtol=0)
        assert size == (1, 1) or wanted.std() > CONTRAST
    assert len(device.launched) == 2 * 17
    engine.close()
    assert not device.memory


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with")
def test_memory_is_taken_once_a_size_and_given_back(onnx_of_net: bytes, library: emulator.Library) -> None:
    device = EmulatedDevice(library, DESKTOP, captures=False)
    engine, held = engine_on(device, onnx_of_net), []
    for side in (3, 4, 5, 6, 3):
        given = lumas((side, side), side)
        engine.run(given)
        held.append(len(device.memory))
    assert held[KEEP - 1 :] == [held[KEEP - 1]] * len(held[KEEP - 1 :])
    engine.close()
    assert not device.memory
    device.faults.memory = 100_000
    starved = engine_on(device, onnx_of_net)
    with pytest.raises(EngineError, match="no memory left"):
        starved.run(lumas((64, 48), 0))
    assert not device.memory


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with")
def test_features_beyond_fp16_are_an_error(onnx_of_net: bytes, library: emulator.Library) -> None:
    model = onnx.load_from_string(onnx_of_net)
    for one in model.graph.initializer:
        if one.name in ("merge.gates.0.weight", "merge.value_visible.0.weight"):
            one.CopyFrom(numpy_helper.from_array(np.full(tuple(one.dims), 3e4, np.float32), one.name))
    engine = engine_on(EmulatedDevice(library, DESKTOP), model.SerializeToString())
    with pytest.raises(EngineError, match="passed what FP16 holds"):
        engine.run(lumas((16, 16), 0))
    engine.close()


@pytest.fixture(scope="module")
def bundled(onnx_of_net: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped bundle with F in the place of `edge`."""
    folder = tmp_path_factory.mktemp("bundle") / "f"
    shutil.copytree(bundle.default_path(), folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["graphs"] = {"fusion": {**manifest["graphs"]["fusion"], "minimum_size": 1}}
    kept = ("fusion.onnx", "fusion.fp16.onnx", "MODEL_CARD.md")
    for name in kept[:2]:  # the weights are those of halves in either
        (folder / name).write_bytes(onnx_of_net)
    manifest["sha256"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in kept}
    manifest["heads"] = {}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for path in folder.iterdir():
        if path.name not in (*kept, "manifest.json"):
            path.unlink()
    return folder


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with")
def test_a_fuser_fuses_with_it_network_by_network(
    bundled: Path, library: emulator.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = EmulatedDevice(library, ORIN_NANO)
    monkeypatch.setattr(module, "open_device", lambda: device)
    monkeypatch.setattr(module, "image_for", lambda driver, capability: b"fatbin")
    random = np.random.default_rng(4)
    infrared = random.integers(0, 256, (18, 34), np.uint8)
    visible = random.integers(0, 256, (18, 34, 3), np.uint8)
    with (
        Fuser(bundled, backend="cuda", precision="fp16") as kernels,
        Fuser(bundled, backend="onnxruntime", threads=1) as reference,
    ):
        assert str(kernels).endswith("back end cuda, fp16")  # lumas alone: nothing of it is one launch
        got, wanted = kernels(infrared, visible), reference(infrared, visible)
        assert got.fused is not None
        assert wanted.fused is not None
        np.testing.assert_allclose(got.fused, wanted.fused, atol=TOLERANCE, rtol=0)
        assert np.abs(got.picture.astype(int) - wanted.picture).max() <= 2
    assert len(device.launched) == 17
    assert not device.memory


Change = Callable[[Any], None]


def nodes(graph: Any, kind: str) -> list[Any]:
    return [node for node in graph.node if node.op_type == kind]


def attribute(kind: str, name: str, value: Any, place: int = 0) -> Change:
    def change(graph: Any) -> None:
        node = nodes(graph, kind)[place]
        kept = [one for one in node.attribute if one.name != name]
        del node.attribute[:]
        node.attribute.extend((*kept, helper.make_attribute(name, value)))

    return change


def swapped(kind: str, place: int, first: int = 0, second: int = 1) -> Change:
    """Two inputs of a node change places."""

    def change(graph: Any) -> None:
        given = nodes(graph, kind)[place].input
        given[first], given[second] = given[second], given[first]

    return change


def another_constant(kind: str, value: float, place: int = 0) -> Change:
    """The scalar that a node takes becomes another one."""

    def change(graph: Any) -> None:
        constants = {one.name: one for one in graph.initializer}
        node = nodes(graph, kind)[place]
        for number, name in enumerate(node.input):
            if name in constants and numpy_helper.to_array(constants[name]).size == 1:
                graph.initializer.append(numpy_helper.from_array(np.float32(value), "another"))
                node.input[number] = "another"
                return
        raise AssertionError("no constant")

    return change


def rewired(kind: str, place: int, other: tuple[str, int], number: int = 0) -> Change:
    """An input of a node comes from another one's output."""

    def change(graph: Any) -> None:
        nodes(graph, kind)[place].input[number] = nodes(graph, other[0])[other[1]].output[0]

    return change


def with_bias(graph: Any) -> None:
    graph.initializer.append(numpy_helper.from_array(np.ones(16, np.float32), "bias"))
    nodes(graph, "Conv")[0].input.append("bias")


def other_heads(graph: Any) -> None:
    for one in graph.initializer:
        if numpy_helper.to_array(one).tolist() == [1, 8, 2, -1]:
            one.CopyFrom(numpy_helper.from_array(np.array([1, 4, 4, -1]), one.name))


CHANGES: dict[str, Change] = {
    "pads": attribute("Conv", "pads", (0, 0, 0, 0)),
    "strides": attribute("Conv", "strides", (2, 2)),
    "dilations": attribute("Conv", "dilations", (2, 2)),
    "groups": attribute("Conv", "group", 1, place=2),
    "a bias": with_bias,
    "slope": attribute("LeakyRelu", "alpha", 0.1),
    "epsilon": attribute("LayerNormalization", "epsilon", 1e-3),
    "axis of a norm": attribute("LayerNormalization", "axis", 2, place=1),
    "axis of a softmax": attribute("Softmax", "axis", -2, place=2),
    "queries for keys": swapped("MatMul", 0),
    "heads": other_heads,
    "half of GELU": another_constant("Mul", 0.6, place=12),
    "root of two": another_constant("Div", 1.5, place=1),
    "one more": another_constant("Add", 0.5, place=1),
    "power": another_constant("Pow", -1.0),
    "square": another_constant("Pow", 3.0, place=1),
    "least square": another_constant("Clip", 1e-6, place=3),
    "a norm of something else": rewired("LayerNormalization", 1, ("Transpose", 0)),
    "a residual of something else": rewired("Add", 4, ("Conv", 0)),
    "streams swapped": swapped("Concat", -1),
    "pictures swapped": rewired("Conv", 13, ("Conv", 0)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_what_is_not_the_network_is_refused(onnx_of_net: bytes, name: str) -> None:
    model = onnx.load_from_string(onnx_of_net)
    CHANGES[name](model.graph)
    assert model.SerializeToString() != onnx_of_net
    with pytest.raises(EngineError, match="not made for this fusion network"):
        network_of(model.SerializeToString())


def test_another_network_is_refused() -> None:
    raw = bundle.read(bundle.default_path()).graph("fusion", "fp32")[1]
    with pytest.raises(EngineError, match="expected `tdfusion`: Sigmoid in front of 'fused', got Min"):
        network_of(raw)


def test_fragments_hold_what_the_ptx_isa_draws() -> None:
    """Independent of the code that packs: for each lane and word the element that the manual names."""
    matrix = np.random.default_rng(0).normal(size=(32, 24)).astype(np.float32)
    got = pack.fragments(matrix).reshape(2, 3, 32, 2, 2)
    for step, tile, lane, word, half in np.ndindex(*got.shape):
        row, column = 16 * step + 8 * word + 2 * (lane % 4) + half, 8 * tile + lane // 4
        assert got[step, tile, lane, word, half] == np.float16(matrix[row, column])
    with pytest.raises(EngineError, match="none in FP16"):
        pack.fragments(matrix * np.float32(1e6))


def test_packed_weights_are_as_long_as_the_kernels_take_them() -> None:
    weights = packed(weights_of(network()))
    kinds = plan.ENCODER, plan.ENCODER, plan.MERGE, plan.DECODER, plan.DECODER
    for kind, one in zip(kinds, weights.blocks, strict=True):
        streams = 2 if kind is plan.ENCODER else 1
        assert one.gram.nbytes == streams * kind.gram_weight_bytes
        assert one.fold.nbytes == streams * 4 * kind.fold_floats
        assert one.apply.nbytes == streams * kind.apply_weight_bytes
    assert weights.head.nbytes == plan.HEAD_WEIGHT_BYTES
    assert pack.pack_merge(merge_of(network().merge)).apply.nbytes == plan.MERGE.apply_weight_bytes


@pytest.mark.parametrize("size", [(640, 480), (75, 53), (1920, 1080), (1, 1)])
@pytest.mark.parametrize("limits", [ORIN, TURING, Limits(132, 232_448, 233_472, 2048)])
def test_a_program_fits_the_gpu(size: tuple[int, int], limits: Limits) -> None:
    made = program(packed(weights_of(network())), size, limits)
    assert len(made.steps) == 17
    assert made.scratch["features0"] == made.scratch["features1"] == 64 * size[0] * size[1]
    for step in made.steps:
        assert step.shared_bytes <= limits.shared_per_block
        assert 1 <= step.blocks <= 8 * limits.multiprocessors
        if isinstance(step.parameters, parameters.GramParameters | parameters.ApplyParameters):
            assert step.blocks % step.parameters.streams == 0
        addresses = {name for name, kind in step.parameters._fields_ if kind is ctypes.c_uint64}  # type: ignore[misc]
        assert addresses == set(step.at)  # every address is of some memory
    folds = [step for step in made.steps if step.kernel.startswith("fold")]
    grams = [step for step in made.steps if step.kernel.startswith("gram")]
    for gram, fold in zip(grams, folds, strict=True):
        assert fold.parameters.blocks * fold.parameters.streams == gram.blocks
        assert made.scratch["partial"] >= 4 * gram.blocks * plan.ENCODER.sums


def test_a_gpu_with_little_shared_memory_is_refused() -> None:
    with pytest.raises(EngineError, match="too little shared memory"):
        plan.pass_of("apply", plan.MERGE, (640, 480), 1, Limits(8, 49_152, 65_536, 1024))
