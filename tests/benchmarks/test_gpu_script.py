"""What of ``benchmarks.gpu`` needs no GPU: PyTorch's way, the launches on an emulated device, the table."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import built_kernels
import numpy as np
import pytest
from emulated_device import EmulatedDevice

torch = pytest.importorskip("torch")

from benchmarks import gpu  # noqa: E402
from benchmarks.kernels import emulator, in_torch  # noqa: E402
from benchmarks.kernels.in_torch import CameraToPicture, network  # noqa: E402
from benchmarks.kernels.network_on_gpu import (  # noqa: E402
    SETS,
    LumasToLuma,
    NetworkLaunches,
    least_bytes,
)
from benchmarks.kernels.on_gpu import EdgeLaunches, ThermalLaunches  # noqa: E402
from benchmarks.kernels.restormer import exact, random_network, weights_of  # noqa: E402
from benchmarks.schema import Results  # noqa: E402
from benchmarks.script import main  # noqa: E402
from tdfusion_edge import Fuser, bundle  # noqa: E402
from tdfusion_edge.errors import EngineError, WorkError  # noqa: E402

SIZE = 64, 40
ONNX = bundle.read(bundle.default_path()).graph("fusion", "fp32")[1]


class Timed(EmulatedDevice):
    """Everything between two events takes 6 ms."""

    def elapsed_ms(self, first: Any, second: Any) -> float:
        return 6.0


def in_float64(given: dict[str, Any]) -> tuple[Any, Any]:
    with torch.inference_mode():
        way = CameraToPicture(network(ONNX).double())
        picture, luma = way(torch.from_numpy(given["infrared"]), torch.from_numpy(given["visible"]))
    return picture.numpy(), luma.numpy()


def test_pytorch_goes_the_same_way_as_the_program() -> None:
    random = np.random.default_rng(0)
    infrared = random.integers(0, 256, SIZE[::-1], dtype=np.uint8)
    visible = random.integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
    picture, luma = in_float64({"infrared": infrared, "visible": visible})
    with Fuser("edge", threads=1, detect=False, stretch="none", range="camera") as fuse:
        wanted = fuse(infrared, visible)
    assert wanted.fused is not None
    np.testing.assert_allclose(luma, wanted.fused, atol=1e-5, rtol=0)
    assert np.abs(picture.astype(int) - wanted.picture).max() <= 2  # its colours go by way of Cr and Cb


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with")
def test_every_launch_fuses_its_own_pictures(tmp_path_factory: pytest.TempPathFactory) -> None:
    device = Timed(built_kernels.library(tmp_path_factory))
    ours = EdgeLaunches(device, b"fatbin", ONNX, SIZE, rotated=50_000)
    assert ours.sets == 3
    assert ours.milliseconds() == 2.0
    for number in range(ours.sets):
        figures = gpu.compared(
            lambda number=number: (ours.fused(number), ours.luma(number)),  # type: ignore[misc]
            lambda number=number: in_float64(ours.given[number]),  # type: ignore[misc]
            SIZE,
        )
        assert [figure.unit for figure in figures] == ["levels", "of 1"]
    wrong = gpu.compared(lambda: (ours.fused(0), ours.luma(0)), lambda: in_float64(ours.given[1]), SIZE)
    with pytest.raises(WorkError, match="another picture"):
        list(wrong)
    thermal = ThermalLaunches(device, b"fatbin", SIZE, rotated=10_000)
    assert thermal.milliseconds() == 3.0
    assert device.launched.count("thermal") == 2
    for one in (ours, thermal):
        one.close()
    assert not device.memory


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with")
def test_every_set_of_f_is_fused(tmp_path_factory: pytest.TempPathFactory) -> None:
    device = Timed(built_kernels.library(tmp_path_factory, emulator.RESTORMER))
    net, size = random_network(), (24, 16)
    ours = NetworkLaunches(device, b"fatbin", weights_of(net), size)
    assert ours.milliseconds() == pytest.approx(6 / SETS)  # of a picture
    assert len(device.launched) == 17 * SETS
    for number, given in enumerate(ours.given):
        pictures = np.stack((given["infrared"], given["visible"]))
        np.testing.assert_allclose(ours.luma(number), exact(net, pictures), atol=gpu.LUMA, rtol=0)
        way = LumasToLuma(net)(*map(torch.from_numpy, given.values())).detach().numpy()
        np.testing.assert_allclose(way, exact(net, pictures), atol=1e-5, rtol=0)
    ours.close()
    assert not device.memory


def test_f_moves_at_least_what_its_features_are() -> None:
    assert least_bytes((640, 480)) == 640 * 480 * (2 + 17 * 64 + 4)


def test_ways_take_turns_and_the_time_ends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    order, now = list[str](), [0.0]

    def taking(name: str, milliseconds: float) -> Callable[[], float]:
        def case() -> float:
            order.append(name)
            now[0] += 1
            return milliseconds

        return case

    cases = {gpu.OURS: taking("ours", 0.02), gpu.EAGER: taking("eager", 0.5), gpu.THERMAL: taking("t", 0.01)}
    samples = gpu.in_turns(cases, 30, 9, lambda: now[0])
    assert order[9:15] == ["ours", "eager", "t", "eager", "t", "ours"]
    assert len(samples[gpu.OURS]) == 4
    timings, ratios = gpu.tabled(samples, SIZE)
    monkeypatch.setattr(in_torch, "copy_milliseconds", lambda size: size / 1e9)
    figures = tuple(gpu.bandwidth(samples, SIZE))
    results = Results(timings=tuple(timings), ratios=tuple(ratios), figures=figures)
    assert [row.median for row in results.ratios] == [pytest.approx(25)]
    values = {figure.name: figure.value for figure in results.figures}
    assert values["copy 64x40"] == 2000
    assert values["our kernel of a copy's bandwidth 64x40"] == pytest.approx(
        7 * 64 * 40 / 2e-2 / 2e9, abs=1e-4
    )


def test_without_a_gpu_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> Any:
        raise EngineError("no CUDA library for Python", expected="cuda-bindings or pycuda")

    monkeypatch.setattr(gpu, "open_device", none)
    output = tmp_path / "gpu.json"
    assert main(gpu.BENCHMARK, ["--output", str(output)]) == 1
    assert "no CUDA library" in capsys.readouterr().err
    assert not output.exists()
