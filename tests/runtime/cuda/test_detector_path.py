"""A detector whose engine runs on the GPU: four launches of ours, and the boxes of the CPU's way."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import built_kernels
import numpy as np
import pytest
from emulated_device import DESKTOP, ORIN_NANO, EmulatedDevice
from test_camera_path import PLACED, WARPED, noting, street
from warm import QUARTERS, warm_bundle

from tdfusion_edge import Fuser
from tdfusion_edge.errors import EngineError
from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.runtime import engines, rig
from tdfusion_edge.runtime.engines.base import OnDevice
from tdfusion_edge.runtime.engines.cuda import engine as module
from tdfusion_edge.runtime.engines.cuda.device import Gpu
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with")

DEVICES: list[EmulatedDevice] = []
"""The last one is that on which the engines of a test lie."""


class Placed:
    """A graph on the emulated GPU, run by ONNX Runtime when its turn on the stream comes."""

    def __init__(self, device: EmulatedDevice, engine: OnnxRuntimeEngine) -> None:
        self._device, self._engine = device, engine
        self.damage: Callable[[dict[str, Any]], None] = lambda output: None
        shapes = {tensor.name: tensor for tensor in (*engine.inputs, *engine.outputs)}
        self.sizes = {name: 4 * int(np.prod(tensor.shape)) for name, tensor in shapes.items()}  # type: ignore[arg-type]
        self.addresses: Mapping[str, int] = {name: device.allocate(size) for name, size in self.sizes.items()}
        self._shapes = {name: tensor.shape for name, tensor in shapes.items()}

    def array(self, name: str) -> Any:
        memory = self._device.memory[self.addresses[name]].array
        return memory.view(np.float32).reshape(self._shapes[name])

    def enqueue(self, stream: int) -> None:
        inputs, outputs = ([t.name for t in some] for some in (self._engine.inputs, self._engine.outputs))

        def run() -> None:
            made = self._engine.run({name: self.array(name).copy() for name in inputs})
            self.damage(made)
            for name in outputs:
                self.array(name)[...] = made[name]

        self._device.engine(
            stream, [self.addresses[name] for name in inputs], [self.addresses[name] for name in outputs], run
        )

    def close(self) -> None:
        for address in self.addresses.values():
            self._device.free(address)


class EngineOnDevice(OnnxRuntimeEngine):
    """An engine with the one seam that matters here."""

    placed: Placed | None = None

    def on_device(self) -> OnDevice:
        self.placed = Placed(DEVICES[-1], self)
        return self.placed

    def close(self) -> None:
        if self.placed is not None:
            self.placed.close()
            self.placed = None
        super().close()


@pytest.fixture(
    params=[
        pytest.param(ORIN_NANO, id="shared memory"),
        pytest.param(DESKTOP, id="copies", marks=pytest.mark.slow),
    ]
)
def device(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EmulatedDevice]:
    gpu: Gpu = request.param
    made = EmulatedDevice(built_kernels.library(tmp_path_factory), gpu)
    monkeypatch.setattr(module, "open_device", lambda: made)
    monkeypatch.setattr(module, "image_for", lambda driver, capability: b"fatbin")
    rows = dict(engines.BACKENDS)
    rows["tensorrt"] = rows["onnxruntime"]._replace(engine=f"{__name__}:EngineOnDevice")
    monkeypatch.setattr(engines, "BACKENDS", rows)
    monkeypatch.setattr("tdfusion_edge.runtime.executors.loading.BACKENDS", rows)
    DEVICES.append(made)
    yield made
    DEVICES.pop()
    assert not made.memory


def both(source: str | Path = "edge", **options: Any) -> tuple[Fuser, Fuser]:
    """The detector on the GPU, and on the CPU behind the same kernel."""
    options = {
        "stretch": "none",
        "score_threshold": 0.002,
        "threads": 1,
        "range": rig.ThermalRange(),
        **options,
    }
    return Fuser(source, backend="cuda-tensorrt", **options), Fuser(source, backend="cuda", **options)


def grey(pair: Pair) -> Pair:
    assert pair.visible is not None
    return Pair(pair.infrared, Frame(pair.visible.image[..., 1].copy(), pair.time_ns, 0, "vis"))


def test_boxes_are_those_of_the_cpus_way(device: EmulatedDevice) -> None:
    """Of grey pictures to float32; chroma is not rounded on its way here, which a score shows at 1e-3."""
    ours, wanted = both()
    with ours, wanted:
        coloured = street(0, deep=True)
        for pair in (grey(coloured), coloured):
            before = len(device.launched)
            got = ours.fuse(pair)
            launched = device.launched[before:]
            reference = wanted.fuse(pair)
            assert got is not None
            assert reference is not None
            assert [name.split("_")[0] for name in launched] == ["thermal", "edge", "shrink", "boxes"]
            np.testing.assert_array_equal(got.picture, reference.picture)
            assert got.fused is None  # it stayed on the GPU
            best, other = (one.detections.scores.max() for one in (got, reference))
            assert abs(best - other) < 0.02
            if pair is coloured:
                continue
            assert len(got.detections) == len(reference.detections) > 3
            np.testing.assert_array_equal(got.detections.class_ids, reference.detections.class_ids)
            assert np.abs(got.detections.scores - reference.detections.scores).max() < 1e-5
            assert np.abs(got.detections.boxes - reference.detections.boxes).max() < 1e-2


@pytest.mark.parametrize("placed", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("colour", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_detector_on_the_gpu_sees_infrared(
    device: EmulatedDevice, tmp_path: Path, placed: bool, colour: bool
) -> None:
    """What it is given there is what it gets network by network, to the rounding of a level."""
    options: dict[str, Any] = {
        "registration": PLACED if placed else None,
        "range": rig.ThermalRange(mode="camera"),
        "stretch": "none",
        "threads": 1,
    }
    place, seen = warm_bundle(tmp_path, colour=colour), list[dict[str, Any]]()
    ours = Fuser(place, backend="cuda-tensorrt", **options)
    wanted = Fuser(place, backend="onnxruntime", instrument=noting(seen), **options)
    with ours, wanted:
        for number in (0, 3):
            pair = (
                street(number, WARPED[1], deep=False, infrared=WARPED[0])
                if placed
                else street(number, deep=False)
            )
            got, reference = ours.fuse(pair), wanted.fuse(pair)
            assert got is not None
            assert reference is not None
            assert got.fused is None  # it stayed on the GPU
            there = ours.heads["boxes"].engine.placed.array("infrared")  # type: ignore[attr-defined]
            tolerance = 1.5 / 255 if placed else 3e-6
            np.testing.assert_allclose(there, seen[-1]["infrared"], atol=tolerance, rtol=0)
            assert np.abs(there - seen[-1]["luma"]).max() > 0.1  # it is not the luma once more
            assert len(got.detections) == len(reference.detections) == len(QUARTERS)
            np.testing.assert_allclose(
                np.sort(got.detections.scores), np.sort(reference.detections.scores), atol=tolerance
            )
    assert device.launched.count("shrink") == 2


@pytest.mark.slow
def test_the_threshold_can_be_set_between_two_pictures(device: EmulatedDevice) -> None:
    ours, wanted = both()
    with ours, wanted:
        pair = grey(street(0, deep=True))
        counts = []
        for threshold in (0.002, 1.0, 0.003):
            for fuser in (ours, wanted):
                fuser.score_threshold = threshold
            got, reference = ours.fuse(pair), wanted.fuse(pair)
            assert got is not None
            assert reference is not None
            assert len(got.detections) == len(reference.detections)
            counts.append(len(got.detections))
    assert counts[0] > counts[2] > counts[1] == 0


def damaged(fuser: Fuser, damage: Callable[[dict[str, Any]], None]) -> None:
    head = fuser.heads["boxes"]
    head.engine.placed.damage = damage  # type: ignore[attr-defined]


@pytest.mark.slow
def test_an_engine_that_gives_nan_is_told_of(device: EmulatedDevice) -> None:
    with both()[0] as ours:
        ours.fuse(grey(street(0, deep=True)))

        def spoil(output: dict[str, Any]) -> None:
            output["scores"][0, 5, 1] = np.nan

        damaged(ours, spoil)
        with pytest.raises(EngineError, match=r"scores cannot be used: expected finite scores.*got NaN"):
            ours.fuse(grey(street(1, deep=True)))
        damaged(ours, lambda output: None)
        assert ours.fuse(grey(street(2, deep=True))) is not None  # the GPU is well


@pytest.mark.slow
def test_a_failed_launch_around_the_engine_is_told(device: EmulatedDevice) -> None:
    for kernel in (2, 3):
        with both()[0] as ours:
            ours.fuse(grey(street(0, deep=True)))
            device.faults.launch = len(device.launched) + kernel
            with pytest.raises(EngineError, match="lost to this process"):
                ours.fuse(grey(street(1, deep=True)))
        device.faults.launch, device._error = None, None


@pytest.mark.slow
def test_one_sensor_alone_and_an_instrumented_engine_go_the_cpus_way(device: EmulatedDevice) -> None:
    with both(visible_size=(48, 32))[0] as ours:
        pair = street(0, deep=True)
        result = ours.fuse(Pair(None, pair.visible))
        assert result is not None
        assert result.degraded
        assert "boxes" not in device.launched

    class Timed:
        def __init__(self, engine: Any) -> None:
            self.inputs, self.outputs, self.run, self.close = (
                engine.inputs,
                engine.outputs,
                engine.run,
                engine.close,
            )

    with both(instrument=lambda name, engine: Timed(engine))[0] as ours:
        result = ours.fuse(pair)
        assert result is not None
        assert result.fused is not None
        assert "boxes" not in device.launched
