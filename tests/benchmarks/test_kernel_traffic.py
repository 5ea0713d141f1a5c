"""What the kernels move, counted from their own loads and stores."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import warm
from built_kernels import built, library

from benchmarks.kernels import emulator, restormer
from benchmarks.kernels.__main__ import BENCHMARK, MEGA, SECTOR, _launched
from benchmarks.kernels.around_detector import around_detector
from benchmarks.schema import read
from benchmarks.script import main
from tdfusion_edge.bundle import default_path
from tdfusion_edge.bundle import read as read_bundle

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with")


@pytest.fixture
def built_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory, emulator.QUICK, kernels=emulator.RESTORMER)


@pytest.mark.slow
def test_camera_to_picture_takes_two_megabytes_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tdfusion_edge.runtime.measuring.machine.load_average", lambda: None)
    output = tmp_path / "kernels_here.json"
    assert main(BENCHMARK, ["--case", "nv12 to bgr", "--output", str(output)]) == 0
    figures = {figure.name: figure.value for figure in read(output).results.figures}
    pictures = 640 * 480 * (1 + 1.5 + 3) / MEGA  # infrared, NV12, BGR: less is not possible
    assert pictures < figures["nv12 to bgr, memory"] <= 2
    assert figures["nv12 to bgr, memory"] < figures["nv12 to bgr, requests"]
    # 16 pixels of a product may lie in two rows of a tile, whose banks nobody can choose.
    assert 1 <= figures["nv12 to bgr, passes a matrix"] <= 1.25
    assert figures["nv12 to bgr, largest error of the luma"] <= 2e-3
    # Luma, BGR and maybe infrared once, as many planes in float32; scores and the boxes whose score counts.
    graph = read_bundle(default_path()).manifest.graphs["detector"]
    both = int(graph.takes_infrared)
    planes = 640 * 480 * (4 + both) / MEGA
    beside = figures["nv12 to bgr, with what heads see, memory"] - figures["nv12 to bgr, memory"]
    assert beside == pytest.approx(planes, abs=2e-4)
    shapes = {tensor.name: tensor.shape for tensor in graph.inputs}
    height, width = shapes["luma"][2:]
    seen = (640 * 480 * (4 + 3 + both) + int(height) * int(width) * (3 + both) * 4) / MEGA
    assert seen < figures["what a detector sees, memory"] < 1.1 * seen
    assert 2730 * 3 * 4 / MEGA < figures["boxes of a detector, memory"] < 0.05


@pytest.mark.parametrize("colour", [True, False])
def test_infrared_that_a_detector_sees_is_read_once(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, colour: bool
) -> None:
    size = 2 * warm.WIDTH, 2 * warm.HEIGHT
    opened = read_bundle(warm.warm_bundle(tmp_path, colour=colour))
    moved = around_detector(opened, size, partial(_launched, library(tmp_path_factory)))
    seen = moved["what a detector sees"]
    assert SECTOR * seen.once_stored == warm.WIDTH * warm.HEIGHT * 4 * (4 if colour else 2)
    read_once = size[0] * size[1] * (4 + 1 + (3 if colour else 0))
    assert read_once < SECTOR * seen.once_loaded < 1.1 * read_once


@pytest.mark.slow
def test_f_moves_its_features_three_times_a_block(
    tmp_path: Path, built_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tdfusion_edge.runtime.measuring.machine.load_average", lambda: None)
    monkeypatch.setattr(emulator, "build", lambda folder, flags, kernels: built_library)
    output = tmp_path / "restormer_here.json"
    assert main(restormer.BENCHMARK, ["--size", "64x48", "--output", str(output)]) == 0
    figures = {figure.name: figure.value for figure in read(output).results.figures}
    pixels = 64 * 48
    least = pixels * (2 + 17 * 64 + 4) / MEGA
    assert least < figures["all, memory"] < 600 * pixels / (640 * 480)  # 0.6 GB of 640x480
    assert figures["all, memory"] < 1.1 * least  # weights and sums count more in so small a picture
    assert 1 <= figures["passes a matrix"] <= 1.25
    assert figures["largest error of the luma"] <= 2e-3


def test_halves_are_rounded_as_numpy_rounds_them(tmp_path: Path) -> None:
    library = emulator.Library(emulator.build(tmp_path, emulator.QUICK, tensor_cores=False))
    halves = np.arange(65_536, dtype=np.uint16).view(np.float16)
    for bits in range(0, 65_536, 97):
        if np.isfinite(halves[bits]):
            assert library.value(bits) == float(halves[bits])
    random = np.random.default_rng(0)
    ties = (np.arange(1, 400) + 0.5) * 2.0**-24
    spread = random.normal(size=400) * 10.0 ** random.integers(-9, 6, 400)
    for value in np.concatenate((ties, spread, [65_504, 65_519.9, 65_520, 0, -0.0])).astype(np.float32):
        with np.errstate(over="ignore"):
            assert library.half(float(value)) == int(np.float16(value).view(np.uint16)), value
