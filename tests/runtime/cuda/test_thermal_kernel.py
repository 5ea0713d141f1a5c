"""The kernel `thermal`, built by g++ under sanitizers, against the runtime's ThermalRange."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built_kernels import built

from benchmarks.kernels import emulator
from benchmarks.kernels.emulator import Launch
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.engines.cuda.parameters import THERMAL_STATE
from tdfusion_edge.runtime.engines.cuda.thermal import SHARED_BYTES, THREADS, thermal_parameters
from tdfusion_edge.runtime.picture.range import MIN_SPAN_16BIT, ThermalRange, smoothing_share

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with")

CONFIG = rig.ThermalRange(mode="percentile")
STEP_NS = 33_000_000


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory, emulator.SANITIZED)


def scene(name: str) -> list[Any]:
    """Frames of uint16 counts."""
    random = np.random.default_rng(7)
    base = random.normal(7500, 60, (61, 83))
    frames = [base + random.normal(0, 4, base.shape) for _ in range(6)]
    if name == "shutter":
        frames[3:] = [frame + 250 for frame in frames[3:]]
    elif name == "hot object":
        for frame in frames[2:]:
            frame[10:30, 20:50] = 12_000
    elif name == "another gain":
        frames[4:] = [frame * 3 for frame in frames[4:]]
    elif name == "flat":
        frames = [np.full(base.shape, 7000.0 + i) for i in range(4)]
    elif name == "ends of the range":
        frames = [random.choice([0, 65535, 30_000], base.shape).astype(float) for _ in range(3)]
    return [np.clip(frame, 0, 65535).astype(np.uint16) for frame in frames]


@pytest.mark.parametrize(
    "name", ["noise", "shutter", "hot object", "another gain", "flat", "ends of the range"]
)
def test_limits_follow_the_scene_as_the_runtimes_do(program: Path, tmp_path: Path, name: str) -> None:
    frames, reference = scene(name), ThermalRange(CONFIG)
    state = np.zeros(THERMAL_STATE, np.float32)
    for number, frame in enumerate(frames):
        reference.apply(frame, number * STEP_NS)
        low, high = reference.limits or (0, 0)
        share = smoothing_share(STEP_NS / 1e9 if number else 0, CONFIG.smoothing_s)
        thermal = np.full(2, np.nan, np.float32)
        buffers = {
            "infrared": frame, "state": state, "thermal": thermal,
            "elapsed_share": np.array([share], np.float32),
        }  # fmt: skip
        height, width = frame.shape
        p = thermal_parameters((width, height), frame.itemsize, frame.strides[0], CONFIG.limits)
        emulator.run(
            program, [Launch("thermal", 1, THREADS, SHARED_BYTES, p, buffers, bool(number % 2))], tmp_path
        )
        span = high - low
        np.testing.assert_allclose(
            state[:2], (low, high), atol=span * 1e-4, rtol=0, err_msg=f"frame {number}"
        )
        assert span >= MIN_SPAN_16BIT - 1e-3
        levels = frame[::7, ::7].astype(np.float64) * thermal[0] + thermal[1]
        np.testing.assert_allclose(levels, (frame[::7, ::7] - low) * 255 / span, atol=0.1, rtol=0)
